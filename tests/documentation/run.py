#!/usr/bin/env python3
"""Checks the documentation against the product.

    tests/documentation/run.py [--write] [--binary FILE] [PAGE...]

- Runs the `console` blocks of each page against a fresh service, with one bash for each
  page, and compares the answers. Ids, times, ETags and dates may differ.
- Checks that every relative link and anchor in every page leads somewhere.
- Checks the length of each page, and that each section with measurements names a command.
- Executes the SQL of the pages, and compares the plans that they name (sql.py).

`--write` replaces each answer that differs by the real one. PAGE limits the examples to
these pages. The default binary is target/debug/devicegraph.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8080"
# The longest page, in lines. Changelogs and licences grow with the releases.
LIMITS = {"README.md": 200, "CONTRIBUTING.md": 120, "ARCHITECTURE.md": 250, "docs/releasing.md": 30}
LIMIT = 300
UNLIMITED = {"CHANGELOG.md"}
# What the sample and the examples fix themselves is compared to the letter.
FIXED_ID = r"(?!5a3b0f10-|9e2c7a40-)"
LOOSE = [
    (re.compile(FIXED_ID + r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:\d\d)?)?"), "<time>"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "<date>"),
    (re.compile(r'W/(\\?)"[0-9a-f.]+\\?"'), "<etag>"),
    (re.compile(r"(\$|%24)skiptoken=[\w-]+"), "<skiptoken>"),
    (re.compile(r"content-length: \d+"), "content-length: <n>"),
]


def pages():
    """Returns all Markdown pages of the repository."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()
    return [page for page in tracked if (ROOT / page).exists()]


def blocks(lines, language):
    """Yields the first and the last line number of each fenced block of a language."""
    start = None
    for number, line in enumerate(lines):
        if start is None and line.startswith("```"):
            start, is_wanted = number + 1, line[3:].strip() == language
        elif start is not None and line.startswith("```"):
            if is_wanted:
                yield start, number
            start = None


def is_complete(command):
    """Returns whether bash needs no further line to execute the command."""
    if command.endswith("\\"):
        return False
    parsed = subprocess.run(["bash", "-n"], input=command + "\n", capture_output=True, text=True)
    return parsed.returncode == 0 and "here-document" not in parsed.stderr


def examples(lines):
    """Yields each command with its answer: the command, and the line numbers of the answer."""
    for start, end in blocks(lines, "console"):
        number = start
        while number < end:
            if not lines[number].startswith("$ "):
                raise SystemExit(f"line {number + 1}: a console block begins with a command: {lines[number]}")
            command = lines[number][2:]
            number += 1
            while not is_complete(command):
                if number == end:
                    raise SystemExit(f"line {number}: the command does not end: {command}")
                command += "\n" + lines[number]
                number += 1
            first = number
            while number < end and not lines[number].startswith("$ "):
                number += 1
            yield command, first, number


def loosen(text):
    """Returns the text with placeholders for what differs from run to run."""
    for pattern, placeholder in LOOSE:
        text = pattern.sub(placeholder, text)
    return text


