"""Shared service addresses in whole daemons, on fakes and in no real time."""

from __future__ import annotations

import errno
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from cuberouted.config import ServiceConfig
from cuberouted.daemon.local_service import LocalService
from cuberouted.daemon.services import STOP_TIMEOUT
from cuberouted.events import NodeProblem, NodeProblemEnded, ServiceChecked, ServiceMoved
from cuberouted.maintenance.record import MaintenanceRecord
from cuberouted.model import NodeState
from cuberouted.routing.kernel_api import KernelError
from cuberouted.service_claim import ServicePhase
from cuberouted.services.election import SETTLE_TIME
from cuberouted.services.machine import SHORT_LOOK_INTERVAL
from cuberouted.services.types import Program, Run
from tests.fakes.commands import HANGS, Behaviour, FakeCommands
from tests.unit.daemon.meshes import status
from tests.unit.daemon.service_meshes import (
    DB,
    LOST,
    ORDERLY,
    Watch,
    add_alone,
    add_servers,
    events,
    holders,
    phase,
    remove,
    service,
    started,
)
from tests.unit.longest_step import longest_step

CHECK = "/bin/check"
FAILS = Behaviour(1, stderr=b"not master\n")


def drain(server):
    server.daemon.maintenance.record = MaintenanceRecord(state=NodeState.DRAINING)
    server.daemon.services.wake()


async def quiet(mesh, seconds=5.0):
    await trio.sleep(seconds)
    return holders(mesh)


async def test_of_nodes_that_start_together_the_one_with_the_highest_priority_gets_it(
    mesh, autojump_clock
):
    a, b, c = add_servers(mesh, {"A": 100, "B": 200, "C": 100})
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    await mesh.start()
    # after the next heartbeat of every peer
    assert await mesh.until(lambda: holders(mesh) == ["B"]) < 1.0 + 2 * SHORT_LOOK_INTERVAL
    assert await quiet(mesh) == ["B"]
    assert watch.seen == [[], ["B"]]
    assert a.routes[DB] == c.routes[DB] == "B"
    assert DB not in b.routes
    for server in (a, b, c):
        row = service(server)
        assert (row.holders, row.via, row.problems) == (["B"], "B", [])
        assert row.why == "its priority is higher than that of A: 200 > 100"
        assert events(server, ServiceMoved) == [f"service db ({DB}) is at B"]
        assert not [p for p in status(server).problems if "service" in p]


async def test_the_holder_that_is_stopped_hands_over_at_once(mesh, autojump_clock):
    a, b, c = await started(mesh, {"A": 200, "B": 150, "C": 100})
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    mesh.nursery.start_soon(a.stop)
    assert await mesh.until(lambda: holders(mesh) == ["B"]) < ORDERLY
    assert watch.overlaps == []
    await mesh.until(lambda: c.routes.get(DB) == "B")
    moved = f"service db ({DB}) moved A -> B: peer A: it shut down"
    assert events(b, ServiceMoved)[1:] == events(c, ServiceMoved)[1:] == [moved]
    assert await quiet(mesh) == ["B"]


async def test_after_a_crash_of_the_holder_the_next_has_it_when_its_hold_time_is_over(
    mesh, autojump_clock
):
    a, b, c = await started(mesh, {"A": 200, "B": 150, "C": 100})
    await a.crash()
    await remove(a)  # its host has lost its power
    took = await mesh.until(lambda: holders(mesh) == ["B"])
    assert took < b.config.hold_time + LOST
    moved = f"service db ({DB}) moved A -> B: peer A: nothing received for 3 s"
    assert events(b, ServiceMoved)[1:] == events(c, ServiceMoved)[1:] == [moved]


