"""What was collected of one address, and what the verdict and its reasons need of it. Pure."""

from __future__ import annotations

import attrs

from cuberouted.daemon.why.facts import KernelFacts, MeshFacts, Probe
from cuberouted.model import Kind, printable_name
from cuberouted.routing.lookup import leads_to
from cuberouted.routing.rib import RibRoute, is_vacant
from cuberouted.routing.types import RTN_LOCAL, ForeignRoute


@attrs.frozen
class Case:
    """One address: what the mesh and the kernel know of it."""

    mesh: MeshFacts
    kernel: KernelFacts

    @property
    def address(self) -> str:
        """The address or network that was asked for."""
        return self.kernel.prefix.short

    @property
    def best(self) -> RibRoute:
        """The best claim. Raises ValueError: there is none."""
        claim = self.mesh.best
        if claim is None:
            raise ValueError(f"nobody claims {self.address}")
        return claim.route

    @property
    def here(self) -> Probe:
        """The lookup for a packet of this host."""
        return self.kernel.probes[0]

    @property
    def where(self) -> str:
        """Who has the address, as in ``host2 at vpnsrvB``."""
        advertisement = self.best.advertisement
        place = "here" if self.best.leads_here else f"at {self.best.node}"
        if advertisement.kind is Kind.SERVER:
            return f"the data address of {self.best.node}"
        name = printable_name(advertisement.name) or "a client"
        if advertisement.kind is Kind.SERVICE:
            return f"service {name} {place}"
        if advertisement.kind is Kind.NETWORK:
            return f"{advertisement.prefix} behind {name} {place}"
        return f"{name} {place}"

    @property
    def is_own(self) -> bool:
        """Whether it is an address of this host."""
        route = self.here.result.route
        return route is not None and route.type == RTN_LOCAL

    def is_right(self, probe: Probe) -> bool:
        """Whether a packet goes to where the RIB has the address, or ends here if that is ours."""
        route, nexthop = probe.result.route, self.mesh.nexthop
        if self.is_own or route is None:
            is_local = self.is_own and route is not None and route.type == RTN_LOCAL
            return is_local and not self._has_other_holder
        if nexthop is None or self.mesh.best is None:
            return False
        return leads_to(route, nexthop.device, nexthop.gateway)

    @property
    def _has_other_holder(self) -> bool:
        """Whether it is the address of a service that another node has."""
        best = self.mesh.best
        if best is None or best.route.advertisement.service is None:
            return False
        return not best.route.leads_here and not is_vacant(best.route)

    def is_ours(self, route: ForeignRoute) -> bool:
        """Whether we have installed it."""
        return route.protocol == self.kernel.protocol
