import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Prefix
from cuberouted.routing.fib import Fib
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID, Target
from cuberouted.routing.types import (
    Change,
    ChangeError,
    ForeignRoute,
    KernelState,
    Nexthop,
    Op,
    Route,
    StrayRoute,
)

V4, V6 = socket.AF_INET, socket.AF_INET6
CLIENTS_B, SERVERS_B = Target("B", V4, to_server=False), Target("B", V4, to_server=True)
CLIENTS_C = Target("C", V4, to_server=False)
TUN1, TUN2 = ResolvedNexthop(V4, 5, None), ResolvedNexthop(V4, 6, None)
PATHS: dict[tuple[str, int], ResolvedNexthop] = {
    ("B", V4): TUN1,
    ("C", V4): TUN2,
    ("B", V6): ResolvedNexthop(V6, 5, None),
}
HOST1, HOST2, SERVER = map(Prefix.parse, ("10.1.0.1", "10.1.0.2", "10.1.0.254"))
OURS = Prefix.parse("10.1.0.99").address
SOURCES = [(Prefix.parse("10.1.0.0/24"), OURS)]
METRIC = 50
NOW = 1000.0


class KernelModel:
    """As much of a kernel as the rules in `fib` are about."""

    def __init__(self, fib):
        self.fib, self.nexthops, self.routes = fib, {}, {}
        self.log = []

    def apply(self, changes):
        for change in changes:
            self.log.append(change)
            match change:
                case Change(Op.ADD, Nexthop() as nexthop):
                    assert nexthop.id not in self.nexthops
                    self.nexthops[nexthop.id] = nexthop
                case Change(Op.REPLACE, Nexthop() as nexthop):
                    assert self.nexthops[nexthop.id].family == nexthop.family
                    self.nexthops[nexthop.id] = nexthop
                case Change(Op.DELETE, Nexthop(id=gone)):
                    del self.nexthops[gone]
                    self.routes = {p: r for p, r in self.routes.items() if r.nexthop != gone}
                case Change(Op.ADD, Route() as route):
                    assert route.prefix not in self.routes
                    assert route.nexthop in self.nexthops
                    self.routes[route.prefix] = route
                case Change(Op.DELETE, Route() as route):
                    assert self.routes.pop(route.prefix) == route

    def follow(self, wanted):
        self.fib.set_desired(wanted, wanted.get)
        changes = self.fib.changes(wanted)
        self.apply(changes)
        assert not self.fib.acknowledge(changes, [], NOW)
        return changes

    def rescan(self, paths=PATHS, sources=SOURCES):
        found = KernelState(dict(self.nexthops), dict(self.routes))
        self.apply(self.fib.resync(found, paths, sources, NOW))
        changes = self.fib.changes(self.fib.prefixes())
        self.apply(changes)
        self.fib.acknowledge(changes, [], NOW)
        return changes

    def leads(self):
        return {p: self.nexthops[r.nexthop].device for p, r in self.routes.items()}


def new_fib():
    fib = Fib(METRIC)
    assert fib.resync(KernelState({}, {}), PATHS, SOURCES, NOW) == []
    return fib


@pytest.fixture
def fib():
    return new_fib()


@pytest.fixture
def kernel(fib):
    return KernelModel(fib)


def test_a_route_goes_in_with_its_nexthop_and_our_address_as_source(kernel):
    kernel.follow({HOST1: CLIENTS_B})
    [nexthop] = kernel.nexthops.values()
    assert nexthop == Nexthop(FIRST_NEXTHOP_ID, V4, TUN1.device, None)
    assert kernel.routes == {HOST1: Route(HOST1, nexthop.id, OURS)}


def test_nothing_is_done_twice(kernel):
    kernel.follow({HOST1: CLIENTS_B})
    assert kernel.follow({HOST1: CLIENTS_B}) == []
    assert kernel.rescan() == []


