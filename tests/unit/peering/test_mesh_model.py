"""Publisher -> lossy pipe -> session: whatever is lost, a last snapshot makes both equal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cuberouted.model import Advertisement, Prefix
from cuberouted.peering import adj_rib_out, messages
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import (
    Outgoing,
    PeerActions,
    PeerLost,
    RoutesChanged,
    RoutesReplaced,
)
from cuberouted.peering.messages import decode
from cuberouted.peering.session import PeerSession
from tests.unit.peering.samples import client, session


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Snapshots of a few clients have several parts, and one is sent at a time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (messages, adj_rib_out):
            patch.setattr(module, "PART_PREFIXES", 2)
        patch.setattr(adj_rib_out, "PARTS_PER_SLICE", 1)
        yield


numbers = st.sets(st.integers(0, 12), max_size=6)


class Mesh(RuleBasedStateMachine):
    """One publisher that may restart, one session, and a RIB that applies its updates."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.version = 1
        self.epoch = 1
        self.publisher = Publisher("B", self.epoch, 1.0, 0.0)
        self.advertised: dict[Prefix, Advertisement] = {}
        self.session: PeerSession = session()
        self.topics = {b"u"}
        self.pipe: list[Outgoing] = []
        self.rib: dict[Prefix, Advertisement] = {}
        self.states: set[object] = set()

    @rule(advertise=numbers, withdraw=numbers)
    def announce(self, advertise: set[int], withdraw: set[int]) -> None:
        self.version += 1
        new = [client(number, self.version) for number in advertise]
        gone = [client(number).prefix for number in withdraw - advertise]
        self.advertised = {p: a for p, a in self.advertised.items() if p not in gone}
        self.advertised |= {a.prefix: a for a in new}
        self.pipe += self.publisher.announce(new, gone, self.now).publish

    @rule()
    def sync(self) -> None:
        self.pipe += self.publisher.initial_sync_done(self.now).publish

    @rule(keep=st.integers(0, 3))
    def restart(self, keep: int) -> None:
        self.epoch += 1
        self.publisher = Publisher("B", self.epoch, 1.0, self.now)
        self.advertised = {}
        self.pipe = self.pipe[:keep]
        for topic in sorted(self.topics):
            self.publisher.receive(b"\x01" + topic, "a", self.now)

    @rule(restarting=st.booleans())
    def goodbye(self, restarting: bool) -> None:
        self.pipe += self.publisher.goodbye(restarting=restarting).publish
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
                self.apply(self.session.receive(topic, message, self.now))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pipe += self.publisher.timer(self.now).publish
        self.apply(self.session.timer(self.now))

    def apply(self, actions: PeerActions) -> None:
        for topic in actions.unsubscribe:
            self.topics.discard(topic)
            self.publisher.receive(b"\x00" + topic, "a", self.now)
        for topic in actions.subscribe:
            self.topics.add(topic)
            self.publisher.receive(b"\x01" + topic, "a", self.now)
        for update in actions.updates:
            match update:
                case RoutesChanged():
                    for prefix in update.withdraw:
                        self.rib.pop(prefix, None)
                    self.rib |= {a.prefix: a for a in update.advertise}
                case RoutesReplaced():
                    self.rib = {a.prefix: a for a in update.advertisements}
                case PeerLost():
                    self.rib = {}

    @invariant()
    def the_rib_has_as_many_routes_as_the_session(self) -> None:
        assert len(self.rib) == self.session.status().advertisements
        assert len(self.topics) <= 2

    def teardown(self) -> None:
        self.pipe += self.publisher.initial_sync_done(self.now).publish
        for _ in range(400):
            self.wait(0.1)
            self.deliver(len(self.pipe) or 1)
        assert self.session.state.value == "up"
        assert self.rib == self.advertised


Mesh.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestMesh = Mesh.TestCase
