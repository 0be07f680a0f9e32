"""Clients that write with ids of their own, and log each write before the next one.

A log has a line for each write that is sent, and a line with its outcome, which is on disk
before the client writes again. The outcomes are: acknowledged; refused, so the write must
not be stored; unknown, so the write may be stored or not.
"""

import http.client
import json
import os
import random
import socket
import threading
import time
import uuid
from pathlib import Path

ROOT = "/v1.0/deviceManagement/deviceConfigurations"
# The number of rounds until a configuration is deleted, and the number of assignments that a client
# has in the shared ones.
ROUNDS, SHARED = 10, 20


class Gate:
    """Lets the clients write, or makes each client wait after its current write."""

    def __init__(self, clients: int) -> None:
        self.condition = threading.Condition()
        self.clients, self.waiting, self.round, self.is_open, self.ends = clients, 0, 0, False, False

    def open(self) -> None:
        with self.condition:
            self.round, self.is_open = self.round + 1, True
            self.condition.notify_all()

    def close(self, ends: bool = False) -> None:
        with self.condition:
            self.is_open, self.ends = ends, ends
            self.condition.notify_all()
            if not ends:
                done = self.condition.wait_for(lambda: self.waiting == self.clients, timeout=120)
                assert done, f"{self.clients - self.waiting} clients do not finish their writes"

    def enter(self) -> int | None:
        with self.condition:
            if not self.is_open:
                self.waiting += 1
                self.condition.notify_all()
                self.condition.wait_for(lambda: self.is_open)
                self.waiting -= 1
            return None if self.ends else self.round


