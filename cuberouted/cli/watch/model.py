"""What is shown of the mesh, and what keys do.

Pure: the keyboard's keys and the daemon's events in, actions out.
"""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import attrs

from cuberouted.api.report import Maintained
from cuberouted.cli.watch import keys
from cuberouted.cli.watch.layout import Layout, arrange
from cuberouted.cli.watch.mesh import Client, EventRow, Mesh

T = TypeVar("T")

MAX_FILTER = 200
"""Characters that can be typed into the filter."""


class Order(enum.StrEnum):
    """By what the clients are sorted."""

    ADDRESS = "address"
    NAME = "name"
    NODE = "node"
    NEWEST = "newest"


_SORT_KEYS: dict[Order, Callable[[Client], tuple[object, ...]]] = {
    Order.ADDRESS: lambda c: c.sort_key,
    Order.NAME: lambda c: (c.name, c.sort_key),
    Order.NODE: lambda c: (c.node, c.sort_key),
    Order.NEWEST: lambda c: (-c.since, c.sort_key),
}


@attrs.frozen
class Quit:
    """The user wants to quit."""


@attrs.frozen
class Explain:
    """The user wants to know where packets to *target* go, and why."""

    target: str


Action = Quit | Explain


@attrs.frozen
class Node:
    """A row of the nodes: this one, or a peer. ``detail``: what is wrong, or empty.

    ``away``: what it has said of itself, if it takes no clients.
    """

    name: str
    state: str
    clients: int
    detail: str = ""
    away: Maintained | None = None


@attrs.define
class Overlay:
    """A text over the screen. ``lines`` is None until it arrives."""

    title: str
    lines: list[str] | None = None
    top: int = 0

    def move(self, key: str, page: int) -> bool:
        """Scroll. Return False if *key* does not scroll."""
        last = max(len(self.lines or ()) - page, 0)
        steps = _steps(key, page, last)
        if steps is None:
            return False
        self.top = min(max(self.top + steps, 0), last)
        return True


@attrs.define
class Cursor(Generic[T]):
    """Which row of a list is selected, and which one is the first visible.

    The selected row stays selected wherever changes move it, and at the same place of the screen.
    At the beginning, or at the end with ``at_end``, the cursor follows what appears there.
    """

    identify: Callable[[T], Hashable]
    at_end: bool = False
    index: int = 0
    top: int = 0
    _selected: Hashable | None = None

    def place(self, rows: Sequence[T], page: int) -> None:
        """Find the selected row in *rows*, of which *page* are visible."""
        index = self.index
        if self._selected is None:
            index = len(rows) - 1 if self.at_end else 0
        elif index >= len(rows) or self.identify(rows[index]) != self._selected:
            found = (i for i, row in enumerate(rows) if self.identify(row) == self._selected)
            index = next(found, index)
        index = min(max(index, 0), max(len(rows) - 1, 0))
        if rows and self._selected is not None:
            self._selected = self.identify(rows[index])
            self.top += index - self.index
        self.index = index
        self.top = min(max(self.top, index - page + 1), index, max(len(rows) - page, 0))
        self.top = max(self.top, 0)

    def move(self, rows: Sequence[T], steps: int) -> None:
        """Select the row *steps* further on, as far as there are rows."""
        if not rows:
            return
        self.index = min(max(self.index + steps, 0), len(rows) - 1)
        home = len(rows) - 1 if self.at_end else 0
        self._selected = None if self.index == home else self.identify(rows[self.index])


