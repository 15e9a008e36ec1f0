"""One node's decision about a service, input by input."""

import attrs
import pytest

from cuberouted.config.schema import Placement, ServiceConfig
from cuberouted.events import NodeProblem, NodeProblemEnded, ServiceChecked
from cuberouted.service_claim import ServiceClaim, ServicePhase
from cuberouted.services.commands import MAX_BACK_OFF, MIN_BACK_OFF
from cuberouted.services.election import SETTLE_TIME
from cuberouted.services.machine import MAX_WHY, ServiceMachine
from cuberouted.services.types import PeerView, Program, Run, View

ADDRESS = bytes([10, 100, 100, 200])
CHECK, FENCE, ACQUIRE, RELEASE = ("/check",), ("/fence",), ("/acquire",), ("/release",)
WALL_CLOCK = 1_800_000_000.0
HELD_SINCE = 1_800_000_000_000_000
B_HOLDS = ServiceClaim(ServicePhase.HOLDING, 100, HELD_SINCE - 1)
B_WAITS = ServiceClaim(ServicePhase.STANDBY, 100)


class Driver:
    """A machine of node vpnsrvA with a view and a clock that tests change. Peer: vpnsrvB."""

    def __init__(self, has_address=False, **config):
        self.now = 100.0
        self.config = ServiceConfig(name="db", address=ADDRESS, **config)
        self.machine = ServiceMachine(self.config, "vpnsrvA", lambda: WALL_CLOCK, self.now)
        peers = (PeerView("vpnsrvB", heard=True, last_heard=self.now),)
        self.view = View(witness_time=2.0, peers=peers, has_address=has_address)
        self.events, self.runs, self.kills = [], [], 0
        self.address = None
        self.beats = True  # peers that are heard go on sending

    def see(self, **changes):
        """Change the view, and look."""
        self.view = attrs.evolve(self.view, **changes)
        return self.look()

    def hears(self, **changes):
        """Change what is known of the peer, and look."""
        return self.see(peers=(attrs.evolve(self.view.peers[0], **changes),))

    def claims(self, claim):
        """The peer advertises *claim*, or withdraws it."""
        return self.see(claims={} if claim is None else {"vpnsrvB": claim})

    def look(self):
        peers = self.view.peers
        if self.beats:
            peers = tuple(
                attrs.evolve(p, last_heard=self.now) if p.heard else p for p in self.view.peers
            )
        self.view = attrs.evolve(self.view, peers=peers)
        actions = self.machine.receive(self.view, self.now)
        assert actions.claim == self.machine.claim
        assert actions.address == actions.claim.phase.has_address
        assert self.machine.deadline > self.now
        self.events += actions.events
        self.runs += [actions.run] if actions.run else []
        self.kills += actions.kill
        self.address = actions.address
        self.view = attrs.evolve(self.view, has_address=actions.address)
        return actions.claim.phase

    def wait(self, seconds, look=True):
        """Let time pass, and look whenever that is due."""
        end = self.now + seconds
        while self.machine.deadline < end:
            self.now = self.machine.deadline
            self.look()
        self.now = end
        return self.look() if look else None

    def ends(self, program, ok=True, why="exit status 1"):
        self.machine.ended(program, ok, "" if ok else why, self.now)
        return self.look()

    @property
    def phase(self):
        return self.machine.claim.phase

    @property
    def why(self):
        return self.machine.claim.why


@pytest.fixture
def alone():
    """A node whose peer has no claim, and that is ready to take the address."""
    driver = Driver()
    driver.look()
    return driver


def holding(**config):
    """A node that has the address; its commands have succeeded."""
    driver = Driver(**config)
    driver.look()
    driver.wait(SETTLE_TIME)
    if driver.machine.config.on_acquire:
        driver.ends(Program.ON_ACQUIRE)
    assert driver.phase is ServicePhase.HOLDING
    driver.runs.clear()
    driver.events.clear()
    return driver


# -- a vacant address --


