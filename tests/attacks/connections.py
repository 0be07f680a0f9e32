#!/usr/bin/env python3
"""Clients that hold connections and send little: they must not lock other clients out.

Starts the service with a private PostgreSQL, opens more connections than it holds, and measures
how soon a new client is answered; over plain HTTP and over TLS. Needs PostgreSQL and openssl;
removes its files. Prints the measured times, and ends with exit code 1 when one is above its limit.

    tests/attacks/connections.py [--connections 1100] [--max-connections 1024] [--timeout 30] [BINARY]

A run for CI: tests/attacks/connections.py --connections 220 --max-connections 200 --timeout 5
"""

import argparse
import concurrent.futures
import os
import resource
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_ports  # noqa: E402

REQUEST = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
LIVE = b'{"status":"live"}'
# The limits of the service. A new client is served within:
SERVED = 2.0
# A slow head is ended within the timeout of the service and:
LATE = 2.0
# The time after which a new client gives up. The run has then failed.
GIVE_UP = 15.0
# The limit of all other waits. It only ends a run that hangs.
PATIENCE = 120.0


class Service:
    """A running service, with TLS or without."""

    def __init__(self, options, folder, with_tls):
        [self.port] = free_ports(1)
        self.tls = None
        settings = {
            "SERVER__PORT": self.port,
            "SERVER__MAX_CONNECTIONS": options.max_connections,
            "SERVER__REQUEST_TIMEOUT_SECONDS": options.timeout,
            "SERVER__SHUTDOWN_SECONDS": 1,
            "DATABASE__DATA_DIR": f"{folder}/postgres",
            "AUTH__MODE": "disabled",
            "LOG__FILTER": "warn",
        }
        if with_tls:
            key, certificate = f"{folder}/tls.key", f"{folder}/tls.crt"
            make = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            make += ["-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", certificate]
            subprocess.run(make, check=True, capture_output=True)
            settings |= {"SERVER__TLS_CERTIFICATE": certificate, "SERVER__TLS_KEY": key}
            self.tls = ssl.create_default_context(cafile=certificate)
            self.tls.check_hostname = False
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DEVICEGRAPH")}
        environment.pop("DATABASE_URL", None)
        environment |= {f"DEVICEGRAPH__{name}": str(value) for name, value in settings.items()}
        self.log = open(f"{folder}/service.log", "ab")
        self.process = subprocess.Popen([options.binary], env=environment, cwd=folder, stderr=self.log)
        end = time.monotonic() + PATIENCE
        while self.probe() > GIVE_UP:
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(open(f"{folder}/service.log").read() + "connections: the service does not start")
            time.sleep(0.1)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def connect(self, patience=PATIENCE):
        """Returns a connection that is ready for a request."""
        stream = socket.create_connection(("127.0.0.1", self.port), patience)
        if self.tls:
            try:
                stream = self.tls.wrap_socket(stream, server_hostname="localhost")
            except OSError:
                stream.close()
                raise
        return stream

    def probe(self):
        """Returns the seconds that a new client waits for its answer. They are infinite when it gets none."""
        begun = time.monotonic()
        try:
            with self.connect(GIVE_UP) as stream:
                stream.sendall(REQUEST)
                answer(stream)
                return time.monotonic() - begun
        except OSError:
            return float("inf")


def answer(stream):
    text = b""
    while not text.endswith(LIVE):
        more = stream.recv(4096)
        if not more:
            raise OSError(f"closed after {text!r}")
        text += more
    return text


# The ways in which an attacker opens a connection.


def silent(service):
    return begun(service, b"")


def first_byte(service):
    # The first byte of a ClientHello, or of a head.
    return begun(service, b"\x16" if service.tls else b"G")


def begun(service, data):
    stream = socket.create_connection(("127.0.0.1", service.port), 2)
    if data:
        stream.sendall(data)
    return stream


def half_head(service):
    stream = service.connect(2)
    stream.sendall(REQUEST[:-10])
    return stream


def answered(service):
    stream = service.connect(2)
    stream.sendall(REQUEST)
    answer(stream)
    return stream


ATTACKS = [silent, first_byte, half_head, answered]


def quietly(attack, service):
    try:
        return attack(service)
    except OSError:
        return None


def reopen(attack, service, streams, stop):
    """Opens each connection that the service has closed again, until `stop`."""
    while not stop.is_set():
        poller = select.poll()
        by_number = {stream.fileno(): place for place, stream in enumerate(streams) if stream}
        for number in by_number:
            poller.register(number, select.POLLRDHUP)
        closed = {by_number[number] for number, _ in poller.poll(10)}
        for place in closed | {place for place, stream in enumerate(streams) if not stream}:
            if stop.is_set():
                return
            if streams[place]:
                streams[place].close()
            streams[place] = quietly(attack, service)


