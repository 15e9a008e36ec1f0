import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.events import RouteTrace
from cuberouted.model import Prefix
from cuberouted.routing.fib import Fib
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.nexthops import FIRST_NEXTHOP_ID, Target
from cuberouted.routing.types import (
    Change,
    ChangeError,
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
RESOLVED: dict[tuple[str, int], ResolvedNexthop] = {
    ("B", V4): TUN1,
    ("C", V4): TUN2,
    ("B", V6): ResolvedNexthop(V6, 5, None),
}
HOST1, HOST2, SERVER = map(Prefix.parse, ("10.1.0.1", "10.1.0.2", "10.1.0.254"))
NETWORK = Prefix.parse("192.168.50.0/24")
OURS = Prefix.parse("10.1.0.99").address
SOURCES = [(Prefix.parse("10.1.0.0/24"), OURS)]
METRIC = 50
NOW = 1000.0


class KernelModel:
    """The parts of a kernel on which the FIB depends."""

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
        self.fib.set_desired(wanted.items())
        return self.make(wanted, check=True)

    def make(self, prefixes, *, check=False):
        """Make the FIB's changes for *prefixes*, and remove unused nexthops, as KernelSync does."""
        made = []
        for changes in (self.fib.changes(prefixes), None):
            changes = self.fib.unused_nexthops() if changes is None else changes
            self.apply(changes)
            retry = self.fib.acknowledge(changes, [], NOW)
            assert not (check and retry)
            made += changes
        return made

    def rescan(self, resolved=RESOLVED, sources=SOURCES):
        found = KernelState(dict(self.nexthops), dict(self.routes))
        self.apply(self.fib.resync(found, resolved, sources, NOW))
        return self.make(self.fib.prefixes())

    def leads(self):
        return {p: self.nexthops[r.nexthop].device for p, r in self.routes.items()}


def new_fib():
    fib = Fib(METRIC)
    assert fib.resync(KernelState({}, {}), RESOLVED, SOURCES, NOW) == []
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


def test_no_change_is_made_twice(kernel):
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


def test_a_peer_that_moves_to_another_device_is_one_message(kernel):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    [change] = kernel.rescan(RESOLVED | {("B", V4): ResolvedNexthop(V4, 9, None)})
    assert change.op is Op.REPLACE
    assert kernel.leads() == {HOST1: 9, HOST2: 9}


def test_a_nexthop_of_another_family_is_another_object(kernel):
    kernel.follow({HOST1: CLIENTS_B})
    kernel.rescan(RESOLVED | {("B", V4): ResolvedNexthop(V6, 9, bytes(16))})
    assert kernel.leads() == {HOST1: 9}


def test_a_route_without_a_nexthop_waits_for_one(kernel, fib):
    kernel.rescan(resolved={})
    assert kernel.follow({HOST1: CLIENTS_B}) == []
    assert (fib.desired_count, fib.installed_count) == (1, 0)
    kernel.rescan()
    assert kernel.leads() == {HOST1: TUN1.device}


def test_only_the_route_to_its_server_leads_to_a_suppressed_neighbour(kernel, fib):
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


def test_routes_get_a_source_address_that_has_appeared(kernel):
    kernel.rescan(sources=())
    kernel.follow({HOST1: CLIENTS_B})
    assert kernel.routes[HOST1].source is None
    kernel.rescan()
    assert kernel.routes[HOST1].source == OURS


def test_after_a_restart_routes_are_recognised_and_left_in_place(kernel):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_C, SERVER: SERVERS_B})
    restarted = Fib(METRIC)
    restarted.resync(KernelState(kernel.nexthops, kernel.routes), RESOLVED, SOURCES, NOW)
    assert restarted.adopted() == {CLIENTS_B: [HOST1], CLIENTS_C: [HOST2], SERVERS_B: [SERVER]}
    wanted = {HOST1: CLIENTS_B, HOST2: CLIENTS_C, SERVER: SERVERS_B}
    restarted.set_desired(wanted.items())
    assert restarted.changes(restarted.prefixes()) == restarted.unused_nexthops() == []


def test_routes_to_an_unknown_neighbour_are_removed(kernel, fib):
    unknown = Nexthop(FIRST_NEXTHOP_ID + 8, V4, 77, None)
    stray = StrayRoute(HOST2, table=7, metric=3)
    found = KernelState({unknown.id: unknown}, {HOST1: Route(HOST1, unknown.id, None)}, (stray,))
    assert fib.resync(found, RESOLVED, SOURCES, NOW) == [Change(Op.DELETE, stray)]
    assert fib.adopted() == {}
    assert fib.changes(fib.prefixes()) == []
    assert fib.unused_nexthops() == [Change(Op.DELETE, unknown)]


def fail(fib, changes, number, what):
    errors = [ChangeError(c, number, "") for c in changes if isinstance(c.what, what)]
    return fib.acknowledge(changes, errors, NOW)


def changes_for(fib, wanted):
    fib.set_desired(wanted.items())
    return fib.changes(wanted)


def test_a_foreign_route_with_our_metric_is_a_conflict_until_it_is_deleted(fib):
    changes = changes_for(fib, {HOST1: CLIENTS_B})
    assert fail(fib, changes, errno.EEXIST, Route) == set()
    assert list(fib.refused()) == [HOST1]
    assert not fib.out_of_sync
    assert [c.op for c in fib.changes([HOST1])] == [Op.ADD]
    fib.acknowledge(fib.changes([HOST1]), [], NOW)
    assert not fib.refused()


