"""What follows from what OpenVPN said, or from the time."""

from __future__ import annotations

import attrs

from cuberouted.openvpn.drops import Drop
from cuberouted.openvpn.sessions import LocalNews


@attrs.define
class Step:
    """What is to be done now.

    ``send`` goes to OpenVPN, ``news`` to the daemon. ``drops`` have been asked for.
    ``outage`` True: OpenVPN serves nobody for now; False: a complete listing has come.
    ``notes``: what an operator should know. ``refused``: leave, and why.
    """

    send: bytes = b""
    news: list[LocalNews] = attrs.field(factory=list)
    drops: list[Drop] = attrs.field(factory=list)
    outage: bool | None = None
    notes: list[str] = attrs.field(factory=list)
    refused: str = ""
