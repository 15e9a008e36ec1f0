"""Receives a node's heartbeats: `python -m tests.bench.heartbeats ADDRESS` prints when each came.

Unix seconds, one a line. It connects from a peer's address, in place of the peer's daemon.
"""

from __future__ import annotations

import sys
import time

import zmq

from cuberouted.peering.messages import UPDATES
from tests.bench.priority import monitors_first

PORT = 5657


def main(address: str) -> None:
    """Print until killed."""
    monitors_first()
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.SUBSCRIBE, UPDATES)
        subscriber.connect(f"tcp://{address}:{PORT}")
        while True:
            subscriber.recv_multipart()
            print(f"{time.time():.6f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
