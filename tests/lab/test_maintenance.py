"""Servers are taken out and put back while 40 real clients use them."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator

import pytest

from cuberouted.events import ClientSentOn, DrainFinished, NodeStateChanged, ServiceMoved
from tests.lab import fleet, services
from tests.lab.fleet import Fleet, configuration, events, order, ready, remotes, reply
from tests.lab.openvpn import READY, OpenVPN, client_config
from tests.lab.ping import Stream
from tests.lab.server import Server
from tests.lab.waiting import wait_for

CLIENTS = 38
"""With two more that know one server only."""
OVER = 8.0
"""Seconds in which the clients of a server are sent on."""
SLACK = 1.5
"""Seconds that a busy machine may add."""
TOLD = "Connection reset command was pushed by server"


@pytest.fixture(scope="module")
def clients() -> Iterator[Fleet]:
    """All servers active, their clients evenly on them, one of A and one of B with one remote."""
    began = time.monotonic()
    with fleet.fleet(CLIENTS) as made:
        a, b, _ = made.lab.servers
        made.connect_single("printer", a)
        made.connect_single("scanner", b)
        fleet.start(made)
        print(f"{len(made.clients)} clients connected after {time.monotonic() - began:.1f} s")
        yield made


@pytest.fixture(autouse=True)
def active(clients: Fleet) -> Iterator[None]:
    """Whatever a test leaves, the next one finds every node active and every client settled."""
    yield
    for server in clients.lab.servers:
        server.daemon.reload(configuration(server))
        order(server, "resume")
    clients.wait_settled()


def wait_state(server: Server, state: str, timeout: float = 30.0) -> None:
    wait_for(
        f"{server.name} to be {state}",
        lambda: reply(server, "status")["maintenance"] == state,
        timeout,
    )


def reconnect_times(made: Fleet, since: float) -> dict[str, float]:
    """By client, seconds from being sent on to being connected, by OpenVPN's own log."""
    found = {}
    for name, client in made.clients.items():
        log = client.openvpn.process.log.splitlines()
        told = [float(line.split()[0]) for line in log if TOLD in line]
        back = [float(line.split()[0]) for line in log if READY in line]
        spans = [next((b - at for b in back if b > at), float("inf")) for at in told if at >= since]
        if spans:
            found[name] = max(spans)
    return found


