"""How often OpenVPN is asked, and how long it may be away."""

from __future__ import annotations

import attrs


@attrs.frozen
class Pace:
    """Seconds between two counts of the clients and between two listings of all of them, and
    until the clients of an OpenVPN that has gone are withdrawn.
    """

    poll_interval: float
    status_interval: float
    hold_time: float