async def test_a_daemon_that_restarts_after_a_crash_keeps_its_address(mesh, autojump_clock):
    a, b, _ = await started(mesh, {"A": 200, "B": 150, "C": 100}, "on_acquire = /bin/acquire")
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    await a.crash()
    await a.start()
    await mesh.until(lambda: phase(b, a) == "holding")
    assert await quiet(mesh) == ["A"]
    assert watch.seen == [["A"]]
    assert len(a.commands.of("/bin/acquire")) == 1
    assert len(events(b, ServiceMoved)) == 1
    assert events(a, ServiceMoved) == []  # it was there before this daemon


async def test_a_daemon_that_comes_back_after_another_took_it_removes_its_address(
    mesh, autojump_clock
):
    a, _, _ = await started(mesh, {"A": 200, "B": 150, "C": 100})
    await a.crash()  # the address is still there
    await mesh.until(lambda: holders(mesh) == ["A", "B"])
    await a.start()
    await mesh.until(lambda: holders(mesh) == ["B"], within=1.0)
    assert await quiet(mesh, 10.0) == ["B"]  # preempt = no


async def test_the_address_moves_when_the_holders_check_fails(mesh, autojump_clock):
    a, b, _ = await started(mesh, {"A": 200, "B": 150, "C": 100}, f"check = {CHECK}")
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    a.commands.behaviours[CHECK] = FAILS
    await mesh.until(lambda: len(events(a, ServiceChecked)) == 2)  # after `fall` of them
    assert await mesh.until(lambda: holders(mesh) == ["B"]) < ORDERLY
    assert watch.overlaps == []
    why = f"{CHECK} ended with exit status 1: not master"
    assert events(a, ServiceChecked)[-1] == f"service db: its check fails here: {why}"
    assert events(b, ServiceMoved)[-1] == f"service db ({DB}) moved A -> B: check: {why}"
    assert service(a).problems == [f"its check fails here ({why})"]
    assert f"service db: its check fails here ({why})" in status(a).problems
    assert service(b).problems == []
    a.commands.behaviours[CHECK] = Behaviour()
    await mesh.until(lambda: phase(b, a) == "standby")
    assert await quiet(mesh) == ["B"]
    assert service(a).problems == []


async def test_sections_that_differ_where_they_must_not_are_a_problem_everywhere(
    mesh, autojump_clock
):
    a, b, c = add_servers(mesh, {"A": 200, "B": 150, "C": 100})
    b.services = {"database": [f"address = {DB}", "placement = nearest"]}
    await mesh.start()
    await mesh.until(lambda: phase(a, c) == "standby")
    for server in (a, b, c):
        [row] = server.daemon.services.report().services
        assert "its placement differs: nearest on B; single on A, C" in row.problems
        assert "its name differs: database on B; db on A, C" in row.problems


async def test_a_name_with_two_addresses_is_a_problem(mesh, autojump_clock):
    a, b, _ = add_servers(mesh, {"A": 200, "B": 150, "C": 100})
    b.services["db"][0] = "address = 10.100.100.201"  # mistyped
    await mesh.start()
    await mesh.until(lambda: len(a.daemon.services.report().services) == 2)
    await mesh.until(lambda: holders(mesh) == ["A"] and phase(a, a) == "holding")
    right, wrong = a.daemon.services.report().services
    other = "its name stands for another address as well: "
    assert right.problems == [f"{other}10.100.100.201 (B)"]
    assert f"{other}{DB} (A, C)" in wrong.problems
    assert not a.daemon.services.report().well


async def test_when_all_checks_fail_the_last_holder_keeps_it(mesh, autojump_clock):
    servers = await started(mesh, {"A": 200, "B": 150}, f"check = {CHECK}")
    for server in reversed(servers):
        server.commands.behaviours[CHECK] = FAILS
        await mesh.until(lambda: len(events(server, ServiceChecked)) == 2)  # noqa: B023
    await mesh.until(lambda: phase(servers[1], servers[0]) == "last_resort")
    assert await quiet(mesh, 20.0) == ["A"]
    (problem,) = service(servers[1]).problems[:1]
    assert problem.startswith("A has it only because nobody else can: check: ")
    assert not servers[1].daemon.services.report().well


