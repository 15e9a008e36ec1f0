"""Which local prefixes lie inside a network that leads to another node. Pure.

The kernel takes the longest prefix of the first table with a match, so such a local prefix needs
a route of its own beside the wider one. A host covers nothing, so clients without networks cost
nothing here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from operator import itemgetter

import attrs

from cuberouted.model import Prefix


@attrs.define
class Coverage:
    """The networks that lead to other nodes, and the local prefixes, for both questions.

    The local prefixes are sorted, so those inside a network are neighbours. They are collected
    when the first such network appears; ``in_use`` is False until then.
    """

    _networks: dict[tuple[int, int], set[int]] = attrs.field(factory=dict, init=False)
    """Per size of an address and length of a prefix: the networks' bits."""
    _local: list[Prefix] | None = attrs.field(default=None, init=False)

    @property
    def in_use(self) -> bool:
        """Whether the local prefixes have been collected."""
        return self._local is not None

    def start(self, local: Iterable[Prefix]) -> None:
        """These are the *local* prefixes now; `set_local` changes them from now on."""
        # twice by one field, because comparing whole prefixes takes three times as long
        self._local = sorted(sorted(local, key=itemgetter(1)), key=itemgetter(0))

    def set_local(self, prefix: Prefix, present: bool) -> None:
        """*prefix* has become a local one, or is not any more."""
        local = self._local
        if local is None:
            return
        if present:
            insort(local, prefix)
        else:
            del local[bisect_left(local, prefix)]

    def set_network(self, network: Prefix, present: bool) -> None:
        """*network* leads to another node, or does not any more."""
        key, bits = _bits(network, network.length)
        if present:
            self._networks.setdefault(key, set()).add(bits)
        else:
            self._networks[key].discard(bits)
            if not self._networks[key]:
                del self._networks[key]

    def covers(self, prefix: Prefix) -> bool:
        """Whether *prefix* lies inside a wider network that leads to another node."""
        if not self._networks:
            return False
        address, length = prefix
        size, number = len(address), int.from_bytes(address)
        for (bytes_, shorter), networks in self._networks.items():
            if bytes_ == size and shorter < length and number >> (8 * size - shorter) in networks:
                return True
        return False

    def inside(self, network: Prefix) -> Sequence[Prefix]:
        """The local prefixes inside *network*, and not equal to it."""
        if self._local is None:
            return ()
        address, length = network
        size = len(address)
        last = int.from_bytes(address) | ((1 << (8 * size - length)) - 1)
        first = bisect_left(self._local, (address, length + 1))
        end = bisect_left(self._local, (last.to_bytes(size), 8 * size + 1))
        # between them are also prefixes of the other family
        return [p for p in self._local[first:end] if len(p.address) == size]


def _bits(prefix: Prefix, length: int) -> tuple[tuple[int, int], int]:
    size = len(prefix.address)
    return (size, length), int.from_bytes(prefix.address) >> (8 * size - length)
