#!/usr/bin/env python3
"""Checks the documentation against the product.

    tests/documentation/run.py [--write] [--binary FILE] [PAGE...]

- Runs the `console` blocks of each page against a fresh service, with one bash for each
  page, and compares the answers and the exit codes. Times, ETags and dates may differ, and ids
  if the same id is the same everywhere in the page. A command must succeed unless its answer
  ends with the line `exit code N`.
- Checks that every relative link and anchor in every page leads somewhere.
- Checks the length of each page, and that each section with measurements names a command.
- Executes the SQL of the pages, and compares the plans that they name (sql.py).

`--write` replaces each answer that differs by the real one. PAGE limits the examples to
these pages. The default binary is target/debug/devicegraph.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
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
# The number of examples of a page. A page that has fewer is not read as it is meant.
AT_LEAST = {"README.md": 5, "docs/api.md": 15, "docs/assign.md": 5, "docs/queries.md": 20, "docs/import-export.md": 10}
# What the sample and the examples fix themselves is compared to the letter.
ID = re.compile(r"\b(?!5a3b0f10-|9e2c7a40-)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
LOOSE = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:\d\d)?)?"), "<time>"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "<date>"),
    (re.compile(r'W/(\\?)"[0-9a-f.]+\\?"'), "<etag>"),
    (re.compile(r"(\$|%24)skiptoken=[\w-]+"), "<skiptoken>"),
    (re.compile(r"content-length: \d+"), "content-length: <n>"),
]


def pages():
    """Returns all Markdown pages of the repository."""
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
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


def loosen(text, ids):
    """Returns the text with placeholders for what differs from run to run. `ids` has the numbers of
    the ids that were met so far, or is None where any id equals any other."""
    text = ID.sub(lambda found: "<id>" if ids is None else f"<id {ids.setdefault(found[0], len(ids))}>", text)
    for pattern, placeholder in LOOSE:
        text = pattern.sub(placeholder, text)
    return text


def matches(expected, actual, ids):
    """Returns whether an answer is the documented one. `…` stands for any text in a line, and a
    line `…` for any lines. `ids` are those of the page and of the service."""
    pattern = ""
    if any("…" in line for line in expected):
        # `…` can stand for an id, so that the others have other numbers.
        ids = (None, None)
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            parts = [re.escape(part) for part in loosen(line, ids[0]).split("…")]
            pattern += "[^\n]*".join(parts) + r"\n"
    return re.fullmatch(pattern, "".join(loosen(line, ids[1]) + "\n" for line in actual)) is not None


class Service:
    """A fresh service on a free port, with a database of its own. It ends with the block."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def __enter__(self):
        data = self.folder / "data"
        log = self.folder / "log"
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("DEVICEGRAPH") and key != "DATABASE_URL"}
        settings = {"DEVICEGRAPH__SERVER__PORT": "0", "DEVICEGRAPH__DATABASE__DATA_DIR": str(data)}
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                [self.binary], cwd=self.folder, stdout=output, stderr=output, env=environment | settings)
        deadline = time.monotonic() + 120
        while not (found := re.search(r"listening on (http://\S+)", log.read_text())):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.terminate()
                self.process.wait(60)
                raise SystemExit(f"the service did not start:\n{log.read_text()}")
            time.sleep(0.05)
        self.address = found[1]
        self.environment = environment | {
            "DATABASE_URL": (data / "url").read_text().strip(),
            "PATH": f"{pathlib.Path(self.binary).parent}:{environment['PATH']}",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PAGER": "",
        }
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code != 0:
            raise SystemExit(f"the service ended with exit code {code}")


@contextlib.contextmanager
def scratch():
    """A folder that the account of PostgreSQL can enter when this is root."""
    with tempfile.TemporaryDirectory(prefix="devicegraph-documentation-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        yield folder


def run_page(page, binary, write):
    """Runs the examples of a page. Returns the number of commands, and the faults."""
    path = ROOT / page
    lines = path.read_text().splitlines()
    found = list(examples(lines))
    if not found:
        return 0, []
    faults, answers, ids = [], [], ({}, {})
    with scratch() as folder, Service(binary, folder) as service:
        work = folder / "work"
        work.mkdir()
        shutil.copytree(ROOT / "docs", work / "docs")
        with subprocess.Popen(["bash", "--norc"], cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=service.environment) as shell:
            for command, first, last in found:
                answer, code = execute(shell, command.replace(ADDRESS, service.address), page)
                actual = answer.replace(service.address, ADDRESS).split("\n") if answer else []
                shows_code = any(line.startswith("exit code ") for line in lines[first:last])
                if code != "0" and not shows_code:
                    actual.append(f"exit code {code}")
                if not matches(lines[first:last], actual, ids):
                    expected = "\n".join(lines[first:last])
                    faults.append("\n".join(
                        [f"{page}:{first}: {command}", "--- the page", expected, "--- the service", *actual, ""]))
                    answers.append((first, last, actual))
            shell.stdin.close()
    if write and answers:
        for first, last, actual in reversed(answers):
            lines[first:last] = actual
        path.write_text("\n".join(lines) + "\n")
    return len(found), faults


def execute(shell, command, page):
    """Executes a command in the shell. Returns its output and its exit code."""
    if re.search(r"localhost:8080|\[::1\]:8080|:8080", command):
        raise SystemExit(f"{page}: write {ADDRESS}: another address is not that of the fresh service: {command}")
    mark = "--end-of-the-answer--"
    # A command that reads its input must not read the next commands.
    shell.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n{mark}%s\\n' $?\n")
    shell.stdin.flush()
    answer = ""
    while True:
        line = shell.stdout.readline()
        if not line:
            raise SystemExit(f"{page}: the shell ended in: {command}\n{answer}")
        if line.startswith(mark):
            return answer.removesuffix("\n").replace("\r\n", "\n").removesuffix("\n"), line.removeprefix(mark).strip()
        answer += line


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


def check_placeholders(page):
    """Yields each word that stands for a text that is still to be written."""
    for word in re.findall(r"\b(?:FIRST_[A-Z]+|TODO|FIXME|XXX)\b", (ROOT / page).read_text()):
        yield f"{page}: {word} stands for a text that is missing"


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
    with scratch() as folder, Service(binary, folder) as service:
        done = subprocess.run([sys.executable, str(ROOT / "tests/documentation/sql.py"), "--load"],
                              env=service.environment, capture_output=True, text=True)
    print(done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "no SQL ran")
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def main():
    # So that the service ends with this script.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--binary", default=str(ROOT / "target/debug/devicegraph"))
    parser.add_argument("pages", nargs="*")
    arguments = parser.parse_args()
    faults = [fault for page in pages() for check in (check_links, check_length, check_figures, check_placeholders) for fault in check(page)]
    commands = 0
    for page in arguments.pages or pages():
        count, wrong = run_page(page, os.path.abspath(arguments.binary), arguments.write)
        commands += count
        if count < AT_LEAST.get(page, 0):
            faults.append(f"{page}: only {count} commands were found, and it has {AT_LEAST[page]}")
        faults += wrong
    if not arguments.pages:
        faults += run_sql(os.path.abspath(arguments.binary))
    for fault in faults:
        print(fault)
    print(f"{commands} commands of the documentation ran; {len(faults)} faults")
    sys.exit(1 if faults else 0)


main()