async def test_checks_do_not_overlap_and_one_that_hangs_has_failed(mesh, autojump_clock):
    a = add_alone(mesh, f"check = {CHECK}", "check_timeout = 5s")
    a.commands.behaviours[CHECK] = HANGS
    await a.start()
    await trio.sleep(60.0)
    runs = a.commands.of(CHECK)
    assert 10 <= len(runs) <= 13
    for run, following in itertools.pairwise(runs):
        assert run.killed
        assert run.ended == pytest.approx(run.began + 5.0)
        assert following.began >= run.ended
    assert holders(mesh) == []
    assert service(a).problems[0] == (
        f"nobody has it; A is unfit (check: {CHECK} was killed after check_timeout)"
    )
    assert dict(runs[0].env) == {
        "CUBEROUTED_SERVICE": "db",
        "CUBEROUTED_ADDRESS": DB,
        "CUBEROUTED_NODE": "A",
        "CUBEROUTED_INTERFACE": "lo",
    }


async def test_checks_begin_at_their_interval(mesh, autojump_clock):
    a = add_alone(mesh, f"check = {CHECK}", "check_interval = 2s")
    a.commands.behaviours[CHECK] = Behaviour(duration=0.5)
    await a.start()
    await trio.sleep(21.0)
    began = [run.began - a.commands.runs[0].began for run in a.commands.of(CHECK)]
    assert began == pytest.approx([2.0 * number for number in range(11)], abs=0.01)


async def test_a_node_with_a_higher_priority_that_comes_back_leaves_it_with_preempt_no(
    mesh, autojump_clock
):
    a, _ = await started(mesh, {"A": 200, "B": 100})
    await a.stop()
    await mesh.until(lambda: holders(mesh) == ["B"])
    await a.start()
    assert await quiet(mesh, 300.0) == ["B"]
    assert service(a).why == "it has had it before A, which does not take it back by its priority"


async def test_a_node_with_a_higher_priority_takes_it_back_after_preempt(mesh, autojump_clock):
    a, b, c = await started(mesh, {"A": 200, "B": 150, "C": 100}, "preempt = 60s")
    await a.stop()
    await mesh.until(lambda: holders(mesh) == ["B"])
    await a.start()
    await mesh.until(mesh.is_up)
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    took = await mesh.until(lambda: holders(mesh) == ["A"], within=70.0)
    assert took == pytest.approx(60.0, abs=2.0)
    assert watch.overlaps == []
    for server in (b, c):
        assert events(server, ServiceMoved)[-1] == (
            f"service db ({DB}) moved B -> A: A has the higher priority"
        )


async def test_draining_hands_it_over(mesh, autojump_clock):
    a, b = await started(mesh, {"A": 200, "B": 100})
    drain(a)
    assert await mesh.until(lambda: holders(mesh) == ["B"]) < ORDERLY
    assert events(b, ServiceMoved)[-1] == (
        f"service db ({DB}) moved A -> B: the node is draining or in maintenance"
    )
    assert await quiet(mesh) == ["B"]


async def test_the_address_is_there_before_a_claim_says_so_and_gone_before_it_says_that(
    mesh, autojump_clock
):
    """Whenever a node advertises a claim, it is true, through all moves of the address."""
    a, b = add_servers(mesh, {"A": 200, "B": 100}, "on_release = /bin/release")
    told: list[tuple[str, ServicePhase, bool]] = []

    def listen(server):
        update = server.daemon.node.update_services

        async def update_services(claims):
            told.extend((server.name, c.service.phase, server.has(DB)) for c in claims)
            await update(claims)

        server.daemon.node.update_services = update_services

    for server in (a, b):
        server.on_start = lambda daemon: listen(mesh[daemon.config.node])
        server.commands.behaviours["/bin/release"] = Behaviour(duration=0.2)
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["A"])
    drain(a)
    await mesh.until(lambda: holders(mesh) == ["B"])
    drain(b)
    a.daemon.maintenance.record = MaintenanceRecord()
    a.daemon.services.wake()
    await mesh.until(lambda: holders(mesh) == ["A"])
    await a.stop()
    assert {name for name, phase, _ in told if phase == "releasing"} == {"A", "B"}
    assert [t for t in told if t[1].has_address is not t[2]] == []


