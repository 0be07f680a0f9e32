"""A proxy between the service and PostgreSQL that can cut a connection during a commit."""

import socket
import struct
import threading

# The name that the session of the writer, which runs the combined creates, has in its startup
# message.
WRITER = b"devicegraph writer"


class Proxy:
    def __init__(self, to: str) -> None:
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.armed: str | None = None
        self.has_cut = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self, when: str) -> None:
        """Cuts the connection of the next commit, `before` or `after` the proxy passes the commit on."""
        self.has_cut.clear()
        with self.lock:
            self.armed = when

    def accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.to)
        except OSError:
            reset(client)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pass_on, args=(server, client), daemon=True).start()
        try:
            if self.pass_until_cut(client, server):
                reset(client)
                self.has_cut.set()
        except OSError:
            pass
        # The server executes what it has received, and then notices the end of the connection.
        end(server)

    def pass_until_cut(self, client: socket.socket, server: socket.socket) -> bool:
        """Passes on the data of the service. Returns whether a commit has come whose connection must be cut."""
        greeting = client.recv(65536)
        server.sendall(greeting)
        while data := client.recv(65536):
            # Each statement of the writer commits by itself.
            if b"COMMIT" in data or WRITER in greeting and b"E\x00\x00\x00\x09" in data:
                with self.lock:
                    when, self.armed = self.armed, None
                if when == "after":
                    server.sendall(data)
                if when:
                    return True
            server.sendall(data)
        return False


def pass_on(server: socket.socket, client: socket.socket) -> None:
    try:
        while data := server.recv(65536):
            client.sendall(data)
    except OSError:
        pass
    end(client)


def end(it: socket.socket) -> None:
    try:
        it.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    it.close()


def reset(it: socket.socket) -> None:
    it.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end(it)
