"""Accepts connections, and when all are there, sends back what each says; then begins anew.

    many.py ADDRESS NUMBER
"""
import itertools
import socket
import sys

address, number = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.create_server((address, 0), family=family, backlog=4096)
server.settimeout(300)
print("port", server.getsockname()[1], flush=True)
for wave in itertools.count(1):
    connections = [server.accept()[0] for _ in range(number)]
    print("accepted", len(connections), "in wave", wave, flush=True)
    for connection in connections:
        connection.settimeout(60)
        connection.sendall(connection.recv(8, socket.MSG_WAITALL))
    print("answered", len(connections), "in wave", wave, flush=True)
    for connection in connections:
        connection.close()
