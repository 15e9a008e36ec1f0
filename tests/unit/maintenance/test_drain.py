"""Whom a node that does not want clients sends on, when, and what it says of them."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuberouted.maintenance import drain as drain_module
from cuberouted.maintenance.client import LEFT_AFTER, DrainedClient, LocalSession, Outcome
from cuberouted.maintenance.drain import MAX_DUE, Drain
from cuberouted.model import Kind, LocalRoute, Prefix, SessionId

LISTED_TIME = 5.0
STEP = 0.1


def prefix_of(number: int) -> Prefix:
    return Prefix.host(IPv4Address(0x0A090000 + number).packed)


@attrs.define
class Host:
    """The sessions of one host, and where else clients are. ``behave``: called with each client
    that was sent on. ``sent``: when who was sent on.
    """

    interval: float = 1.0
    paced: bool = True
    listed: dict[int, LocalRoute] = attrs.field(factory=dict)
    ending: dict[int, float] = attrs.field(factory=dict)
    others: dict[bytes, str] = attrs.field(factory=dict)
    plans: list[tuple[float, bytes, str]] = attrs.field(factory=list)
    behaviour: dict[bytes, list[str]] = attrs.field(factory=dict)
    sent: list[tuple[float, bytes]] = attrs.field(factory=list)
    now: float = 0.0
    cids: int = 0
    numbers: dict[bytes, int] = attrs.field(factory=dict)
    kept: str = ""
    drain: Drain = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        rng = random.Random(1)
        self.drain = Drain(self.interval, 0.0, rng.random, paced=self.paced)

    def connect(self, name: bytes, number: int | None = None) -> int:
        number = self.numbers.setdefault(name, len(self.numbers) + 1) if number is None else number
        self.cids += 1
        self.others.pop(name, None)
        self.listed[self.cids] = LocalRoute(
            prefix_of(number),
            Kind.CLIENT,
            name,
            SessionId(self.cids, 7),
            announced=True,
            confirmed=True,
        )
        return self.cids

    def elsewhere(self, session: LocalSession) -> str:
        return self.others.get(session.name, "")

    def look(self) -> None:
        self.drain.begin_look()
        self.drain.see("", self.listed.values(), self.now)
        for _ in self.drain.end_look(self.now, self.elsewhere):
            pass

    def step(self) -> None:
        """A tenth of a second."""
        self.now = round(self.now + STEP, 3)
        for cid, at in list(self.ending.items()):
            if at <= self.now:
                self.listed.pop(cid, None)
                del self.ending[cid]
        for plan in [plan for plan in self.plans if plan[0] <= self.now]:
            self.plans.remove(plan)
            _, name, where = plan
            if where == "here":
                self.connect(name)
            else:
                self.others[name] = where
        if round(self.now / STEP) % 10 == 0:
            self.look()
        for client in self.drain.due(self.now):
            self.send_on(client)

    def send_on(self, client: DrainedClient) -> None:
        session = client.session
        cid, name = session.session.cid, session.name
        assert cid in self.listed
        assert cid not in self.ending
        if self.kept:
            self.drain.kept(client, self.kept, self.now)
            return
        self.drain.sent(client, self.now)
        self.sent.append((self.now, name))
        self.ending[cid] = self.now + LISTED_TIME
        todo = self.behaviour.get(name, [])
        where = todo.pop(0) if todo else "B"
        if where != "nowhere":
            self.plans.append((self.now + 1.5, name, where))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.step()

    def run_until_finished(self, limit: float = 1000.0) -> None:
        began = self.now
        while not self.drain.is_finished:
            self.step()
            assert self.now < began + limit, "it is never finished"

    @property
    def outcomes(self) -> dict[bytes, str]:
        return {c.session.name: c.outcome(self.now).value for c in self.drain.clients}

    def times_of(self, name: bytes) -> list[float]:
        return [at for at, other in self.sent if other == name]


def host(*names: bytes, **values: object) -> Host:
    made = Host(**values)  # type: ignore[arg-type]
    for name in names:
        made.connect(name)
    made.look()
    return made


def test_everybody_is_sent_on_once_and_moves():
    here = host(b"a", b"b", b"c")
    assert here.outcomes == {b"a": "waiting", b"b": "waiting", b"c": "waiting"}
    assert not here.drain.is_finished
    here.run_until_finished()
    assert here.outcomes == {b"a": "moved", b"b": "moved", b"c": "moved"}
    assert [name for _, name in here.sent] == [b"a", b"b", b"c"]
    counts = here.drain.counts
    assert counts is not None
    assert (counts.total, counts.pending, counts.moved) == (3, 0, {"B": 3})
    assert here.now < 6


def test_a_host_without_clients_is_finished_after_one_look():
    here = Host()
    assert not here.drain.is_finished
    here.look()
    assert here.drain.is_finished


def test_who_returns_stays_longer_each_time():
    here = host(b"a")
    here.behaviour[b"a"] = ["here"] * 50
    here.run_until_finished()
    assert here.outcomes == {b"a": "came_back"}
    assert here.drain.clients[0].returns == 2
    assert 4 <= here.now <= 12
    here.run(1500)
    times = here.times_of(b"a")
    stays = [later - earlier - 1.5 for earlier, later in itertools.pairwise(times)]
    for stay, delay in zip(stays, [2, 4, 8, 16, 32, 60, 60, 60], strict=False):
        assert 0.75 * delay - 0.2 <= stay <= 1.25 * delay + 1.3
    assert len(times) == pytest.approx(5 + 1450 / 62, abs=5)


def test_a_returner_that_moves_in_the_end_has_moved():
    here = host(b"a")
    here.behaviour[b"a"] = ["here", "here", "here", "C"]
    here.run(60)
    assert here.outcomes == {b"a": "moved"}
    assert here.drain.clients[0].moved_to == "C"
    here.connect(b"a")
    here.behaviour[b"a"] = ["here"] * 5
    here.run(1)
    assert here.outcomes == {b"a": "came_back"}
    assert here.drain.clients[0].returns == 1  # it is a new story
    here.run(3)
    assert len(here.times_of(b"a")) == 5


def test_who_is_nowhere_for_half_a_minute_has_left():
    here = host(b"a")
    here.behaviour[b"a"] = ["nowhere"]
    here.run(LEFT_AFTER - 1)
    assert here.outcomes == {b"a": "sent"}
    here.run(2)
    assert here.outcomes == {b"a": "left"}
    assert here.drain.is_finished
    here.others[b"a"] = "B"
    here.run(1)
    assert here.outcomes == {b"a": "moved"}


def test_who_goes_by_itself_before_its_turn_is_not_sent_on():
    here = host(b"a", b"b", b"c", interval=10.0)
    del here.listed[2], here.listed[3]
    here.others[b"b"] = "B"
    here.run(2)
    assert here.outcomes == {b"a": "moved", b"b": "moved", b"c": "sent"}
    here.run(LEFT_AFTER)
    assert here.outcomes[b"c"] == "left"
    assert [name for _, name in here.sent] == [b"a"]


def test_who_reconnects_before_its_turn_has_not_come_back():
    here = host(b"a", b"b", interval=20.0)
    here.run(1)
    del here.listed[2]
    here.connect(b"b")
    here.run(1.5)
    assert here.outcomes[b"b"] == "waiting"
    here.run(6)
    assert here.outcomes[b"b"] == "moved"
    assert here.drain.clients[1].returns == 0


def test_who_connects_later_is_sent_on_after_a_moment_for_ever():
    here = host()
    for _ in range(5):
        here.run(100)
        here.connect(b"late")
        here.run(1)
        assert not here.ending
        here.run(4)
        assert here.outcomes == {b"late": "moved"}
    assert len(here.sent) == 5


def test_an_old_session_that_is_still_listed_is_no_second_return():
    here = host(b"a")
    here.behaviour[b"a"] = ["here", "nowhere"]
    here.run(2.2)
    assert len(here.listed) == 2
    here.run(1)
    assert here.drain.clients[0].returns == 1
    here.run(10)
    assert here.drain.clients[0].returns == 1
    assert len(here.drain.clients) == 1


def test_two_clients_with_one_name_are_two():
    here = Host()
    here.connect(b"twin", 1)
    here.connect(b"twin", 2)
    here.look()
    here.run(4)
    assert [client.outcome(here.now) for client in here.drain.clients] == [Outcome.MOVED] * 2
    assert len(here.sent) == 2
    assert here.drain.unfound(here.now) == {}


def test_who_returns_with_another_address_is_the_same_client():
    here = host(b"a")
    here.behaviour[b"a"] = ["nowhere", "B"]
    here.run(8)
    here.connect(b"a", 77)
    here.run(2)
    [client] = here.drain.clients
    assert (client.returns, client.session.prefix) == (1, prefix_of(77))


def test_whoever_cannot_be_sent_on_is_kept_and_tried_again():
    here = host(b"a", kept="OpenVPN is silent")
    here.run(2)
    assert here.outcomes == {b"a": "kept"}
    assert here.drain.is_finished
    here.kept = ""
    here.run(15)
    assert here.outcomes == {b"a": "moved"}


def test_a_session_that_openvpn_does_not_end_is_kept_and_tried_again():
    here = host(b"a")
    here.behaviour[b"a"] = ["nowhere"] * 9
    here.run(1)
    here.ending.clear()
    here.run(16)
    assert here.outcomes == {b"a": "sent"} or here.drain.clients[0].why_kept
    assert len(here.sent) == 2


def test_sessions_that_are_listed_again_are_still_sent_on():
    """After OpenVPN could not be asked for longer than the hold time."""
    here = host(b"a", b"b", interval=10.0)
    lost = dict(here.listed)
    here.run(1)
    here.listed.clear()
    here.run(25)
    here.listed |= {2: lost[2]}
    here.run(5)
    assert here.outcomes[b"b"] == "moved"


def test_a_client_is_known_by_its_ipv4_address():
    here = Host()
    cid = here.connect(b"a", 5)
    network = Prefix.parse("192.168.7.0/24")
    v6 = Prefix.host(IPv6Address("fd00::5").packed)
    route = here.listed.pop(cid)
    for number, (prefix, kind) in enumerate(
        [(network, Kind.NETWORK), (v6, Kind.CLIENT), (route.prefix, Kind.CLIENT)]
    ):
        here.listed[1000 + number] = LocalRoute(
            prefix, kind, b"a", route.session, announced=True, confirmed=True
        )
    here.look()
    [client] = here.drain.clients
    assert client.session.prefix == route.prefix


def test_without_client_ids_sessions_are_told_apart_by_name():
    here = Host()
    for name in (b"a", b"b"):
        cid = here.connect(name)
        here.listed[cid] = LocalRoute(
            here.listed[cid].prefix, Kind.CLIENT, name, SessionId(-1, 7), True, True
        )
    here.look()
    assert len(here.drain.clients) == 2


def test_a_client_with_another_address_elsewhere_is_searched_for():
    here = host(b"a", b"b")
    here.behaviour |= {b"a": ["nowhere"], b"b": ["nowhere"]}
    here.run(3)
    assert here.drain.unfound(here.now) == {}
    here.run(4)
    found = here.drain.unfound(here.now)
    assert found.keys() == {b"a", b"b"}
    found[b"a"].moved_to = "C"
    assert here.drain.unfound(here.now).keys() == {b"b"}


def test_after_a_restart_in_maintenance_nobody_is_paced():
    here = host(b"a", b"b", interval=3600.0, paced=False)
    here.run(5)
    assert here.outcomes == {b"a": "moved", b"b": "moved"}


def test_not_too_many_at_a_time():
    here = host(*(b"%d" % n for n in range(3 * MAX_DUE)), interval=0.0)
    sizes = []
    while here.drain.waiting:
        due = here.drain.due(0.0)
        sizes.append(len(due))
        for client in due:
            here.drain.sent(client, 0.0)
    assert sizes == [MAX_DUE] * 3


def test_who_is_gone_for_good_is_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(drain_module, "MAX_CLIENTS", 20)
    here = host(*(b"%d" % n for n in range(10)), interval=0.01)
    here.run(10)
    for n in range(10, 60):
        here.connect(b"%d" % n)
        here.run(0.5)
    here.run(20)
    assert len(here.drain.clients) <= 20
    assert len(here.sent) == 60
    assert len(here.drain._by_name) == len(here.drain._by_session) == len(here.drain.clients)
    assert here.drain._ending == {}


BEHAVIOURS = st.lists(st.sampled_from(["here", "B", "C", "nowhere"]), max_size=5)


@settings(max_examples=60)
@given(
    st.lists(BEHAVIOURS, min_size=1, max_size=12),
    st.sampled_from([0.0, 0.05, 0.2, 1.0, 5.0]),
    st.lists(st.tuples(st.floats(0.0, 60.0), BEHAVIOURS), max_size=4),
)
def test_whatever_clients_do_it_ends_and_tells_the_truth(behaviours, interval, late):
    here = host(*(b"%d" % n for n in range(len(behaviours))), interval=interval)
    for n, behaviour in enumerate(behaviours):
        here.behaviour[b"%d" % n] = list(behaviour)
    for n, (at, behaviour) in enumerate(late):
        here.plans.append((at, b"late%d" % n, "here"))
        here.behaviour[b"late%d" % n] = list(behaviour)
    here.run_until_finished(len(behaviours) * interval + 60 + 2 * LEFT_AFTER)
    here.run(400)  # time for every behaviour to come to its end, and for the last to have left
    assert here.drain.is_finished
    for client in here.drain.clients:
        name, outcome = client.session.name, client.outcome(here.now)
        if name in here.others:
            assert (outcome, client.moved_to) == (Outcome.MOVED, here.others[name])
        else:
            assert outcome is Outcome.LEFT
    expected = len(behaviours) + len(late)
    assert sum((here.drain.counts or Counter()).outcomes.values()) == expected  # type: ignore[union-attr]
    assert not here.listed