# -- a cut mesh --


async def test_both_halves_of_a_cut_mesh_have_it_and_one_gives_it_up_when_it_heals(
    mesh, autojump_clock
):
    a, b = (
        await started(mesh, {"A": 100, "B": 200}, "preempt = no")
        if False
        else (await started(mesh, {"A": 200, "B": 100}))
    )
    mesh.network.partition(a.address, b.address)
    await mesh.until(lambda: holders(mesh) == ["A", "B"])
    await trio.sleep(30.0)
    mesh.network.heal(a.address, b.address)
    await mesh.until(lambda: holders(mesh) == ["A"], within=5.0)
    assert await quiet(mesh) == ["A"]
    assert b.routes[DB] == "A"
    moved = f"service db ({DB}) moved B -> A: A has the higher priority"
    assert events(b, ServiceMoved)[-1] == moved


async def test_with_a_witness_only_the_larger_part_has_it(mesh, autojump_clock):
    a, b, c = await started(mesh, {"A": 200, "B": 150, "C": 100}, "witness = yes")
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    for other in (b, c):
        mesh.network.partition(a.address, other.address)
    took = await mesh.until(lambda: holders(mesh) == ["B"])
    assert took < b.config.hold_time + SETTLE_TIME + LOST
    await trio.sleep(30.0)
    for other in (b, c):
        mesh.network.heal(a.address, other.address)
    await mesh.until(mesh.is_up)
    assert await quiet(mesh) == ["B"]
    assert watch.overlaps == []


async def test_of_two_nodes_with_a_witness_neither_has_it_alone(mesh, autojump_clock):
    a, b = await started(mesh, {"A": 200, "B": 100}, "witness = yes")
    mesh.network.partition(a.address, b.address)
    assert await mesh.until(lambda: holders(mesh) == []) < a.config.hold_time
    assert await quiet(mesh, 30.0) == []
    assert service(a).problems == ["nobody has it; A is unfit (no peer is heard)"]
    mesh.network.heal(a.address, b.address)
    await mesh.until(lambda: holders(mesh) == ["A"])


async def test_a_peer_that_is_refused_is_no_witness(mesh, autojump_clock):
    (a, b) = await started(mesh, {"A": 200, "B": 100}, "witness = yes")
    await b.crash()
    b.node = "C"  # its heartbeats still come
    await b.start()
    await mesh.until(lambda: a.session("B").state == "down")
    assert await mesh.until(lambda: not a.has(DB)) <= a.config.hold_time
    assert await quiet(mesh) == ["B"]  # which hears A


# -- on every node --


async def test_with_placement_nearest_every_healthy_node_has_it(mesh, autojump_clock):
    lines = ("placement = nearest", f"check = {CHECK}")
    a, b, c = add_servers(mesh, {"A": 200, "B": 150, "C": 100}, *lines)
    d = mesh.add("D")
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["A", "B", "C"])
    await mesh.until(lambda: d.routes.get(DB) == "A")
    await trio.sleep(1.0)
    assert [server.routes.get(DB) for server in (a, b, c)] == [None, None, None]
    assert service(b).via == "B"
    assert service(b).problems == []
    a.commands.behaviours[CHECK] = FAILS
    await mesh.until(lambda: holders(mesh) == ["B", "C"])
    await mesh.until(lambda: a.routes.get(DB) == d.routes.get(DB) == "B")
    assert events(c, ServiceMoved) == []
    assert events(d, ServiceMoved)[-1].startswith(f"service db ({DB}) moved A -> B: check: ")


