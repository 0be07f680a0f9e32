"""Computes the rows that the database must hold from the logs of the clients, and compares them.

A configuration belongs to one client, which stops to change it when the outcome of a write
is unknown. So it has one possible state or two. Its assignments are identified by their
targets, because `assign` creates their ids. The configurations that all clients share do not
change. Each of their assignments is stored, is not stored, or may be either.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class State:
    """The state of a stored configuration. An id that no answer has told is None."""

    name: str
    version: int = 1
    assignments: dict[str, str | None] = field(default_factory=dict)

    def is_as(self, stored: "State | None") -> bool:
        return (
            stored is not None
            and (self.name, self.version) == (stored.name, stored.version)
            and self.assignments.keys() == stored.assignments.keys()
            and all(id in (None, stored.assignments[target]) for target, id in self.assignments.items())
        )


def after(state: State | None, write: dict, told: dict) -> State | None:
    """Returns the state of a configuration after a write. `told` has the outcome and the ids of its answer."""
    match write["write"]:
        case "create configuration":
            return State(write["name"])
        case "delete configuration":
            return None
    assert state is not None, f"{write} is a write to a configuration that is not stored"
    assignments = dict(state.assignments)
    match write["write"]:
        case "rename":
            return replace(state, name=write["name"], version=state.version + 1)
        case "create":
            assignments[write["target"]] = write["id"]
        case "retarget":
            del assignments[write["before"]]
            assignments[write["target"]] = write["id"]
        case "delete":
            del assignments[write["target"]]
        case "assign":
            ids = told.get("ids", {})
            assignments = {target: ids.get(target, assignments.get(target)) for target in write["targets"]}
        case other:
            raise ValueError(other)
    return replace(state, assignments=assignments)


class Model:
    def __init__(self, shared: list[str]) -> None:
        self.shared = {id: State("shared") for id in shared}
        # For each assignment of the shared configurations: its configuration, its target, and
        # whether it may be stored.
        self.loose: dict[str, tuple[str, str, set[bool]]] = {}
        self.possible: dict[str, list[State | None]] = {}
        self.acknowledged: Counter[str] = Counter()
        self.unknown = 0
        self.refused = 0
        self.unexpected: list[str] = []

    def read(self, lines) -> None:
        """Reads new lines of a client's log, which has each write twice: as it was sent, and with its outcome."""
        sent = {}
        for line in lines:
            entry = json.loads(line)
            if "write" in entry:
                sent[entry["number"]] = entry
            else:
                self.learn(sent.pop(entry["number"]), entry)
        for write in sent.values():
            self.unexpected.append(f"{write} has no outcome")

    def learn(self, write: dict, outcome: dict) -> None:
        match outcome["outcome"]:
            case "acknowledged":
                self.acknowledged[write["write"]] += 1
                outcomes = [True]
            case "refused":
                self.refused += 1
                outcomes = [False]
            case "unknown":
                self.unknown += 1
                outcomes = [False, True]
            case _:
                self.unexpected.append(f"{write} is answered {outcome}")
                outcomes = [False, True]
        id = write["configuration"]
        if id in self.shared:
            *_, before = self.loose.get(write["id"], (id, write["target"], {False}))
            is_create = write["write"] == "create"
            now = {is_create if done else was for done in outcomes for was in before}
            self.loose[write["id"]] = (id, write["target"], now)
            return
        states = self.possible.get(id, [None])
        self.possible[id] = [after(state, write, outcome) if done else state for done in outcomes for state in states]

    def compare(self, stored: dict[str, State]) -> list[tuple[str, str]]:
        """Returns the differences between the stored and the possible states, each with its kind and a text."""
        wrong = []
        for id in stored.keys() - self.possible.keys() - self.shared.keys():
            wrong.append(("unsent", f"configuration {id} is stored, and no client has sent it"))
        for id, states in self.possible.items():
            found = stored.get(id)
            if any(state.is_as(found) if state else found is None for state in states):
                continue
            known = states[0]
            if known and found and known.assignments.keys() <= found.assignments.keys() and known.version <= found.version:
                wrong.append(("unsent", f"configuration {id} is {found}, and more than {states}"))
            elif not known and found:
                wrong.append(("unsent", f"configuration {id} is {found}, and was deleted or never written"))
            else:
                wrong.append(("lost", f"configuration {id} is {found}, and not {states}"))
        there = {}
        for id, state in self.shared.items():
            if (found := stored.get(id)) is None or (found.name, found.version) != (state.name, state.version):
                wrong.append(("lost", f"the shared configuration {id} is {found}"))
                continue
            for target, assignment in found.assignments.items():
                there[assignment] = (id, target)
        for assignment, (id, target) in there.items():
            expected = self.loose.get(assignment)
            if expected is None or expected[:2] != (id, target) or True not in expected[2]:
                wrong.append(("unsent", f"assignment {assignment} of {id} to {target} is there, and should be {expected}"))
        for assignment, (id, target, may_be) in self.loose.items():
            if False not in may_be and assignment not in there:
                wrong.append(("lost", f"assignment {assignment} of {id} to {target} is not there"))
        return wrong

    def settle(self, stored: dict[str, State]) -> None:
        """Takes the stored state as the known state from now on."""
        self.possible = {id: [found] for id in self.possible if (found := stored.get(id))}
        there = {assignment for id in self.shared for assignment in stored[id].assignments.values()}
        self.loose = {assignment: (*of, {True}) for assignment, (*of, _) in self.loose.items() if assignment in there}
