"""Which prefixes are believed, whoever claims them.

A pure filter in front of the RIB. It may change while claims stand (the data interface
comes up after a peer has spoken), so the RIB keeps what it refuses and asks again.
"""

from __future__ import annotations

from collections.abc import Mapping

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

    _exceptions: dict[Prefix, tuple[Prefix, ...]] = attrs.field(init=False, repr=False, eq=False)

    @_exceptions.default
    def _find_exceptions(self) -> dict[Prefix, tuple[Prefix, ...]]:
        # almost always empty for each network, which saves seven comparisons a prefix
        return {
            network: tuple(n for n in NEVER if n.contains(network) or network.contains(n))
            for network in self.allowed
        }

    def refusal(self, prefix: Prefix, claimant: str) -> str | None:
        """Why *prefix* is not believed of the peer *claimant*; None: it is.

        Our own sessions pass an empty *claimant*.
        """
        network = next((n for n in self.allowed if n.contains(prefix)), None)
        if network is None:
            return "outside allowed_networks"
        if prefix.length == 0:
            return "a default route"
        if any(never.contains(prefix) for never in self._exceptions[network]):
            return "not a unicast address"
        if claimant and _covers(prefix, self.ours):
            return "an address of this host"
        if _covers(prefix, self.management):
            return "a peer's management address"
        owner = self.servers.get(prefix, claimant)
        if owner != claimant:
            return f"the data address of peer {owner}"
        return None


def _covers(prefix: Prefix, addresses: frozenset[bytes]) -> bool:
    if prefix.is_host:
        return prefix.address in addresses
    return any(prefix.contains(Prefix.host(address)) for address in addresses)
