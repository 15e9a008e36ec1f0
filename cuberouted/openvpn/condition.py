"""How one OpenVPN is doing, for people and for `status`."""

from __future__ import annotations

import enum
from typing import NamedTuple

import attrs


class OpenVPNState(enum.StrEnum):
    """How it stands between us and an OpenVPN process.

    WAITING: nothing to connect to, or no status file. HELD: connected, but somebody else is
    being served. REFUSED: we may not, or must not, use this management interface. HOLD:
    OpenVPN waits for an operator, and serves no clients. SILENT: OpenVPN does not answer;
    what it said last still counts.
    """

    WAITING = "waiting"
    CONNECTING = "connecting"
    HELD = "held"
    REFUSED = "refused"
    HOLD = "hold"
    SILENT = "silent"
    CONNECTED = "connected"


class Condition(NamedTuple):
    """A state, and in words why, or what is wrong beside it; empty: nothing."""

    state: OpenVPNState
    detail: str = ""


@attrs.frozen
class OpenVPNStatus:
    """A snapshot. ``version`` is empty while unknown; ``clients`` hold an address here."""

    name: str
    state: OpenVPNState
    version: str
    clients: int
    detail: str
