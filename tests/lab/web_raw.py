"""Sends bytes to a web listener, and prints what comes: python -m tests.lab.web_raw ADDRESS PORT.

Standard input has one request in hexadecimal a line, each for a connection of its own. Printed is a
line for each: whether the connection was closed, and all that was received, in hexadecimal.
"""

from __future__ import annotations

import socket
import sys

TIMEOUT = 3.0
"""Seconds without anything until a connection counts as left open."""


def exchange(address: str, port: int, data: bytes) -> tuple[bool, bytes]:
    """Whether the connection was closed, and what was received."""
    received = b""
    with socket.create_connection((address, port), TIMEOUT) as sock:
        sock.sendall(data)
        try:
            while piece := sock.recv(65536):
                received += piece
        except TimeoutError:
            return False, received
    return True, received


if __name__ == "__main__":
    for line in sys.stdin:
        closed, received = exchange(sys.argv[1], int(sys.argv[2]), bytes.fromhex(line))
        print(int(closed), received.hex(), flush=True)
