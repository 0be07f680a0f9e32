#!/usr/bin/env python3
"""Large sets of assignments: prints what they cost, and fails when a cost grows faster than it should.

    tests/attacks/sets.py [BINARY [SMALL LARGE [ROUNDS]]]    default: target/debug/devicegraph 1000 10000 5

- `assign` with SMALL and with LARGE targets: a new set, the same set again, one other target, one other filter, and
  all others. PostgreSQL either has no statistics of the table, or has those of a time when the table had one row. The
  time may grow with the number of targets (here 10 times), and not with its square (100 times).
- A page, and a PATCH of one assignment, with 100 and with LARGE assignments in the set. The first request computes the
  digest of the large set, and the database keeps it. After that, the time of a PATCH does not depend on the size of
  the set, and a page takes less time than the first one. (A page still sorts the set by id.)

All limits are ratios of times that are measured side by side, because CI runs this on machines of any speed. Each
time is the best of ROUNDS. Needs PostgreSQL with psql; removes its files.
"""
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/devicegraph").resolve()
SMALL, LARGE = (int(size) for size in (sys.argv[2:4] if len(sys.argv) > 3 else (1000, 10000)))
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 5
PAGE = 100
# A linear cost has the ratio of the sizes, and a quadratic one has its square. This limit
# is between them, nearer to the first.
LINEAR = LARGE / SMALL * 3
# A cost that does not depend on the size has the ratio 1.
INDEPENDENT = 4
FILTER = "a filter"
KEPT = "device_configuration_digest_parts"
FIRST_PAGE, NEXT_PAGE, PATCH = "a page, digest not kept", "a page, digest kept", "PATCH of one"
COLLECTION = "deviceManagement/deviceConfigurations"