class Progress:
    """The times at which the acknowledged writes were sent and answered."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.times: list[tuple[float, float]] = []

    def note(self, sent: float) -> None:
        with self.condition:
            self.times.append((sent, time.monotonic()))
            self.condition.notify_all()

    def begin(self) -> None:
        with self.condition:
            self.times.clear()

    def wait_for(self, writes: int, timeout: float) -> None:
        """Waits until this number of further writes is answered."""
        with self.condition:
            before = len(self.times)
            done = self.condition.wait_for(lambda: len(self.times) >= before + writes, timeout)
            assert done, f"{len(self.times) - before} writes are answered in {timeout} s"

    def wait(self, fault: float, writes: int, timeout: float) -> float:
        """Waits until this number of writes is answered, counting those that are sent from now on. Returns
        the longest time without an answer since the fault, in seconds."""
        now = time.monotonic()

        def later() -> int:
            return sum(sent > now for sent, _ in self.times)

        with self.condition:
            done = self.condition.wait_for(lambda: later() >= writes, timeout)
            assert done, f"{later()} writes are answered in {timeout} s after the fault"
            answered = sorted(answered for _, answered in self.times if answered > fault)
        return max(after - before for before, after in zip([fault, *answered], answered))


class Client(threading.Thread):
    def __init__(self, number: int, port: int, folder: Path, shared: list[str], gate: Gate, progress: Progress) -> None:
        super().__init__(daemon=True)
        self.port, self.shared, self.gate, self.progress = port, shared, gate, progress
        self.random = random.Random(number)
        self.number = 0
        self.log = open(folder / f"client-{number}.log", "ab", buffering=0)
        self.connection = None
        self.round = 0
        # The rows that the client knows to be stored. It forgets a row whose outcome is unknown.
        self.own = self.set = None
        self.of_shared: list[tuple[str, str, str]] = []
        self.old: list[tuple[int, str]] = []
        self.failure = None

    def run(self) -> None:
        try:
            while (current := self.gate.enter()) is not None:
                if current != self.round:
                    self.round = current
                    self.old += [(current, kept["id"]) for kept in (self.own, self.set) if kept]
                    self.own = self.set = None
                self.once()
        except BaseException as failure:
            self.failure = failure
            raise

    def once(self) -> None:
        if self.old and self.old[0][0] + ROUNDS < self.round:
            _, id = self.old.pop(0)
            self.write({"write": "delete configuration", "configuration": id}, "DELETE", f"{ROOT}/{id}", 204)
            return
        turn = self.random.choice([self.on_own, self.on_set, self.on_shared, self.on_shared])
        turn()

    def create_configuration(self) -> dict | None:
        id, name = str(uuid.uuid4()), f"name {self.random.random()}"
        body = {"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "id": id, "displayName": name}
        write = {"write": "create configuration", "configuration": id, "name": name}
        outcome = self.write(write, "POST", ROOT, 201, body)
        return {"id": id, "assignments": {}} if outcome == "acknowledged" else None

    def on_own(self) -> None:
        """Changes the name or one assignment of the client's own configuration."""
        if self.own is None:
            self.own = self.create_configuration()
            return
        own, assignments = self.own, self.own["assignments"]
        path = f"{ROOT}/{own['id']}"
        choice = self.random.random()
        if choice < 0.25:
            write = {"write": "rename", "configuration": own["id"], "name": f"name {self.random.random()}"}
            outcome = self.write(write, "PATCH", path, 200, {"displayName": write["name"]})
        elif choice < 0.6 or not assignments:
            id, target = str(uuid.uuid4()), str(uuid.uuid4())
            write = {"write": "create", "configuration": own["id"], "id": id, "target": target}
            outcome = self.write(write, "POST", f"{path}/assignments", 201, {"id": id} | group(target))
            if outcome == "acknowledged":
                assignments[id] = target
        else:
            id, before = self.random.choice(list(assignments.items()))
            if choice < 0.8:
                target = str(uuid.uuid4())
                write = {"write": "retarget", "configuration": own["id"], "id": id, "before": before, "target": target}
                outcome = self.write(write, "PATCH", f"{path}/assignments/{id}", 200, group(target))
                if outcome == "acknowledged":
                    assignments[id] = target
            else:
                write = {"write": "delete", "configuration": own["id"], "id": id, "target": before}
                outcome = self.write(write, "DELETE", f"{path}/assignments/{id}", 204)
                if outcome == "acknowledged":
                    del assignments[id]
        if outcome not in ("acknowledged", "refused"):
            self.forget(own)
            self.own = None

    def on_set(self) -> None:
        """Replaces the set of the client's own configuration. Some assignments stay."""
        if self.set is None:
            self.set = self.create_configuration()
            return
        kept = [target for target in self.set["assignments"] if self.random.random() < 0.5]
        targets = kept + [str(uuid.uuid4()) for _ in range(self.random.randint(1, 8))]
        body = {"assignments": [group(target) for target in targets]}
        write = {"write": "assign", "configuration": self.set["id"], "targets": targets}
        outcome = self.write(write, "POST", f"{ROOT}/{self.set['id']}/assign", 200, body)
        if outcome == "acknowledged":
            self.set["assignments"] = dict.fromkeys(targets)
        elif outcome != "refused":
            self.forget(self.set)
            self.set = None

    def on_shared(self) -> None:
        """Creates or deletes an assignment of a configuration that all clients share."""
        if len(self.of_shared) > SHARED:
            configuration, id, target = self.of_shared.pop(0)
            write = {"write": "delete", "configuration": configuration, "id": id, "target": target}
            self.write(write, "DELETE", f"{ROOT}/{configuration}/assignments/{id}", 204)
            return
        configuration, id, target = self.random.choice(self.shared), str(uuid.uuid4()), str(uuid.uuid4())
        write = {"write": "create", "configuration": configuration, "id": id, "target": target}
        body = {"id": id} | group(target)
        # Repeat the create, as SDKs do. It must not be stored twice.
        for _ in range(self.random.randint(1, 5)):
            outcome = self.write(write, "POST", f"{ROOT}/{configuration}/assignments", 201, body)
            if outcome == "acknowledged":
                self.of_shared.append((configuration, id, target))
            if outcome != "unknown":
                return

    def forget(self, configuration: dict) -> None:
        """Stops to change a configuration whose content is unknown. It is stored, and is deleted later."""
        self.old.append((self.round, configuration["id"]))

    def write(self, write: dict, method: str, path: str, expected: int, body: dict | None = None) -> str:
        self.number += 1
        self.append({"number": self.number} | write)
        sent = time.monotonic()
        try:
            status, answer = self.send(method, path, body)
        except ConnectionRefusedError:
            # The client has sent nothing.
            outcome = {"outcome": "refused"}
        except (OSError, http.client.HTTPException) as failure:
            outcome = {"outcome": "unknown", "because": repr(failure)}
        else:
            code = answer.get("error", {}).get("code")
            if status == expected:
                outcome = {"outcome": "acknowledged"} | told(write, answer)
            elif status == 503:
                outcome = {"outcome": "refused"}
            elif (status, code) == (500, "OutcomeUnknown"):
                outcome = {"outcome": "unknown", "because": code}
            else:
                outcome = {"outcome": f"{status}", "answer": answer}
        self.append({"number": self.number} | outcome, is_kept=True)
        if outcome["outcome"] == "refused":
            time.sleep(0.02)
        if outcome["outcome"] == "acknowledged":
            self.progress.note(sent)
        return outcome["outcome"]

    def send(self, method: str, path: str, body: dict | None) -> tuple[int, dict]:
        if self.connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = connection
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            self.connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = self.connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else {}
        except BaseException:
            self.connection.close()
            self.connection = None
            raise

    def append(self, entry: dict, is_kept: bool = False) -> None:
        self.log.write(json.dumps(entry).encode() + b"\n")
        if is_kept:
            os.fsync(self.log.fileno())


def group(target: str) -> dict:
    return {"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": target}}


def told(write: dict, answer: dict) -> dict:
    """Returns what an answer adds to the write, or an outcome of its own when the row is not the one that was sent."""
    match write["write"]:
        case "create" | "retarget":
            if (answer["id"], answer["target"]["groupId"]) != (write["id"], write["target"]):
                return {"outcome": "another row", "answer": answer}
        case "create configuration" | "rename":
            if (answer["id"], answer["displayName"]) != (write["configuration"], write["name"]):
                return {"outcome": "another row", "answer": answer}
        case "assign":
            ids = {row["target"]["groupId"]: row["id"] for row in answer["value"]}
            if ids.keys() != set(write["targets"]):
                return {"outcome": "another set", "answer": answer}
            return {"ids": ids}
    return {}
