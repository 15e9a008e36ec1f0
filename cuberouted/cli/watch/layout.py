"""How many lines and columns each part of the screen has.

Pure. From the top: a line on the state of all, problems, nodes, services, clients and events, and a
line with keys. Clients and events are side by side where the screen is wide enough, else below each
other.
"""

from __future__ import annotations

import attrs

WIDE = 140
"""Columns from which on clients and events are side by side."""

LOW = 14
"""Lines below which there is no room for anything but clients or events."""

FRAME = 2
"""The first line and the last one."""


@attrs.frozen
class Layout:
    """The parts of a screen. Numbers of lines are without titles; 0: not shown, nor its title.

    ``clients`` and ``events``: lines of rows. ``clients_width`` and ``events_width``: columns.
    """

    width: int
    height: int
    problems: int
    nodes: int
    services: int
    clients: int
    events: int
    clients_width: int
    events_width: int

    @property
    def side_by_side(self) -> bool:
        """Whether the events are to the right of the clients."""
        return self.clients_width != self.width


def arrange(
    width: int,
    height: int,
    *,
    nodes: int,
    problems: int,
    services: int = 0,
    events_first: bool = False,
) -> Layout:
    """The layout for a screen of *width* by *height*, and that many nodes, problems and services.

    *events_first*: the events get the larger part of what they share with the clients.
    """
    rest = max(height - FRAME, 1)
    if height < LOW:
        problems, nodes, services = min(problems, rest // 5), 0, 0
    else:
        problems, nodes = min(problems, 1 + height // 12), min(nodes, height // 5)
        services = min(services, height // 8)
    rest -= problems + sum(lines + 1 for lines in (nodes, services) if lines)
    client_lines, event_lines = max(rest - 2, 0), max(rest - 1, 0)  # titles; columns have names
    if width >= WIDE:
        left = width * 9 // 20
        right = width - left - 3
        return Layout(
            width, height, problems, nodes, services, client_lines, event_lines, left, right
        )
    if height < LOW:
        client_lines, event_lines = (0, event_lines) if events_first else (client_lines, 0)
    elif events_first:
        client_lines = max(rest // 3 - 2, 1)
        event_lines = rest - client_lines - 3
    else:
        event_lines = max(rest // 3 - 1, 1)
        client_lines = rest - event_lines - 3
    return Layout(width, height, problems, nodes, services, client_lines, event_lines, width, width)
