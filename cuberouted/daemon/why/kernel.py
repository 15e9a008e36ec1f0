"""Asks a kernel what `why` wants to know of it, with the daemon or without."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs
import trio

from cuberouted.api import report_why as report
from cuberouted.config import Config
from cuberouted.daemon.host import data_interfaces
from cuberouted.daemon.host import neighbours as host_neighbours
from cuberouted.daemon.why.facts import KernelFacts, OwnRoute, Probe, destination
from cuberouted.daemon.why.report import explain_kernel
from cuberouted.daemon.why.verdict import judge_kernel
from cuberouted.model import Prefix
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.lookup import Lookup, shortened
from cuberouted.routing.neighbours import resolve
from cuberouted.routing.types import (
    ForeignRoute,
    Link,
    Nexthop,
    Route,
    links_by_name,
)

MAX_SOURCES = 100
"""Addresses of a network that are tried to find one which may be the source of a packet."""


@attrs.frozen
class Place:
    """Where a daemon keeps its routes: table, metric, protocol; and the data interfaces' names."""

    table: int
    metric: int
    protocol: int
    data_interfaces: Collection[str]

    @classmethod
    def of(cls, config: Config) -> Place:
        """The place that *config* names."""
        return cls(
            config.route_table, config.route_metric, config.route_protocol, data_interfaces(config)
        )


async def collect(
    kernel: KernelApi,
    place: Place,
    prefix: Prefix,
    sources: Mapping[str, bytes],
    own: Sequence[OwnRoute],
    foreign: Sequence[ForeignRoute],
) -> KernelFacts:
    """The kernel's part of *prefix*. *sources*: of forwarded packets, by interface.

    Raises:
      KernelError: the kernel did not answer.
    """
    links = links_by_name(await kernel.links())
    indexes = {name: link.index for name, link in links.items()}
    address = destination(prefix)
    probes = [Probe(await kernel.lookup(address))]
    for name, source in sources.items():
        index = indexes.get(name)
        if index is not None:
            probes.append(Probe(await kernel.lookup(address, source, index), index, source))
    return KernelFacts(
        prefix=prefix,
        devices={link.index: link.name for link in links.values()},
        indexes=indexes,
        running=frozenset(link.index for link in links.values() if link.running),
        data_devices=frozenset(indexes[name] for name in place.data_interfaces if name in indexes),
        table=place.table,
        protocol=place.protocol,
        own=own,
        foreign=foreign,
        rules=[rule for rule in await kernel.dump_rules() if rule.family == prefix.family],
        probes=probes,
    )


async def explain_without_daemon(
    kernel: KernelApi, config: Config, prefix: Prefix
) -> report.WhyAddress:
    """What *kernel* alone knows of *prefix*.

    Raises:
      KernelError: the kernel did not answer.
    """
    place = Place.of(config)
    state = await kernel.dump()
    lookup = Lookup(place.table, place.metric, lambda _: None)
    lookup.set_rules(await kernel.dump_rules())
    for _ in lookup.set_routes(await kernel.foreign_routes(lambda r: r.prefix.contains(prefix))):
        await trio.lowlevel.checkpoint()
    own = [OwnRoute(route) for route in own_routes(place, prefix, state.routes, state.nexthops)]
    links = links_by_name(await kernel.links())
    sources = {
        name: source
        for name in place.data_interfaces
        if name in links and (source := _source(links[name], prefix)) is not None
    }
    facts = await collect(kernel, place, prefix, sources, own, [*lookup.around(prefix)])
    neighbours = {
        (nexthop.device, nexthop.gateway): f"to {name}"
        for (name, family), nexthop in resolve(host_neighbours(config), links).items()
        if family == prefix.family
    }
    return explain_kernel(judge_kernel(facts, neighbours), facts)


def own_routes(
    place: Place,
    prefix: Prefix,
    routes: Mapping[Prefix, Route],
    nexthops: Mapping[int, Nexthop],
) -> Iterator[ForeignRoute]:
    """Our *routes* to *prefix* and around it, the longest first, with where they lead."""
    for network in around(prefix):
        route = routes.get(network)
        if route is None:
            continue
        nexthop = nexthops.get(route.nexthop)
        yield ForeignRoute(
            network,
            place.table,
            place.metric,
            place.protocol,
            device=None if nexthop is None else nexthop.device,
            gateway=None if nexthop is None else nexthop.gateway,
        )


def around(prefix: Prefix) -> Iterator[Prefix]:
    """*prefix* and every network around it, the longest first."""
    return (shortened(prefix, length) for length in range(prefix.length, -1, -1))


def addresses_in(network: Prefix) -> Iterator[bytes]:
    """The last addresses of *network* that a client may have, at most MAX_SOURCES."""
    size = len(network.address)
    first = int.from_bytes(network.address)
    last = first | ((1 << (8 * size - network.length)) - 1)
    for number in range(last - 1, max(first, last - 1 - MAX_SOURCES), -1):
        yield number.to_bytes(size)


def _source(link: Link, prefix: Prefix) -> bytes | None:
    own = {address.local for address in link.addresses}
    for address in link.addresses:
        if len(address.local) == len(prefix.address):
            for candidate in addresses_in(address.network):
                if candidate not in own and not prefix.contains(Prefix.host(candidate)):
                    return candidate
    return None
