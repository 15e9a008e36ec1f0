from __future__ import annotations

import socket

import pytest

from cuberouted.model import Prefix
from cuberouted.routing.linux import linkmsg, netlink
from cuberouted.routing.linux.monitor import EventBuffer
from cuberouted.routing.linux.routemsg import RTM_F_CLONED, RouteWriter
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID
from cuberouted.routing.types import ForeignRoute, KernelEvents, Nexthop, Route

TABLE, METRIC, PROTOCOL, STATIC = 1000, 50, 201, 4
HOST = Prefix.parse("10.9.0.1/32")
REPLACE = 0x100


def collected(*data: bytes) -> KernelEvents | None:
    buffer = EventBuffer(TABLE, METRIC, PROTOCOL, {TABLE, 254})
    for part in data:
        buffer.receive(part)
    return buffer.events()


def route(type_: int, protocol: int, table: int, metric: int = 20, flags: int = 0) -> bytes:
    packed = RouteWriter(table, metric, protocol).add(0, Route(HOST, 1, None))
    [message] = netlink.messages(packed)
    return netlink.frame(0, type_, flags, message.body)


def added(protocol: int = STATIC, table: int = TABLE, metric: int = 20, flags: int = 0) -> bytes:
    return route(netlink.RTM_NEWROUTE, protocol, table, metric, flags)


def deleted(protocol: int = STATIC, table: int = TABLE) -> bytes:
    return route(netlink.RTM_DELROUTE, protocol, table)


def nexthop(type_: int, protocol: int, id_: int = FIRST_NEXTHOP_ID, flags: int = 0) -> bytes:
    packed = linkmsg.write_nexthop(
        0, Nexthop(id_, socket.AF_INET, 3, None), protocol, replace=False
    )
    [message] = netlink.messages(packed)
    return netlink.frame(0, type_, flags, message.body)


FOREIGN = ForeignRoute(HOST, TABLE, 20, STATIC, None)


@pytest.mark.parametrize("kind", [16, 17, 20, 21])
def test_a_link_or_address_is_not_decoded(kind: int) -> None:
    assert collected(netlink.frame(0, kind, 0, b"\xff" * 20)) == KernelEvents(links=True)


def test_the_last_notification_of_a_foreign_route_counts() -> None:
    assert collected(added()) == KernelEvents(added=(FOREIGN,))
    assert collected(added(), deleted()) == KernelEvents(deleted=(FOREIGN,))
    assert collected(deleted() + added()) == KernelEvents(added=(FOREIGN,))


def test_our_table_and_the_main_table_matter_and_others_do_not() -> None:
    assert collected(added(table=254)) == KernelEvents(added=(FOREIGN._replace(table=254),))
    assert collected(added(table=77), added(table=255)) is None


def test_a_cached_route_is_ignored() -> None:
    body = bytearray(next(iter(netlink.messages(added()))).body)
    body[8:12] = netlink.number_attribute(0, RTM_F_CLONED)[4:]
    assert collected(netlink.frame(0, netlink.RTM_NEWROUTE, 0, bytes(body))) is None


def test_a_route_of_our_protocol_is_ours_in_any_table() -> None:
    assert collected(deleted(PROTOCOL, 77)) == KernelEvents(ours=True)
    assert collected(added(PROTOCOL)) == KernelEvents(ours=True)


def test_a_replaced_route_may_have_been_ours() -> None:
    stolen = collected(added(metric=METRIC, flags=REPLACE))
    assert stolen == KernelEvents(ours=True, added=(FOREIGN._replace(metric=METRIC),))
    assert collected(added(metric=METRIC)) == KernelEvents(added=(FOREIGN._replace(metric=METRIC),))
    assert collected(added(flags=REPLACE)) == KernelEvents(added=(FOREIGN,))


def test_a_nexthop_matters_if_it_is_ours_or_may_have_been() -> None:
    assert collected(nexthop(netlink.RTM_DELNEXTHOP, PROTOCOL, 7)) == KernelEvents(ours=True)
    assert collected(nexthop(netlink.RTM_NEWNEXTHOP, PROTOCOL)) == KernelEvents(ours=True)
    assert collected(nexthop(netlink.RTM_NEWNEXTHOP, STATIC)) is None
    stolen = nexthop(netlink.RTM_NEWNEXTHOP, STATIC, flags=REPLACE)
    assert collected(stolen) == KernelEvents(ours=True)
    assert collected(nexthop(netlink.RTM_NEWNEXTHOP, STATIC, 7, REPLACE)) is None


def test_malformed_notifications_count_as_lost() -> None:
    assert collected(added() + b"\x01" * 16) == KernelEvents(lost=True, added=(FOREIGN,))
    assert collected(netlink.frame(0, netlink.RTM_NEWROUTE, 0, b"")) == KernelEvents(lost=True)


def test_an_overflow_counts_as_lost() -> None:
    buffer = EventBuffer(TABLE, METRIC, PROTOCOL, {TABLE, 254})
    assert buffer.events() is None
    buffer.overflowed()
    assert buffer.events() == KernelEvents(lost=True)