def test_the_loss_of_a_peer_is_one_message_however_many_clients_it_has(kernel):
    clients = [Prefix.host(bytes((10, 1, 1, n))) for n in range(200)]
    kernel.follow(dict.fromkeys(clients, CLIENTS_B) | {SERVER: SERVERS_B})
    [change] = kernel.follow(dict.fromkeys(clients, None))
    assert change.op is Op.DELETE
    assert isinstance(change.what, Nexthop)
    assert kernel.leads() == {SERVER: TUN1.device}
    assert kernel.rescan() == []


def test_a_client_that_roams_from_a_peer_that_is_then_lost_keeps_its_new_route(kernel):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    kernel.follow({HOST1: CLIENTS_C, HOST2: None})
    assert kernel.leads() == {HOST1: TUN2.device}


def test_a_peer_that_is_elsewhere_now_is_one_message_too(kernel):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    [change] = kernel.rescan(PATHS | {("B", V4): ResolvedNexthop(V4, 9, None)})
    assert change.op is Op.REPLACE
    assert kernel.leads() == {HOST1: 9, HOST2: 9}


def test_a_path_of_another_family_is_another_nexthop(kernel):
    kernel.follow({HOST1: CLIENTS_B})
    kernel.rescan(PATHS | {("B", V4): ResolvedNexthop(V6, 9, bytes(16))})
    assert kernel.leads() == {HOST1: 9}


def test_without_a_path_the_route_waits_for_one(kernel, fib):
    kernel.rescan(paths={})
    assert kernel.follow({HOST1: CLIENTS_B}) == []
    assert (fib.desired_count, fib.installed_count) == (1, 0)
    kernel.rescan()
    assert kernel.leads() == {HOST1: TUN1.device}


def test_only_a_servers_own_route_leads_to_a_neighbour_that_is_shunned(kernel, fib):
    wanted = {HOST1: CLIENTS_B, HOST2: CLIENTS_C, SERVER: SERVERS_B}
    kernel.follow(wanted)
    before = kernel.leads()
    fib.nexthops.suppress("B")
    kernel.follow({})
    assert kernel.leads() == {HOST2: TUN2.device, SERVER: TUN1.device}
    fib.nexthops.unsuppress("B")
    kernel.follow(wanted)
    assert kernel.leads() == before


def test_everything_comes_back_when_the_kernel_has_dropped_it(kernel):
    kernel.follow({HOST1: CLIENTS_B, SERVER: SERVERS_B})
    before = dict(kernel.routes)
    kernel.routes.clear()
    kernel.nexthops.clear()
    kernel.rescan()
    assert kernel.routes == before


def test_a_source_address_that_has_come_is_put_into_the_routes(kernel):
    kernel.rescan(sources=())
    kernel.follow({HOST1: CLIENTS_B})
    assert kernel.routes[HOST1].source is None
    kernel.rescan()
    assert kernel.routes[HOST1].source == OURS


def test_after_a_restart_routes_are_recognised_and_left_in_place(kernel):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_C, SERVER: SERVERS_B})
    restarted = Fib(METRIC)
    restarted.resync(KernelState(kernel.nexthops, kernel.routes), PATHS, SOURCES, NOW)
    assert restarted.adopted() == {CLIENTS_B: [HOST1], CLIENTS_C: [HOST2], SERVERS_B: [SERVER]}
    wanted = {HOST1: CLIENTS_B, HOST2: CLIENTS_C, SERVER: SERVERS_B}
    restarted.set_desired(wanted, wanted.get)
    assert restarted.changes(restarted.prefixes()) == []


def test_routes_towards_nobody_we_know_are_removed(kernel, fib):
    stranger = Nexthop(FIRST_NEXTHOP_ID + 8, V4, 77, None)
    stray = StrayRoute(HOST2, table=7, metric=3)
    found = KernelState({stranger.id: stranger}, {HOST1: Route(HOST1, stranger.id, None)}, (stray,))
    assert fib.resync(found, PATHS, SOURCES, NOW) == [Change(Op.DELETE, stray)]
    assert fib.adopted() == {}
    assert fib.changes(fib.prefixes()) == [Change(Op.DELETE, stranger)]


