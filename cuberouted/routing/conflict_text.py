"""Describes foreign routes as `ip route` prints them, and conflicts with their cure. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cuberouted.model import MAIN_TABLE, Kind, format_address, printable_name
from cuberouted.routing.conflicts import Conflict
from cuberouted.routing.rib import RibRoute
from cuberouted.routing.types import (
    LOCAL_TABLE,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    ForeignRoute,
)

_TYPES = {
    RTN_LOCAL: "local",
    RTN_BLACKHOLE: "blackhole",
    RTN_UNREACHABLE: "unreachable",
    RTN_PROHIBIT: "prohibit",
    RTN_THROW: "throw",
}

_VERDICTS = {
    RTN_LOCAL: "are delivered to this host itself",
    RTN_BLACKHOLE: "are dropped",
    RTN_UNREACHABLE: "are rejected",
    RTN_PROHIBIT: "are rejected",
}

_TABLES = {MAIN_TABLE: "main", LOCAL_TABLE: "local", 253: "default"}

_KERNEL, _BOOT, _STATIC = 2, 3, 4

# /etc/iproute2/rt_protos, as `ip route` prints them
_PROTOCOLS = {
    1: "redirect",
    _KERNEL: "kernel",
    _BOOT: "boot",
    _STATIC: "static",
    8: "gated",
    9: "ra",
    11: "zebra",
    12: "bird",
    15: "ntk",
    16: "dhcp",
    18: "keepalived",
    42: "babel",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    192: "eigrp",
}

MAX_LISTED = 3
"""Routes that a sentence on several lists."""


def describe_conflict(
    conflict: Conflict, devices: Mapping[int, str], data_devices: Collection[int], own_table: int
) -> str:
    """What happens to whom, and what to do. *devices*: names by interface index."""
    route = conflict.route
    return (
        f"{describe_route(route, devices)}: packets to {_target(conflict.first)}"
        f"{_others(conflict)} {_verdict(route, devices)};"
        f" {cure(conflict, devices, data_devices, own_table)}"
    )


def describe_route(route: ForeignRoute, devices: Mapping[int, str]) -> str:
    """A route as `ip route` prints it, with its table, protocol and metric."""
    protocol = _PROTOCOLS.get(route.protocol, str(route.protocol))
    metric = f", metric {route.metric}" if route.metric else ""
    table = _table(route.table)
    return f"{_start(route, devices)} in table {table} (protocol {protocol}{metric})"


def describe_shortly(route: ForeignRoute, devices: Mapping[int, str]) -> str:
    """A route as `ip route` prints it, with its table if that is not the main one."""
    aside = route.table in (MAIN_TABLE, LOCAL_TABLE)
    return f"{_start(route, devices)}{'' if aside else f' in table {_table(route.table)}'}"


def describe_intruders(
    routes: Sequence[ForeignRoute], devices: Mapping[int, str], table: int
) -> str:
    """Routes of others are in our own *table*, and what that means."""
    shown = ", ".join(_start(route, devices) for route in routes[:MAX_LISTED])
    more = f" and {len(routes) - MAX_LISTED} more" if len(routes) > MAX_LISTED else ""
    return (
        f"table {_table(table)} (route_table) has routes that are not cuberouted's: {shown}{more}:"
        " the kernel consults it before the main table (default routes in it are ignored);"
        " remove them, or set route_table to a table that nobody else uses"
    )


def _start(route: ForeignRoute, devices: Mapping[int, str]) -> str:
    words = [str(route.prefix)]
    if route.type != RTN_UNICAST:
        words.insert(0, _TYPES.get(route.type, f"type {route.type}"))
    if route.gateway is not None:
        words += ["via", format_address(route.gateway)]
    if route.device is not None and route.type == RTN_UNICAST:
        words += ["dev", _device(route.device, devices)]
    return " ".join(words)


def _device(index: int, devices: Mapping[int, str]) -> str:
    return devices.get(index, f"if{index}")


def _table(number: int) -> str:
    return _TABLES.get(number, str(number))


def _target(claim: RibRoute) -> str:
    prefix, kind = claim.advertisement.prefix, claim.advertisement.kind
    name = printable_name(claim.advertisement.name)
    address = prefix.short
    if kind is Kind.SERVER:
        return f"{address}, the data address of {claim.node},"
    if kind is Kind.SERVICE:
        return f"{address}, the address of service {name} at {claim.node},"
    where = "here" if claim.leads_here else f"at {claim.node}"
    if kind is Kind.NETWORK:
        return f"{address}, a network behind {name or 'a client'}, which is connected {where},"
    return f"{name + ', ' if name else ''}{address}, which is connected {where},"


def _others(conflict: Conflict) -> str:
    more = conflict.count - 1
    return f" and to {more} more client{'' if more == 1 else 's'}" if more else ""


def _verdict(route: ForeignRoute, devices: Mapping[int, str]) -> str:
    if route.type == RTN_UNICAST:
        if route.device is None:
            return "leave by several nexthops"
        via = f" to {format_address(route.gateway)}" if route.gateway is not None else ""
        return f"leave by {_device(route.device, devices)}{via}"
    return _VERDICTS.get(route.type, "go elsewhere")


def cure(
    conflict: Conflict, devices: Mapping[int, str], data_devices: Collection[int], own_table: int
) -> str:
    """What to do about it, with the command where there is one."""
    route, claim = conflict.route, conflict.first
    if conflict.wider and route.table in (own_table, MAIN_TABLE):
        return (
            f"no route leads to {claim.advertisement.prefix} here:"
            " add a `route` (or `route-ipv6`) for it to OpenVPN's configuration"
        )
    if (
        not route.prefix.is_host
        and route.device in data_devices
        and own_table == route.table == MAIN_TABLE
    ):
        # OpenVPN's own `route` for a network behind a client is the usual case
        return "set route_table, whose routes the kernel consults before the main table"
    if route.protocol not in (_BOOT, _STATIC):
        return "remove it where it was configured"
    metric = f" metric {route.metric}" if route.metric else ""
    command = f"ip route del {_start(route, devices)} table {_table(route.table)}{metric}"
    return f"remove it where it was configured, or by `{command}`"
