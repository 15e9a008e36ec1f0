"""cuberouted with marks: `python -m tests.bench.traced CONFIG` writes when it did what.

The daemon is the daemon; some of its doors leave a record in /run/marks as something passes.
That file is mapped into memory, so that marking is no system call on the way that is measured.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.host import Host

MARKS = "/run/marks"
MOST = 1 << 18
"""Marks that there is room for; what is more is left out."""

_RECORD = struct.Struct("d8sQd")  # see Mark

Size = Callable[[tuple[Any, ...]], int]
"""How much a call is about, from its arguments."""


class Mark(NamedTuple):
    """At ``at`` (Unix seconds) it did ``what``, with ``size`` things, for ``took`` seconds."""

    at: float
    what: str
    size: int
    took: float


def marks(host: Host) -> list[Mark]:
    """Those of the daemon on *host*, oldest first."""
    records = _RECORD.iter_unpack(host.path(MARKS).read_bytes())
    return sorted(
        Mark(at, what.rstrip(b"\0").decode(), size, took) for at, what, size, took in records if at
    )


def first(found: Iterable[Mark], what: str, after: float) -> float:
    """When it first did *what* after that time; infinity: never."""
    return next((m.at for m in found if m.what == what and m.at >= after), float("inf"))


def main(path: str) -> int:
    """Runs the daemon: its exit status."""
    from cuberouted.config import load
    from cuberouted.daemon.node import Node
    from cuberouted.daemon.process import run_daemon
    from cuberouted.openvpn.connection import ManagementConnection
    from cuberouted.peering.zmq.transport import ZmqTransport
    from cuberouted.routing.linux.kernel import Kernel
    from cuberouted.routing.rib import Rib

    memory = _room_for_marks()
    places = iter(range(0, len(memory), _RECORD.size))

    def mark(begin: float, what: bytes, size: int) -> None:
        took = time.time() - begin
        for place in itertools.islice(places, 1):
            _RECORD.pack_into(memory, place, begin, what, size, took)

    def traced(owner: Any, name: str, what: bytes, size: Size) -> None:
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def deed(*args: Any, **kwargs: Any) -> Any:
            begin = time.time()
            done = plain(*args, **kwargs)
            mark(begin, what, size(args))
            return done

        setattr(owner, name, deed)

    def traced_task(owner: Any, name: str, what: bytes, size: Size) -> None:
        plain: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(plain)
        async def deed(*args: Any, **kwargs: Any) -> Any:
            begin = time.time()
            done = await plain(*args, **kwargs)
            mark(begin, what, size(args))
            return done

        setattr(owner, name, deed)

    traced(ManagementConnection, "_ask", b"ask", lambda args: args[1] is not None)
    traced(Rib, "update_local", b"update_local", lambda args: len(args[2]))
    traced(Rib, "update_peer", b"update_peer", lambda _: 1)
    traced(ZmqTransport, "publish", b"publish", lambda args: len(args[2]))
    traced_task(Node, "local_news", b"news", lambda args: len(args[1].routes))
    traced_task(Node, "peer_news", b"heard", lambda _: 1)
    traced_task(Kernel, "apply", b"apply", lambda args: len(args[1]))
    return run_daemon(load(Path(path)))


def _room_for_marks() -> mmap.mmap:
    with Path(MARKS).open("w+b") as file:
        file.truncate(MOST * _RECORD.size)
        return mmap.mmap(file.fileno(), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
