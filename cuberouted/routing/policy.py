"""Which prefixes are believed, whoever claims them.

A pure filter in front of the RIB. It may change while claims stand (the data interface
comes up after a peer has spoken), so the RIB keeps what it refuses and asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import Prefix

NEVER = tuple(
    map(
        Prefix.parse,
        # this host, loopback, link-local, multicast and reserved: RFC 6890, RFC 4291 section 2.4
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/3",
            "::/127",
            "fe80::/10",
            "ff00::/8",
        ),
    )
)


@attrs.frozen
class Policy:
    """What may be advertised and accepted (design: section 5, "Accepted").

    ``allowed``: only prefixes inside these. ``ours``: this host's own addresses, packed.
    ``management``: the peers' management addresses, packed. ``servers``: data addresses
    that the configuration gives to one peer, which nobody else may claim; the value is
    that peer.
    """

    allowed: tuple[Prefix, ...] = ()
    ours: frozenset[bytes] = frozenset()
    management: frozenset[bytes] = frozenset()
    servers: Mapping[Prefix, str] = attrs.field(factory=dict)

    _inside: tuple[_Inside, ...] = attrs.field(init=False, repr=False, eq=False)

    @_inside.default
    def _prepare(self) -> tuple[_Inside, ...]:
        return tuple(map(_Inside.of, self.allowed))

    def refusal(self, prefix: Prefix, claimant: str) -> str | None:
        """Why *prefix* is not believed of the peer *claimant*; None: it is.

        Our own sessions pass an empty *claimant*.
        """
        address, length = prefix
        size, number = len(address), int.from_bytes(address)
        for bytes_, shortest, shift, bits, never in self._inside:
            if size == bytes_ and length >= shortest and number >> shift == bits:
                if never and any(one.contains(prefix) for one in never):
                    return "not a unicast address"
                break
        else:
            return "outside allowed_networks"
        if not length:
            return "a default route"
        if claimant and _covers(prefix, self.ours):
            return "an address of this host"
        if _covers(prefix, self.management):
            return "a peer's management address"
        owner = self.servers.get(prefix, claimant)
        if owner != claimant:
            return f"the data address of peer {owner}"
        return None


class _Inside(NamedTuple):
    """An allowed network, ready to be compared with: 20,000 prefixes at once want that.

    A prefix is inside if it has as many ``bytes`` and at least this length, and its
    address is ``bits`` after a right shift. ``never``: what of NEVER lies in the network
    or around it, which is almost always nothing.
    """

    bytes: int
    length: int
    shift: int
    bits: int
    never: tuple[Prefix, ...]

    @classmethod
    def of(cls, network: Prefix) -> _Inside:
        size, shift = len(network.address), 8 * len(network.address) - network.length
        never = tuple(n for n in NEVER if n.contains(network) or network.contains(n))
        return cls(size, network.length, shift, int.from_bytes(network.address) >> shift, never)


def _covers(prefix: Prefix, addresses: frozenset[bytes]) -> bool:
    address, length = prefix
    if length == 8 * len(address):
        return address in addresses
    return any(prefix.contains(Prefix.host(address)) for address in addresses)
