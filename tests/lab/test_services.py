"""Shared service addresses: VpnCloud's example of high availability, with real parts.

Each server answers at the address with its own name; clients on all servers ask every 20 ms.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.lab.addresses import NETMASK
from tests.lab.client import Client
from tests.lab.configs import mesh, shipped
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons
from tests.lab.network import block, unblock
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.services import (
    ADDRESS,
    ADDRESS6,
    NAME,
    AddressWatch,
    Asker,
    Responder,
    addresses_of,
    lose_power,
    phases,
    row,
    section,
)
from tests.lab.waiting import wait_for

HEARTBEAT = 1.0
HOLD = 3.0
SLACK = 1.5
"""Seconds that a busy machine may add."""

HANDOVER = 0.5
"""Most seconds in which nobody has the address in an orderly change; 0.01 on an idle machine."""

CHECK = 'check = /usr/bin/bash -c "</dev/tcp/127.0.0.1/8000"'
QUICK_CHECK = (CHECK, "check_interval = 300ms")


class Services:
    """Servers that share an address, a client on each, and a watch on who has the address."""

    def __init__(self, lab: Lab, clients: Sequence[Client], responders: list[Responder]) -> None:
        self.servers = lab.servers
        self.clients = clients
        self.responders = responders
        self.watch = AddressWatch(lab)
        self._askers: list[Asker] = []
        self._blocked: set[Server] = set()

    def start(
        self,
        lines: Sequence[str],
        servers: Sequence[Server],
        priorities: Sequence[int] = (100, 100, 100),
        address: str = ADDRESS,
        node: Sequence[str] = (),
    ) -> None:
        """Starts cuberouted on *servers*, each with the others as its peers, all at once."""

        def configuration(server: Server) -> str:
            peers = [peer for peer in servers if peer is not server]
            priority = f"priority = {priorities[servers.index(server)]}"
            service = section(priority, *lines, address=address)
            return mesh(server, *node, peers=peers, services=[service])

        start_daemons(servers, configuration)

    def ask(self, *numbers: int, address: str = ADDRESS) -> list[Asker]:
        """Lets the clients of these numbers ask; each has been answered when this returns."""
        askers = [Asker(self.clients[number], address) for number in numbers]
        self._askers += askers
        for asker in askers:
            wait_for(f"an answer to {asker.client.name}", asker.answers, 20.0)
        return askers

    def part(self, *pairs: tuple[Server, Server]) -> float:
        """Blocks the paths between servers: Unix seconds."""
        for one, other in pairs:
            block(one.host, other.internet)
            block(other.host, one.internet)
            self._blocked |= {one, other}
        return time.time()

    def heal(self) -> float:
        """Restores them: Unix seconds."""
        while self._blocked:
            unblock(self._blocked.pop().host)
        return time.time()

    def close(self) -> None:
        """Ends all of it."""
        for asker in self._askers:
            asker.end()
        self.heal()
        for server in self.servers:
            if server.daemon.running:
                server.daemon.process.send(signal.SIGCONT)
                server.daemon.stop()
            for address in {ADDRESS, ADDRESS6} & set(addresses_of(server)):
                length = 128 if ":" in address else 32
                server.host.ip(f"address del {address}/{length} dev lo")
        self.watch.end()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three servers, for all of these tests but those that lose one."""
    with Lab(("vpnsrvA", "vpnsrvB", "vpnsrvC")) as lab:
        yield lab


@pytest.fixture(scope="module")
def clients(lab: Lab) -> list[Client]:
    """One on each server; none of them moves."""
    return list(connect(lab, {"host1": 0, "host2": 1, "host3": 2}))


@pytest.fixture(scope="module")
def responders(lab: Lab) -> list[Responder]:
    """The servers that answer."""
    return [Responder(server) for server in lab.servers]


@pytest.fixture
def services(lab: Lab, clients: list[Client], responders: list[Responder]) -> Iterator[Services]:
    """No daemon runs yet; when the test ends, all is as before."""
    services = Services(lab, clients, responders)
    try:
        yield services
    finally:
        services.close()


@pytest.fixture
def two(services: Services) -> tuple[Server, Server]:
    """The example's two servers."""
    a, b, _ = services.servers
    return a, b


def answered_by(askers: Sequence[Asker], server: Server, after: float = 0.0) -> list[float]:
    """Waits until each is answered by *server*: when (Unix seconds)."""
    return [asker.wait_answer(server, after).asked for asker in askers]


