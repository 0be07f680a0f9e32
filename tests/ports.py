"""Prints free ports, or returns them to a script that imports this file.

The ports are outside the range from which the system chooses ports of outgoing connections. In
that range, a connection of another test could take the port before a service listens on it, or
while the service restarts. The ports are random, so that concurrent tests choose different ones.

    ports.py COUNT
"""

import random
import socket
import sys


def free_ports(count):
    first, last = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
    candidates = [port for port in range(10000, 65536) if not first <= port <= last] or range(10000, 65536)
    sockets = []
    for port in random.sample(candidates, len(candidates)):
        if len(sockets) == count:
            break
        try:
            sockets.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            pass
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


if __name__ == "__main__":
    print(*free_ports(int(sys.argv[1])))