def test_a_vacant_address_is_taken_once_the_own_claim_has_stood_for_the_settle_time(alone):
    assert alone.phase is ServicePhase.STANDBY
    assert alone.wait(SETTLE_TIME - 0.01) is ServicePhase.STANDBY
    assert alone.machine.deadline == 100.0 + SETTLE_TIME
    assert alone.wait(0.01) is ServicePhase.HOLDING
    assert alone.machine.claim == ServiceClaim(ServicePhase.HOLDING, 100, HELD_SINCE)
    assert alone.address
    assert not alone.runs


def test_it_is_looked_at_again_every_second(alone):
    alone.wait(3 * SETTLE_TIME)
    assert alone.machine.deadline == alone.now + 1.0


def test_the_address_is_asked_for_at_every_look(alone):
    alone.wait(SETTLE_TIME)
    alone.see(has_address=False)
    assert alone.address


def test_an_address_that_should_not_be_there_is_removed(alone):
    alone.see(has_address=True)
    assert alone.address is False


@pytest.mark.parametrize(
    "phase", [p for p in ServicePhase if p.is_occupied and p is not ServicePhase.ACQUIRING]
)
def test_no_address_is_taken_that_another_node_has(phase):
    driver = Driver(priority=200)
    driver.claims(ServiceClaim(phase, 100, 1))
    assert driver.wait(3.0) is ServicePhase.STANDBY
    driver.claims(ServiceClaim(ServicePhase.UNFIT, 100))
    assert driver.phase is ServicePhase.HOLDING


def test_no_address_is_taken_that_another_node_is_acquiring():
    driver = Driver(priority=200)
    driver.claims(ServiceClaim(ServicePhase.ACQUIRING, 100))
    assert driver.wait(3.0) is ServicePhase.STANDBY


@pytest.mark.parametrize(
    ("claim", "taken"),
    [
        (ServiceClaim(ServicePhase.STANDBY, 200), False),
        (ServiceClaim(ServicePhase.STANDBY, 100), True),  # vpnsrvA comes before vpnsrvB
        (ServiceClaim(ServicePhase.STANDBY, 99), True),
        (ServiceClaim(ServicePhase.CLAIMING, 1), False),
        (ServiceClaim(ServicePhase.UNFIT, 200), True),
    ],
)
def test_only_the_elected_node_takes_a_vacant_address(claim, taken):
    driver = Driver()
    driver.claims(claim)
    assert (driver.wait(3.0) is ServicePhase.HOLDING) is taken


def test_a_node_is_unfit_until_the_view_is_settled():
    driver = Driver()
    assert driver.see(settled=False) is ServicePhase.UNFIT
    assert driver.why == "the peers are not known yet"
    assert driver.wait(3.0) is ServicePhase.UNFIT
    assert driver.see(settled=True) is ServicePhase.STANDBY
    assert driver.wait(SETTLE_TIME) is ServicePhase.HOLDING


def test_nothing_is_taken_while_the_claims_of_a_peer_are_awaited(alone):
    alone.hears(heard=False, pending=True)
    assert alone.wait(3.0) is ServicePhase.STANDBY
    assert alone.hears(heard=True, pending=False) is ServicePhase.STANDBY
    # what it says first may have been sent long ago
    assert alone.wait(SETTLE_TIME - 0.01) is ServicePhase.STANDBY
    assert alone.wait(0.01) is ServicePhase.HOLDING


def test_a_changed_priority_has_to_be_known_before_the_address_is_taken(alone):
    alone.wait(SETTLE_TIME - 0.1)
    alone.machine.reconfigure(attrs.evolve(alone.config, priority=300), alone.now)
    assert alone.wait(0.2) is ServicePhase.STANDBY
    assert alone.wait(SETTLE_TIME) is ServicePhase.HOLDING
    assert alone.machine.claim.priority == 300


# -- commands --