# -- the kernel --


async def test_an_address_that_somebody_removes_is_put_back(mesh, autojump_clock):
    a, _ = await started(mesh, {"A": 200, "B": 100})
    await remove(a)
    assert await mesh.until(lambda: a.has(DB)) < 1.0


async def test_an_address_that_somebody_adds_at_another_node_is_removed(mesh, autojump_clock):
    _, b = await started(mesh, {"A": 200, "B": 100})
    b.kernel.add_address("lo", f"{DB}/32")
    assert await mesh.until(lambda: holders(mesh) == ["A"]) < 1.0


async def test_addresses_that_no_section_has_any_more_are_removed(mesh, autojump_clock):
    a, _ = add_servers(mesh, {"A": 200, "B": 100})
    for number, interface in enumerate(("lo", "tun0")):
        device = a.kernel.devices[interface]
        packed = bytes((10, 100, 100, 240 + number))
        await a.kernel.set_address(device.index, packed, present=True)
    a.kernel.add_address("lo", "10.100.100.250/32")  # somebody else's
    await mesh.start()
    left = {(name, a_.local[-1]) for name, d in a.kernel.devices.items() for a_ in d.addresses}
    assert {("lo", 240), ("tun0", 241)}.isdisjoint(left)
    assert ("lo", 250) in left


async def test_a_node_that_cannot_add_the_address_leaves_it_to_another(mesh, autojump_clock):
    a, b = add_servers(mesh, {"A": 200, "B": 100})
    refusing(a.kernel, "no space")
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["B"], within=3.0)
    assert await quiet(mesh, 300.0) == ["B"]
    assert phase(b, a) in ("unfit", "standby")
    problems = [e for e in events(a, NodeProblem) if "no space" in e]
    assert problems == ["service db: no space"]
    assert events(b, ServiceMoved) == [f"service db ({DB}) is at B"]


async def test_an_address_that_cannot_be_removed_keeps_its_claim_so_that_no_other_takes_it(
    mesh, autojump_clock
):
    a, b = await started(mesh, {"A": 200, "B": 100})
    refusing(a.kernel, "not now")
    drain(a)
    await trio.sleep(5.0)
    assert holders(mesh) == ["A"]
    assert phase(b, a) == "holding"
    assert service(a).problems == [f"{DB} on lo: not now"]
    del a.kernel.set_address  # the class's own again
    await mesh.until(lambda: holders(mesh) == ["B"])
    assert events(a, NodeProblemEnded) == ["service db: works again"]


async def test_without_its_interface_a_node_does_not_get_it(mesh, autojump_clock):
    a, b = add_servers(mesh, {"A": 200, "B": 100})
    a.kernel.remove_link("lo")
    await mesh.start()
    await mesh.until(lambda: b.has(DB))
    await trio.sleep(60.0)
    assert events(a, NodeProblem)[-1] == "service db: there is no interface lo"


def refusing(kernel, why):
    """Let *kernel* refuse every change of an address."""

    async def refuse(device, address, *, present):
        await trio.lowlevel.checkpoint()
        raise KernelError(why, errno.ENOSPC)

    kernel.set_address = refuse


# -- commands --

ACQUIRE, RELEASE, FENCE = "/bin/acquire", "/bin/release", "/bin/fence"


async def test_on_release_ends_before_the_address_goes_and_on_acquire_before_it_comes(
    mesh, autojump_clock
):
    a, b = await started(
        mesh, {"A": 200, "B": 100}, f"on_acquire = {ACQUIRE}", f"on_release = {RELEASE}"
    )
    for server in (a, b):
        server.commands.behaviours |= {
            RELEASE: Behaviour(duration=2.0),
            ACQUIRE: Behaviour(duration=3.0),
        }
    drain(a)
    removed = await mesh.until(lambda: holders(mesh) == [])
    assert removed == pytest.approx(2.0, abs=ORDERLY)
    added = await mesh.until(lambda: holders(mesh) == ["B"])
    assert added == pytest.approx(3.0, abs=ORDERLY)
    (release,), (acquire,) = a.commands.of(RELEASE), b.commands.of(ACQUIRE)
    assert acquire.began >= release.ended
    assert acquire.env["CUBEROUTED_FROM_NODE"] == "A"
    assert "CUBEROUTED_FROM_NODE" not in a.commands.of(ACQUIRE)[0].env


