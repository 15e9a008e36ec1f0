"""cuberouted with marks: `python -m tests.bench.traced CONFIG` writes when it did what.

The daemon is the daemon; a dozen of its doors write a line to /run/marks as something
passes, which costs some microseconds a batch of routes.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.host import Host

MARKS = "/run/marks"

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
    lines = host.path(MARKS).read_text().splitlines()
    fields = (line.split() for line in lines)
    return sorted(Mark(float(at), what, int(n), float(took)) for at, what, n, took in fields)


def first(found: Iterable[Mark], what: str, after: float) -> float:
    """When it first did *what* after that time; infinity: never."""
    return next((m.at for m in found if m.what == what and m.at >= after), float("inf"))


def main(path: str) -> int:
    """Runs the daemon: its exit status."""
    from cuberouted.config import load
    from cuberouted.node import Node
    from cuberouted.openvpn.dialogue import Dialogue
    from cuberouted.routing.kernel import Kernel
    from cuberouted.routing.rib import Rib
    from cuberouted.run import run_daemon
    from cuberouted.sharing.bus import ZmqBus

    out = os.open(MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def mark(begin: float, what: str, size: int) -> None:
        os.write(out, f"{begin} {what} {size:d} {time.time() - begin}\n".encode())

    def traced(owner: Any, name: str, what: str, size: Size) -> None:
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def deed(*args: Any, **kwargs: Any) -> Any:
            begin = time.time()
            done = plain(*args, **kwargs)
            mark(begin, what, size(args))
            return done

        setattr(owner, name, deed)

    def traced_task(owner: Any, name: str, what: str, size: Size) -> None:
        plain: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(plain)
        async def deed(*args: Any, **kwargs: Any) -> Any:
            begin = time.time()
            done = await plain(*args, **kwargs)
            mark(begin, what, size(args))
            return done

        setattr(owner, name, deed)

    traced(Dialogue, "_ask", "ask", lambda args: args[1] is not None)
    traced(Dialogue, "receive", "receive", lambda args: len(args[1]))
    traced(Rib, "hold", "hold", lambda args: len(args[2]))
    traced(Rib, "learn", "learn", lambda _: 1)
    traced(ZmqBus, "publish", "publish", lambda args: len(args[2]))
    traced_task(Node, "local_news", "news", lambda args: len(args[1].claims))
    traced_task(Node, "peer_news", "heard", lambda _: 1)
    traced_task(Kernel, "apply", "apply", lambda args: len(args[1]))
    return run_daemon(load(Path(path)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