def test_lost_peers_are_fenced_before_on_acquire_is_run():
    driver = Driver(fence=FENCE, on_acquire=ACQUIRE)
    driver.see(
        peers=(
            PeerView("vpnsrvB", last_heard=90.0),
            PeerView("vpnsrvC", heard=True, last_heard=100.0),
            PeerView("vpnsrvD", gone=True, last_heard=95.0),
            PeerView("vpnsrvE"),
        )
    )
    assert driver.wait(SETTLE_TIME) is ServicePhase.ACQUIRING
    assert driver.runs == [Run(Program.FENCE, "vpnsrvB")]
    assert driver.ends(Program.FENCE) is ServicePhase.ACQUIRING
    assert driver.runs[1:] == [Run(Program.FENCE, "vpnsrvE")]
    driver.ends(Program.FENCE)
    assert driver.runs[2:] == [Run(Program.ON_ACQUIRE)]
    assert not driver.address
    assert driver.ends(Program.ON_ACQUIRE) is ServicePhase.HOLDING


def test_a_peer_is_fenced_once_each_time_it_is_lost():
    driver = Driver(fence=FENCE)
    driver.hears(heard=False)
    driver.wait(SETTLE_TIME)
    assert driver.ends(Program.FENCE) is ServicePhase.HOLDING
    driver.see(available=False)
    driver.claims(ServiceClaim(ServicePhase.STANDBY, 100))
    driver.wait(SETTLE_TIME)
    assert driver.phase is ServicePhase.UNFIT
    driver.claims(None)
    driver.see(available=True)
    assert driver.wait(SETTLE_TIME) is ServicePhase.HOLDING
    assert driver.runs == [Run(Program.FENCE, "vpnsrvB")]
    driver.see(available=False, claims={"vpnsrvB": B_WAITS})
    driver.wait(SETTLE_TIME)
    driver.hears(last_heard=driver.now)
    driver.see(available=True, claims={})
    assert driver.wait(SETTLE_TIME) is ServicePhase.ACQUIRING
    assert len(driver.runs) == 2


def test_a_fence_command_is_killed_when_the_peer_is_back_without_the_address():
    driver = Driver(fence=FENCE, on_acquire=ACQUIRE)
    driver.hears(heard=False)
    driver.wait(SETTLE_TIME)
    assert driver.hears(heard=True, last_heard=driver.now) is ServicePhase.ACQUIRING
    assert driver.kills == 1
    driver.look()
    assert driver.kills == 1
    driver.ends(Program.FENCE, ok=False, why="killed")
    driver.wait(SETTLE_TIME)
    assert driver.runs[1:] == [Run(Program.ON_ACQUIRE)]
    assert not driver.events


def test_a_peer_that_is_lost_while_on_acquire_runs_is_fenced_before_the_address_is_there():
    driver = Driver(fence=FENCE, on_acquire=ACQUIRE)
    driver.look()
    driver.wait(SETTLE_TIME)
    assert driver.runs == [Run(Program.ON_ACQUIRE)]
    driver.hears(heard=False)
    assert driver.ends(Program.ON_ACQUIRE) is ServicePhase.ACQUIRING
    assert driver.runs[1:] == [Run(Program.FENCE, "vpnsrvB")]
    assert driver.ends(Program.FENCE) is ServicePhase.HOLDING


def test_a_peer_that_comes_back_is_awaited_and_not_fenced():
    driver = Driver(fence=FENCE, on_acquire=ACQUIRE)
    driver.hears(heard=False)
    driver.wait(SETTLE_TIME)
    driver.hears(pending=True, last_heard=driver.now)
    assert driver.kills == 1
    driver.ends(Program.FENCE, ok=False, why="killed")
    assert driver.wait(2.0) is ServicePhase.ACQUIRING
    assert driver.runs == [Run(Program.FENCE, "vpnsrvB")]
    driver.hears(pending=False, heard=True)
    driver.wait(SETTLE_TIME)
    assert driver.runs[1:] == [Run(Program.ON_ACQUIRE)]


