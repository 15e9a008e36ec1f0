"""Asks a web listener as monitoring does: python -m tests.lab.web_poll ADDRESS, until it is ended.

Prints a line for each request: when it was sent (Unix seconds), the status, and how many seconds
the whole reply took, or the beginning of a stream. Status 0: there was no reply.
"""

from __future__ import annotations

import http.client
import itertools
import sys
import time

from tests.lab.web_rogue import PORT

INTERVAL = 0.2
TIMEOUT = 10.0
STREAM = "/events"
TARGETS = ("/v1/status", "/readyz", STREAM)


def ask(address: str, target: str) -> int:
    """The status of the reply, once it is complete, or once a stream has begun."""
    connection = http.client.HTTPConnection(address, PORT, timeout=TIMEOUT)
    try:
        connection.request("GET", target)
        reply = connection.getresponse()
        reply.read1() if target == STREAM else reply.read()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return reply.status


def main(address: str) -> None:
    """Ask until killed."""
    for target in itertools.cycle(TARGETS):
        began = time.monotonic()
        at, status = time.time(), ask(address, target)
        print(f"{at:.3f} {status} {time.monotonic() - began:.4f}", flush=True)
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main(sys.argv[1])
