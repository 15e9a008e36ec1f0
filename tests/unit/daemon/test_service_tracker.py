from __future__ import annotations

from cuberouted.daemon.service_tracker import GRACE, MAX_LAST, Service, ServiceTracker
from cuberouted.service_claim import ServiceClaim, ServicePhase

DB = Service("db", "10.100.100.200")
SUBJECT = "service db (10.100.100.200)"
HOLDING = ServiceClaim(ServicePhase.HOLDING, 100)
STANDBY = ServiceClaim(ServicePhase.STANDBY, 100)


class Scene:
    """A tracker, and the sentences of its events."""

    def __init__(self) -> None:
        self.tracker = ServiceTracker()
        self.told: list[str] = []

    def at(self, node, now, problems=None, **claims):
        self.told += map(str, self.tracker.receive(DB, node, claims, problems or {}, now))

    def timer(self, now):
        self.told += map(str, self.tracker.timer(now))

    @property
    def last(self):
        return self.told[-1]


def test_what_is_learnt_is_no_event():
    scene = Scene()
    scene.tracker.learn(DB, "A")
    scene.at("A", 0.0, A=HOLDING)
    assert scene.told == []
    assert scene.tracker.last_holder(DB) == "A"


def test_a_moment_with_nobody_makes_one_event_of_two():
    scene = Scene()
    scene.at("A", 0.0, A=HOLDING)
    scene.at("", 1.0, problems={"A": "nothing received for 3 s"})
    assert scene.tracker.deadline == 1.0 + GRACE
    scene.timer(2.9)
    scene.at("B", 2.95, B=HOLDING)
    assert scene.told == [
        f"{SUBJECT} is at A",
        f"{SUBJECT} moved A -> B: peer A: nothing received for 3 s",
    ]
    scene.timer(100.0)
    assert len(scene.told) == 2


def test_one_that_comes_back_in_time_never_was_away():
    scene = Scene()
    scene.at("A", 0.0, A=HOLDING)
    scene.at("", 1.0, A=STANDBY)
    scene.at("A", 2.0, A=HOLDING)
    scene.timer(100.0)
    assert scene.told == [f"{SUBJECT} is at A"]


def test_after_a_moment_it_is_told_that_nobody_has_it():
    scene = Scene()
    scene.at("A", 0.0, A=HOLDING)
    scene.at("", 1.0)
    scene.timer(1.0 + GRACE)
    assert scene.last == f"{SUBJECT}: nobody has it; it was at A: A has given it up"
    assert scene.tracker.services == ()
    assert scene.tracker.last_holder(DB) == "A"
    scene.at("A", 60.0, A=HOLDING)
    assert scene.last == f"{SUBJECT} is at A"


def test_the_reason_is_what_the_holder_has_said_until_it_is_well_again():
    scene = Scene()
    failing = ServiceClaim(ServicePhase.LAST_RESORT, 100, why="check: x failed")
    scene.at("A", 0.0, A=HOLDING)
    scene.at("A", 1.0, A=failing)
    scene.at("A", 2.0, A=HOLDING)
    scene.at("B", 3.0, A=STANDBY, B=HOLDING)
    assert scene.last == f"{SUBJECT} moved A -> B: A and B both had it"
    scene.at("B", 4.0, B=failing)
    scene.at("A", 5.0, A=HOLDING)
    assert scene.last == f"{SUBJECT} moved B -> A: check: x failed"


def test_the_reason_is_a_higher_priority_where_one_has_taken_it():
    scene = Scene()
    scene.at("A", 0.0, A=HOLDING, B=ServiceClaim(ServicePhase.CLAIMING, 200))
    scene.at("", 1.0, A=STANDBY, B=ServiceClaim(ServicePhase.ACQUIRING, 200))
    scene.at("B", 2.0, A=STANDBY, B=ServiceClaim(ServicePhase.HOLDING, 200))
    assert scene.last == f"{SUBJECT} moved A -> B: B has the higher priority"


def test_the_last_holders_of_many_services_are_forgotten():
    tracker = ServiceTracker()
    for number in range(MAX_LAST + 1):
        tracker.learn(Service(f"made up {number}", DB.address), "A")
    assert tracker.last_holder(Service("made up 0", DB.address)) == ""
    assert tracker.last_holder(Service("made up 1", DB.address)) == "A"
