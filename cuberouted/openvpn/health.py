"""How one OpenVPN is doing, for people and for `status`."""

from __future__ import annotations

import enum
import logging
from typing import NamedTuple

import attrs


class OpenVPNState(enum.StrEnum):
    """How it stands between us and an OpenVPN process.

    WAITING: nothing to connect to, or no status file. BUSY: connected, but somebody else is
    being served. REFUSED: we may not, or must not, use this management interface. HOLD:
    OpenVPN waits for an operator, and serves no clients. SILENT: OpenVPN does not answer;
    what it said last still counts.
    """

    WAITING = "waiting"
    CONNECTING = "connecting"
    BUSY = "busy"
    REFUSED = "refused"
    HOLD = "hold"
    SILENT = "silent"
    CONNECTED = "connected"


class Health(NamedTuple):
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


def log_transition(log: logging.Logger, label: str, old: Health, new: Health) -> Health:
    """What is to be shown after *new*; a change is logged, once.

    To try again is no change: what went wrong before is shown until something else comes.
    """
    if new == old or new.state is OpenVPNState.CONNECTING:
        return old
    well = new.state is OpenVPNState.CONNECTED and not new.detail
    change = f"{old.state} -> {new.state}" if old.state is not new.state else f"still {new.state}"
    why = new.detail or "all is well"
    log.log(logging.INFO if well else logging.WARNING, "%s: %s, %s", label, change, why)
    return new
