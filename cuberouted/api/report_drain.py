"""Orders and replies about maintenance, and what became of the clients of a drained node."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""

MAX_RESTART_TIME = 3600.0
"""Seconds from the order of a graceful restart to the stop. Who forgets it has an hour of doubt."""

MIN_PER_MINUTE = 0.01
"""Clients a minute."""


class DrainQuery(msgspec.Struct):
    """Which clients."""

    all: Annotated[
        bool, Meta(description="Every client; else only those that came back, left, or were kept.")
    ] = False


class ResumeOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Take clients again."""


class GracefulRestartOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Keep the routes if the daemon is stopped within that many seconds. 0: not any more."""

    within: Annotated[float, Meta(ge=0, le=MAX_RESTART_TIME)] = 60.0


class GracefulRestart(msgspec.Struct):
    """A stop within ``within`` seconds keeps the routes; ``on_exit``: what every other stop does.

    ``on_exit``: "withdraw" or "keep", as configured.
    """

    node: str
    within: float
    on_exit: str


class RebalanceOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Send this node's surplus of clients on. ``stop``: do not go on with that."""

    per_minute: Annotated[float, Meta(ge=MIN_PER_MINUTE, le=6000)] = 10.0
    stop: bool = False


class RebalanceReport(msgspec.Struct):
    """What this node has, and what it should have.

    ``surplus``: clients to be sent on; ``sent``: that were since the order; ``running``: it goes
    on. ``fuller``: a node with more above its share than this one. ``text``: a sentence on it.
    """

    node: str
    clients: int
    share: float
    surplus: int
    sent: int
    running: bool
    fuller: str
    text: str


class DrainOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Send the clients of this node on. ``over``: seconds for all of them; None: five a second.

    ``until``: Unix seconds when the node becomes active by itself; None: never. ``force``: also if
    no other node could take them. ``dry_run``: only tell what would be done.
    """

    over: Annotated[float, Meta(ge=0, le=86400)] | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    until: Annotated[int, Meta(ge=0, le=MAX_TIME)] | None = None
    force: bool = False
    dry_run: bool = False


class DrainClientRow(msgspec.Struct):
    """A client that was here when the drain began, or came later.

    ``outcome``: "waiting": not sent on yet; "sent": sent on, and not seen since; "moved": it is at
    ``node``; "came_back": it is here again, ``returns`` times so far; "left": nowhere; "kept": it
    cannot be sent on, ``why``.
    """

    name: str
    address: str
    outcome: str
    node: str = ""
    returns: int = 0
    why: str = ""


class DrainReport(msgspec.Struct):
    """The state of this node, and what became of its clients. After `drain`, `resume`, or for both.

    ``state``: active, draining or maintenance. ``finished``: nobody has to be sent on any more,
    except those who come back. ``problems``: what the order did not do, or cannot keep. ``total``:
    of all clients, ``outcomes``: by outcome, ``moved``: by node. ``clients``: without `DrainQuery`
    only those that came back, left, or were kept. ``services``: that are still here;
    ``kept_services``: those of them that no other node can have. ``refused``: why the order is
    refused without ``force``; only after one with ``dry_run``. ``interval``: seconds between two
    clients that are sent on.
    """

    node: str
    state: str
    by: str
    since: str
    until: str
    reason: str
    finished: bool
    total: int
    moved: dict[str, int]
    clients: list[DrainClientRow]
    outcomes: dict[str, int] = {}
    services: list[str] = []
    problems: list[str] = []
    refused: list[str] = []
    interval: float = 0.2
    kept_services: list[str] = []
