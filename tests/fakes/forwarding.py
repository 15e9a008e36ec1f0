"""Where a fake kernel sends a packet, by its rules and tables, as Linux does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from cuberouted.model import Prefix
from cuberouted.routing.types import LOCAL_TABLE, Rule
from tests.fakes.kernel_state import Entry, FakeKernelState, Place

LOCAL_DEVICE = "lo"
"""Where packets to an address of this host go."""


class Hop(NamedTuple):
    """The route that a packet takes: to ``device``, in ``place`` (None: the local table)."""

    device: str
    place: Place | None
    protocol: int


def next_hop(kernel: FakeKernelState, address: bytes) -> Hop | None:
    """Where *kernel* sends a packet to *address*; None: it has no route.

    The rules are tried in the order of their priority; in a table the longest prefix counts, and
    of equal ones the lowest metric.
    """
    names = {device.index: name for name, device in kernel.devices.items()}
    for rule in _rules(kernel, Prefix.host(address).family):
        if rule.table == LOCAL_TABLE:
            if address in _own_addresses(kernel):
                return Hop(LOCAL_DEVICE, None, 0)
            continue
        found = _longest(kernel, rule.table, address)
        if found is not None and found[0].prefix.length > rule.suppress:
            place, entry = found
            return Hop(names.get(entry.device or 0, "?"), place, entry.protocol)
    return None


def _rules(kernel: FakeKernelState, family: int) -> Iterator[Rule]:
    return (r for r in kernel.all_rules if r.family == family and not r.conditional)


def _own_addresses(kernel: FakeKernelState) -> set[bytes]:
    return {a.local for device in kernel.devices.values() if device.up for a in device.addresses}


def _longest(kernel: FakeKernelState, table: int, address: bytes) -> tuple[Place, Entry] | None:
    host = Prefix.host(address)
    matching = [
        (place, entry)
        for place, entry in kernel.routes.items()
        if place.table == table and place.prefix.contains(host)
    ]
    return min(matching, key=lambda m: (-m[0].prefix.length, m[0].metric), default=None)


class Walk(NamedTuple):
    """The way of a packet: the nodes that it passed, and how it ended.

    ``hops``: the node and the route that it took there. ``end``: the device by which it left
    the last node without coming to another, or why it did not.
    """

    hops: list[tuple[str, Hop]]
    end: str

    @property
    def at(self) -> str:
        """The last node that had a route."""
        return self.hops[-1][0] if self.hops else ""

    def __str__(self) -> str:
        way = " -> ".join(
            f"{node} by {hop.place.prefix if hop.place else 'local'}" for node, hop in self.hops
        )
        return f"{way}: {self.end}"


LOOP, NO_ROUTE = "loop", "no route"


def walk(
    kernels: Mapping[str, FakeKernelState],
    tunnels: Mapping[tuple[str, str], str],
    start: str,
    address: bytes,
) -> Walk:
    """The way of a packet to *address* that *start* sends or forwards.

    *kernels* by node; *tunnels*: (node, device) -> the node at its other end.
    """
    hops: list[tuple[str, Hop]] = []
    node = start
    while True:
        hop = next_hop(kernels[node], address)
        if hop is None:
            return Walk(hops, f"{NO_ROUTE} on {node}")
        if any(passed == node for passed, _ in hops):
            return Walk(hops, LOOP)
        hops.append((node, hop))
        following = tunnels.get((node, hop.device))
        if following is None:
            return Walk(hops, hop.device)
        node = following


Claims = Mapping[Prefix, Collection[str]]
"""The nodes that list a client with each prefix, whatever their daemons made of it."""


def longest_claim(claims: Claims, address: bytes) -> Prefix | None:
    """The longest claimed prefix around *address*."""
    host = Prefix.host(address)
    around = (prefix for prefix in claims if prefix.contains(host))
    return max(around, key=lambda prefix: prefix.length, default=None)


def addresses_of(claims: Claims) -> set[bytes]:
    """Addresses in all of *claims*: the first, the last, and those beside these, if claimed."""
    found = set()
    for address, length in claims:
        first, bits = int.from_bytes(address), 8 * len(address)
        last = first | ((1 << (bits - length)) - 1)
        beside = {first - 1, first, first + 1, last - 1, last, last + 1}
        found |= {n.to_bytes(len(address)) for n in beside if 0 < n < 1 << bits}
    return {address for address in found if longest_claim(claims, address) is not None}


def misdelivered(
    way: Walk, claim: Prefix, claims: Claims, kernels: Mapping[str, FakeKernelState]
) -> bool:
    """Whether a packet to an address of *claim* did not leave by tun0 where that is claimed.

    Excused are only: a route that is not ours, in the table of ours, that is longer than the
    claim, or as long and with a better metric than ours (with any where the claim is, because
    there is none of ours); and that OpenVPN has no `route` for a prefix behind a client of its
    own, and nobody else one around it.
    """
    holders = claims[claim]
    if way.end == "tun0" and way.at in holders:
        return False
    if way.end in [f"{NO_ROUTE} on {holder}" for holder in holders]:
        return False
    return not any(
        _is_foreign(kernels[node], hop, claim, node in holders) for node, hop in way.hops
    )


def _is_foreign(kernel: FakeKernelState, hop: Hop, claim: Prefix, here: bool) -> bool:
    place = hop.place
    if place is None or hop.protocol == kernel.protocol or place.table != kernel.table:
        return False
    longer = place.prefix.length - claim.length
    return longer > 0 or (longer == 0 and (here or place.metric <= kernel.metric))
