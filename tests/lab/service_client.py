"""Asks a TCP server who it is, again and again: `python -m tests.lab.service_client ADDRESS`.

A line for each answer: when it was asked for, when it came (Unix seconds), and the answer. Requests
overlap, so that a lost one delays no other.
"""

from __future__ import annotations

import sys
import time

import trio

from cuberouted.util.tasks import run_trio

PORT = 8000
INTERVAL = 0.02
TIMEOUT = 0.25
"""Seconds for a whole request. Well below the first retransmission of TCP, after 1 s."""


async def ask(address: str) -> None:
    """Ask once, and print the answer if there is one."""
    asked = time.time()
    with trio.move_on_after(TIMEOUT):
        try:
            stream = await trio.open_tcp_stream(address, PORT)
            async with stream:
                answer = b"".join([part async for part in stream])
        except (OSError, trio.BrokenResourceError):
            return
        if answer:
            print(f"{asked:.6f} {time.time():.6f} {answer.decode().strip()}", flush=True)


async def main(address: str) -> None:
    """Ask until killed."""
    async with trio.open_nursery() as nursery:
        begun = trio.current_time()
        for number in range(1, sys.maxsize):
            nursery.start_soon(ask, address)
            await trio.sleep_until(begun + number * INTERVAL)


if __name__ == "__main__":
    run_trio(main, sys.argv[1])
