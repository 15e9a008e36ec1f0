"""The state of the connection to one OpenVPN process, for `status` and the events. Pure."""

from __future__ import annotations

import enum
from typing import NamedTuple

import attrs

from cuberouted.events import Emit, OpenVPNStateChanged


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
    that is listed and not shared; ``omitted``: how many rows that concerns. ``warnings``: a
    sentence for each thing that may be wrong. ``last_listing``: when the last complete listing came
    (monotonic seconds), or None before.
    """

    name: str
    state: OpenVPNState
    version: str
    clients: int
    detail: str
    counted: int | None = None
    omissions: tuple[str, ...] = ()
    omitted: int = 0
    warnings: tuple[str, ...] = ()
    last_listing: float | None = None


def emit_transition(emit: Emit, openvpn: str, old: Health, new: Health) -> Health:
    """Emit the change from *old* to *new*, if it is one. Return the health to show from now on.

    A new attempt to connect is no change: the reason why the last one failed stays.
    """
    if new == old or new.state is OpenVPNState.CONNECTING:
        return old
    emit(OpenVPNStateChanged(openvpn=openvpn, old=old.state, new=new.state, why=new.detail))
    return new
