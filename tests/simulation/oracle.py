"""What every kernel should contain, given where each client is truly connected."""

from __future__ import annotations

from collections.abc import Iterator

from cuberouted.model import Prefix
from tests.fakes import forwarding
from tests.fakes.kernel_state import Place
from tests.fakes.server import METRIC
from tests.simulation.world import Node, World

Table = dict[Prefix, str]
"""The routes of one node: prefix -> node, or the name of a device that leads to none."""


def installed(node: Node) -> Table:
    """The routes of ours in its kernel."""
    names = {device.index: name for name, device in node.kernel.devices.items()}
    found = node.kernel.installed
    return {
        prefix: names.get(found.nexthops[route.nexthop].device, "?").removeprefix("to-")
        if route.nexthop in found.nexthops
        else "?"
        for prefix, route in found.routes.items()
    }


def violations(world: World) -> Iterator[str]:
    """What is wrong after everything has settled."""
    running = [node for node in world.nodes if node.running]
    tables = {node.name: installed(node) for node in running}
    holders = claims(running)
    servers = {Prefix.parse(node.server.data_address): node for node in world.nodes}
    known = {*holders, *(prefix for table in tables.values() for prefix in table)}
    known -= servers.keys() | {service.prefix for service in world.plan.services}
    for prefix in sorted(known):
        yield from _of_client(prefix, holders, running, tables)
    for prefix, server in servers.items():
        yield from _of_server(world, prefix, server, running, tables)
    for node in running:
        yield from _of_kernel(node)
        yield from (f"{node.name}: {wrong}" for wrong in node.replay.differences())
    yield from misdelivered(world)


def claims(running: list[Node]) -> dict[Prefix, list[str]]:
    """The nodes that list each prefix and may advertise it."""
    holders: dict[Prefix, list[str]] = {}
    for node in running:
        for prefix, _ in node.lists():
            if node.allows(prefix) and node.name not in holders.setdefault(prefix, []):
                holders[prefix].append(node.name)
    return holders


def misdelivered(world: World) -> Iterator[str]:
    """Packets that do not arrive at the node of the longest claim, from every node."""
    running = [node for node in world.nodes if node.running]
    kernels = {node.name: node.kernel for node in world.nodes}
    tunnels = {(a.name, f"to-{b.name}"): b.name for a in world.nodes for b in a.others}
    holders = claims(running)
    for address in sorted(forwarding.addresses_of(holders)):
        claim = forwarding.longest_claim(holders, address)
        assert claim is not None
        for node in running:
            # the longest claim that a node accepts is the same for all that accept any
            if not node.allows(Prefix.host(address)) or _is_own(world, address):
                continue
            way = forwarding.walk(kernels, tunnels, node.name, address)
            if forwarding.misdelivered(way, claim, holders, kernels):
                at = " and ".join(holders[claim])
                yield f"to {Prefix.host(address)} of {claim} at {at}: {way}"


def _is_own(world: World, address: bytes) -> bool:
    """Whether it is the data address of a server, or that of a service."""
    servers = {Prefix.parse(node.server.data_address).address for node in world.nodes}
    return address in servers | {service.prefix.address for service in world.plan.services}


def covered(node: Node, prefix: Prefix, holders: dict[Prefix, list[str]]) -> bool | None:
    """Whether a wider prefix is at another node; None: at another and at this one.

    If so, *prefix* needs a route to the data device where it is listed.
    """
    around = [
        at
        for wider, at in holders.items()
        if wider != prefix and wider.contains(prefix) and node.allows(wider)
    ]
    if any(node.name not in at for at in around):
        return True
    return None if any(at != [node.name] for at in around) else False


def _leads_right(
    node: Node, to: str | None, holder: str, prefix: Prefix, holders: dict[Prefix, list[str]]
) -> bool:
    if node.name != holder:
        return to == holder
    wanted = covered(node, prefix, holders)
    return to in ("tun0", None) if wanted is None else to == ("tun0" if wanted else None)


def _of_client(
    prefix: Prefix,
    all_holders: dict[Prefix, list[str]],
    running: list[Node],
    tables: dict[str, Table],
) -> Iterator[str]:
    """The routes of all nodes lead to the same node, which lists the prefix.

    On that node a route leads to its data device if a wider prefix is elsewhere, or else none.
    """
    holders = all_holders.get(prefix, [])
    concerned = [node for node in running if node.allows(prefix) and not is_blocked(node, prefix)]
    if not holders:
        for node in running:
            if prefix in tables[node.name]:
                yield f"{node.name} has a route for {prefix}, which no node lists"
        return
    for node in running:
        if node not in concerned and prefix in tables[node.name]:
            yield f"{node.name} has a route for {prefix}, which its allowed_networks exclude"
    found = {node.name: tables[node.name].get(prefix) for node in concerned}
    for holder in holders:
        if all(
            _leads_right(node, found[node.name], holder, prefix, all_holders) for node in concerned
        ):
            return
    yield f"{prefix} is at {' and '.join(holders)}, the routes lead to {found}"


def _of_server(
    world: World, prefix: Prefix, server: Node, running: list[Node], tables: dict[str, Table]
) -> Iterator[str]:
    for node in running:
        wanted = server.name if server.running or world.plan.data_ips else None
        if node is server:
            wanted = None
        found = tables[node.name].get(prefix)
        if found != wanted and not is_blocked(node, prefix):
            yield f"{node.name}: the data address of {server.name} leads to {found}, not {wanted}"


def _of_kernel(node: Node) -> Iterator[str]:
    """No unused nexthop, no stray route; the preferred source and the rules are right."""
    found = node.kernel.installed
    used = {route.nexthop for route in found.routes.values()}
    idle = found.nexthops.keys() - used
    if used - found.nexthops.keys() or (idle and not _has_blocked(node)):
        yield f"{node.name}: routes use nexthops {sorted(used)}, there are {sorted(found.nexthops)}"
    if found.strays:
        yield f"{node.name}: strays {found.strays}"
    own = Prefix.parse(node.server.data_address).address
    for prefix, route in found.routes.items():
        if route.source != (own if len(prefix.address) == 4 else None):
            yield f"{node.name}: route {prefix} prefers source {route.source!r}"
    if len(node.kernel.rule_list) != (0 if node.plan.table == 254 else 2):
        yield f"{node.name}: rules {node.kernel.rule_list}"


def _has_blocked(node: Node) -> bool:
    """Whether a nexthop may be unused while a foreign route is in the place of ours."""
    return any(
        entry.protocol != node.kernel.protocol and place.metric == METRIC
        for place, entry in node.kernel.routes.items()
    )


def is_blocked(node: Node, prefix: Prefix) -> bool:
    """Whether a foreign route is in the place of ours."""
    entry = node.kernel.routes.get(Place(prefix, node.kernel.table, METRIC))
    return entry is not None and entry.protocol != node.kernel.protocol
