"""Injects faults while clients write, and compares the stored rows with the acknowledged writes."""

import os
import random
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from clients import ROOT, ROUNDS, Client, Gate, Progress
from model import Model, State

CLIENTS = 24
# The seconds within which the service must work again. The limit only ends a test that hangs.
RECOVERY = 120


class Target:
    def __init__(self, folder: Path, binary: str, port: int, database: str) -> None:
        """`database` is the URL of the database for the service."""
        self.folder, self.binary, self.port, self.database = folder, binary, port, database
        self.random = random.Random(0)
        self.service = None
        self.progress = Progress()
        # The time at which the last process was killed. Its sessions may outlive it.
        self.killed = 0.0

    def psql(self) -> list[str]:
        raise NotImplementedError

    def sql(self, statement: str) -> str:
        done = subprocess.run([*self.psql(), "-c", statement], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def start(self) -> None:
        settings = {
            "DATABASE_URL": self.database,
            "DEVICEGRAPH__SERVER__PORT": str(self.port),
            "DEVICEGRAPH__AUTH__MODE": "disabled",
            "DEVICEGRAPH__LOG__FILTER": "warn",
        }
        with open(self.folder / "service.log", "ab") as log:
            self.service = subprocess.Popen([self.binary], env=os.environ | settings, stdout=log, stderr=log)

    def stop(self) -> None:
        self.service.terminate()
        assert self.service.wait(RECOVERY) == 0, "the service does not end with exit code 0"

    def at_rest(self) -> None:
        """Waits until no session runs a statement, including sessions of processes and connections that have ended."""
        sessions = "FROM pg_stat_activity WHERE application_name LIKE 'devicegraph%' AND application_name <> 'devicegraph watch'"
        busy = f"SELECT count(*) {sessions} AND (state <> 'idle' OR backend_start < to_timestamp({self.killed}))"
        until, quiet = time.monotonic() + RECOVERY, 0
        while quiet < 2:
            quiet = quiet + 1 if self.sql(busy).strip() == "0" else 0
            assert time.monotonic() < until, "the sessions never become idle"
            time.sleep(0.01)

    def stored(self) -> dict[str, State]:
        found = {}
        rows = self.sql(
            "COPY (SELECT c.id, c.display_name, c.version, a.group_id, a.id FROM device_configurations AS c"
            " LEFT JOIN device_configuration_assignments AS a ON a.device_configuration_id = c.id"
            " UNION ALL SELECT a.device_configuration_id, NULL, NULL, a.group_id, a.id"
            " FROM device_configuration_assignments AS a WHERE NOT EXISTS"
            " (SELECT FROM device_configurations AS c WHERE c.id = a.device_configuration_id)) TO STDOUT"
        )
        for row in rows.splitlines():
            id, name, version, target, assignment = row.split("\t")
            assert name != r"\N", f"assignment {assignment} has no configuration"
            state = found.setdefault(id, State(name, int(version), {}))
            if assignment != r"\N":
                assert target not in state.assignments, f"{id} is assigned to {target} twice"
                state.assignments[target] = assignment
        return found


@dataclass
class Figures:
    injected: int = 0
    acknowledged: int = 0
    lost: int = 0
    unsent: int = 0
    unknown: int = 0
    pause: float = 0.0


def record(target: Target, faults: dict[str, tuple[str, Callable[[], None]]], plan: list[str]) -> int:
    """Injects the faults of the plan one after the other and prints the outcomes of the writes. Returns 3 when
    a write is lost, or when a row is stored that no client sent."""
    target.random.shuffle(plan)
    target.start()

    gate, progress = Gate(CLIENTS), target.progress
    shared = [str(uuid.uuid4()) for _ in range(3)]
    until = time.monotonic() + RECOVERY
    first = Client(-1, target.port, target.folder, shared, gate, progress)
    while not is_ready(first):
        assert time.monotonic() < until, "the service does not start"
        time.sleep(0.05)
    for id in shared:
        body = {"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "id": id, "displayName": "shared"}
        assert first.send("POST", ROOT, body)[0] == 201

    clients = [Client(number, target.port, target.folder, shared, gate, progress) for number in range(CLIENTS)]
    model, figures = Model(shared), {fault: Figures() for fault in faults}
    logs = [open(client.log.name, "rb") for client in clients]
    for client in clients:
        client.start()
    began, violations = time.monotonic(), []
    for number, fault in enumerate(plan, 1):
        known = (sum(model.acknowledged.values()), model.unknown)
        progress.begin()
        gate.open()
        progress.wait_for(target.random.randint(CLIENTS, 8 * CLIENTS), RECOVERY)
        at = time.monotonic()
        faults[fault][1]()
        pause = progress.wait(at, CLIENTS, RECOVERY)
        gate.close()
        assert all(client.failure is None for client in clients), "a client failed"
        target.at_rest()
        stored = target.stored()
        for log in logs:
            model.read(log.read().splitlines())
        wrong = model.compare(stored)
        of = figures[fault]
        of.injected += 1
        of.acknowledged += sum(model.acknowledged.values()) - known[0]
        of.lost += sum(kind == "lost" for kind, _ in wrong)
        of.unsent += sum(kind == "unsent" for kind, _ in wrong)
        of.unknown += model.unknown - known[1]
        of.pause = max(of.pause, pause)
        violations += [f"{fault} {number}: {text}" for _, text in wrong]
        violations += [f"{fault} {number}: {text}" for text in model.unexpected]
        if violations:
            break
        model.settle(stored)
        if number % 20 == 0:
            print(f"crash: {number} of {len(plan)}", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    gate.close(ends=True)
    for client in clients:
        client.join()

    print("| fault | injected | acknowledged writes | lost | duplicated or never sent | unknown | longest pause |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for fault, of in figures.items():
        counts = f"{of.injected} | {of.acknowledged:,} | {of.lost} | {of.unsent} | {of.unknown:,}"
        print(f"| {faults[fault][0]} | {counts} | {of.pause:.2f} s |")
    print(f"crash: in {took:.0f} s; {model.refused} writes refused; acknowledged: {dict(sorted(model.acknowledged.items()))}")
    for text in violations[:10]:
        print(f"crash: {text}", file=sys.stderr)
    if violations:
        return 3
    target.stop()
    assert len(model.acknowledged) == 7 or len(plan) < 2 * ROUNDS, f"some write was never acknowledged: {model.acknowledged}"
    assert model.unknown, "every outcome was known: no fault has hit a write"
    see_what_is_wrong(target, model)
    return 0


def is_ready(client: Client) -> bool:
    try:
        return client.send("GET", "/health/ready", None)[0] == 200
    except OSError:
        return False


def see_what_is_wrong(target: Target, model: Model) -> None:
    """Damages rows in several ways, and checks that the comparison notices each damage."""
    rows = "device_configuration_assignments"
    shared = next(iter(model.shared))
    of_some = f"SELECT device_configuration_id FROM {rows} GROUP BY 1 HAVING count(*) > 2"
    half, more, gap = [id for id in target.sql(of_some).split() if id not in model.shared][:3]
    empty = f"SELECT id FROM device_configurations AS c WHERE NOT EXISTS (SELECT FROM {rows} AS a WHERE a.device_configuration_id = c.id)"
    harm = {
        "a lost assignment": f"DELETE FROM {rows} WHERE id = (SELECT id FROM {rows} WHERE device_configuration_id = '{shared}' LIMIT 1)",
        "half of a set": f"DELETE FROM {rows} WHERE id IN (SELECT id FROM {rows} WHERE device_configuration_id = '{half}' LIMIT 2)",
        "an assignment that nobody sent": f"INSERT INTO {rows} (id, device_configuration_id, target_type, group_id) VALUES (gen_random_uuid(), '{more}', 'groupAssignmentTarget', 'nobody')",
        "a gap in the versions": f"UPDATE device_configurations SET version = version + 1 WHERE id = '{gap}'",
        "a lost configuration": f"DELETE FROM device_configurations WHERE id = ({empty} LIMIT 1)",
    }
    before = len(model.compare(target.stored()))
    assert before == 0, model.compare(target.stored())
    for what, statement in harm.items():
        target.sql(statement)
        now = len(model.compare(target.stored()))
        assert now > before, f"{what} is not noticed"
        before = now
