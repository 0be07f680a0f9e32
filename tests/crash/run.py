"""Kills the service and its database, under load.

    run.py FOLDER BINARY TIMES

FOLDER has a running cluster `postgres` with a database `devicegraph`. PG_CTL and PSQL are the
commands for it, and PORT is the port of the service.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from proxy import Proxy
from record import RECOVERY, Target, record


class Server(Target):
    def __init__(self, folder: Path, binary: str) -> None:
        self.pg_ctl = shlex.split(os.environ["PG_CTL"])
        self.proxy = Proxy(str(folder / "postgres" / ".s.PGSQL.5432"))
        database = f"postgres://devicegraph@127.0.0.1:{self.proxy.port}/devicegraph?sslmode=disable"
        super().__init__(folder, binary, int(os.environ["PORT"]), database)

    def psql(self) -> list[str]:
        return shlex.split(os.environ["PSQL"])

    def kill_service(self) -> None:
        self.service.kill()
        self.service.wait()
        self.killed = time.time()
        self.start()

    def kill_postmaster(self) -> None:
        pid = (self.folder / "postgres/data/postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGKILL)
        # The processes of the server end some time later. Until then no new server can start.
        until = time.monotonic() + RECOVERY
        while subprocess.run([*self.pg_ctl, "start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            assert time.monotonic() < until, "PostgreSQL does not start again"

    def terminate_backend(self) -> None:
        which = self.random.choice(["application_name = 'devicegraph writer'", "random() < 0.3", "true"])
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name LIKE 'devicegraph%' AND {which}"
        )

    def cut_connection(self) -> None:
        self.proxy.cut(self.random.choice(["before", "after"]))
        assert self.proxy.has_cut.wait(RECOVERY), "the proxy has seen no commit"


server = Server(Path(sys.argv[1]), sys.argv[2])
faults = {
    "service": ("the service killed (SIGKILL)", server.kill_service),
    "postmaster": ("PostgreSQL killed (SIGKILL to the postmaster)", server.kill_postmaster),
    "backend": ("sessions ended (`pg_terminate_backend`)", server.terminate_backend),
    "connection": ("the connection cut in mid-commit", server.cut_connection),
}
# A database that answers early loses writes only when it is killed.
which = ["postmaster"] if os.environ.get("EARLY") else list(faults)
sys.exit(record(server, faults, which * int(sys.argv[3])))
