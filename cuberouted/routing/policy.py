"""The import policy: which prefixes the RIB accepts, from whichever source. Pure.

The policy depends on this host's links and may change while advertisements stand, for example
when the data interface comes up after a peer has connected. So the RIB keeps what the policy
refuses, and evaluates it again under a new policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from cuberouted.model import NOT_UNICAST, Kind, Prefix

OUTSIDE = "outside allowed_networks"
_NOT_UNICAST = "not a unicast address"
_DEFAULT_ROUTE = "a default route"
_OWN_ADDRESS = "an address of this host"
_MANAGEMENT_ADDRESS = "a peer's management address"

REASONS = {
    OUTSIDE: "outside_allowed_networks",
    _NOT_UNICAST: "not_unicast",
    _DEFAULT_ROUTE: "default_route",
    _OWN_ADDRESS: "own_address",
    _MANAGEMENT_ADDRESS: "management_address",
}
PEERS_DATA_ADDRESS = "data_address"
SERVICE_ADDRESS = "service_address"
_OF_SERVICE = "the address of service "


def reason_label(why: str) -> str:
    """What `Policy.refusal` has returned, as one of a few words for counters."""
    if why.startswith(_OF_SERVICE):
        return SERVICE_ADDRESS
    return REASONS.get(why, PEERS_DATA_ADDRESS)


REASON_LABELS = (*REASONS.values(), PEERS_DATA_ADDRESS, SERVICE_ADDRESS)
"""All that `reason_label` returns."""


@attrs.frozen
class Policy:
    """What may be advertised and accepted.

    ``allowed``: only prefixes inside these networks. ``own_addresses``: this host's addresses,
    packed. ``management``: the peers' management addresses, packed. ``servers``: data addresses
    that the configuration assigns to a peer (the value); no other peer may advertise them.
    ``services``: the names of this node's services, by their packed addresses. These are for
    claims to the service alone, whether or not they are inside ``allowed``.
    """

    allowed: tuple[Prefix, ...] = ()
    own_addresses: frozenset[bytes] = frozenset()
    management: frozenset[bytes] = frozenset()
    servers: Mapping[Prefix, str] = attrs.field(factory=dict)
    services: Mapping[bytes, str] = attrs.field(factory=dict)

    _networks: tuple[_AllowedNetwork, ...] = attrs.field(init=False, repr=False, eq=False)

    acceptable: tuple[Prefix, ...] = attrs.field(init=False, repr=False, eq=False)
    """Networks with everything that may be accepted."""

    @acceptable.default
    def _with_services(self) -> tuple[Prefix, ...]:
        return (*self.allowed, *map(Prefix.host, self.services))

    @_networks.default
    def _prepare(self) -> tuple[_AllowedNetwork, ...]:
        return tuple(map(_AllowedNetwork.of, self.allowed))

    def refusal(self, prefix: Prefix, kind: Kind, peer: str) -> str | None:
        """Why *prefix* is not accepted from *peer* as one of *kind*, or None if it is.

        *peer* is empty for what this host itself advertises.
        """
        address, length = prefix
        size, number = len(address), int.from_bytes(address)
        service = self.services.get(address) if self.services and length == 8 * size else None
        for bytes_, shortest, shift, bits, excluded in self._networks:
            if size == bytes_ and length >= shortest and number >> shift == bits:
                if excluded and any(one.contains(prefix) for one in excluded):
                    return _NOT_UNICAST
                break
        else:
            if service is None:
                return OUTSIDE
        if not length:
            return _DEFAULT_ROUTE
        if service is not None and kind is not Kind.SERVICE:
            return f"{_OF_SERVICE}{service}"
        if peer and _covers(prefix, self.own_addresses):
            return _OWN_ADDRESS
        if _covers(prefix, self.management):
            return _MANAGEMENT_ADDRESS
        owner = self.servers.get(prefix, peer)
        if owner != peer:
            return f"the data address of peer {owner}"
        return None


class _AllowedNetwork(NamedTuple):
    """An allowed network, prepared for fast comparison with many prefixes.

    A prefix is inside if its address has as many ``bytes``, its length is at least ``length``,
    and its address shifted right by ``shift`` equals ``bits``. ``excluded``: the networks of
    NOT_UNICAST that overlap this one, usually none.
    """

    bytes: int
    length: int
    shift: int
    bits: int
    excluded: tuple[Prefix, ...]

    @classmethod
    def of(cls, network: Prefix) -> _AllowedNetwork:
        size, shift = len(network.address), 8 * len(network.address) - network.length
        excluded = tuple(n for n in NOT_UNICAST if n.contains(network) or network.contains(n))
        bits = int.from_bytes(network.address) >> shift
        return cls(size, network.length, shift, bits, excluded)


def _covers(prefix: Prefix, addresses: frozenset[bytes]) -> bool:
    address, length = prefix
    if length == 8 * len(address):
        return address in addresses
    return any(prefix.contains(Prefix.host(address)) for address in addresses)
