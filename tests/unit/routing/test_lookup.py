"""Which foreign route the kernel takes."""

from __future__ import annotations

from socket import AF_INET

import pytest

from cuberouted.model import MAIN_TABLE, Prefix
from cuberouted.routing.lookup import Lookup
from cuberouted.routing.types import ForeignRoute, Rule

NETWORK = Prefix.parse("10.9.0.0/24")


def route(device, metric=0):
    return ForeignRoute(NETWORK, MAIN_TABLE, metric, 4, device)


@pytest.fixture
def lookup():
    lookup = Lookup(MAIN_TABLE, 50, lambda _: None)
    lookup.set_rules([Rule(AF_INET, 32766, MAIN_TABLE, 0)])
    return lookup


def dumped(lookup, *routes):
    for _ in lookup.set_routes(routes):
        pass


def test_the_first_of_a_dump_with_the_lowest_metric_is_taken(lookup):
    dumped(lookup, route(1, metric=9), route(2), route(3))
    assert lookup.find(NETWORK) == route(2)


def test_a_deletion_removes_that_route_alone(lookup):
    dumped(lookup, route(2), route(3))
    lookup.changed((), [route(3)])
    assert lookup.find(NETWORK) == route(2)
    lookup.changed((), [route(2)])
    assert lookup.find(NETWORK) is None
    assert not lookup.uncertain


@pytest.mark.parametrize(("added", "deleted"), [([route(3)], []), ([], [route(3)])])
def test_a_change_that_leaves_it_open_which_one_is_first_asks_for_a_dump(lookup, added, deleted):
    dumped(lookup, route(2))
    lookup.changed(added, deleted)
    assert lookup.uncertain
    dumped(lookup, route(2))
    assert not lookup.uncertain


def test_what_is_known_needs_no_dump(lookup):
    dumped(lookup, route(2))
    lookup.changed([route(2), route(3, metric=9)], [route(4, metric=5)])
    lookup.changed([route(3)], [route(2)])
    assert lookup.find(NETWORK) == route(3)
    assert not lookup.uncertain


def test_the_routes_around_a_prefix_come_as_the_kernel_would_take_them(lookup):
    host = Prefix.parse("10.9.0.7")
    longer = ForeignRoute(host, MAIN_TABLE, 9, 4, 5)
    elsewhere = ForeignRoute(NETWORK, 50, 0, 4, 6)
    aside = ForeignRoute(Prefix.parse("10.9.0.8"), MAIN_TABLE, 0, 4, 7)
    dumped(lookup, route(1, metric=9), route(2), longer, aside, elsewhere)
    main = [longer, route(2), route(1, metric=9)]
    assert [*lookup.around(host)] == [*main, elsewhere]
    lookup.set_rules([Rule(AF_INET, 9, 50, 0), Rule(AF_INET, 32766, MAIN_TABLE, 0)])
    assert [*lookup.around(host)] == [elsewhere, *main]