def peer_is_up(server: Server) -> bool:
    """Whether the first peer of a server is up."""
    state: str = server.daemon.ask("status")["peers"][0]["state"]
    return state == "up"


def silence(askers: Sequence[Asker], after: float) -> str:
    """The longest time without an answer for each, for a person to read."""
    gaps = [f"{asker.longest_gap(after).seconds:.2f} s" for asker in askers]
    return "no answer for " + ", ".join(gaps)


def orderly(services: Services, askers: Sequence[Asker], address: str = ADDRESS) -> str:
    """The last move of the address, which took no longer than it may: for a person to read."""
    changes = [change for change in services.watch.changes() if change.address == address]
    [*_, lost, got] = changes
    assert (lost.has_it, got.has_it) == (False, True), (lost, got)
    assert got.at - lost.at < HANDOVER
    # what delays a client at other times, such as the start of a daemon, is not meant
    around = lost.at - 0.1, got.at + 0.5
    wait_for("answers afterwards", lambda: all(a.answers()[-1].asked > around[1] for a in askers))
    gaps = [asker.longest_gap(*around).seconds for asker in askers]
    assert all(gap < SLACK for gap in gaps), gaps
    silent = ", ".join(f"{gap * 1000:.0f} ms" for gap in gaps)
    return f"nobody had it for {(got.at - lost.at) * 1000:.1f} ms, no answer for {silent}"


# -- orderly changes ------------------------------------------------------------------------


def test_both_servers_started_at_once(services: Services, two: tuple[Server, Server]) -> None:
    a, b = two
    begun = time.time()
    services.start((), two)
    taken = services.watch.wait_holder(a)
    print(f"the address was taken {taken - begun:.2f} s after the start of both")
    answered_by(services.ask(0, 1), a)
    for server in two:
        assert phases(server) == {a.name: "holding", b.name: "standby"}
        assert row(server)["holders"] == [a.name]
    assert services.watch.overlaps() == []


def test_the_holder_s_daemon_is_stopped_and_started(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two, (200, 100))
    services.watch.wait_holder(a)
    [asker] = services.ask(1)
    assert a.daemon.stop() == 0
    asker.wait_answer(b)
    print(f"stopped: {orderly(services, [asker])}")
    a.daemon.start()
    a.daemon.ready()
    # preempt = no: it takes nothing back
    wait_for("A to be back", lambda: phases(b) == {a.name: "standby", b.name: "holding"})
    answered_by(services.ask(0), b)
    assert asker.servers() == [a.name, b.name]
    assert services.watch.overlaps() == []
    assert services.watch.holders() == {b.name}


