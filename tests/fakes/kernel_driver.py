"""What happens to a kernel from outside: links, addresses, and what others do to its routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

STATIC = 4
"""RTPROT_STATIC: an administrator's routes."""

MAIN = 254


class KernelDriver(Protocol):
    """A kernel's surroundings. Prefixes and addresses are text; nobody here is cuberouted."""

    def add_tunnel(self, name: str) -> int:
        """Makes a running point-to-point link; returns its index."""
        ...

    def add_ethernet(self, name: str) -> int:
        """Makes a running link that many hosts may share; returns its index."""
        ...

    def add_altname(self, name: str, altname: str) -> None:
        """Gives a link an alternative name."""
        ...

    def set_up(self, name: str, up: bool) -> None:
        """Sets a link up or down."""
        ...

    def set_carrier(self, name: str, on: bool) -> None:
        """Plugs a link's cable in or out."""
        ...

    def remove_link(self, name: str) -> None:
        """Removes a link."""
        ...

    def add_address(self, name: str, address: str) -> None:
        """Gives a link an address, written with the length of its network."""
        ...

    def remove_address(self, name: str, address: str) -> None:
        """Takes it away."""
        ...

    def add_route(
        self, prefix: str, name: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """Adds a route through a link."""
        ...

    def add_blackhole(self, prefix: str, metric: int, table: int = MAIN) -> None:
        """Adds a route that drops packets."""
        ...

    def remove_route(
        self, prefix: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """Deletes a route."""
        ...

    def steal_route(
        self, prefix: str, name: str, metric: int, protocol: int = STATIC, table: int = MAIN
    ) -> None:
        """Puts a route in the place of the one with this prefix and metric, whosever it is."""
        ...

    def add_nexthop(self, id_: int, name: str, protocol: int) -> None:
        """Adds an IPv4 nexthop object that is a link."""
        ...

    def steal_nexthop(self, id_: int, name: str, protocol: int) -> None:
        """Puts one in the place of the one with this id, whosever it is."""
        ...

    def remove_nexthop(self, id_: int) -> None:
        """Deletes a nexthop object, whosever it is."""
        ...

    def add_rule(self, priority: int, table: int, protocol: int = 0) -> None:
        """Adds an IPv4 rule of an administrator's."""
        ...

    def remove_rules(self, priority: int, table: int) -> None:
        """Deletes the rules of both families, whosever they are."""
        ...

    def rules(self) -> Sequence[tuple[int, int]]:
        """Priority and table of every rule of either family that somebody has added, sorted."""
        ...
