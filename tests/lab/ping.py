"""Pings: one, and a stream of them that shows when they got through."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.lab.host import Host
from tests.lab.waiting import wait_for

REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+)", re.MULTILINE)


def reaches(host: Host, address: str, wait: float = 0.5) -> bool:
    """Whether one ping is answered within *wait* seconds (the lab's take under 5 ms)."""
    return not host.try_run("ping", "-n", "-c", "1", "-W", str(wait), address).returncode


def wait_reaches(host: Host, address: str, timeout: float = 10.0) -> None:
    """Waits until a ping is answered."""
    wait_for(f"{host.name} to reach {address}", lambda: reaches(host, address), timeout)


def answers(pairs: Sequence[tuple[Host, str]], wait: float = 0.5) -> list[bool]:
    """Whether each host reaches its address; all are asked at the same time."""
    attempts = [
        host.start(f"one-ping-{address}", "ping", "-n", "-c", "1", "-W", str(wait), address)
        for host, address in pairs
    ]
    return [attempt.wait() == 0 for attempt in attempts]


class Gap(NamedTuple):
    """A time without replies: Unix seconds of the last reply before, and the first after."""

    last: float
    first: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.first - self.last


class Stream:
    """Pings from a host to an address, one every *interval* seconds, until `end`."""

    def __init__(self, host: Host, address: str, interval: float = 0.01) -> None:
        self._process = host.start(
            f"ping-{address}", "ping", "-n", "-D", "-O", "-i", str(interval), "-W", "1", address
        )
        self.started = time.time()

    def replies(self) -> list[float]:
        """When each reply came: Unix seconds, oldest first."""
        return [float(stamp) for stamp, _ in REPLY.findall(self._process.log)]

    def reply_after(self, moment: float, timeout: float = 10.0) -> float:
        """When the first reply after *moment* came (both Unix seconds), waiting for it."""

        def look() -> list[float]:
            return [at for at in self.replies() if at > moment]

        return wait_for(f"{self._process.name} to be answered", look, timeout)[0]

    def longest_gap(self) -> Gap:
        """The longest time without a reply between two replies."""
        replies = self.replies()
        return max(map(Gap, replies, replies[1:]), key=lambda gap: gap.seconds)

    def end(self) -> None:
        """Stops pinging, and waits for ping's summary."""
        self._process.end(signal.SIGINT)

    def lost(self) -> int:
        """How many pings were not answered, but for the last, which may have been under way."""
        numbers = [int(number) for _, number in REPLY.findall(self._process.log)]
        return max(numbers) - len(set(numbers))
