# Free ports, for scripts to source.
# shellcheck shell=bash

# They lie outside the range from which the system chooses ports of outgoing connections:
# inside it, a connection of another test can take the port before a service listens on it,
# or while the service restarts. They are chosen at random, so that tests that run at the
# same time choose different ones.
free_ports() { # how many
    python3 - "$1" <<'PYTHON'
import random, socket, sys
first, last = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
candidates = [port for port in range(10000, 65536) if not first <= port <= last] or range(10000, 65536)
sockets = []
for port in random.sample(candidates, len(candidates)):
    if len(sockets) == int(sys.argv[1]): break
    try: sockets.append(socket.create_server(("127.0.0.1", port)))
    except OSError: pass
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}