async def test_where_on_acquire_fails_another_node_takes_it(mesh, autojump_clock):
    a, b = add_servers(mesh, {"A": 200, "B": 100}, f"on_acquire = {ACQUIRE}")
    a.commands.behaviours[ACQUIRE] = Behaviour(3, stderr=b"no licence")
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["B"])
    why = f"on_acquire failed: {ACQUIRE} ended with exit status 3: no licence"
    await mesh.until(lambda: service(a).holders == ["B"])
    assert service(a).problems == [why]
    assert f"service db: {why}" in status(a).problems
    assert [p for p in status(b).problems if "service" in p] == []
    await a.reload()
    assert service(a).problems == []


async def test_a_failure_is_no_problem_any_more_once_the_node_has_the_address(mesh, autojump_clock):
    a = add_alone(mesh, f"on_acquire = {ACQUIRE}", f"on_release = {RELEASE}")
    a.commands.behaviours[RELEASE] = a.commands.behaviours[ACQUIRE] = Behaviour(1)
    await a.start()
    await mesh.until(lambda: len(a.commands.of(RELEASE)) == 1)
    await mesh.until(lambda: len(service(a).problems) == 3)  # and that nobody has it
    assert events(a, NodeProblem)[-1].startswith("service db: ")
    a.commands.behaviours.clear()
    await mesh.until(lambda: service(a).problems == [])
    assert holders(mesh) == ["A"]
    assert "service db: works again" in events(a, NodeProblemEnded)


async def test_an_on_acquire_that_hangs_is_killed_at_its_time_limit(mesh, autojump_clock):
    a = add_alone(mesh, f"on_acquire = {ACQUIRE}", "command_timeout = 7s")
    a.commands.behaviours[ACQUIRE] = HANGS
    await a.start()
    await mesh.until(lambda: len(a.commands.of(ACQUIRE)) == 2)
    first, second = a.commands.of(ACQUIRE)
    assert first.ended == pytest.approx(first.began + 7.0)
    assert second.began > first.ended + 5.0  # not at once again


async def test_a_daemon_stops_in_time_while_on_release_hangs(mesh, autojump_clock):
    a, _ = await started(mesh, {"A": 200, "B": 100}, f"on_release = {RELEASE}")
    a.commands.behaviours[RELEASE] = HANGS
    began = trio.current_time()
    await a.stop()
    assert trio.current_time() - began < STOP_TIMEOUT + 1.0
    assert a.commands.of(RELEASE)[0].killed
    assert not a.has(DB)
    await mesh.until(lambda: holders(mesh) == ["B"], within=1.0)


async def test_with_on_exit_keep_the_address_stays_and_no_command_runs(mesh, autojump_clock):
    a, b = add_servers(mesh, {"A": 200, "B": 100}, f"on_release = {RELEASE}")
    a.settings.append("on_exit = keep")
    await mesh.start()
    await mesh.until(lambda: holders(mesh) == ["A"])
    await a.stop()
    await trio.sleep(5.0)
    assert holders(mesh) == ["A"]
    assert b.routes[DB] == "A"
    await a.start()
    await mesh.until(lambda: phase(b, a) == "holding")
    assert await quiet(mesh) == ["A"]
    assert a.commands.runs == []


