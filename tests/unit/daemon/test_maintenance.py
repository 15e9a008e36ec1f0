"""A node that is drained, and comes back: whole daemons on fake OpenVPN processes."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from cuberouted.api.report_drain import DrainOrder
from cuberouted.daemon.drainer import Drainer
from cuberouted.daemon.maintenance import MaintenanceError
from cuberouted.events import ClientSentOn, DrainFinished, NodeProblem, NodeStateChanged
from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from tests.fakes.openvpn_listing import Client
from tests.unit.daemon.meshes import started
from tests.unit.daemon.service_meshes import add_servers, holders
from tests.unit.daemon.service_meshes import started as started_with_service
from tests.unit.longest_step import longest_step

CLIENTS = 12


def connect_clients(server, count=CLIENTS):
    """So many clients of *server*: by name, their addresses."""
    found = {f"host{n}": f"10.100.100.{10 + n}" for n in range(count)}
    for name, address in found.items():
        server.connect(name, address)
    return found


def let_them_go(server, *others, back=()):
    """Clients that are sent on connect to *others* in turns; those in *back* come back."""
    where = dict.fromkeys(back, server)

    def connect(client: Client):
        name = client.name.decode()
        target = where.get(name) or others[hash(client.address) % len(others)]
        target.connect(name, client.address.decode())

    server.openvpn.on_sent_on = connect


async def drained(mesh, server, **order):
    """After `drain`, once that has finished: the report with all clients."""
    maintenance = server.daemon.maintenance
    await maintenance.drain(DrainOrder(**order), "root")
    await mesh.until(lambda: state(server) == "maintenance", 7200)
    return await maintenance.report(every=True)


def state(server):
    return server.daemon.maintenance.record.state.value


def outcomes(report):
    return {row.name: row.outcome for row in report.clients}


async def reported(server, expected):
    """Wait until the report has these outcomes."""
    with trio.fail_after(600):
        while True:
            report = await server.daemon.maintenance.report(every=True)
            if report.outcomes == expected:
                return report
            await trio.sleep(0.1)


def events(server, kind):
    return [event for event in server.daemon.events.after(0, 100_000) if type(event) is kind]


async def known(mesh, server, count=CLIENTS):
    """Wait until every server knows so many clients of *server*."""
    expected = count + len(mesh.servers)  # their own data addresses
    await mesh.until(
        lambda: all(len(s.daemon.node.rib.prefixes()) == expected for s in mesh.servers)
    )


async def test_all_clients_move_and_nobody_is_lost(mesh, autojump_clock):
    a, b, c = await started(mesh)
    clients = connect_clients(a)
    let_them_go(a, b, c)
    await known(mesh, a)
    report = await drained(mesh, a, reason="new kernel")
    assert (report.state, report.by, report.reason) == ("maintenance", "root", "new kernel")
    assert (report.total, report.outcomes) == (CLIENTS, {"moved": CLIENTS})
    assert sum(report.moved.values()) == CLIENTS
    assert a.openvpn.clients == {}
    assert len(b.openvpn.clients) + len(c.openvpn.clients) == CLIENTS
    assert {row.name: row.address for row in report.clients} == clients
    assert [str(event) for event in events(a, NodeStateChanged)] == [
        "node A: active -> draining, by root: new kernel",
        "node A: draining -> maintenance, by root: new kernel",
    ]
    assert [str(event) for event in events(a, DrainFinished)] == [
        "drained: 12 of 12 clients moved, 0 came back, 0 left"
    ]
    assert len(events(a, ClientSentOn)) == CLIENTS
    assert a.openvpn.asked.count(b"client-kill 0 RESTART,[N]") == 1


async def test_they_leave_at_the_pace_that_was_asked_for(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a)
    let_them_go(a, b)
    await known(mesh, a)
    began = trio.current_time()
    await drained(mesh, a, over=120.0)
    times = [event.time.timestamp() for event in events(a, ClientSentOn)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(5.0 <= gap <= 15.1 for gap in gaps)
    assert len(set(map(round, gaps))) > 1
    assert 105 <= trio.current_time() - began <= 125


async def test_a_client_that_comes_back_is_named_and_sent_on_again(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a)
    let_them_go(a, b, back=["host7"])
    await known(mesh, a)
    report = await drained(mesh, a)
    assert report.outcomes == {"moved": CLIENTS - 1, "came_back": 1}
    [row] = [row for row in report.clients if row.outcome == "came_back"]
    assert (row.name, row.returns) == ("host7", 2)
    short = await a.daemon.maintenance.report()
    assert [row.name for row in short.clients] == ["host7"]
    before = len(events(a, ClientSentOn))
    await trio.sleep(240)
    again = len(events(a, ClientSentOn)) - before
    assert 3 <= again <= 8  # about once a minute, after it was more often
    let_them_go(a, b)
    await reported(a, {"moved": CLIENTS})


async def test_who_connects_meanwhile_is_sent_on_as_well(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    let_them_go(a, b)
    await drained(mesh, a)
    for at in ("10.100.100.50", "10.100.100.51"):
        a.connect(f"late{at[-2:]}", at)
        await mesh.until(lambda at=at: b.daemon.node.rib.best(Prefix.parse(at)) is not None)
        await mesh.until(lambda: not a.openvpn.clients)
    assert (await reported(a, {"moved": 2})).moved == {"B": 2}
    assert state(a) == "maintenance"


async def test_a_client_that_goes_nowhere_has_left(mesh, autojump_clock):
    a, _, _ = await started(mesh)
    connect_clients(a, 2)
    await known(mesh, a, 2)
    began = trio.current_time()
    report = await drained(mesh, a)
    assert outcomes(report) == {"host0": "left", "host1": "left"}
    assert 30 <= trio.current_time() - began <= 33


async def test_a_client_that_gets_another_address_has_moved(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.connect("host1", "10.100.100.11")
    await known(mesh, a, 1)
    a.openvpn.on_sent_on = lambda _: b.connect("host1", "10.100.100.77")
    report = await drained(mesh, a)
    assert outcomes(report) == {"host1": "moved"}
    assert report.moved == {"B": 1}


async def test_the_last_active_node_refuses(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", "hold_time = 3s")
    connect_clients(a, 1)
    await mesh["C"].stop()
    await b.crash()
    await trio.sleep(5)
    with pytest.raises(MaintenanceError, match="no other node takes clients: B is down, C is down"):
        await a.daemon.maintenance.drain(DrainOrder(), "root")
    assert a.daemon.maintenance.is_active
    report = await a.daemon.maintenance.drain(DrainOrder(dry_run=True), "root")
    assert report.total == 1
    assert report.refused == ["no other node takes clients: B is down, C is down"]
    assert a.daemon.maintenance.is_active
    report = await a.daemon.maintenance.drain(DrainOrder(force=True), "root")
    assert report.state == "draining"
    await mesh.until(lambda: len(events(a, ClientSentOn)) == 1)


async def test_clients_stay_while_no_other_node_is_left(mesh, autojump_clock):
    a, b = await started(mesh, "AB", "hold_time = 3s")
    connect_clients(a, 3)
    let_them_go(a, a)
    await a.daemon.maintenance.drain(DrainOrder(), "root")
    await b.crash()
    await trio.sleep(20)
    before = len(events(a, ClientSentOn))
    await trio.sleep(300)
    assert len(events(a, ClientSentOn)) == before
    [problem] = events(a, NodeProblem)
    assert "nobody is sent on until one does" in problem.why
    let_them_go(a, b)
    await b.start()
    await mesh.until(lambda: not a.openvpn.clients)


async def test_it_is_kept_over_a_restart_and_goes_on_at_the_same_pace(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a, 6)
    let_them_go(a, b)
    await known(mesh, a, 6)
    await a.daemon.maintenance.drain(DrainOrder(over=60.0, reason="disk"), "anna")
    await trio.sleep(25)
    left = len(a.openvpn.clients)
    assert 2 <= left <= 4
    await a.crash()
    await a.start()
    assert state(a) == "draining"
    assert (a.daemon.maintenance.record.by, a.daemon.maintenance.record.reason) == ("anna", "disk")
    began = trio.current_time()
    await mesh.until(lambda: state(a) == "maintenance")
    assert trio.current_time() - began > 10 * (left - 1) * 0.7
    assert len(b.openvpn.clients) == 6
    await a.stop()
    await a.start()
    assert state(a) == "maintenance"


async def test_services_go_first(mesh, autojump_clock):
    a, b, _ = await started_with_service(mesh, {"A": 200, "B": 150, "C": 100})
    assert holders(mesh) == ["A"]
    connect_clients(a, 3)
    let_them_go(a, b)
    await mesh.until(lambda: len(a.daemon.openvpns[""].source.sessions.routes()) == 3)
    report = await a.daemon.maintenance.drain(DrainOrder(dry_run=True), "root")
    assert (report.services, report.kept_services) == (["db"], [])
    await a.daemon.maintenance.drain(DrainOrder(), "root")
    await mesh.until(lambda: holders(mesh) == ["B"], 2)
    assert not events(a, ClientSentOn)
    await mesh.until(lambda: state(a) == "maintenance")
    assert (await a.daemon.maintenance.report()).services == []
    await a.daemon.maintenance.resume("root")
    await trio.sleep(30)
    assert holders(mesh) == ["B"]


async def test_a_service_that_nobody_takes_does_not_hold_up_the_clients(mesh, autojump_clock):
    add_servers(mesh, {"A": 200})
    mesh.add("B")
    await mesh.start()
    a, b = mesh.servers
    await mesh.until(lambda: holders(mesh) == ["A"])
    connect_clients(a, 2)
    let_them_go(a, b)
    await mesh.until(lambda: len(a.daemon.openvpns[""].source.sessions.routes()) == 2)
    began = trio.current_time()
    report = await a.daemon.maintenance.drain(DrainOrder(dry_run=True), "root")
    assert (report.services, report.kept_services) == (["db"], ["db"])
    await a.daemon.maintenance.drain(DrainOrder(), "root")
    await mesh.until(lambda: bool(events(a, ClientSentOn)))
    assert 4.9 < trio.current_time() - began < 6.1
    await mesh.until(lambda: state(a) == "maintenance")
    assert (await a.daemon.maintenance.report()).services == ["db"]


async def test_resume_ends_it(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a, 2)
    let_them_go(a, b)
    await known(mesh, a, 2)
    await drained(mesh, a)
    report = await a.daemon.maintenance.resume("root")
    assert (report.state, report.total, report.finished) == ("active", 2, False)
    assert a.records.text is None
    a.connect("host9", "10.100.100.19")
    await trio.sleep(100)
    assert len(a.openvpn.clients) == 1
    report = await a.daemon.maintenance.resume("root")
    assert report.problems == ["this node was active already"]
    await drained(mesh, a)
    assert not a.openvpn.clients


async def test_a_drain_is_not_finished_by_a_look_of_the_one_before(
    mesh, autojump_clock, monkeypatch
):
    a, b, _ = await started(mesh)
    await drained(mesh, a)
    in_look, goes_on = trio.Event(), trio.Event()

    async def slow_look(self, look=Drainer.look):
        await look(self)
        in_look.set()
        await goes_on.wait()

    monkeypatch.setattr(Drainer, "look", slow_look)
    await in_look.wait()
    await a.daemon.maintenance.resume("root")
    connect_clients(a)
    await known(mesh, a)
    await a.daemon.maintenance.drain(DrainOrder(), "root")
    goes_on.set()
    await trio.testing.wait_all_tasks_blocked()
    assert state(a) == "draining"
    let_them_go(a, b)
    await reported(a, {"moved": CLIENTS})


async def test_it_ends_at_the_time_that_was_given_also_while_the_daemon_is_down(
    mesh, autojump_clock
):
    a, b, _ = await started(mesh)
    let_them_go(a, b)
    until = int(a.wall_clock()) + 120
    report = await drained(mesh, a, until=until)
    assert report.until.endswith("Z")
    await trio.sleep(110)
    assert not a.daemon.maintenance.is_active
    await trio.sleep(12)
    assert a.daemon.maintenance.is_active
    assert "by the time that was given" in str(events(a, NodeStateChanged)[-1])
    await drained(mesh, a, until=int(a.wall_clock()) + 120)
    await a.stop()
    await trio.sleep(150)
    await a.start()
    await mesh.until(lambda: a.daemon.maintenance.is_active, 1)
    with pytest.raises(MaintenanceError, match="is over"):
        await a.daemon.maintenance.drain(DrainOrder(until=5), "root")


async def test_a_record_that_cannot_be_read_means_maintenance(mesh, autojump_clock):
    a, _, _ = await started(mesh)
    await a.stop()
    a.records.unreadable = "Permission denied"
    await a.start()
    assert state(a) == "maintenance"
    await trio.sleep(1)
    [problem] = events(a, NodeProblem)
    assert "Permission denied" in problem.why
    assert "until `cuberouted resume`" in problem.why
    await a.daemon.maintenance.resume("root")
    assert a.daemon.maintenance.is_active
    assert a.daemon.maintenance.problems == {}


async def test_what_cannot_be_written_is_told_and_done(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a, 2)
    let_them_go(a, b)
    await known(mesh, a, 2)
    a.records.error = "No space left on device"
    report = await a.daemon.maintenance.drain(DrainOrder(), "root")
    assert any("a restart of the daemon would forget this" in text for text in report.problems)
    await mesh.until(lambda: state(a) == "maintenance")
    assert not a.openvpn.clients
    report = await a.daemon.maintenance.resume("root")
    assert any("a restart of the daemon would bring it back" in text for text in report.problems)
    a.records.error = ""
    report = await a.daemon.maintenance.resume("root")
    assert report.problems == ["this node was active already"]
    assert a.daemon.maintenance.problems == {}


async def test_a_second_order_changes_pace_and_reason(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a)
    let_them_go(a, b)
    await known(mesh, a)
    await a.daemon.maintenance.drain(DrainOrder(over=3600.0, reason="one"), "root")
    await trio.sleep(10)
    assert len(a.openvpn.clients) >= CLIENTS - 1
    await a.daemon.maintenance.drain(DrainOrder(over=10.0, reason="two"), "anna")
    began = trio.current_time()
    await mesh.until(lambda: not a.openvpn.clients)
    assert trio.current_time() - began < 20
    record = a.daemon.maintenance.record
    assert (record.by, record.reason) == ("anna", "two")
    assert (await a.daemon.maintenance.report()).interval == record.interval
    await a.daemon.maintenance.drain(DrainOrder(), "root")
    assert a.daemon.maintenance.record.reason == "two"


async def test_a_reason_is_one_line_whatever_it_contains(mesh, autojump_clock):
    a, _, _ = await started(mesh)
    await drained(mesh, a, reason="disk\nnode A: \x1b[31mred " + "\u202e" * 200)
    reason = a.daemon.maintenance.record.reason
    assert reason.startswith("disk\\nnode A: \\x1b[31mred \\u202e")
    assert reason.isprintable()
    assert len(reason) == 500
    await a.stop()
    await a.start()
    assert a.daemon.maintenance.record.reason == reason


@pytest.mark.parametrize("name", [b"client N", b"shared"])
async def test_20000_clients_hold_nobody_up(mesh, autojump_clock, name):
    a, b = await started(mesh, "AB")
    routes = [
        LocalRoute(
            Prefix.host((0x0A640000 + n).to_bytes(4)),
            Kind.CLIENT,
            name.replace(b"N", b"%d" % n),
            SessionId(n, 7),
            announced=True,
            confirmed=True,
        )
        for n in range(20_000)
    ]
    sessions = a.daemon.openvpns[""].source.sessions
    drainer = Drainer(a.daemon, 0.001, paced=True)
    sessions.replace({route.prefix: route for route in routes}, 0)
    with longest_step() as longest:
        await drainer.look()
        assert drainer.drain.counts is not None
        assert drainer.drain.counts.outcomes == {"waiting": 20_000}
        drainer.send_due("a test")
        await drainer.look()
        assert len(await drainer.rows(every=True)) == 20_000
        sessions.replace({}, 0)
        await drainer.look()
        assert drainer.drain.counts.pending == 20_000
    assert longest.seconds < 0.02
    assert b.daemon.maintenance.is_active


async def test_a_client_that_cannot_be_sent_on_is_kept_and_told(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(a, 2)
    await known(mesh, a, 2)
    let_them_go(a, b)
    a.openvpn.fall_silent()
    await trio.sleep(30)
    report = await drained(mesh, a)
    assert outcomes(report) == {"host0": "kept", "host1": "kept"}
    assert "OpenVPN is silent" in report.clients[0].why
    a.openvpn.wake_up()
    report = await reported(a, {"moved": 2})
    assert outcomes(report) == {"host0": "moved", "host1": "moved"}