def test_our_own_route_that_could_not_be_deleted_is_no_foreign_one(kernel, fib):
    kernel.follow({HOST1: CLIENTS_B})
    changes = [c for c in changes_for(fib, {HOST1: CLIENTS_C}) if isinstance(c.what, Route)]
    assert [c.op for c in changes] == [Op.DELETE, Op.ADD]
    numbers = errno.ENETUNREACH, errno.EEXIST
    errors = [ChangeError(c, n, "") for c, n in zip(changes, numbers, strict=True)]
    fib.acknowledge(changes, errors, NOW)
    assert (fib.out_of_sync, dict(fib.refused())) == (True, {})


def traced(fib):
    found = [(trace.prefix, trace.what, trace.to and trace.to.name) for trace in fib.traces]
    fib.traces.clear()
    return found


def test_what_becomes_of_a_route_is_traced(kernel, fib):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    assert traced(fib) == [(HOST1, RouteTrace.ADDED, "B"), (HOST2, RouteTrace.ADDED, "B")]
    kernel.follow({HOST1: CLIENTS_C})
    assert traced(fib) == [(HOST1, RouteTrace.MOVED, "C")]
    changes = [c for c in changes_for(fib, {HOST1: CLIENTS_B}) if isinstance(c.what, Route)]
    fib.acknowledge(changes, [ChangeError(changes[0], errno.ENETUNREACH, "")], NOW)
    assert traced(fib) == [(HOST1, RouteTrace.MOVED, "B")]
    kernel.routes.update({HOST1: changes[1].what})
    kernel.follow({HOST1: None, HOST2: None})
    assert sorted(traced(fib)) == [
        (HOST1, RouteTrace.REMOVED, None),
        (HOST2, RouteTrace.REMOVED, None),
    ]


def test_what_a_dump_shows_is_traced(kernel, fib):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    traced(fib)
    del kernel.routes[HOST1]
    kernel.rescan()
    assert traced(fib) == [(HOST1, RouteTrace.REMOVED, None), (HOST1, RouteTrace.ADDED, "B")]
    restarted = Fib(METRIC)
    restarted.resync(KernelState(kernel.nexthops, kernel.routes), RESOLVED, SOURCES, NOW)
    assert sorted(traced(restarted)) == [
        (HOST1, RouteTrace.ADOPTED, "B"),
        (HOST2, RouteTrace.ADOPTED, "B"),
    ]


def test_the_longest_route_around_a_prefix_is_one_that_can_lead_somewhere(fib):
    nowhere = Target("nobody", V4, to_server=False)
    around = Prefix.parse("10.0.0.0/8")
    fib.set_desired({HOST1: nowhere, around: CLIENTS_B}.items())
    assert fib.longest(HOST1) == around
    fib.set_desired({HOST1: CLIENTS_B}.items())
    assert (fib.longest(HOST1), fib.longest(HOST2)) == (HOST1, around)
    fib.set_desired({HOST1: None, around: None}.items())
    assert fib.longest(HOST1) is None


def test_a_scan_is_made_right_from_the_longest_prefix_to_the_widest(fib):
    wide = Prefix.parse("192.168.0.0/16")
    fib.set_desired((p, CLIENTS_B) for p in (wide, HOST1, NETWORK, HOST2))
    first, second, *networks = fib.prefixes()
    assert {first, second} == {HOST1, HOST2}
    assert networks == [NETWORK, wide]


def test_a_foreign_nexthop_with_our_id_makes_us_use_the_next_id(fib):
    changes = changes_for(fib, {HOST1: CLIENTS_B})
    assert fib.acknowledge(
        changes, [ChangeError(c, errno.EEXIST, "") for c in changes[:1]], NOW
    ) == {HOST1}
    again = fib.changes([HOST1])
    assert again[0] == Change(Op.ADD, Nexthop(FIRST_NEXTHOP_ID + 2, V4, TUN1.device, None))
    assert again[-1].what.nexthop == FIRST_NEXTHOP_ID + 2


def test_ids_that_others_have_in_a_dump_are_not_tried(fib):
    taken = frozenset({FIRST_NEXTHOP_ID, FIRST_NEXTHOP_ID + 2})
    fib.resync(KernelState({}, {}, (), taken), RESOLVED, SOURCES, NOW)
    first, _ = changes_for(fib, {HOST1: CLIENTS_B})
    assert first.what.id == FIRST_NEXTHOP_ID + 4


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENETDOWN, errno.ENODEV, errno.EBUSY])
def test_any_other_error_means_out_of_sync(fib, number):
    fail(fib, changes_for(fib, {HOST1: CLIENTS_B}), number, Route)
    assert fib.out_of_sync


def test_a_refused_nexthop_is_tried_again_with_the_next_route(fib):
    first = changes_for(fib, {HOST1: CLIENTS_B})
    fail(fib, first, errno.EBUSY, Nexthop)
    assert first[0] in changes_for(fib, {HOST2: CLIENTS_B})


def test_deleting_what_is_already_gone_is_no_error(kernel, fib):
    kernel.follow({HOST1: CLIENTS_B, HOST2: CLIENTS_B})
    fail(fib, changes_for(fib, {HOST1: None}), errno.ESRCH, Route)
    assert not fib.out_of_sync
    assert fib.installed_count == 1


targets = st.sampled_from([None, CLIENTS_B, CLIENTS_C, SERVERS_B])
tables = st.dictionaries(st.sampled_from([HOST1, HOST2, SERVER]), targets)
worlds = st.sampled_from(
    [RESOLVED, {}, {("B", V4): TUN1}, RESOLVED | {("C", V4): ResolvedNexthop(V4, 8, None)}]
)


@given(st.lists(st.tuples(tables, worlds)))
def test_the_kernel_ends_up_as_desired_whatever_came_before(story):
    kernel = KernelModel(new_fib())
    seen = RESOLVED
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
