"""Derives `ServiceMoved` from where each service is, as this node sees it. Pure.

In an orderly change nobody has the address for a moment, and a crash leaves it with nobody until
another node takes it. So "nobody has it" is held back for GRACE seconds: what follows within it
makes one event of the two, with the reason of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import NamedTuple

import attrs

from cuberouted.events import ServiceMoved
from cuberouted.service_claim import ServiceClaim, ServicePhase

GRACE = 2.0
"""Seconds for which it is held back that nobody has an address."""

MAX_LAST = 2000
"""Services whose last holder is remembered: peers can make up any number of names."""


class Service(NamedTuple):
    """A service: its name and its address as text."""

    name: str
    address: str


class _Loss(NamedTuple):
    deadline: float
    why: str


@attrs.define
class ServiceTracker:
    """Where each service was, as the events have said it so far."""

    _at: dict[Service, str] = attrs.field(factory=dict, init=False)
    _why: dict[Service, str] = attrs.field(factory=dict, init=False)
    """What the present holder has said of itself."""
    _last: dict[Service, str] = attrs.field(factory=dict, init=False)
    _lost: dict[Service, _Loss] = attrs.field(factory=dict, init=False)

    @property
    def deadline(self) -> float:
        """When `timer` has something to do (monotonic seconds), or infinity."""
        return min((loss.deadline for loss in self._lost.values()), default=inf)

    @property
    def services(self) -> tuple[Service, ...]:
        """Those that somebody has, or had until just now."""
        return tuple(self._at)

    def last_holder(self, service: Service) -> str:
        """The node that has it, or had it last; empty if nobody is known to have had it."""
        return self._last.get(service, "")

    def learn(self, service: Service, node: str) -> None:
        """*service* was at *node* before this daemon started: that is no event."""
        self._set(service, node)

    def receive(
        self,
        service: Service,
        node: str,
        claims: Mapping[str, ServiceClaim],
        problems: Mapping[str, str],
        now: float,
    ) -> Iterator[ServiceMoved]:
        """*service* is at *node* now; empty: nobody has it.

        *claims*: to it, by node. *problems*: of peers that are not up.
        """
        before = self._at.get(service, "")
        if before in claims and claims[before].why:
            self._why[service] = claims[before].why
        elif node == before:
            self._why.pop(service, None)
        if node == before:
            self._lost.pop(service, None)
            return
        lost = self._lost.get(service)
        why = lost.why if lost else self._reason(service, before, node, claims, problems)
        if node:
            self._set(service, node)
            yield ServiceMoved(
                service=service.name,
                address=service.address,
                from_node=before,
                to_node=node,
                why=why,
            )
        elif lost is None:
            self._lost[service] = _Loss(now + GRACE, why)

    def timer(self, now: float) -> Iterator[ServiceMoved]:
        """The services that nobody has had for GRACE seconds."""
        for service, loss in tuple(self._lost.items()):
            if loss.deadline <= now:
                yield ServiceMoved(
                    service=service.name,
                    address=service.address,
                    from_node=self._at[service],
                    to_node="",
                    why=loss.why,
                )
                self._set(service, "")

    def _set(self, service: Service, node: str) -> None:
        self._lost.pop(service, None)
        self._why.pop(service, None)
        if node:
            self._last.pop(service, None)  # so that the oldest comes first
            self._at[service] = self._last[service] = node
            if len(self._last) > MAX_LAST:
                del self._last[next(iter(self._last))]
        else:
            self._at.pop(service, None)

    def _reason(
        self,
        service: Service,
        before: str,
        node: str,
        claims: Mapping[str, ServiceClaim],
        problems: Mapping[str, str],
    ) -> str:
        """Why *before* does not have it any more, and *node* has."""
        if not before:
            return ""
        if before in problems and before not in claims:
            return f"peer {before}: {problems[before]}"
        why = self._why.get(service) or _higher(before, claims)
        # in an orderly change nobody has it for a moment
        both = f"{before} and {node} both had it" if node and before in claims else ""
        return why or both or f"{before} has given it up"


def _higher(before: str, claims: Mapping[str, ServiceClaim]) -> str:
    """Who has taken it from *before* by its priority, as a reason."""
    after = (ServicePhase.CLAIMING, ServicePhase.ACQUIRING, ServicePhase.HOLDING)
    old = claims.get(before)
    for node, claim in claims.items():
        if old is not None and claim.phase in after and claim.priority > old.priority:
            return f"{node} has the higher priority"
    return ""
