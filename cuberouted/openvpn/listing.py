"""Who is connected to one OpenVPN, as one complete status listing tells it."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from cuberouted.model import Prefix, SessionId


class StatusError(Exception):
    """Not a listing that can be read; str() says why, and what to do."""


class Session(NamedTuple):
    """One connected client.

    ``cid`` is NO_CID in a listing without client ids (2.3). ``since``: Unix seconds.
    ``addresses`` are its own, ``networks`` are routed behind it (iroute). ``real_address``
    is as written; its form differs between versions.
    """

    cid: int
    since: int
    name: bytes
    addresses: tuple[Prefix, ...]
    networks: tuple[Prefix, ...]
    real_address: bytes

    @property
    def id(self) -> SessionId:
        """What tells it from every other session."""
        return SessionId(self.cid, self.since)


@attrs.define
class Ignored:
    """How many rows were not used.

    ``cached``: addresses learned from traffic inside an iroute; ``mac``: of a tap device;
    ``unnamed``: prefixes of clients without a common name; ``strange``: everything else.
    """

    cached: int = 0
    mac: int = 0
    unnamed: int = 0
    strange: int = 0


@attrs.frozen
class Listing:
    """A complete listing: the sessions that have a common name, in OpenVPN's order."""

    sessions: tuple[Session, ...]
    ignored: Ignored
