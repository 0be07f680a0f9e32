#!/usr/bin/env python3
"""Executes the SQL of the pages on the database and checks the plans that they name.

    DATABASE_URL=postgres://… tests/documentation/sql.py [--load] [PAGE...]

The database has all migrations and the rows of tests/documentation/load.sql. `--load` loads
these rows first, into an empty store. The default is each page below docs/.

- A `sql` block holds one statement, or one transaction from BEGIN to COMMIT. Each is executed
  and rolled back.
- The first sentence of a line `Plan: ` after a statement names parts of its plan in backquotes.
  EXPLAIN (COSTS OFF) must show each of them.
- In docs/sql.md, each statement has a line `Plan: ` and each transaction a line `Locks: `, and
  each query finds rows.

Prints each recipe that fails, with its plan or its error, and then ends with exit code 1.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COOKBOOK = "docs/sql.md"


class Failure(Exception):
    """A recipe does not do what its page says."""


def recipes(page):
    """Yields each `sql` block: its heading, its line number, its text, and the line after it."""
    heading, start = page, None
    lines = (ROOT / page).read_text().splitlines()
    for number, line in enumerate(lines):
        if start is not None:
            if line.startswith("```"):
                following = next((line for line in lines[number + 1:] if line.strip()), "")
                if language == "sql":
                    yield heading, start, "\n".join(lines[start:number]), following
                start = None
        elif line.startswith("```"):
            start, language = number + 1, line[3:].strip()
        elif line.startswith("#"):
            heading = line.lstrip("# ")


def psql(script):
    """Executes a script in one session and returns its output."""
    done = subprocess.run(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", os.environ["DATABASE_URL"], "-f", "-"],
        input=script, capture_output=True, text=True,
        # One recipe shows the sessions of the service. This session counts as one of them.
        env=os.environ | {"PGAPPNAME": "devicegraph recipe", "PGOPTIONS": "-c statement_timeout=60s", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode != 0:
        raise Failure(done.stderr.strip())
    return done.stdout


def check(text, following, is_cookbook):
    """Executes a recipe and checks its plan. Raises a Failure with the reason."""
    statement = text.strip()
    if re.match(r"BEGIN\b", statement):
        if not re.search(r"\bCOMMIT;$", statement):
            raise Failure("the transaction does not end with COMMIT;")
        psql(re.sub(r"\bCOMMIT;$", "ROLLBACK;", statement))
        if is_cookbook and not following.startswith("Locks: "):
            raise Failure("a line that begins with `Locks: ` must follow")
        return
    if statement.find(";") != len(statement) - 1:
        raise Failure("the block must hold one statement that ends with a semicolon")
    rows = psql(f"BEGIN;\n{statement}\nROLLBACK;")
    if is_cookbook and re.match(r"(SELECT|WITH)\b", statement) and not rows.strip():
        raise Failure("the query finds no row")
    if not following.startswith("Plan: "):
        if is_cookbook:
            raise Failure("a line that begins with `Plan: ` must follow")
        return
    plan = psql(f"EXPLAIN (COSTS OFF) {statement}")
    words = re.findall(r"`([^`]+)`", following.split(". ")[0])
    missing = [word for word in words if word not in plan]
    if missing or not words:
        raise Failure(f"the plan does not show {', '.join(missing) or 'what the page names'}:\n{plan.rstrip()}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--load", action="store_true", help="load tests/documentation/load.sql first")
    arguments.add_argument("pages", nargs="*", metavar="PAGE", help="pages to check instead of all")
    arguments = arguments.parse_args()
    if not os.environ.get("DATABASE_URL"):
        raise SystemExit("DATABASE_URL must name a migrated database")
    try:
        if arguments.load:
            psql((ROOT / "tests/documentation/load.sql").read_text())
    except Failure as failure:
        raise SystemExit(f"load.sql: {failure}")
    count = failures = 0
    pages = arguments.pages or sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))
    for page in pages:
        for heading, line, text, following in recipes(page):
            count += 1
            try:
                check(text, following, page == COOKBOOK)
            except Failure as failure:
                failures += 1
                print(f"{page}:{line + 1}: {heading}\n{failure}\n")
    if failures or not count:
        print(f"{failures} of {count} recipes fail")
        sys.exit(1)
    print(f"{count} recipes pass")


if __name__ == "__main__":
    main()