def test_a_daemon_that_was_suspended_receives_first_what_came_meanwhile():
    driver = Driver(fence=FENCE)
    driver.claims(B_HOLDS)
    driver.wait(5.0)
    driver.now += 60.0
    driver.view = attrs.evolve(driver.view, claims={})
    assert driver.hears(heard=False) is ServicePhase.STANDBY
    assert driver.wait(SETTLE_TIME - 0.01) is ServicePhase.STANDBY
    assert not driver.runs
    assert driver.wait(0.01) is ServicePhase.ACQUIRING
    assert driver.runs == [Run(Program.FENCE, "vpnsrvB")]


def test_a_failed_fence_leaves_the_address_alone():
    driver = Driver(fence=FENCE, on_acquire=ACQUIRE, on_release=RELEASE)
    driver.hears(heard=False)
    driver.wait(SETTLE_TIME)
    assert driver.ends(Program.FENCE, ok=False) is ServicePhase.UNFIT
    assert driver.why == "fence vpnsrvB: exit status 1"
    assert driver.events == [NodeProblem(what="service db", why="fence vpnsrvB: exit status 1")]
    assert driver.wait(MIN_BACK_OFF + SETTLE_TIME + 0.1) is ServicePhase.ACQUIRING
    assert driver.runs == [Run(Program.FENCE, "vpnsrvB")] * 2


def test_a_failed_on_acquire_is_undone_and_tried_again_after_a_back_off():
    driver = Driver(on_acquire=ACQUIRE, on_release=RELEASE)
    driver.look()
    back_off = MIN_BACK_OFF
    for _ in range(7):
        driver.wait(SETTLE_TIME)
        assert driver.runs.pop() == Run(Program.ON_ACQUIRE)
        assert driver.ends(Program.ON_ACQUIRE, ok=False) is ServicePhase.ACQUIRING
        assert driver.runs.pop() == Run(Program.ON_RELEASE)
        assert driver.ends(Program.ON_RELEASE) is ServicePhase.UNFIT
        assert driver.why == "on_acquire: exit status 1"
        assert driver.events == [NodeProblem(what="service db", why="on_acquire: exit status 1")]
        driver.events.clear()
        assert driver.wait(back_off - 0.1) is ServicePhase.UNFIT
        assert driver.wait(0.1) is ServicePhase.STANDBY
        back_off = min(2 * back_off, MAX_BACK_OFF)
    driver.wait(SETTLE_TIME)
    assert driver.ends(Program.ON_ACQUIRE) is ServicePhase.HOLDING
    assert driver.events == [NodeProblemEnded(what="service db")]


def test_a_reload_ends_the_back_off():
    driver = Driver(on_acquire=ACQUIRE)
    driver.look()
    driver.wait(SETTLE_TIME)
    assert driver.ends(Program.ON_ACQUIRE, ok=False) is ServicePhase.UNFIT
    driver.machine.reconfigure(driver.config, driver.now)
    assert driver.look() is ServicePhase.STANDBY
    assert driver.wait(SETTLE_TIME) is ServicePhase.ACQUIRING
    assert driver.events[1:] == [NodeProblemEnded(what="service db")]


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({"claims": {"vpnsrvB": B_HOLDS}}, ServicePhase.STANDBY),
        ({"available": False}, ServicePhase.UNFIT),
    ],
)
def test_on_acquire_is_killed_and_undone_when_the_address_must_not_be_taken(change, phase):
    driver = Driver(on_acquire=ACQUIRE, on_release=RELEASE)
    driver.look()
    driver.wait(SETTLE_TIME)
    assert driver.see(**change) is ServicePhase.ACQUIRING
    driver.look()
    assert driver.kills == 1
    driver.ends(Program.ON_ACQUIRE, ok=False, why="killed")
    assert driver.runs == [Run(Program.ON_ACQUIRE), Run(Program.ON_RELEASE)]
    assert driver.phase is ServicePhase.ACQUIRING
    assert driver.ends(Program.ON_RELEASE) is phase
    assert not driver.events
    assert driver.kills == 1


def test_of_two_that_acquire_it_the_one_that_comes_first_goes_on():
    for node, phase in (("vpnsrvB", ServicePhase.HOLDING), ("vpn", ServicePhase.STANDBY)):
        driver = Driver(on_acquire=ACQUIRE)
        driver.look()
        driver.wait(SETTLE_TIME)
        driver.see(claims={node: ServiceClaim(ServicePhase.ACQUIRING, 100)})
        assert driver.ends(Program.ON_ACQUIRE) is phase


