"""Publisher -> lossy pipe -> session: whatever is lost, a last snapshot makes both equal."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cuberouted.model import Advertisement, Prefix
from cuberouted.peering.adj_rib_out import Outgoing, Publisher
from cuberouted.peering.events import PeerLost, RoutesChanged, RoutesReplaced, SessionActions
from cuberouted.peering.messages import decode
from cuberouted.peering.session import PeerSession
from tests.unit.peering.samples import client, session

numbers = st.sets(st.integers(0, 12), max_size=6)


class Mesh(RuleBasedStateMachine):
    """One publisher that may restart, one session, and a follower of its news (a RIB)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.version = 1
        self.epoch = 1
        self.voice = Publisher("B", self.epoch, 1.0, 0.0)
        self.held: dict[Prefix, Advertisement] = {}
        self.session: PeerSession = session()
        self.topics = {b"u"}
        self.pipe: list[Outgoing] = []
        self.followed: dict[Prefix, Advertisement] = {}
        self.states: set[object] = set()

    @rule(advertise=numbers, withdraw=numbers)
    def say(self, advertise: set[int], withdraw: set[int]) -> None:
        self.version += 1
        new = [client(number, self.version) for number in advertise]
        gone = [client(number).prefix for number in withdraw - advertise]
        self.held = {p: a for p, a in self.held.items() if p not in gone}
        self.held |= {a.prefix: a for a in new}
        self.pipe += self.voice.say(new, gone, self.now)

    @rule()
    def sync(self) -> None:
        self.pipe += self.voice.synced(self.now)

    @rule(keep=st.integers(0, 3))
    def restart(self, keep: int) -> None:
        self.epoch += 1
        self.voice = Publisher("B", self.epoch, 1.0, self.now)
        self.held = {}
        self.pipe = self.pipe[:keep]
        for topic in sorted(self.topics):
            self.voice.request(b"\x01" + topic, "a", self.now)

    @rule(restarting=st.booleans())
    def part(self, restarting: bool) -> None:
        self.pipe += self.voice.goodbye(restarting=restarting)
        self.restart(len(self.pipe))

    @rule(index=st.integers(0, 20))
    def lose(self, index: int) -> None:
        del self.pipe[index : index + 1]

    @rule(index=st.integers(0, 20))
    def repeat(self, index: int) -> None:
        self.pipe[index:index] = self.pipe[index : index + 1]

    @rule(count=st.integers(1, 20))
    def deliver(self, count: int) -> None:
        arrived, self.pipe = self.pipe[:count], self.pipe[count:]
        for topic, payload in arrived:
            if topic in self.topics:
                message = decode((topic, payload))
                self.follow(self.session.receive(topic, message, self.now))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pipe += self.voice.timer(self.now)
        self.follow(self.session.timer(self.now))

    def follow(self, outcome: SessionActions) -> None:
        for topic in outcome.unsubscribe:
            self.topics.discard(topic)
            self.voice.request(b"\x00" + topic, "a", self.now)
        for topic in outcome.subscribe:
            self.topics.add(topic)
            self.voice.request(b"\x01" + topic, "a", self.now)
        for news in outcome.news:
            match news:
                case RoutesChanged():
                    for prefix in news.withdraw:
                        self.followed.pop(prefix, None)
                    self.followed |= {a.prefix: a for a in news.advertise}
                case RoutesReplaced():
                    self.followed = {a.prefix: a for a in news.advertisements}
                case PeerLost():
                    self.followed = {}

    @invariant()
    def the_news_are_the_sessions_table(self) -> None:
        assert len(self.followed) == self.session.status().advertisements
        assert len(self.topics) <= 2

    def teardown(self) -> None:
        self.pipe += self.voice.synced(self.now)
        for _ in range(400):
            self.wait(0.1)
            self.deliver(len(self.pipe) or 1)
        assert self.session.state.value == "up"
        assert self.followed == self.held


Mesh.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMesh = Mesh.TestCase
