"""Kills the primary, under load, and promotes its standby.

    failover.py FOLDER BINARY TIMES

FOLDER has the cluster `a`, the primary, and `b`, its standby. PG_CTL, PG_BASEBACKUP and PSQL
are the commands, with {} for a cluster. DATABASE is a URL that leads the service to the current
primary, and PORT is the port of the service.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from record import CLIENTS, RECOVERY, Target, record


class Pair(Target):
    def __init__(self, folder: Path, binary: str) -> None:
        super().__init__(folder, binary, int(os.environ["PORT"]), os.environ["DATABASE"])
        self.primary, self.standby = "a", "b"

    def psql(self) -> list[str]:
        return self.command("PSQL", self.primary)

    def command(self, which: str, cluster: str) -> list[str]:
        return shlex.split(os.environ[which].replace("{}", cluster).replace("{primary}", self.primary))

    def wait_for_standby(self, to_be: str) -> None:
        """Sets the standby for which commits wait. With an empty text they wait for none."""
        self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{to_be}'")
        self.sql("SELECT pg_reload_conf()")

    def add_standby(self) -> None:
        """Creates the standby as a copy of the primary, and waits until it follows."""
        data, until = self.folder / self.standby / "data", time.monotonic() + RECOVERY
        while subprocess.run(["pgrep", "-f", f"{data}"], stdout=subprocess.DEVNULL).returncode == 0:
            assert time.monotonic() < until, "processes of the killed server still run"
            time.sleep(0.05)
        subprocess.run(["rm", "-rf", str(data)], check=True)
        subprocess.run(self.command("PG_BASEBACKUP", self.standby), check=True)
        subprocess.run([*self.command("PG_CTL", self.standby), "start"], check=True, stdout=subprocess.DEVNULL)
        if "ASYNCHRONOUS" not in os.environ:
            self.wait_for_standby("*")
        follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = '{}' AND state = 'streaming'"
        follows = follows.format("async" if "ASYNCHRONOUS" in os.environ else "sync")
        while self.sql(follows).strip() != "1":
            assert time.monotonic() < until, "the standby does not follow"
            time.sleep(0.05)

    def fail_over(self) -> None:
        if "ASYNCHRONOUS" in os.environ:
            # Later acknowledged writes do not reach the standby.
            sender = int(self.sql("SELECT pid FROM pg_stat_replication"))
            os.kill(sender, signal.SIGSTOP)
            self.progress.wait_for(CLIENTS, RECOVERY)
        killed = (self.folder / self.primary / "data/postmaster.pid").read_text().split()[0]
        os.kill(int(killed), signal.SIGKILL)
        if "ASYNCHRONOUS" in os.environ:
            os.kill(sender, signal.SIGKILL)
        self.primary, self.standby = self.standby, self.primary
        subprocess.run([*self.command("PG_CTL", self.primary), "promote"], check=True, stdout=subprocess.DEVNULL)
        # The new primary has no standby. Without this setting its commits would wait for one.
        self.wait_for_standby("")

    def at_rest(self) -> None:
        super().at_rest()
        # The killed server becomes a standby, as a copy of the new primary.
        self.add_standby()


pair = Pair(Path(sys.argv[1]), sys.argv[2])
pair.add_standby()
faults = {"primary": ("the primary killed, the standby promoted", pair.fail_over)}
sys.exit(record(pair, faults, ["primary"] * int(sys.argv[3])))