def test_the_end_of_a_command_that_does_not_run_is_refused(alone):
    with pytest.raises(ValueError, match="service db: on_release does not run"):
        alone.machine.ended(Program.ON_RELEASE, True, "", alone.now)


# -- giving it up --


def test_the_holder_gives_it_to_a_claim_of_a_higher_priority_and_removes_it_after_on_release():
    driver = holding(on_release=RELEASE)
    driver.claims(ServiceClaim(ServicePhase.CLAIMING, 101))
    assert driver.wait(SETTLE_TIME - 0.01) is ServicePhase.HOLDING
    assert driver.wait(0.01) is ServicePhase.RELEASING
    assert driver.runs == [Run(Program.ON_RELEASE)]
    assert driver.address
    assert driver.ends(Program.ON_RELEASE) is ServicePhase.STANDBY
    assert not driver.address
    assert driver.machine.claim.held_since == 0


@pytest.mark.parametrize("priority", [99, 100])
def test_the_holder_keeps_it_against_a_claim_of_no_higher_priority(priority):
    driver = holding()
    driver.claims(ServiceClaim(ServicePhase.CLAIMING, priority))
    assert driver.wait(5.0) is ServicePhase.HOLDING


def test_the_holder_keeps_it_against_a_higher_priority_on_standby():
    driver = holding()
    driver.claims(ServiceClaim(ServicePhase.STANDBY, 1000))
    assert driver.wait(5.0) is ServicePhase.HOLDING


def test_a_node_in_maintenance_keeps_it_until_somebody_can_take_it():
    driver = holding()
    assert driver.see(available=False) is ServicePhase.LAST_RESORT
    assert driver.why == "the node is draining or in maintenance"
    driver.claims(ServiceClaim(ServicePhase.UNFIT, 100))
    assert driver.wait(5.0) is ServicePhase.LAST_RESORT
    driver.claims(B_WAITS)
    assert driver.wait(SETTLE_TIME) is ServicePhase.UNFIT


def test_who_gave_it_to_a_node_that_did_not_take_it_takes_it_back():
    driver = holding(on_acquire=ACQUIRE)
    driver.claims(B_WAITS)
    driver.wait(SETTLE_TIME)
    assert driver.see(available=False) is ServicePhase.UNFIT
    assert driver.wait(60.0) is ServicePhase.UNFIT
    driver.claims(ServiceClaim(ServicePhase.UNFIT, 100))
    assert driver.phase is ServicePhase.ACQUIRING
    assert driver.ends(Program.ON_ACQUIRE) is ServicePhase.LAST_RESORT


def test_who_gave_it_to_a_node_whose_commands_failed_takes_it_back():
    driver = holding()
    driver.claims(B_WAITS)
    driver.wait(SETTLE_TIME)
    assert driver.see(available=False) is ServicePhase.UNFIT
    driver.claims(ServiceClaim(ServicePhase.ACQUIRING, 100))
    assert driver.wait(60.0) is ServicePhase.UNFIT
    driver.claims(ServiceClaim(ServicePhase.UNFIT, 100, why="on_acquire: exit status 1"))
    assert driver.phase is ServicePhase.LAST_RESORT
    driver.claims(B_WAITS)
    assert driver.wait(SETTLE_TIME) is ServicePhase.UNFIT


def test_who_gave_it_to_a_node_that_took_it_does_not_take_it_back():
    driver = holding()
    driver.claims(B_WAITS)
    driver.wait(SETTLE_TIME)
    driver.see(available=False)
    driver.claims(ServiceClaim(ServicePhase.HOLDING, 100, HELD_SINCE))
    driver.claims(None)
    assert driver.wait(60.0) is ServicePhase.UNFIT