def measure(service, options, attack):
    """Returns the longest waits of new clients: while the connections are held, and while they are reopened."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        streams = list(pool.map(lambda _: quietly(attack, service), range(options.connections)))
    opened = sum(stream is not None for stream in streams)
    held = max(service.probe() for _ in range(5))
    stop = threading.Event()
    attacker = threading.Thread(target=reopen, args=(attack, service, streams, stop))
    attacker.start()
    again, end = 0.0, time.monotonic() + options.seconds
    while time.monotonic() < end:
        again = max(again, service.probe())
        time.sleep(0.1)
    stop.set()
    attacker.join()
    for stream in streams:
        if stream:
            stream.close()
    return opened, held, again


def slow_second_head(service, options):
    """Returns the seconds that the service waits for a second head, which comes at one byte per 250 ms."""
    stream = answered(service)
    stream.settimeout(0.25)
    begun = time.monotonic()
    while time.monotonic() - begun < options.timeout + PATIENCE:
        try:
            stream.sendall(b"G" if time.monotonic() - begun < 0.1 else b"x")
            if stream.recv(1000) == b"":
                break
        except (TimeoutError, ssl.SSLWantReadError):
            pass
        except OSError:
            break
    return time.monotonic() - begun


def slow_reader(service, seconds):
    """Returns None when a client that reads slowly gets all answers, else a description of the failure."""
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.settimeout(PATIENCE)
    stream.connect(("127.0.0.1", service.port))
    if service.tls:
        stream = service.tls.wrap_socket(stream, server_hostname="localhost")
    # The answers together are larger than the buffers of the operating system.
    count = 20
    head = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n"
    stream.sendall((head + b"\r\n") * (count - 1) + head + b"connection: close\r\n\r\n")
    begun, size, ends = time.monotonic(), 0, b""
    heads = 0
    while True:
        try:
            more = stream.recv(65536)
        except OSError as error:
            return f"cut after {heads} of {count} answers, {size} bytes: {error}"
        if not more:
            break
        heads += (ends + more).count(b"HTTP/1.1 200")
        ends = more[-11:]
        size += len(more)
        if time.monotonic() - begun < seconds:
            time.sleep(0.05)
    return None if heads == count else f"cut after {heads} of {count} answers, {size} bytes"


def check(failures, what, measured, limit):
    verdict = "" if measured <= limit else f"   ABOVE {limit:.1f} s"
    print(f"  {what}: {measured:.3f} s{verdict}", flush=True)
    if verdict:
        failures.append(what)


def run(options, folder, with_tls, failures):
    name = "TLS" if with_tls else "plain HTTP"
    service = Service(options, folder, with_tls)
    try:
        print(f"{name}, max_connections = {options.max_connections}", flush=True)
        check(failures, f"{name}: a new client alone", service.probe(), SERVED)
        for attack in ATTACKS:
            what = attack.__name__.replace("_", " ")
            reader = concurrent.futures.ThreadPoolExecutor(1).submit(slow_reader, service, 2 * options.seconds)
            opened, held, again = measure(service, options, attack)
            check(failures, f"{name}: {opened} connections held ({what}): a new client", held, SERVED)
            check(failures, f"{name}: {opened} connections opened again when closed ({what}): a new client", again, SERVED)
            cut = reader.result()
            if cut:
                print(f"  {name}: a slow reader during this: {cut}   FAILED", flush=True)
                failures.append(f"slow reader ({what})")
        ended = slow_second_head(service, options)
        check(failures, f"{name}: a slow second head is ended", ended, options.timeout + LATE)
        if ended < options.timeout - 1:
            print("  that is too soon   FAILED")
            failures.append("slow second head, too soon")
    finally:
        service.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1100, help="connections of the attacker")
    parser.add_argument("--max-connections", type=int, default=1024, help="server.max_connections")
    parser.add_argument("--timeout", type=int, default=30, help="server.request_timeout_seconds")
    parser.add_argument("--seconds", type=float, default=5, help="how long each attack goes on")
    parser.add_argument("binary", nargs="?", default="target/debug/devicegraph")
    options = parser.parse_args()
    options.binary = os.path.realpath(options.binary)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, options.connections + 1000), most))
    folder = tempfile.mkdtemp()
    # PostgreSQL runs as another account when this is root.
    os.chmod(folder, 0o755)
    failures = []
    try:
        for with_tls in (False, True):
            run(options, folder, with_tls, failures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if failures:
        print(f"connections: FAILED: {len(failures)} of the limits", file=sys.stderr)
        return 1
    print("connections: every limit holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
