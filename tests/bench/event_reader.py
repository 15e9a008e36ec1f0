"""Reads the stream of events: `python -m tests.bench.event_reader SOCKET`, until SIGTERM.

Prints "ready", and at the end how many events it got, how many were lost, and the last number.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from cuberouted.api.client import lines
from cuberouted.events import EventsLost, decode

LOST = b'"type":"events_lost"'


class _EndError(Exception):
    """SIGTERM."""


def main(socket: str) -> None:
    """Read until SIGTERM."""

    def end(*_: object) -> None:
        raise _EndError

    signal.signal(signal.SIGTERM, end)
    received = lost = last = 0
    line = b""
    try:
        # the events so far show that the stream has begun
        for line in lines(Path(socket), "/v1/events?after=0"):
            if not received and not lost:
                print("ready", flush=True)
            if LOST in line:
                event = decode(line)
                assert isinstance(event, EventsLost)
                lost += event.count
            else:
                received += 1
    except _EndError:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if line:
        last = decode(line).number
    print("result", received, lost, last, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