def matches(expected, actual):
    """Returns whether an answer is the documented one. `…` stands for any text in a line, and a
    line `…` for any lines."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            parts = [re.escape(part) for part in loosen(line).split("…")]
            pattern += "[^\n]*".join(parts) + r"\n"
    return re.fullmatch(pattern, "".join(loosen(line) + "\n" for line in actual)) is not None


class Service:
    """A fresh service on a free port, with a database of its own."""

    def __init__(self, binary, folder):
        self.log = open(folder / "log", "w+")
        data = folder / "data"
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("DEVICEGRAPH") and key != "DATABASE_URL"}
        self.process = subprocess.Popen(
            [binary], cwd=folder, stdout=self.log, stderr=self.log,
            env=environment | {"DEVICEGRAPH__SERVER__PORT": "0", "DEVICEGRAPH__DATABASE__DATA_DIR": str(data)},
        )
        deadline = time.monotonic() + 120
        while not (found := re.search(r"listening on (http://\S+)", (folder / "log").read_text())):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"the service did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
        self.address = found[1]
        self.environment = environment | {
            "DATABASE_URL": (data / "url").read_text().strip(),
            "PATH": f"{pathlib.Path(binary).parent}:{environment['PATH']}",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PAGER": "",
        }

    def stop(self):
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise SystemExit("the service did not end with exit code 0")


def run_page(page, binary, write):
    """Runs the examples of a page. Returns the number of commands, and the faults."""
    path = ROOT / page
    lines = path.read_text().splitlines()
    found = list(examples(lines))
    if not found:
        return 0, []
    faults, answers = [], []
    with tempfile.TemporaryDirectory(prefix="devicegraph-documentation-") as folder:
        folder = pathlib.Path(folder)
        # The private PostgreSQL runs as another account when this is root.
        folder.chmod(0o755)
        service = Service(binary, folder)
        # The checkout is readable in the working folder, as `git clone` leaves it.
        work = folder / "work"
        work.mkdir()
        (work / "docs").symlink_to(ROOT / "docs")
        shell = subprocess.Popen(["bash", "--norc"], cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, env=service.environment)
        mark = "--end-of-the-answer--"
        for command, first, last in found:
            shell.stdin.write(command.replace(ADDRESS, service.address) + f"\nprintf '\\n{mark}\\n'\n")
            shell.stdin.flush()
            answer = ""
            while not answer.endswith(f"\n{mark}\n"):
                line = shell.stdout.readline()
                if not line:
                    raise SystemExit(f"{page}:{first}: the shell ended in: {command}\n{answer}")
                answer += line
            answer = answer.removesuffix(f"\n{mark}\n").replace("\r", "").rstrip("\n")
            answer = answer.replace(service.address, ADDRESS)
            actual = answer.split("\n") if answer else []
            if not matches(lines[first:last], actual):
                expected = "\n".join(lines[first:last])
                faults.append(f"{page}:{first}: {command}\n--- the page\n{expected}\n--- the service\n{answer}\n")
                answers.append((first, last, actual))
        shell.stdin.close()
        shell.wait(60)
        service.stop()
    if write and answers:
        for first, last, actual in reversed(answers):
            lines[first:last] = actual
        path.write_text("\n".join(lines) + "\n")
    return len(found), faults


def slug(heading):
    """Returns the anchor of a heading, as the hosts of repositories make it."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def anchors(text):
    """Returns the anchors of a page."""
    headings = re.findall(r"^#{1,6} +(.*?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {slug(heading) for heading in headings}


def check_links(page):
    """Yields each relative link of a page that leads nowhere."""
    text = (ROOT / page).read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose):
        target = target[0] or target[1]
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        if not path.exists():
            yield f"{page}: the link {target} leads to no file"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
            yield f"{page}: the link {target} leads to no heading"


def check_length(page):
    """Yields a page that is too long to be read."""
    length = len((ROOT / page).read_text().splitlines())
    limit = LIMITS.get(page, LIMIT)
    if page not in UNLIMITED and length > limit:
        yield f"{page}: {length} lines, and the limit is {limit}"


def check_figures(page):
    """Yields each section of the measurements that names no command."""
    if page != "docs/measurements.md":
        return
    for section in re.split(r"^## ", (ROOT / page).read_text(), flags=re.M)[1:]:
        commands = re.findall(r"(cargo bench[^`\n]*|(?:tests|benches)/[\w/.-]+|docker image[^`\n]*)", section)
        if not commands:
            yield f"{page}: the section '{section.splitlines()[0]}' names no command that repeats its figures"
        for file in re.findall(r"(?:tests|benches)/[\w/-]+\.(?:sh|py|rs)", section):
            if not (ROOT / file).exists():
                yield f"{page}: there is no {file}"


def run_sql(binary):
    """Executes the SQL of the pages on a store of 20,000 configurations. Returns the faults."""
    with tempfile.TemporaryDirectory(prefix="devicegraph-documentation-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        service = Service(binary, folder)
        done = subprocess.run([sys.executable, str(ROOT / "tests/documentation/sql.py"), "--load"],
                              env=service.environment, capture_output=True, text=True)
        service.stop()
    print(done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "no SQL ran")
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--binary", default=str(ROOT / "target/debug/devicegraph"))
    parser.add_argument("pages", nargs="*")
    arguments = parser.parse_args()
    faults = [fault for page in pages() for check in (check_links, check_length, check_figures) for fault in check(page)]
    commands = 0
    for page in arguments.pages or pages():
        count, wrong = run_page(page, os.path.abspath(arguments.binary), arguments.write)
        commands += count
        faults += wrong
    if not arguments.pages:
        faults += run_sql(os.path.abspath(arguments.binary))
    for fault in faults:
        print(fault)
    if not arguments.pages and commands < 40:
        print(f"only {commands} commands were found: the reading of the pages must be broken")
        faults.append("")
    print(f"{commands} commands of the documentation ran; {len(faults)} faults")
    sys.exit(1 if faults else 0)


main()