def test_an_orderly_change_needs_no_time_where_the_other_has_been_on_standby():
    driver = holding()
    driver.claims(B_WAITS)
    driver.wait(SETTLE_TIME)
    assert driver.see(available=False) is ServicePhase.UNFIT


def test_the_reason_of_a_claim_is_one_line_whatever_a_program_writes():
    driver = Driver(check=CHECK)
    driver.look()
    driver.machine.ended(Program.CHECK, False, "no\ndisk \x1b[2J" + 300 * "x", driver.now)
    driver.look()
    assert driver.why.startswith("check: no\\ndisk \\x1b[2Jxxx")
    assert len(driver.why) == MAX_WHY


def test_a_failed_on_release_gives_it_up_all_the_same():
    driver = holding(on_release=RELEASE)
    driver.claims(B_WAITS)
    driver.wait(SETTLE_TIME)
    driver.see(available=False)
    assert driver.ends(Program.ON_RELEASE, ok=False) is ServicePhase.UNFIT
    driver.see(available=True)
    assert driver.why == "on_release: exit status 1"
    assert driver.wait(MIN_BACK_OFF) is ServicePhase.STANDBY


def test_of_two_that_have_it_the_one_that_comes_first_keeps_it():
    driver = holding(on_release=RELEASE)
    driver.claims(attrs_later(B_HOLDS))
    assert driver.wait(2.0) is ServicePhase.HOLDING
    assert driver.claims(B_HOLDS) is ServicePhase.UNFIT
    assert not driver.address
    assert driver.why == "vpnsrvB has the address"
    assert driver.runs == [Run(Program.ON_RELEASE)]
    assert driver.ends(Program.ON_RELEASE) is ServicePhase.STANDBY


def attrs_later(claim):
    return ServiceClaim(claim.phase, claim.priority, HELD_SINCE + 1)


def test_a_node_that_releases_it_removes_it_at_once_when_another_has_it():
    driver = holding(on_release=RELEASE)
    driver.machine.stop(driver.now)
    assert driver.look() is ServicePhase.RELEASING
    assert driver.claims(attrs_later(B_HOLDS)) is ServicePhase.UNFIT
    assert not driver.machine.is_released
    driver.ends(Program.ON_RELEASE)
    assert driver.machine.is_released
    assert driver.runs == [Run(Program.ON_RELEASE)]


# -- preempt --


def test_a_higher_priority_claims_the_address_after_the_preempt_time():
    driver = Driver(priority=200, preempt=60.0)
    driver.claims(B_HOLDS)
    assert driver.wait(59.9) is ServicePhase.STANDBY
    assert driver.wait(0.1) is ServicePhase.CLAIMING
    driver.wait(SETTLE_TIME)
    driver.claims(ServiceClaim(ServicePhase.RELEASING, 100, HELD_SINCE))
    assert driver.phase is ServicePhase.CLAIMING
    assert driver.claims(B_WAITS) is ServicePhase.HOLDING


@pytest.mark.parametrize("program", [Program.FENCE, Program.ON_ACQUIRE])
def test_a_node_that_could_not_acquire_the_address_does_not_take_it_back_by_its_priority(program):
    driver = Driver(priority=200, preempt=0.0, **{program.value: ACQUIRE})
    driver.see(peers=(*driver.view.peers, PeerView("vpnsrvC")))
    driver.claims(B_HOLDS)
    assert driver.wait(2.0) is ServicePhase.CLAIMING
    driver.claims(B_WAITS)
    driver.ends(program, ok=False)
    driver.claims(B_HOLDS)
    assert driver.wait(10 * MAX_BACK_OFF) is ServicePhase.STANDBY
    driver.machine.reconfigure(driver.config, driver.now)
    assert driver.wait(2.0) is ServicePhase.CLAIMING


def test_the_preempt_time_starts_again_after_a_break():
    driver = Driver(priority=200, preempt=60.0)
    driver.claims(B_HOLDS)
    driver.wait(59.0)
    driver.see(available=False)
    assert driver.see(available=True) is ServicePhase.STANDBY
    assert driver.wait(59.9) is ServicePhase.STANDBY
    assert driver.wait(0.1) is ServicePhase.CLAIMING