async def test_after_a_graceful_restart_the_address_is_where_it_was(mesh, autojump_clock):
    a, b = await started(mesh, {"A": 200, "B": 100}, f"on_release = {RELEASE}")
    a.daemon.exit_policy.order(60.0, "root")
    await a.stop()
    await trio.sleep(5.0)
    assert holders(mesh) == ["A"]
    assert b.routes[DB] == "A"
    await a.start()
    await mesh.until(lambda: phase(b, a) == "holding")
    assert await quiet(mesh) == ["A"]
    assert a.commands.of(RELEASE) == []


async def test_the_fence_has_to_succeed_before_the_address_is_taken(mesh, autojump_clock):
    a, b, _ = await started(
        mesh, {"A": 200, "B": 150, "C": 100}, f"fence = {FENCE}", f"on_acquire = {ACQUIRE}"
    )
    b.commands.behaviours[FENCE] = Behaviour(duration=4.0)
    fenced = len(b.commands.runs)
    await a.crash()
    await remove(a)
    await mesh.until(lambda: holders(mesh) == ["B"])
    fence, acquire = b.commands.runs[fenced:]
    assert (fence.argv, fence.env["CUBEROUTED_PEER"]) == ((FENCE,), "A")
    assert acquire.argv == (ACQUIRE,)
    assert acquire.began >= fence.ended == fence.began + 4.0


async def test_a_fence_is_killed_when_its_peer_is_heard_again(mesh, autojump_clock):
    a, b = await started(mesh, {"A": 200, "B": 100}, f"fence = {FENCE}")
    b.commands.behaviours[FENCE] = HANGS
    before = len(b.commands.of(FENCE))
    mesh.network.partition(a.address, b.address)
    await mesh.until(lambda: len(b.commands.of(FENCE)) > before)
    assert phase(b, b) == "acquiring"
    mesh.network.heal(a.address, b.address)
    await mesh.until(lambda: b.commands.of(FENCE)[-1].killed and phase(b, b) == "standby")
    assert await quiet(mesh) == ["A"]
    assert len(b.commands.of(FENCE)) == before + 1
    assert not [p for p in status(b).problems if "service" in p]  # that was no failure


async def test_an_on_acquire_is_killed_and_undone_when_its_node_is_drained(mesh, autojump_clock):
    a, _ = add_servers(mesh, {"A": 200, "B": 100}, f"on_acquire = {ACQUIRE}")
    a.services["db"].append(f"on_release = {RELEASE}")
    a.commands.behaviours[ACQUIRE] = HANGS
    await mesh.start()
    await mesh.until(lambda: len(a.commands.runs) == 1)
    drain(a)
    await mesh.until(lambda: holders(mesh) == ["B"], within=3.0)
    acquire, release = a.commands.runs
    assert (acquire.killed, release.argv) == (True, (RELEASE,))
    assert release.began >= acquire.ended
    assert service(a).problems == []


# -- reload --


async def test_the_end_of_a_check_that_a_reload_has_replaced_does_not_count(mesh, autojump_clock):
    a, _ = await started(mesh, {"A": 200, "B": 100}, f"check = {CHECK}", "fall = 1")
    a.commands.behaviours[CHECK] = Behaviour(1, duration=0.9)
    runs = len(a.commands.of(CHECK))
    await mesh.until(lambda: len(a.commands.of(CHECK)) > runs)
    a.services["db"][2] = "check = /bin/other"
    await a.reload()
    assert await quiet(mesh, 30.0) == ["A"]
    assert len(a.commands.of(CHECK)) == runs + 1
    assert len(a.commands.of("/bin/other")) > 10
    assert events(a, ServiceChecked)[1:] == []


async def test_a_command_that_a_reload_removes_before_it_has_begun_succeeds():
    ended: list[Any] = []
    machine: Any = SimpleNamespace(config=ServiceConfig(name="db"))
    machine.ended = lambda *args: ended.append(args)
    commands = FakeCommands()
    local = LocalService(machine, commands.run, lambda _run: {}, lambda: None)
    async with trio.open_nursery() as nursery:
        local.start(Run(Program.ON_RELEASE), nursery)
    assert [args[:3] for args in ended] == [(Program.ON_RELEASE, True, "")]
    assert (commands.runs, local.failed) == ([], {})


