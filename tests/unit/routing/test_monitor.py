from __future__ import annotations

import socket

import pytest

from cuberouted.model import Prefix
from cuberouted.routing.linux import netlink, routemsg
from cuberouted.routing.linux.monitor import EventBuffer
from cuberouted.routing.linux.routemsg import RouteWriter
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import ForeignRoute, KernelEvents, Nexthop, Route

TABLE, METRIC, PROTOCOL, STATIC = 1000, 50, 201, 4
HOST = Prefix.parse("10.9.0.1/32")
REPLACE = 0x100


def gathered(*data: bytes) -> KernelEvents | None:
    gathering = EventBuffer(TABLE, METRIC, PROTOCOL)
    for part in data:
        gathering.take(part)
    return gathering.events()


def route(kind: int, protocol: int, table: int, metric: int = 20, flags: int = 0) -> bytes:
    packed = RouteWriter(table, metric, protocol).add(0, Route(HOST, 1, None))
    [message] = netlink.messages(packed)
    return netlink.frame(0, kind, flags, message.body)


def new(protocol: int = STATIC, table: int = TABLE, metric: int = 20, flags: int = 0) -> bytes:
    return route(routemsg.RTM_NEWROUTE, protocol, table, metric, flags)


def gone(protocol: int = STATIC, table: int = TABLE) -> bytes:
    return route(routemsg.RTM_DELROUTE, protocol, table)


def nexthop(kind: int, protocol: int, id_: int = FIRST_NEXTHOP_ID, flags: int = 0) -> bytes:
    packed = routemsg.write_nexthop(
        0, Nexthop(id_, socket.AF_INET, 3, None), protocol, replace=False
    )
    [message] = netlink.messages(packed)
    return netlink.frame(0, kind, flags, message.body)


FOREIGN = ForeignRoute(HOST, TABLE, 20, STATIC, None)


@pytest.mark.parametrize("kind", [16, 17, 20, 21])
def test_a_link_or_address_is_told_without_reading_it(kind: int) -> None:
    assert gathered(netlink.frame(0, kind, 0, b"\xff" * 20)) == KernelEvents(links=True)


def test_a_foreign_route_is_told_by_its_last_word() -> None:
    assert gathered(new()) == KernelEvents(added=(FOREIGN,))
    assert gathered(new(), gone()) == KernelEvents(deleted=(FOREIGN,))
    assert gathered(gone() + new()) == KernelEvents(added=(FOREIGN,))


def test_the_main_table_concerns_us_and_others_do_not() -> None:
    assert gathered(new(table=254)) == KernelEvents(added=(FOREIGN._replace(table=254),))
    assert gathered(new(table=77), new(table=255)) is None


def test_a_cached_route_does_not_concern_us() -> None:
    body = bytearray(next(iter(netlink.messages(new()))).body)
    body[8:12] = netlink.number_attribute(0, routemsg.RTM_F_CLONED)[4:]
    assert gathered(netlink.frame(0, routemsg.RTM_NEWROUTE, 0, bytes(body))) is None


def test_a_route_of_our_protocol_is_ours_in_any_table() -> None:
    assert gathered(gone(PROTOCOL, 77)) == KernelEvents(ours=True)
    assert gathered(new(PROTOCOL)) == KernelEvents(ours=True)


def test_a_replaced_route_may_have_been_ours() -> None:
    stolen = gathered(new(metric=METRIC, flags=REPLACE))
    assert stolen == KernelEvents(ours=True, added=(FOREIGN._replace(metric=METRIC),))
    assert gathered(new(metric=METRIC)) == KernelEvents(added=(FOREIGN._replace(metric=METRIC),))
    assert gathered(new(flags=REPLACE)) == KernelEvents(added=(FOREIGN,))


def test_a_nexthop_concerns_us_if_it_is_ours_or_may_have_been() -> None:
    assert gathered(nexthop(routemsg.RTM_DELNEXTHOP, PROTOCOL, 7)) == KernelEvents(ours=True)
    assert gathered(nexthop(routemsg.RTM_NEWNEXTHOP, PROTOCOL)) == KernelEvents(ours=True)
    assert gathered(nexthop(routemsg.RTM_NEWNEXTHOP, STATIC)) is None
    stolen = nexthop(routemsg.RTM_NEWNEXTHOP, STATIC, flags=REPLACE)
    assert gathered(stolen) == KernelEvents(ours=True)
    assert gathered(nexthop(routemsg.RTM_NEWNEXTHOP, STATIC, 7, REPLACE)) is None


def test_what_cannot_be_read_counts_as_lost() -> None:
    assert gathered(new() + b"\x01" * 16) == KernelEvents(lost=True, added=(FOREIGN,))
    assert gathered(netlink.frame(0, routemsg.RTM_NEWROUTE, 0, b"")) == KernelEvents(lost=True)


def test_an_overflow_is_told() -> None:
    gathering = EventBuffer(TABLE, METRIC, PROTOCOL)
    assert gathering.events() is None
    gathering.overflowed()
    assert gathering.events() == KernelEvents(lost=True)
