"""Servers in memory, each with the real daemon on a fake kernel, OpenVPN and network.

    mesh = Mesh(nursery, seed=1)
    for name in "ABC":
        mesh.add(name)
    await mesh.start()
    mesh["A"].connect("host1", "10.100.100.11")
    await mesh.until(lambda: mesh["B"].routes == {"10.100.100.11": "A"})

Time is trio's MockClock. Everything random comes from one `random.Random(seed)`, including
trio's scheduler; only the order of Python's sets depends on PYTHONHASHSEED, too.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import trio

from tests.fakes.kernel_driver import MAIN
from tests.fakes.server import RecordingKernel, Server, section_of
from tests.fakes.transport import FakeNetwork

__all__ = ["Mesh", "RecordingKernel", "Server", "section_of"]

STEP = 0.005
"""Seconds between two checks of a condition."""


class Mesh:
    """Servers with a tunnel between every two of them; ``servers`` in the order of their addition.

    ``kernel_type``: called with a table's number, returns the kernel of a new server.
    """

    kernel_type: Callable[[int], RecordingKernel] = RecordingKernel

    def __init__(self, nursery: trio.Nursery, seed: int = 0, delay: float = 0.001) -> None:
        self.nursery = nursery
        self.random = random.Random(seed)
        self.network = FakeNetwork(delay)
        self.began = trio.current_time()
        self.servers: list[Server] = []
        self._numbers = itertools.count(1)
        _seed_scheduler(self.random.getrandbits(64))

    def __getitem__(self, name: str) -> Server:
        return next(server for server in self.servers if server.name == name)

    def add(self, name: str, *settings: str, table: int = MAIN) -> Server:
        """A server with one OpenVPN, and tunnels to all others. Its daemon is not started."""
        new = Server(self, name, next(self._numbers), table)
        new.settings += settings
        new.add_openvpn()
        for other in self.servers:
            new.add_tunnel_to(other)
            other.add_tunnel_to(new)
        self.servers.append(new)
        return new

    async def start(self) -> None:
        """Start all daemons, and wait until each is up with each."""
        for server in self.servers:
            await server.start()
        await self.until(self.is_up)

    def is_up(self) -> bool:
        """Whether the session with every peer of every daemon is up."""
        sessions = (peer.session for s in self.servers for peer in s.daemon.peers.values())
        return all(session.state.value == "up" for session in sessions)

    async def until(self, condition: Callable[[], bool], within: float = 60.0) -> float:
        """Wait until *condition* holds. Returns the (virtual) seconds that it took.

        Raises:
          trio.TooSlowError: it did not hold *within* so many seconds.
        """
        began = trio.current_time()
        with trio.fail_after(within):
            while not condition():  # noqa: ASYNC110 - there is no event for all states
                await trio.sleep(STEP)
        return trio.current_time() - began


def _seed_scheduler(seed: int) -> None:
    # as trio's own plugin for hypothesis does
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio._core._run._r.seed(seed)