def refuse(fib, changes, number, what):
    refusals = [ChangeError(c, number, "") for c in changes if isinstance(c.what, what)]
    return fib.acknowledge(changes, refusals, NOW)


def asked(fib, wanted):
    fib.set_desired(wanted, wanted.get)
    return fib.changes(wanted)


def test_a_foreign_route_of_our_metric_is_a_conflict_until_it_has_gone(fib):
    changes = asked(fib, {HOST1: CLIENTS_B})
    assert refuse(fib, changes, errno.EEXIST, Route) == set()
    assert list(fib.conflicts()) == [HOST1]
    assert not fib.stale
    assert [c.op for c in fib.changes([HOST1])] == [Op.ADD]
    fib.acknowledge(fib.changes([HOST1]), [], NOW)
    assert not fib.conflicts()


@pytest.mark.parametrize(("metric", "shadowed"), [(0, True), (49, True), (51, False)])
def test_a_foreign_route_of_lower_metric_shadows_ours(fib, metric, shadowed):
    other = ForeignRoute(HOST1, 254, metric, 4, 3)
    fib.acknowledge(asked(fib, {HOST1: CLIENTS_B}), [], NOW)
    fib.foreign_changed([other], [])
    assert (HOST1 in fib.conflicts()) is shadowed
    fib.foreign_changed([], [other])
    assert not fib.conflicts()


def test_a_nexthop_id_in_use_sends_us_to_the_next(fib):
    changes = asked(fib, {HOST1: CLIENTS_B})
    assert fib.acknowledge(
        changes, [ChangeError(c, errno.EEXIST, "") for c in changes[:1]], NOW
    ) == {HOST1}
    again = fib.changes([HOST1])
    assert again[0] == Change(Op.ADD, Nexthop(FIRST_NEXTHOP_ID + 2, V4, TUN1.device, None))
    assert again[-1].what.nexthop == FIRST_NEXTHOP_ID + 2


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENETDOWN, errno.ENODEV, errno.EBUSY])
def test_any_other_refusal_asks_for_a_scan(fib, number):
    refuse(fib, asked(fib, {HOST1: CLIENTS_B}), number, Route)
    assert fib.stale


def test_a_nexthop_that_was_refused_is_asked_for_with_the_next_route(fib):
    first = asked(fib, {HOST1: CLIENTS_B})
    refuse(fib, first, errno.EBUSY, Nexthop)
    assert first[0] in asked(fib, {HOST2: CLIENTS_B})


def test_what_is_gone_already_need_not_be_deleted(kernel, fib):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    refuse(fib, asked(fib, {HOST1: None}), errno.ESRCH, Route)
    assert not fib.stale
    assert fib.installed_count == 1


targets = st.sampled_from([None, CLIENTS_B, CLIENTS_C, SERVERS_B])
tables = st.dictionaries(st.sampled_from([HOST1, HOST2, SERVER]), targets)
worlds = st.sampled_from(
    [PATHS, {}, {("B", V4): TUN1}, PATHS | {("C", V4): ResolvedNexthop(V4, 8, None)}]
)


@given(st.lists(st.tuples(tables, worlds)))
def test_the_kernel_ends_up_as_wanted_whatever_came_before(story):
    kernel = KernelModel(new_fib())
    seen = PATHS
    wanted: dict[Prefix, Target | None] = {}
    for table, world in story:
        wanted |= table
        kernel.follow(table)
        if seen is not world:
            seen = world
            kernel.rescan(world)
        expected = {
            prefix: world[target.name, V4].device
            for prefix, target in wanted.items()
            if target and (target.name, V4) in world
        }
        assert kernel.leads() == expected
        assert kernel.rescan(world) == []
        assert len(kernel.nexthops) == len({wanted[prefix] for prefix in expected})
