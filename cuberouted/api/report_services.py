"""What the API replies with about shared service addresses."""

from __future__ import annotations

import msgspec


class ServiceNodeRow(msgspec.Struct):
    """What one node is to a service: see `ServicePhase`.

    ``since``: when it got the address, or empty. ``why``: why it cannot have it, or empty.
    ``checked``: seconds since the last check here ended, None if none did, or on another node.
    """

    node: str
    phase: str
    priority: int
    since: str
    why: str
    local: bool
    checked: float | None = None


class ServiceRow(msgspec.Struct):
    """One service. ``holders``: the nodes that have its address; ``via``: the node to which packets
    go from here, or None. ``configured``: whether this node may have it. ``why``: of the choice of
    the first holder, compared with the next node.
    """

    name: str
    address: str
    placement: str
    holders: list[str]
    via: str | None
    configured: bool
    nodes: list[ServiceNodeRow]
    why: str = ""
    problems: list[str] = []

    @property
    def well(self) -> bool:
        """Whether somebody has the address, and if it may be only one, only one."""
        held = len(self.holders) == 1 or (self.placement == "nearest" and bool(self.holders))
        return held and not self.problems


class Services(msgspec.Struct):
    """`cuberouted services --json`."""

    node: str
    services: list[ServiceRow]

    @property
    def well(self) -> bool:
        """Whether all are well."""
        return all(service.well for service in self.services)