def test_a_higher_priority_takes_it_back_after_preempt(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start(["preempt = 3s"], services.servers, (200, 100, 50))
    services.watch.wait_holder(a)
    askers = services.ask(1, 2)
    a.daemon.stop()
    answered_by(askers, b)
    back = time.time()
    a.daemon.start()
    taken = services.watch.wait_holder(a)
    answered_by(askers, a, back)
    print(f"taken back {taken - back:.1f} s after its start: {orderly(services, askers)}")
    assert taken - back > 3.0
    assert [asker.servers() for asker in askers] == [[a.name, b.name, a.name]] * 2
    assert services.watch.overlaps() == []


def test_the_holder_is_drained_and_resumes(services: Services, two: tuple[Server, Server]) -> None:
    a, b = two
    services.start((), two, (200, 100))
    services.watch.wait_holder(a)
    [asker] = services.ask(1)
    done = a.daemon.command("drain", "--reason", "disks")
    assert done.returncode == 0, done.stderr
    services.watch.wait_holder(b)
    asker.wait_answer(b)
    print(f"drained: {orderly(services, [asker])}")
    wait_for("A to be unfit", lambda: phases(b).get(a.name) == "unfit")
    done = a.daemon.command("resume")
    assert done.returncode == 0, done.stderr
    wait_for("A to be back", lambda: phases(b).get(a.name) == "standby")
    assert services.watch.holders() == {b.name}
    assert services.watch.overlaps() == []


def test_a_reload_removes_and_adds_the_section(services: Services) -> None:
    a, b, c = services.servers
    with_it = [section()]
    start_daemons((a, b), lambda server: mesh(server, services=with_it))
    start_daemons((c,))  # routes to the address without a section
    services.watch.wait_holder(a)
    [asker] = services.ask(2)
    a.daemon.reload(mesh(a))
    asker.wait_answer(b)
    print(f"section removed: {orderly(services, [asker])}")
    wait_for("A's claim to be gone", lambda: phases(c) == {b.name: "holding"})
    a.daemon.reload(mesh(a, services=with_it))
    wait_for("A's claim", lambda: phases(c) == {a.name: "standby", b.name: "holding"})
    assert row(c)["configured"] is False
    assert asker.servers() == [a.name, b.name]
    assert services.watch.overlaps() == []


def test_a_planned_restart_with_on_exit_keep_moves_nothing(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two, node=("on_exit = keep", "restart_time = 5s"))
    services.watch.wait_holder(a)
    askers = services.ask(0, 1)
    assert a.daemon.stop() == 0
    stopped = time.time()
    a.daemon.start()
    a.daemon.ready()
    wait_for("A to be up", lambda: peer_is_up(b) and peer_is_up(a))
    wait_for("A to have it again", lambda: phases(b).get(a.name) == "holding")
    answered_by(askers, a, time.time())
    print(f"restarted: {silence(askers, stopped)}")
    assert [change.has_it for change in services.watch.changes()] == [True]
    stopped = time.time()
    a.daemon.stop()  # and it does not come back
    taken = services.watch.wait_holder(a, b)
    print(f"taken {taken - stopped:.1f} s after the stop, with restart_time = 5s")
    assert taken - stopped > 4.9


def test_the_commands_run_in_order_and_before_the_address_moves(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    for server in two:
        script = '#!/bin/sh\nsleep "$2"\necho "$1 $CUBEROUTED_SERVICE $CUBEROUTED_ADDRESS'
        script += ' $CUBEROUTED_NODE $(date +%s.%N)" >>/run/commands\n'
        server.host.write("/run/command", script, 0o755)
        server.host.write("/run/commands", "")
    commands = "on_acquire = /run/command acquire 0.3", "on_release = /run/command release 0.5"
    services.start(commands, two)
    services.watch.wait_holder(a)
    [asker] = services.ask(1)
    a.daemon.stop()
    services.watch.wait_holder(b)
    *_, lost, got = [change.at for change in services.watch.changes()]
    acquired, released = a.host.run("cat", "/run/commands").splitlines()
    assert acquired.startswith(f"acquire {NAME} {ADDRESS} {a.name} ")
    assert released.startswith(f"release {NAME} {ADDRESS} {a.name} ")
    [acquired_there] = b.host.run("cat", "/run/commands").splitlines()
    assert float(released.split()[-1]) < lost < float(acquired_there.split()[-1]) < got
    asker.wait_answer(b)
    print(f"with commands that take 0.5 and 0.3 s: {got - lost:.2f} s, {silence([asker], lost)}")
    assert services.watch.overlaps() == []


# -- health ---------------------------------------------------------------------------------


def test_its_check_fails(services: Services, two: tuple[Server, Server]) -> None:
    a, b = two
    services.start(QUICK_CHECK, two, (200, 100))
    services.watch.wait_holder(a)
    askers = services.ask(0, 1)
    failed = time.time()
    services.responders[0].stop()
    try:
        answers = answered_by(askers, b)
        print(
            f"answers {max(answers) - failed:.2f} s after the failure (2 checks, every 300 ms):"
            f" {orderly(services, ())}"
        )
        assert phases(b).get(a.name) == "unfit"
    finally:
        services.responders[0].start()
    wait_for("A to be healthy", lambda: phases(b).get(a.name) == "standby")
    assert services.watch.holders() == {b.name}
    assert services.watch.overlaps() == []


def test_all_checks_fail_and_one_recovers(services: Services, two: tuple[Server, Server]) -> None:
    a, b = two
    services.start(QUICK_CHECK, two, (200, 100))
    services.watch.wait_holder(a)
    services.responders[1].stop()
    try:
        wait_for("B to be unfit", lambda: phases(a).get(b.name) == "unfit")
        services.responders[0].stop()
        try:
            wait_for("A to be the last resort", lambda: phases(b).get(a.name) == "last_resort")
            assert services.watch.holders() == {a.name}
        finally:
            services.responders[1].start()
        services.watch.wait_holder(b)
    finally:
        services.responders[0].start()
    assert services.watch.overlaps() == []


def test_nearest_serves_each_client_at_its_own_server(services: Services) -> None:
    a, b, c = services.servers
    services.start([*QUICK_CHECK, "placement = nearest"], services.servers, (200, 100, 100))
    services.watch.wait_holder(a, b, c)
    askers = services.ask(0, 1, 2)
    for asker, server in zip(askers, services.servers, strict=True):
        asker.wait_answer(server)
    services.responders[2].stop()
    try:
        services.watch.wait_holder(a, b)
        moved = askers[2].wait_answer(a, time.time())
    finally:
        services.responders[2].start()
    services.watch.wait_holder(a, b, c)
    askers[2].wait_answer(c, moved.at)
    assert [asker.servers()[0] for asker in askers] == [a.name, b.name, c.name]
    assert askers[1].servers() == [b.name]


# -- faults ---------------------------------------------------------------------------------


def test_a_daemon_that_is_killed_and_started_again_keeps_the_address(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two)
    services.watch.wait_holder(a)
    askers = services.ask(0, 1)
    killed = time.time()
    a.daemon.crash()
    a.daemon.start()
    a.daemon.ready()
    wait_for("A to be up", lambda: peer_is_up(b) and peer_is_up(a))
    wait_for("A to have it again", lambda: phases(b).get(a.name) == "holding")
    answered_by(askers, a, time.time())
    print(f"killed and started again: {silence(askers, killed)}")
    assert [(change.server, change.has_it) for change in services.watch.changes()] == [
        (a.name, True)
    ]


def test_a_daemon_that_is_killed_and_not_started_leaves_the_address(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two)
    services.watch.wait_holder(a)
    askers = services.ask(0, 1)
    killed = time.time()
    a.daemon.crash()
    taken = services.watch.wait_holder(a, b)  # nobody is left who could remove it there
    answered_by(askers[1:], b)
    print(f"B has it {taken - killed:.2f} s after the kill: {silence(askers[1:], killed)}")
    assert HOLD - HEARTBEAT - 0.1 < taken - killed < HOLD + SLACK
    a.daemon.start()
    removed = services.watch.wait_holder(b)
    [overlap] = services.watch.overlaps()
    assert overlap.end == removed
    answered_by(askers, b, removed)
    wait_for("A to wait", lambda: phases(b) == {a.name: "standby", b.name: "holding"})


def test_flush_removes_the_address_of_a_daemon_that_does_not_come_back(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two)
    services.watch.wait_holder(a)
    a.daemon.crash()
    services.watch.wait_holder(a, b)
    done = a.daemon.command("flush")
    assert done.returncode == 0, done.stderr
    assert "and 1 address of services removed" in done.stdout
    assert services.watch.holders() == {b.name}


def test_the_hold_time_can_be_well_below_a_second(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    quick = ("heartbeat_interval = 100ms", "hold_time = 300ms")
    services.start((), two, node=quick)
    services.watch.wait_holder(a)
    [asker] = services.ask(1)
    lost = services.part((a, b))
    services.watch.wait_holder(a, b)
    begin = services.watch.overlaps()[-1].begin
    answered_by([asker], b, lost)
    print(
        f"hold_time 300 ms: B has it {begin - lost:.2f} s after the cut, {silence([asker], lost)}"
    )
    assert begin - lost < HOLD / 2


def test_a_daemon_that_was_suspended_gives_it_up_when_it_wakes(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two)
    services.watch.wait_holder(a)
    a.daemon.process.send(signal.SIGSTOP)
    services.watch.wait_holder(a, b)
    woken = time.time()
    a.daemon.process.send(signal.SIGCONT)
    # both have held it; the one that has had it for longer keeps it
    services.watch.wait_holder(a)
    [overlap] = services.watch.overlaps()
    assert overlap.end is not None
    print(f"one of two has it {overlap.end - woken:.2f} s after SIGCONT")


def test_a_partition_of_two_servers(services: Services, two: tuple[Server, Server]) -> None:
    a, b = two
    services.start((), two)
    services.watch.wait_holder(a)
    askers = services.ask(0, 1)
    parted = services.part((a, b))
    taken = services.watch.wait_holder(a, b)
    answered_by(askers[1:], b, parted)
    print(f"both have it {taken - parted:.2f} s after the cut: {silence(askers[1:], parted)}")
    healed = services.heal()
    services.watch.wait_holder(a)
    [overlap] = services.watch.overlaps()
    assert overlap.begin > parted + HOLD - HEARTBEAT - 0.1
    assert overlap.end is not None
    answered_by(askers, a, overlap.end)
    print(f"one has it {overlap.end - healed:.2f} s after it was mended")
    assert askers[0].servers() == [a.name]


def test_a_partition_of_two_servers_with_witness(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start(["witness = yes"], two)
    services.watch.wait_holder(a)
    parted = services.part((a, b))
    given_up = services.watch.wait_holder()
    print(f"given up {given_up - parted:.2f} s after the cut")
    assert given_up - parted < HOLD
    wait_for("B to lose A", lambda: not peer_is_up(b))
    assert services.watch.holders() == frozenset()
    healed = services.heal()
    wait_for("one of them to have it", services.watch.holders)
    taken = services.watch.changes()[-1].at
    print(f"taken {taken - healed:.2f} s after it was mended")
    assert services.watch.overlaps() == []


def test_a_holder_that_is_cut_off_from_two_others_with_witness(services: Services) -> None:
    a, b, c = services.servers
    services.start(["witness = yes"], services.servers, (200, 100, 50))
    services.watch.wait_holder(a)
    askers = services.ask(1, 2)
    parted = services.part((a, b), (a, c))
    answers = answered_by(askers, b)
    [*_, lost, got] = [change.at for change in services.watch.changes()]
    print(
        f"given up {lost - parted:.2f} s, taken {got - parted:.2f} s after the cut:"
        f" {silence(askers, parted)}"
    )
    assert max(answers) - parted < HOLD + SLACK
    services.heal()
    wait_for("A to be back", lambda: phases(b).get(a.name) == "standby")
    assert services.watch.holders() == {b.name}
    assert services.watch.overlaps() == []


def test_an_address_that_somebody_adds_or_removes(
    services: Services, two: tuple[Server, Server]
) -> None:
    a, b = two
    services.start((), two)
    services.watch.wait_holder(a)
    a.host.ip(f"address del {ADDRESS}/32 dev lo")
    services.watch.wait_holder(a)
    b.host.ip(f"address add {ADDRESS}/32 dev lo")
    services.watch.wait_holder(a)


def test_a_client_with_the_same_address_does_not_get_its_packets(
    services: Services, two: tuple[Server, Server], lab: Lab
) -> None:
    a, _ = two
    services.start((), two)
    services.watch.wait_holder(a)
    askers = services.ask(0, 1)
    rogue = lab.client("rogue")
    for server in two:
        server.host.write(f"/etc/openvpn/ccd/{rogue.name}", f"ifconfig-push {ADDRESS} {NETMASK}\n")
        rogue.connect(server)
        wait_told(server)
        answered_by(askers, a, time.time())
        rogue.vanish()
    assert [asker.servers() for asker in askers] == [[a.name]] * 2
    assert [change.has_it for change in services.watch.changes()] == [True]


def wait_told(server: Server) -> None:
    """Waits until `status` tells that somebody has the service's address, and is refused."""

    def look() -> bool:
        problems: list[str] = server.daemon.ask("status")["problems"]
        assert any(f"{ADDRESS}: the address of service {NAME}" in text for text in problems), (
            problems
        )
        return True

    wait_for("the refusal to be told", look)


def test_an_ipv6_address(services: Services, two: tuple[Server, Server]) -> None:
    a, b = two
    services.start((), two, address=ADDRESS6)
    services.watch.wait_holder(a, address=ADDRESS6)
    [asker] = services.ask(1, address=ADDRESS6)
    a.daemon.stop()
    asker.wait_answer(b)
    print(f"stopped: {orderly(services, [asker], ADDRESS6)}")
    assert services.watch.overlaps(ADDRESS6) == []


# -- labs of their own ----------------------------------------------------------------------


@pytest.fixture
def example_lab() -> Iterator[Lab]:
    """As the project's example has it: OpenVPN listens on a Unix socket."""
    with Lab(options=Options(management="/run/openvpn-management/server.sock unix")) as lab:
        yield lab


def test_the_example_s_files_and_the_loss_of_a_server(example_lab: Lab) -> None:
    a, b = example_lab.servers
    _, two = connect(example_lab, {"host1": 0, "host2": 1})
    watch = AddressWatch(example_lab)
    for server in (a, b):
        Responder(server)
    start_daemons((a, b), lambda server: shipped(server, "services"))
    watch.wait_holder(a)
    asker = Asker(two)
    asker.wait_answer(a)
    lost = time.time()
    lose_power(a)
    answer = asker.wait_answer(b)
    taken = watch.wait_holder(b)
    gap = asker.longest_gap(lost).seconds
    print(
        f"power lost: B has the address after {taken - lost:.2f} s, answers after"
        f" {answer.asked - lost:.2f} s (no answer for {gap:.2f} s)"
    )
    assert answer.asked - lost < HOLD + SLACK
    assert watch.overlaps() == []
    asker.end()