def test_clients_are_sent_on_evenly_and_the_report_is_true(clients: Fleet) -> None:
    a, b, c = clients.lab.servers
    before = clients.wait_settled()
    mine = [name for name, where in before.items() if where == a.name]
    theirs = clients.clients[next(name for name, where in before.items() if where == b.name)]
    watched = [name for name in mine if name not in clients.single]
    streams = {name: Stream(theirs.host, clients.clients[name].data, 0.1) for name in watched}
    assert remotes(b) == {server.internet for server in (a, b, c)}
    assert ready(a) == "ready\n"

    began = time.time()
    status, text = order(a, "drain", "--over", f"{OVER:g}s", "--reason", "kernel")
    assert status == 0, text
    assert ready(a) == "this node is draining, by root: kernel\n"
    wait_for("B to offer A no more", lambda: remotes(b) == {b.internet, c.internet}, 1.0)
    assert time.time() - began < 2 + SLACK
    assert "peer vpnsrvA is draining" in order(c, "status")[1]
    report = reply(a, "drain", "--wait")
    took = time.time() - began

    sent = [e for e in events(a, began) if isinstance(e, ClientSentOn)]
    first = {name: [e.time.timestamp() for e in sent if e.client == name] for name in mine}
    times = sorted(times[0] for times in first.values())
    spaces = [later - earlier for earlier, later in itertools.pairwise(times)]
    pace = OVER / len(mine)
    print(f"{len(mine)} clients over {times[-1] - times[0]:.1f} s, done after {took:.1f} s")
    print(f"one each {min(spaces):.2f} to {max(spaces):.2f} s, on average {pace:.2f} s")
    assert OVER - 2 * pace < times[-1] - times[0] < OVER + SLACK
    assert max(spaces) < 1.5 * pace + SLACK
    assert sum(space > 0.3 * pace for space in spaces) > 0.8 * len(spaces)

    where = clients.wait_settled()
    moved = {name: where[name] for name in mine if where[name] != a.name}
    assert [name for name in mine if name not in moved] == ["printer"]
    rows = {row["name"]: row for row in report["clients"]}
    assert rows.keys() == set(mine)
    assert {name: row["node"] for name, row in rows.items() if row["outcome"] == "moved"} == moved
    assert (rows["printer"]["outcome"], report["total"]) == ("came_back", len(mine))
    assert report["moved"] == {
        name: list(moved.values()).count(name) for name in set(moved.values())
    }
    assert set(report["moved"]) == {b.name, c.name}
    assert "printer" in order(a, "drain", "--wait")[1]
    [end] = [e for e in events(a, began) if isinstance(e, DrainFinished)]
    assert (end.clients, end.moved, end.came_back, end.left) == (len(mine), len(moved), 1, 0)

    reconnects = reconnect_times(clients, began)
    for stream in streams.values():
        stream.reply_after(time.time())
        stream.end()
    gaps = {name: stream.longest_gap().seconds for name, stream in streams.items()}
    beyond = {name: gaps[name] - reconnects[name] for name in watched}
    print(f"unreachable for {min(gaps.values()):.2f} to {max(gaps.values()):.2f} s")
    print(f"of these beyond the client's own reconnect: {max(beyond.values()):.2f} s at most")
    assert max(beyond.values()) < SLACK
    seen = [str(e) for e in events(c, began) if isinstance(e, NodeStateChanged)]
    assert seen[:1] == ["node vpnsrvA: active -> draining, by root: kernel"]


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_maintenance_survives_a_restart(clients: Fleet, how: str) -> None:
    a, b, _ = clients.lab.servers
    assert order(a, "drain", "--over", "1s", "--reason", "kernel")[0] == 0
    wait_state(a, "maintenance", 60.0)
    before = reply(a, "status")
    if how == "stop":
        a.daemon.stop()
    else:
        a.daemon.crash()
    a.daemon.start()
    a.daemon.ready()
    after = reply(a, "status")
    for key in ("maintenance", "by", "since", "until", "reason"):
        assert after[key] == before[key], key
    assert ready(a).startswith("this node is in maintenance, by root: kernel\n")

    def known() -> bool:
        [row] = [row for row in reply(b, "nodes")["nodes"] if row["name"] == a.name]
        return (row["state"], row["maintenance"]) == ("up", "maintenance")

    wait_for("B to know it", known)
    assert a.internet not in remotes(b)
    began = time.time()

    def sent_again() -> bool:
        sent = [e for e in events(a, began) if isinstance(e, ClientSentOn)]
        return "printer" in {e.client for e in sent}

    wait_for("who came back to be sent on again", sent_again, 60.0)
    assert order(a, "resume")[0] == 0
    assert ready(a) == "ready\n"
    wait_for("B to offer A again", lambda: a.internet in remotes(b), 1.0)


