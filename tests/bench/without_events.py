"""`python -m tests.bench.without_events CONFIG`: no events of clients and routes are published.

For comparison: what they cost a client that has just connected.
"""

from __future__ import annotations

import sys
from pathlib import Path


def remove() -> None:
    """Let nothing be noted for the events, and nothing be published."""
    from cuberouted.daemon.event_publisher import EventPublisher

    for name in ("wake", "changed", "alternatives_changed"):
        assert callable(getattr(EventPublisher, name))
        setattr(EventPublisher, name, lambda *_, **__: None)


def main(path: str) -> int:
    """Run the daemon without them. Returns its exit status."""
    from cuberouted.config import load
    from cuberouted.daemon.process import run_daemon

    remove()
    return run_daemon(load(Path(path)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
