"""The state of maintenance, as it is kept over a restart. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cuberouted.model import MAX_VERSION, NodeState
from cuberouted.util.decoding import DECODE_ERRORS

DEFAULT_INTERVAL = 0.2
"""Seconds between two clients that are sent on: five a second, so that the other servers are not
overrun (a TLS handshake takes some milliseconds of a processor)."""


class MaintenanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Since when, by whom, why, and until when this node is what it is: see `NodeInfo`.

    ``interval``: seconds between two clients that are sent on. ``force``: clients are sent on even
    if no other node takes them.
    """

    state: NodeState = NodeState.ACTIVE
    by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    since: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)] = 0
    until: Annotated[int, msgspec.Meta(ge=0, lt=MAX_VERSION)] = 0
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    interval: Annotated[float, msgspec.Meta(ge=0, le=86400)] = DEFAULT_INTERVAL
    force: bool = False


class RecordError(Exception):
    """A kept record cannot be used. str() says why."""


def encode(record: MaintenanceRecord) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(text: bytes) -> MaintenanceRecord:
    """The record in the *text* of a file.

    Raises:
      RecordError: it is not one that `encode` has made.
    """
    try:
        return msgspec.json.decode(text, type=MaintenanceRecord)
    except DECODE_ERRORS as error:
        raise RecordError(f"malformed: {error}") from None