@pytest.mark.parametrize(("priority", "preempt"), [(200, None), (100, 0.0), (99, 0.0)])
def test_without_preempt_or_a_higher_priority_the_holder_is_left_alone(priority, preempt):
    driver = Driver(priority=priority, preempt=preempt)
    driver.claims(B_HOLDS)
    assert driver.wait(600.0) is ServicePhase.STANDBY


def test_a_claim_ends_when_a_higher_priority_has_the_address():
    driver = Driver(priority=200, preempt=0.0)
    driver.claims(B_HOLDS)
    assert driver.wait(SETTLE_TIME) is ServicePhase.CLAIMING
    assert driver.claims(ServiceClaim(ServicePhase.HOLDING, 300, 1)) is ServicePhase.STANDBY


# -- witness --


def test_the_holder_without_a_witness_removes_the_address_before_on_release():
    driver = holding(witness=True, on_release=RELEASE)
    heard, driver.beats = driver.now, False
    driver.hears(last_heard=heard)
    assert driver.wait(1.99) is ServicePhase.HOLDING
    assert driver.machine.deadline == heard + 2.0
    assert driver.wait(0.01) is ServicePhase.UNFIT
    assert not driver.address
    assert driver.why == "no peer is heard"
    assert driver.runs == [Run(Program.ON_RELEASE)]
    driver.ends(Program.ON_RELEASE)
    assert driver.wait(60.0) is ServicePhase.UNFIT
    assert driver.hears(last_heard=driver.now) is ServicePhase.STANDBY


def test_with_a_witness_a_lost_peer_gets_the_time_to_give_the_address_up():
    driver = Driver(witness=True)
    driver.see(peers=(*driver.view.peers, PeerView("vpnsrvC", heard=True)))
    driver.claims(B_HOLDS)
    driver.wait(10.0)
    b, c = driver.view.peers
    driver.see(peers=(attrs.evolve(b, heard=False), c), claims={})
    assert driver.wait(SETTLE_TIME - 0.01) is ServicePhase.STANDBY
    assert driver.wait(0.01) is ServicePhase.HOLDING


def test_a_new_witness_may_have_heard_until_now_who_is_lost():
    driver = Driver(witness=True)
    b, c = PeerView("vpnsrvB", last_heard=1.0), PeerView("vpnsrvC", last_heard=1.0)
    driver.see(peers=(b, c))
    assert driver.wait(60.0) is ServicePhase.UNFIT
    driver.see(peers=(b, attrs.evolve(c, heard=True)))
    assert driver.wait(2.0 + SETTLE_TIME - 0.01) is ServicePhase.STANDBY
    assert driver.wait(0.01) is ServicePhase.HOLDING


def test_nothing_is_taken_until_the_peers_were_heard_after_the_own_claim(alone):
    alone.beats = False
    assert alone.wait(2.0) is ServicePhase.STANDBY
    assert alone.machine.deadline == pytest.approx(alone.now + 0.1)
    assert alone.hears(last_heard=100.0 + SETTLE_TIME) is ServicePhase.HOLDING


def test_a_peer_that_said_goodbye_is_no_witness():
    driver = holding(witness=True)
    driver.hears(last_heard=driver.now, heard=False, gone=True)
    assert driver.phase is ServicePhase.UNFIT


# -- start --


def test_an_address_that_is_there_at_the_start_stays_until_the_view_is_settled():
    driver = Driver(has_address=True, check=CHECK, on_acquire=ACQUIRE, witness=True)
    assert driver.see(settled=False) is ServicePhase.ADOPTED
    assert driver.address
    assert driver.see(settled=True) is ServicePhase.HOLDING
    assert not driver.runs


def test_an_adopted_address_is_removed_when_another_node_has_it():
    driver = Driver(has_address=True, on_release=RELEASE)
    driver.see(settled=False)
    assert driver.claims(attrs_later(B_HOLDS)) is ServicePhase.UNFIT
    assert not driver.address
    assert driver.runs == [Run(Program.ON_RELEASE)]