class Service:
    """The service on a private PostgreSQL, with limits that a slow machine does not reach."""

    def __init__(self, folder):
        self.folder = folder
        self.port = random.randrange(10000, 32000)
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {
            "DEVICEGRAPH__SERVER__PORT": str(self.port),
            "DEVICEGRAPH__SERVER__MAX_BODY_BYTES": str(64 << 20),
            "DEVICEGRAPH__SERVER__REQUEST_TIMEOUT_SECONDS": "300",
            "DEVICEGRAPH__DATABASE__STATEMENT_TIMEOUT_MS": "120000",
            "DEVICEGRAPH__DATABASE__ANSWER_TIMEOUT_MS": "60000",
            "DEVICEGRAPH__DATABASE__ACQUIRE_TIMEOUT_MS": "60000",
            "DEVICEGRAPH__DATABASE__DATA_DIR": str(folder / "postgres"),
            "DEVICEGRAPH__LOG__FILTER": "warn",
        }
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen([BINARY], cwd=folder, env=environment, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 120
        while True:
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
                self.connection.request("GET", "/health/ready")
                if self.connection.getresponse().read() is not None:
                    break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    sys.exit(f"sets: the service does not start:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def sql(self, statement):
        url = (self.folder / "postgres/url").read_text().strip()
        psql = ["psql", "-XAtq", "-c", "SET client_min_messages = warning", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement]
        return subprocess.run(psql, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def send(self, method, path, body=None, expected=200):
        """Returns the answer and the milliseconds that it took."""
        text = None if body is None else json.dumps(body)
        begun = time.perf_counter()
        self.connection.request(method, path, text, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        took = (time.perf_counter() - begun) * 1000
        if answer.status != expected:
            sys.exit(f"sets: FAILED: {method} {path} is {answer.status} and not {expected}: {content[:500].decode()}")
        return json.loads(content), took

    def configuration(self):
        body = {"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a set"}
        return f"{COLLECTION}/{self.send('POST', f'/v1.0/{COLLECTION}', body, 201)[0]['id']}"


def group(filter_id=None, of=None):
    target = {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": of or str(uuid.uuid4())}
    if filter_id:
        target |= {
            "deviceAndAppManagementAssignmentFilterId": filter_id,
            "deviceAndAppManagementAssignmentFilterType": "include",
        }
    return {"target": target}


def assigns(service, size):
    """Returns the milliseconds of each kind of `assign`."""
    path = f"/beta/{service.configuration()}/assign"
    rows = [group() for _ in range(size)]
    times = {}

    def assign(kind):
        answer, times[kind] = service.send("POST", path, {"assignments": rows})
        sent = {row["target"]["groupId"] for row in rows}
        stored = {row["target"]["groupId"] for row in answer["value"]}
        if sent != stored:
            sys.exit(f"sets: FAILED: {kind}: {len(sent ^ stored)} of the targets are wrong")

    assign("a new set")
    assign("the same set again")
    rows[size // 2] = group()
    assign("one other target")
    rows[size // 3] = group(FILTER, rows[size // 3]["target"]["groupId"])
    assign("one other filter")
    rows[:] = [group() for _ in range(size)]
    assign("all other targets")
    rows[:] = [group(FILTER, row["target"]["groupId"]) for row in rows]
    assign("all other filters")
    return times


def reads(service, configuration):
    """Returns the milliseconds of pages, and of a PATCH."""
    path = f"/v1.0/{configuration}/assignments"
    times = {}
    if service.sql(f"SELECT to_regclass('{KEPT}') IS NOT NULL") == "t":
        service.sql(f"TRUNCATE {KEPT}")
    _, times[FIRST_PAGE] = service.send("GET", f"{path}?$top={PAGE // 2}")
    page, times[NEXT_PAGE] = service.send("GET", f"{path}?$top={PAGE // 2}")
    _, times[PATCH] = service.send("PATCH", f"{path}/{page['value'][0]['id']}", group())
    return times


def best(all_times):
    return {kind: min(times[kind] for times in all_times) for kind in all_times[0]}


def report(title, sizes, small, large, limit):
    """Prints a table, and returns the kinds whose ratio is above the limit."""
    print(f"{title:26} {sizes[0]:>10,} {sizes[1]:>10,}   ratio  (at most {limit:g})")
    for kind in small:
        print(f"{kind:26} {small[kind]:7.1f} ms {large[kind]:7.1f} ms {large[kind] / small[kind]:7.1f}")
    return [kind for kind in small if large[kind] > limit * small[kind]]


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="devicegraph-sets-"))
    folder.chmod(0o755)
    service = None
    try:
        service = Service(folder)
        for table in ("device_configurations", "device_configuration_assignments"):
            service.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        wrong = []
        for statistics in ("no statistics", "old statistics"):
            large, small = [], []
            for _ in range(ROUNDS):
                for size, times in ((LARGE, large), (SMALL, small)):
                    # An emptied table has no statistics.
                    service.sql("TRUNCATE device_configurations CASCADE")
                    if statistics == "old statistics":
                        service.send("POST", f"/v1.0/{service.configuration()}/assign", {"assignments": [group()]})
                        service.sql("VACUUM ANALYZE")
                    times.append(assigns(service, size))
            wrong += report(f"assign, {statistics}:", (SMALL, LARGE), best(small), best(large), LINEAR)
        sets = {}
        for size in (PAGE, LARGE):
            sets[size] = service.configuration()
            service.send("POST", f"/v1.0/{sets[size]}/assign", {"assignments": [group() for _ in range(size)]})
        # Statistics end the plans that sessions have kept since the table had one row.
        service.sql("VACUUM ANALYZE")
        small, large = (best([reads(service, sets[size]) for _ in range(ROUNDS * 10)]) for size in (PAGE, LARGE))
        grown = report("assignments in the set:", (PAGE, LARGE), small, large, INDEPENDENT)
        wrong += [kind for kind in grown if kind == PATCH]
        if large[NEXT_PAGE] >= large[FIRST_PAGE]:
            wrong.append(NEXT_PAGE)
        if wrong:
            sys.exit(f"sets: FAILED: the cost grows too fast: {', '.join(wrong)}")
        print("sets: passed")
    finally:
        if service:
            service.stop()
        shutil.rmtree(folder, ignore_errors=True)


main()
