"""How the log tells what becomes of an OpenVPN."""

from __future__ import annotations

import logging

from cuberouted.openvpn.condition import Condition, OpenVPNState


def log_change(log: logging.Logger, label: str, old: Condition, new: Condition) -> Condition:
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
