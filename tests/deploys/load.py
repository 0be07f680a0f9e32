"""Clients that create, read, change and delete assignments until the file `stop` exists.

    load.py PORT CLIENTS FOLDER

Each client keeps one connection and sends each request once. A read goes to the process
that did not answer the write before it. Every other client is slow: it sends the head of
a create and, later, its body, so that a stop meets requests in flight. Each slow client
waits for a different time, so that they do not synchronize with the restarts.
FOLDER has the file `stops`: each line has a process and the time when it was told to stop.
The script writes `kept`, the ids and groups of the assignments that must be stored at the
end, and `gone`, the ids of the deleted ones. Prints figures. Ends with exit code 1 when a
request failed, or when there was no request of some kind.
"""

import http.client
import json
import socket
import sys
import threading
import time
import uuid
from pathlib import Path

port, clients, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
ROOT = "/v1.0/deviceManagement/deviceConfigurations"
stop = folder / "stop"
lock = threading.Lock()
failures: list[str] = []
kept: dict[str, str] = {}
gone: list[str] = []
times: list[float] = []
# For each create with a slow body: the process that answered it, the time at which its head
# was sent, and the time of the answer.
slow: list[tuple[str, float, float]] = []
figures = {"requests": 0, "creates": 0, "slow": 0, "reads": 0, "across": 0, "closed": 0}


def count(**more: int) -> None:
    with lock:
        for name, by in more.items():
            figures[name] += by


class Client:
    def __init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.connected = False

    def connect(self) -> None:
        # Open the connection again when the proxy has closed it. No request is sent twice.
        if self.connection.sock is None:
            if self.connected:
                count(closed=1)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connected = True

    def send(self, method: str, path: str, body: object = None, to: str = "", slowly: float = 0):
        """Returns the status, the body, and the process that answered."""
        text = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Length": str(len(text))} | ({"Content-Type": "application/json"} if text else {})
        if to:
            headers["X-To"] = to
        self.connect()
        started = time.time()
        self.connection.putrequest(method, path)
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        sent = time.time()
        if slowly:
            self.connection.send(text[:10])
            time.sleep(slowly)
            self.connection.send(text[10:])
        elif text:
            self.connection.send(text)
        answer = self.connection.getresponse()
        content = answer.read()
        count(requests=1)
        ended, by = time.time(), answer.headers.get("X-From", "")
        with lock:
            if slowly:
                slow.append((by, sent, ended))
            else:
                times.append(ended - started)
        return answer.status, content, by

    def ask(self, expected: int, method: str, path: str, body: object = None, **how):
        try:
            status, content, by = self.send(method, path, body, **how)
        except Exception as error:
            # Do not use a failed connection again. The other results still matter.
            self.connection.close()
            raise Failed(f"{method}: {error!r}") from error
        if status != expected:
            raise Failed(f"{method}: {status} by {by or 'the proxy'}: {content[:200]!r}")
        return (json.loads(content) if content else None), by


class Failed(Exception):
    pass


def other(name: str) -> str:
    return {"a": "b", "b": "a"}[name]


def group(name: str) -> dict:
    return {"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": name}}


def read_back(client: Client, path: str, expected: str, by: str) -> None:
    stored, reader = client.ask(200, "GET", path, to=other(by))
    count(reads=1, across=reader != by)
    if stored["target"]["groupId"] != expected:
        raise Failed(f"GET: reads {stored['target']['groupId']}, and {expected} was acknowledged")


def once(client: Client, assignments: str, slowly: float, turn: int) -> None:
    id, name = str(uuid.uuid4()), str(uuid.uuid4())
    created, by = client.ask(201, "POST", assignments, {"id": id} | group(name), slowly=slowly)
    count(creates=1, slow=slowly > 0)
    if created["id"] != id:
        raise Failed(f"POST: answers {created['id']} for {id}")
    with lock:
        kept[id] = name
    path = f"{assignments}/{id}"
    read_back(client, path, name, by)
    changed = str(uuid.uuid4())
    _, by = client.ask(200, "PATCH", path, group(changed))
    with lock:
        kept[id] = changed
    read_back(client, path, changed, by)
    if turn % 2:
        _, by = client.ask(204, "DELETE", path)
        with lock:
            del kept[id]
            gone.append(id)
        client.ask(404, "GET", path, to=other(by))
        count(reads=1)


def work(number: int) -> None:
    client, turn = Client(), 0
    assignments = ""
    while not stop.exists():
        try:
            if not assignments:
                body = {"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": f"client {number}"}
                created, _ = client.ask(201, "POST", ROOT, body)
                assignments = f"{ROOT}/{created['id']}/assignments"
            turn += 1
            once(client, assignments, slowly=0 if number % 2 else 1.2 + 0.1 * number, turn=turn)
        except Failed as failure:
            with lock:
                failures.append(str(failure))
        except Exception as error:
            with lock:
                failures.append(f"the load itself: {error!r}")
            return


threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
(folder / "kept").write_text("".join(f"{id},{name}\n" for id, name in kept.items()))
(folder / "gone").write_text("".join(f"{id}\n" for id in gone))
for failure in failures[:10]:
    print(f"failed: {failure}", file=sys.stderr)
stops = [(name, float(at)) for name, at in map(str.split, (folder / "stops").read_text().splitlines())]
# The process was told to stop while it had the request, and has still answered it.
waited = sum(any(by == name and sent < at < ended for by, sent, ended in slow) for name, at in stops)
times.sort()
print(
    f"{figures['requests']} requests of {clients} clients, {len(failures)} failed; "
    f"{figures['creates']} creates, {figures['slow']} of them with a slow body, in flight at {waited} of {len(stops)} stops; "
    f"{figures['across']} of {figures['reads']} reads by the other process; "
    f"median {times[len(times) // 2] * 1000:.0f} ms, slowest {times[-1] * 1000:.0f} ms; "
    f"{figures['closed']} connections closed by the proxy"
)
sys.exit(bool(failures) or not waited or not all(figures[name] for name in ("creates", "slow", "across")))