class Watch:
    """The view: the state of the mesh, what of it is shown, and how."""

    def __init__(self, width: int, height: int) -> None:
        self.mesh = Mesh()
        self.trouble = ""  # why there is no connection to the daemon
        self.filter = ""
        self.filtering = False  # the filter is being typed
        self.order = Order.ADDRESS
        self.events_first = False  # keys move in the events
        self.overlay: Overlay | None = None
        self.clients_cursor: Cursor[Client] = Cursor(lambda client: client.address)
        self.events_cursor: Cursor[EventRow] = Cursor(lambda row: row.event.number, at_end=True)
        self._size = width, height
        self._frozen: Mesh | None = None
        self._frozen_at = 0.0
        self._columns: list[int] = []
        self._rows: list[Client] = []
        self._rows_of: tuple[object, ...] = ()

    # -- what is shown --

    def resize(self, width: int, height: int) -> None:
        """The terminal has this many columns and lines."""
        self._size = width, height

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal."""
        return self._size

    @property
    def shown(self) -> Mesh:
        """The state that is shown: now, or when the display was frozen."""
        return self._frozen or self.mesh

    def shown_at(self, now: float) -> float:
        """The time of what is shown."""
        return self._frozen_at if self._frozen else now

    @property
    def is_frozen(self) -> bool:
        """Whether changes are not shown."""
        return self._frozen is not None

    @property
    def missed(self) -> int:
        """Number of events since the display was frozen."""
        return self.mesh.received - self._frozen.received if self._frozen else 0

    @property
    def problems(self) -> list[str]:
        """What is wrong, besides peers and OpenVPN processes, which are among the nodes."""
        status = self.shown.status
        if status is None:
            return []
        return [*status.problems, *(f"warning: {text}" for text in status.warnings)]

    @property
    def nodes(self) -> list[Node]:
        """This node with its OpenVPN processes, and the peers."""
        status = self.shown.status
        if status is None:
            return []
        ill = [o for o in status.openvpn if not o.well]
        this = Node(
            name=status.node,
            state=ill[0].state if ill else _state(status, "running"),
            clients=sum(o.clients for o in status.openvpn),
            detail="; ".join(f"{o.name}: {o.detail or o.state}" for o in ill),
            away=_away(status),
        )
        peers = [
            Node(p.known_as or p.name, _state(p, p.state), p.clients, p.detail, _away(p))
            for p in status.peers
        ]
        return [this, *peers]

    @property
    def layout(self) -> Layout:
        """The parts of the screen."""
        return arrange(
            *self._size,
            nodes=len(self.nodes),
            problems=len(self.problems),
            services=len(self.shown.services),
            events_first=self.events_first,
        )

    def clients(self) -> list[Client]:
        """The clients that match the filter, sorted."""
        mesh = self.shown
        wanted = self._frozen and self._frozen_at, mesh.version, self.filter, self.order
        if self._rows_of != wanted:
            words = self.filter.casefold().split()
            rows = [
                client
                for client in mesh.clients.values()
                if not words or _has(words, f"{client.address} {client.name} {client.node}")
            ]
            rows.sort(key=_SORT_KEYS[self.order])
            self._rows, self._rows_of = rows, wanted
        return self._rows

    def events(self) -> list[EventRow]:
        """The events that match the filter, oldest first."""
        words = self.filter.casefold().split()
        return [row for row in self.shown.events if not words or _has(words, row.text)]

    def client_columns(self, widths: Sequence[int]) -> list[int]:
        """Columns that the cells of clients need, if the visible ones need *widths*.

        These do not shrink, so that nothing jumps to the side as rows come and go.
        """
        self._columns = list(map(max, widths, self._columns or widths))
        return self._columns

    # -- what keys do --

    def press(self, key: str, now: float) -> Action | None:
        """A key was pressed."""
        if self.overlay is not None:
            self._press_in_overlay(self.overlay, key)
            return None
        if self.filtering and self._type(key):
            return None
        return self._command(key, now)

    def explained(self, target: str, lines: list[str]) -> None:
        """The answer to `Explain` has arrived."""
        if self.overlay is not None and self.overlay.title == _why(target):
            self.overlay.lines = lines

    def _press_in_overlay(self, overlay: Overlay, key: str) -> None:
        if not overlay.move(key, max(self._size[1] - 4, 1)) and key != keys.OTHER:
            self.overlay = None

    def _type(self, key: str) -> bool:
        """Edit the filter. Return False if *key* is a command also meanwhile."""
        match key:
            case keys.ENTER:
                self.filtering = False
            case keys.ESCAPE:
                self.filter, self.filtering = "", False
            case keys.BACKSPACE if not self.filter:
                self.filtering = False
            case keys.BACKSPACE:
                self.filter = self.filter[:-1]
            case keys.CLEAR_LINE:
                self.filter = ""
            case _ if len(key) == 1:
                self.filter = (self.filter + key)[:MAX_FILTER]
            case _:
                return False
        return True

    def _command(self, key: str, now: float) -> Action | None:
        match key:
            case "q":
                return Quit()
            case "/":
                self.filtering = True
            case keys.ESCAPE:
                self.filter = ""
            case "s":
                orders = list(Order)
                self.order = orders[(orders.index(self.order) + 1) % len(orders)]
            case "p" | " ":
                self._freeze(now)
            case keys.TAB:
                self.events_first = not self.events_first
            case "?" | "h":
                self.overlay = Overlay("keys", HELP.splitlines())
            case keys.ENTER:
                return self._explain()
            case _:
                self._move(key)
        return None

    def _freeze(self, now: float) -> None:
        if self._frozen is None:
            self._frozen, self._frozen_at = self.mesh.copy(), now
        else:
            self._frozen = None

    def _move(self, key: str) -> None:
        layout = self.layout
        page = max((layout.events if self.events_first else layout.clients) - 1, 1)
        everything = len(self.shown.clients) + len(self.shown.events)
        steps = _steps(key, page, everything)
        if not steps:
            return
        if self.events_first:
            self.events_cursor.place(self.events(), layout.events)
            self.events_cursor.move(self.events(), steps)
        else:
            self.clients_cursor.place(self.clients(), layout.clients)
            self.clients_cursor.move(self.clients(), steps)

    def _explain(self) -> Action | None:
        layout = self.layout
        if self.events_first:
            events = self.events()
            self.events_cursor.place(events, layout.events)
            if not events:
                return None
            row = events[self.events_cursor.index]
            target = getattr(row.event, "address", "")
            if not target:
                self.overlay = Overlay("event", textwrap.wrap(row.text, max(self._size[0] - 4, 1)))
        else:
            clients = self.clients()
            self.clients_cursor.place(clients, layout.clients)
            target = clients[self.clients_cursor.index].address if clients else ""
        if not target:
            return None
        self.overlay = Overlay(_why(target))
        return Explain(target)


HELP = """\
q             quit
/             show only what contains the words that are typed; Esc: all again
s             sort the clients by address, name, node, newest first
p, space      freeze the display; events go on being collected
Tab           keys move in the clients, or in the events
Enter         why packets to the selected address go where they go; of an
              event without an address, the whole text
j, k, arrows  one down, one up
PgDn, PgUp    a page down, a page up
g, G          first, last; at the last event the display follows new ones
?             this help

A client that has just joined, moved, reconnected or left is highlighted
for a few seconds. Events are in local time; `cuberouted history` has more."""


def _state(row: Maintained, state: str) -> str:
    """The state of a node: whether it takes clients, where its connection is well."""
    return row.maintenance if state in ("up", "running") and not row.takes_clients else state


def _away(row: Maintained) -> Maintained | None:
    return None if row.takes_clients else row


def _steps(key: str, page: int, everything: int) -> int | None:
    """How many lines *key* moves down; None if it moves nothing."""
    return {
        "j": 1,
        keys.DOWN: 1,
        "k": -1,
        keys.UP: -1,
        keys.PAGE_DOWN: page,
        keys.PAGE_UP: -page,
        "g": -everything,
        keys.HOME: -everything,
        "G": everything,
        keys.END: everything,
    }.get(key)


def _why(target: str) -> str:
    return f"why {target}"


def _has(words: Sequence[str], text: str) -> bool:
    text = text.casefold()
    return all(word in text for word in words)