def test_services_go_first_and_new_configurations_lead_elsewhere(clients: Fleet) -> None:
    a, b, c = clients.lab.servers
    shared = services.section("priority = 200"), services.section("priority = 100")
    for server, section in zip((a, b), shared, strict=True):
        server.daemon.reload(configuration(server, services=[section]))

    def holders(server: Server) -> list[str]:
        held: list[str] = [
            h for row in reply(server, "services")["services"] for h in row["holders"]
        ]
        return held

    wait_for("A to have the address", lambda: holders(c) == [a.name])
    began = time.time()
    assert order(a, "drain", "--over", "2s")[0] == 0
    wait_state(a, "maintenance", 60.0)
    found = events(a, began)
    moves = [e for e in found if isinstance(e, ServiceMoved) and e.to_node == b.name]
    sent = [e for e in found if isinstance(e, ClientSentOn)]
    print(
        f"the service moved {(moves[0].time.timestamp() - began):.2f} s after the order was given"
    )
    print(f"and the first client {(sent[0].time.timestamp() - began):.2f} s after it")
    assert moves[0].number < sent[0].number
    assert (holders(a), holders(c)) == ([b.name], [b.name])
    assert services.ADDRESS not in a.host.run("ip", "address", "show", "lo")

    laptop = clients.lab.client("laptop")
    lines = c.daemon.command("nodes", "--remotes").stdout
    openvpn = OpenVPN(laptop.host, "client", client_config("laptop") + lines)
    openvpn.start()
    openvpn.ready()
    at = [server for server in (b, c) if f"remote {server.internet} 1194 udp" in lines]
    assert at == [b, c]
    assert a.internet not in lines
    wait_for("the laptop to be there", lambda: "laptop" in {*fleet.listed(b), *fleet.listed(c)})
    openvpn.process.end(signal.SIGTERM)
    order(a, "resume")
    assert holders(b) == [b.name]  # preempt = no: nobody is disturbed once more


def test_the_capacity_of_the_others_is_a_limit(clients: Fleet) -> None:
    a, b, c = clients.lab.servers
    here = clients.counts()[a.name]
    for server in (b, c):
        room = clients.counts()[server.name] + (here - 1 if server is b else 0)
        server.daemon.reload(configuration(server, f"capacity = {room}"))

    def refused() -> str:
        status, text = order(a, "drain", "--dry-run")
        assert status == 1, text
        return text

    wait_for("A to know their capacity", refused)
    status, text = order(a, "drain")
    why = f"{here} clients are here, and the others have room for {here - 1}"
    assert (status, text) == (1, f"{why} (vpnsrvB {here - 1}, vpnsrvC 0)\n")
    assert reply(a, "status")["maintenance"] == "active"


def test_the_last_active_node_refuses_unless_it_is_forced(clients: Fleet) -> None:
    a, b, c = clients.lab.servers
    for server in (a, b):
        assert order(server, "drain", "--over", "2s")[0] == 0
    wait_state(a, "maintenance", 60.0)
    wait_state(b, "maintenance", 60.0)
    status, text = order(c, "drain")
    assert status == 1
    assert text.startswith("no other node takes clients: vpnsrvA is maintenance")
    assert remotes(c) == {c.internet}
    assert order(c, "drain", "--force", "--over", "2s")[0] == 0
    wait_for("C to send its clients on", lambda: clients.counts()[c.name] < 5, 30.0)
    assert order(c, "nodes", "--available") == (1, "no node is available\n")


def test_rebalance_evens_out(clients: Fleet) -> None:
    a, b, c = clients.lab.servers
    assert order(a, "drain", "--over", "1s")[0] == 0
    wait_state(a, "maintenance", 60.0)
    assert order(a, "resume")[0] == 0
    clients.wait_settled()
    print(f"before: {dict(clients.counts())}")

    def even() -> bool:
        for server in (b, c):
            status, text = order(server, "rebalance", "--per-minute", "300")
            assert status == 0, text
        counts = clients.counts()
        return max(counts.values()) - min(counts.values()) <= 4

    wait_for("the clients to be even", even, 60.0)
    for server in (a, b, c):
        order(server, "rebalance", "--stop")
    clients.wait_settled()
    print(f"after: {dict(clients.counts())}")


def test_a_drained_node_resumes_by_itself(clients: Fleet) -> None:
    a, b, _ = clients.lab.servers
    began = time.time()
    assert order(a, "drain", "--over", "1s", "--until", "5s")[0] == 0
    wait_state(a, "active")
    took = time.time() - began
    print(f"active again after {took:.1f} s")
    assert 4.0 <= took < 7.0 + SLACK
    assert ready(a) == "ready\n"
    wait_for("B to offer A again", lambda: a.internet in remotes(b), 1.0)