async def test_a_section_that_is_removed_gives_its_address_up_in_order(mesh, autojump_clock):
    a, b = await started(mesh, {"A": 200, "B": 100}, f"on_release = {RELEASE}")
    a.commands.behaviours[RELEASE] = Behaviour(duration=1.0)
    lines = a.services.pop("db")
    await a.reload()
    assert a.has(DB)
    assert await mesh.until(lambda: holders(mesh) == ["B"]) == pytest.approx(1.0, abs=ORDERLY)
    assert not service(a).configured
    assert [row.node for row in service(a).nodes] == ["B"]
    a.services["db"] = lines
    await a.reload()
    await mesh.until(lambda: phase(b, a) == "standby")
    assert service(a).configured


async def test_a_section_that_changes_keeps_its_address(mesh, autojump_clock):
    a, b = await started(mesh, {"A": 200, "B": 100})
    watch = Watch(mesh)
    mesh.nursery.start_soon(watch.run)
    a.services["db"] += [f"check = {CHECK}", "check_interval = 1s"]
    a.services["db"][1] = "priority = 300"
    await a.reload()
    await mesh.until(lambda: len(a.commands.of(CHECK)) > 3)
    assert watch.seen == [["A"]]
    await mesh.until(lambda: service(b).nodes[0].priority == 300)


async def test_a_section_with_another_address_gives_the_old_one_up_first(mesh, autojump_clock):
    other = "10.100.100.201"
    a, b = await started(mesh, {"A": 200, "B": 100}, f"on_release = {RELEASE}")
    a.commands.behaviours[RELEASE] = Behaviour(duration=1.0)
    a.services["db"][0] = f"address = {other}"
    await a.reload()
    await mesh.until(lambda: a.has(other))
    assert not a.has(DB)
    assert holders(mesh) == ["B"]
    assert b.routes[other] == "A"


async def test_a_node_without_the_section_routes_to_the_holder_and_tells_of_moves(
    mesh, autojump_clock
):
    a, _ = add_servers(mesh, {"A": 200, "B": 100})
    c = mesh.add("C")
    await mesh.start()
    await mesh.until(lambda: c.routes.get(DB) == "A")
    mesh.nursery.start_soon(a.stop)
    assert await mesh.until(lambda: c.routes.get(DB) == "B") < 2 * ORDERLY
    assert events(c, ServiceMoved) == [
        f"service db ({DB}) is at A",
        f"service db ({DB}) moved A -> B: peer A: it shut down",
    ]
    row = service(c)
    assert (row.configured, row.holders, [n.local for n in row.nodes]) == (False, ["B"], [False])


async def test_that_nobody_has_it_is_an_event_after_a_moment(mesh, autojump_clock):
    (a,) = add_servers(mesh, {"A": 200})
    c = mesh.add("C")
    await mesh.start()
    await mesh.until(lambda: c.routes.get(DB) == "A")
    await a.stop()
    await trio.sleep(5.0)
    assert events(c, ServiceMoved)[-1] == (
        f"service db ({DB}): nobody has it; it was at A: peer A: it shut down"
    )


async def test_50_services_hold_nobody_up(mesh, autojump_clock):
    for number, name in enumerate("ABCD"):
        server = mesh.add(name)
        for index in range(50):
            address, priority = f"10.100.101.{index + 1}", 100 + (index + number) % 4
            server.services[f"db{index}"] = [f"address = {address}", f"priority = {priority}"]
    with longest_step() as longest:
        await mesh.start()
        await trio.sleep(5)
        await mesh.servers[0].stop()
        await trio.sleep(5)
    reports = mesh.servers[1].daemon.services.report().services
    assert [len(row.holders) for row in reports] == [1] * 50
    assert longest.seconds < 0.02
