"""Accepts connections, and when all are there, sends back what each says.

    many.py ADDRESS NUMBER
"""
import socket
import sys

address, number = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.create_server((address, 0), family=family, backlog=4096)
server.settimeout(300)
print("port", server.getsockname()[1], flush=True)
connections = [server.accept()[0] for _ in range(number)]
print("accepted", len(connections), flush=True)
for connection in connections:
    connection.settimeout(60)
    connection.sendall(connection.recv(8, socket.MSG_WAITALL))
print("answered", len(connections), flush=True)
