"""Who is connected to one OpenVPN, as one status listing tells it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import attrs

from cuberouted.model import Kind, Prefix, SessionId


class StatusError(Exception):
    """Not a listing that can be read; str() says why, and what to do."""


@attrs.define(eq=False)
class Client:
    """One client, while its listing is being read.

    ``cid`` is NO_CID in a listing without client ids (2.3). ``since``: Unix seconds.
    ``real``, ``virtual`` and ``virtual6`` are as written, the virtual ones empty where not
    known. ``addresses`` are its own, ``networks`` are routed behind it (iroute).
    """

    cid: int
    since: int
    name: bytes
    real: bytes
    virtual: bytes
    virtual6: bytes
    addresses: tuple[Prefix, ...] = ()
    networks: tuple[Prefix, ...] = ()


class Holding(NamedTuple):
    """A prefix that leads to a client; ``kind`` CLIENT: it is the client's own address."""

    prefix: Prefix
    kind: Kind
    client: Client


class Session(NamedTuple):
    """One connected client; see `Client`."""

    cid: int
    since: int
    name: bytes
    addresses: tuple[Prefix, ...]
    networks: tuple[Prefix, ...]

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
    """A complete listing. It is not changed any more.

    ``by_real``: the first client that shows each real address.
    """

    clients: Sequence[Client]
    by_real: Mapping[bytes, Client]
    ignored: Ignored

    def named(self, names: Container[bytes]) -> tuple[Session, ...]:
        """The sessions of these common names, in OpenVPN's order."""
        return tuple(
            Session(c.cid, c.since, c.name, c.addresses, c.networks)
            for c in self.clients
            if c.name in names
        )
