"""The states of a peer as a table: which state follows from what. Pure."""

from __future__ import annotations

import enum

from cuberouted.sharing.news import PeerState

DOWN, SYNCING, UP, RESTARTING, INCOMPATIBLE = PeerState


class Sign(enum.StrEnum):
    """What an event means for the state."""

    BEHIND = "heard, and its table is not complete or not current"
    CURRENT = "heard, and its table is complete and current"
    LEAVING = "said that it restarts"
    GONE = "said goodbye"
    SILENT = "not heard for too long"
    REFUSED = "not whom it should be"
    FOREIGN = "speaks another version"


NEXT = {
    **{(state, Sign.BEHIND): SYNCING for state in PeerState},
    **{(state, Sign.CURRENT): UP for state in (SYNCING, UP, RESTARTING)},
    **{(state, Sign.LEAVING): RESTARTING for state in PeerState},
    **{(state, Sign.GONE): DOWN for state in PeerState},
    **{(state, Sign.SILENT): DOWN for state in PeerState},
    **{(state, Sign.REFUSED): DOWN for state in PeerState},
    **{(state, Sign.FOREIGN): INCOMPATIBLE for state in PeerState},
}
"""A peer that was down or incompatible has no table, so CURRENT in those states is our bug."""
