"""cuberouted with tracing: `python -m tests.bench.traced CONFIG` runs the daemon.

Calls of some methods are recorded in /run/marks: when, which, how much. That file is mapped
into memory, so that recording costs no system call on the path that is measured.
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
MAX_MARKS = 1 << 18
"""Room in the file; later calls are not recorded."""

_RECORD = struct.Struct("d16sQd")  # see Mark

Record = Callable[[float, bytes, int], None]
"""Records a call: when it began (Unix seconds), what it is called in the marks, its size."""

Size = Callable[[tuple[Any, ...]], int]
"""The size of a call, from its arguments (self is the first)."""


class Mark(NamedTuple):
    """One call: began at ``at`` (Unix seconds), ``took`` seconds, with ``size`` items."""

    at: float
    what: str
    size: int
    took: float


def marks(host: Host) -> list[Mark]:
    """The recorded calls of the daemon on *host*, oldest first."""
    records = _RECORD.iter_unpack(host.path(MARKS).read_bytes())
    return sorted(
        Mark(at, what.rstrip(b"\0").decode(), size, took) for at, what, size, took in records if at
    )


def first(found: Iterable[Mark], what: str, after: float) -> float:
    """When *what* was first called after that time; infinity if never."""
    return next((m.at for m in found if m.what == what and m.at >= after), float("inf"))


def install(record: Record) -> None:
    """Trace the methods that the benchmarks measure.

    Raises:
      AttributeError: the daemon has no such method (any more).
    """
    from cuberouted.daemon.node import Node
    from cuberouted.openvpn.connection import ManagementConnection
    from cuberouted.peering.zmq.transport import ZmqTransport
    from cuberouted.routing.linux.kernel import Kernel
    from cuberouted.routing.rib import Rib

    def trace(owner: Any, name: str, what: bytes, size: Size) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def traced(*args: Any, **kwargs: Any) -> Any:
            begin = time.time()
            result = original(*args, **kwargs)
            record(begin, what, size(args))
            return result

        setattr(owner, name, traced)

    def trace_async(owner: Any, name: str, what: bytes, size: Size) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(original)
        async def traced(*args: Any, **kwargs: Any) -> Any:
            begin = time.time()
            result = await original(*args, **kwargs)
            record(begin, what, size(args))
            return result

        setattr(owner, name, traced)

    trace(ManagementConnection, "_send_query", b"query", lambda args: args[1] is not None)
    trace(Rib, "update", b"rib", lambda _: 1)
    trace(ZmqTransport, "publish", b"publish", lambda args: len(args[2]))
    trace_async(Node, "update_local", b"update_local", lambda args: len(args[1].routes))
    trace_async(Node, "update_peer", b"update_peer", lambda _: 1)
    trace_async(Kernel, "apply", b"apply", lambda args: len(args[1]))


def main(path: str) -> int:
    """Run the daemon with tracing. Returns its exit status."""
    from cuberouted.config import load
    from cuberouted.daemon.process import run_daemon

    memory = _map_marks()
    offsets = iter(range(0, len(memory), _RECORD.size))

    def record(begin: float, what: bytes, size: int) -> None:
        took = time.time() - begin
        for offset in itertools.islice(offsets, 1):
            _RECORD.pack_into(memory, offset, begin, what, size, took)

    install(record)
    return run_daemon(load(Path(path)))


def _map_marks() -> mmap.mmap:
    with Path(MARKS).open("w+b") as file:
        file.truncate(MAX_MARKS * _RECORD.size)
        return mmap.mmap(file.fileno(), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
