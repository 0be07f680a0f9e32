"""Measures the service and its tables under load, and fails when they grow.

    watch.py PID SECONDS

PSQL is the command for the database. Ends with exit code 1 when a maximum of the last
quarter is larger than that of the second quarter, by more than ALLOWED.
"""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

process, seconds = Path(f"/proc/{sys.argv[1]}"), int(sys.argv[2])
SIZES = "SELECT pg_total_relation_size('device_configurations'), pg_total_relation_size('device_configuration_assignments')"
MIB = 1 << 20


def sample() -> dict[str, float]:
    status = dict(line.split(":\t") for line in (process / "status").read_text().splitlines() if ":\t" in line)
    sizes = subprocess.run([*shlex.split(os.environ["PSQL"]), "-c", SIZES], capture_output=True, text=True, check=True)
    configurations, assignments = map(int, sizes.stdout.split("|"))
    return {
        "resident memory (MiB)": int(status["VmRSS"].split()[0]) / 1024,
        "file handles": len(os.listdir(process / "fd")),
        "device_configurations (MiB)": configurations / MIB,
        "device_configuration_assignments (MiB)": assignments / MIB,
    }


# The allowed growth to the last quarter. The tables may grow by a quarter, because autovacuum runs
# once a minute.
ALLOWED = {"resident memory (MiB)": 1.1, "file handles": 1.02}

samples, began = [], time.monotonic()
while (elapsed := time.monotonic() - began) < seconds:
    samples.append((elapsed / seconds, sample()))
    time.sleep(seconds / 120)
grows = []
for what in samples[0][1]:
    def most(begin: float, end: float) -> float:
        return max(values[what] for at, values in samples if begin <= at < end)

    before, last = most(0.25, 0.5), most(0.75, 1)
    print(f"soak: {what}: {most(0, 0.25):.1f} at most in the first quarter, then {before:.1f}, {most(0.5, 0.75):.1f} and {last:.1f}")
    if last > before * ALLOWED.get(what, 1.25):
        grows.append(what)
if grows:
    print(f"soak: FAILED: grows: {', '.join(grows)}", file=sys.stderr)
sys.exit(bool(grows))
