"""Opens connections; when told by SIGUSR2 sends a number over each, and awaits it back and the end.

    crowd.py ADDRESS PORT NUMBER FIRST
"""
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

TOLD = {signal.SIGUSR2}
# Connections that are being opened at once.
HANDS = 8
# How long each step of one connection may take, among all others, in seconds.
PATIENCE = 120


def read(connection):
    """All that comes until there are 8 bytes, or the end."""
    said = b""
    while len(said) < 8 and (more := connection.recv(8 - len(said))):
        said += more
    return said


# The threads to come take it over, so that it waits until it is asked for.
signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
address, (port, number, first) = sys.argv[1], map(int, sys.argv[2:])
with ThreadPoolExecutor(HANDS) as hands:
    connections = list(
        hands.map(
            lambda _: socket.create_connection((address, port), timeout=PATIENCE),
            range(number),
        )
    )
print("open", len(connections), flush=True)
if signal.sigtimedwait(TOLD, 900) is None:
    sys.exit("nobody said anything")
for name, connection in enumerate(connections, first):
    connection.sendall(name.to_bytes(8, "big"))
for name, connection in enumerate(connections, first):
    back = read(connection)
    if back != name.to_bytes(8, "big"):
        sys.exit(f"{name} got {back!r} back")
print("returned", len(connections), flush=True)
for name, connection in enumerate(connections, first):
    if (more := connection.recv(1)) != b"":
        sys.exit(f"{name} got {more!r} in place of the end")
    connection.close()
print("ended", len(connections), flush=True)
