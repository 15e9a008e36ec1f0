"""The state of the connection to one OpenVPN process, for `status` and the log."""

from __future__ import annotations

import enum
import logging
from typing import NamedTuple

import attrs


class OpenVPNState(enum.StrEnum):
    """WAITING: nothing to connect to, or no status file. CONNECTING: no answer yet. BUSY: OpenVPN
    serves another management client. REFUSED: we may not, or must not, use this management
    interface. HOLD: OpenVPN waits for an operator and serves no clients. SILENT: OpenVPN does not
    answer; its sessions are kept. CONNECTED: all is well.
    """

    WAITING = "waiting"
    CONNECTING = "connecting"
    BUSY = "busy"
    REFUSED = "refused"
    HOLD = "hold"
    SILENT = "silent"
    CONNECTED = "connected"


class Health(NamedTuple):
    """A state, and why, or what else is wrong; empty if nothing is."""

    state: OpenVPNState
    detail: str = ""


@attrs.frozen
class OpenVPNStatus:
    """A snapshot.

    ``version`` is empty while unknown. ``clients``: number with a route here. ``counted``: number
    of those that OpenVPN counts, or None while unknown. ``omissions``: a sentence for each thing
    that is listed and not shared. ``warnings``: a sentence for each thing that may be wrong.
    """

    name: str
    state: OpenVPNState
    version: str
    clients: int
    detail: str
    counted: int | None = None
    omissions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def log_transition(log: logging.Logger, label: str, old: Health, new: Health) -> Health:
    """Log the change from *old* to *new*, if it is one. Return the health to show from now on.

    A new attempt to connect is no change: the reason why the last one failed stays.
    """
    if new == old or new.state is OpenVPNState.CONNECTING:
        return old
    well = new.state is OpenVPNState.CONNECTED and not new.detail
    change = f"{old.state} -> {new.state}" if old.state is not new.state else f"still {new.state}"
    why = new.detail or "all is well"
    log.log(logging.INFO if well else logging.WARNING, "%s: %s, %s", label, change, why)
    return new