def test_of_two_that_have_adopted_it_one_keeps_it():
    driver = Driver(has_address=True)
    driver.see(settled=False)
    driver.claims(ServiceClaim(ServicePhase.ADOPTED, 100, HELD_SINCE + 1))
    assert driver.see(settled=True) is ServicePhase.HOLDING


def test_an_adopted_address_has_to_find_a_witness_within_the_witness_time():
    driver = Driver(has_address=True, witness=True)
    driver.view = attrs.evolve(driver.view, settled=False, peers=(PeerView("vpnsrvB"),))
    assert driver.look() is ServicePhase.ADOPTED
    assert driver.wait(1.99) is ServicePhase.ADOPTED
    assert driver.wait(0.01) is ServicePhase.UNFIT


# -- health --


def test_before_the_first_check_a_node_is_unfit():
    driver = Driver(check=CHECK)
    assert driver.look() is ServicePhase.UNFIT
    assert driver.why == "not checked yet"
    assert driver.machine.check_due == driver.now
    assert driver.machine.last_checked is None
    assert driver.ends(Program.CHECK) is ServicePhase.STANDBY
    assert driver.events == [ServiceChecked(service="db", healthy=True)]
    assert driver.machine.check_due == driver.now + 2.0
    assert driver.machine.last_checked == driver.now


def test_a_holder_whose_check_fails_keeps_it_as_the_last_resort():
    driver = Driver(check=CHECK)
    driver.ends(Program.CHECK)
    driver.wait(SETTLE_TIME)
    assert driver.ends(Program.CHECK, ok=False) is ServicePhase.HOLDING
    assert driver.ends(Program.CHECK, ok=False) is ServicePhase.LAST_RESORT
    assert driver.why == "check: exit status 1"
    driver.ends(Program.CHECK)
    assert driver.ends(Program.CHECK) is ServicePhase.HOLDING
    assert driver.machine.claim.held_since == HELD_SINCE


# -- stop --


def test_a_stop_releases_the_address_in_order():
    driver = holding(on_release=RELEASE)
    driver.machine.stop(driver.now)
    assert driver.look() is ServicePhase.RELEASING
    assert not driver.machine.is_released
    assert driver.ends(Program.ON_RELEASE) is ServicePhase.UNFIT
    assert driver.why == "the daemon is being stopped"
    assert driver.machine.is_released
    assert driver.wait(60.0) is ServicePhase.UNFIT


def test_a_stop_ends_what_was_begun():
    driver = Driver(on_acquire=ACQUIRE)
    driver.look()
    driver.wait(SETTLE_TIME)
    driver.machine.stop(driver.now)
    driver.look()
    assert driver.kills == 1
    assert not driver.machine.is_released
    driver.ends(Program.ON_ACQUIRE, ok=False, why="killed")
    assert driver.machine.is_released


# -- placement = nearest --


def test_with_nearest_every_healthy_node_has_the_address():
    driver = Driver(placement=Placement.NEAREST, on_acquire=ACQUIRE)
    driver.see(settled=False, claims={"vpnsrvB": B_HOLDS})
    assert driver.phase is ServicePhase.ACQUIRING
    assert driver.ends(Program.ON_ACQUIRE) is ServicePhase.HOLDING
    assert driver.machine.claim.nearest
    assert driver.wait(5.0) is ServicePhase.HOLDING


def test_with_nearest_an_unhealthy_node_gives_it_up_while_another_is_well():
    driver = holding(placement=Placement.NEAREST)
    driver.claims(B_HOLDS)
    assert driver.see(available=False) is ServicePhase.LAST_RESORT
    assert driver.wait(SETTLE_TIME) is ServicePhase.UNFIT


def test_with_nearest_all_keep_it_when_none_is_well():
    driver = holding(placement=Placement.NEAREST)
    driver.claims(B_HOLDS)
    driver.see(available=False)
    driver.claims(ServiceClaim(ServicePhase.LAST_RESORT, 100, 1))
    assert driver.wait(60.0) is ServicePhase.LAST_RESORT
