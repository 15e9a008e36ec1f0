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

pytestmark = pytest.mark.alone

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


def maintenance(server: Server) -> dict[str, str]:
    """What *server* says of its state."""
    keys = ("maintenance", "by", "since", "until", "reason")
    status = reply(server, "status")
    return {key: status[key] for key in keys}


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


def test_maintenance_survives_a_restart(clients: Fleet) -> None:
    a, b, _ = clients.lab.servers
    assert order(a, "drain", "--over", "1s", "--reason", "kernel")[0] == 0
    wait_state(a, "maintenance", 60.0)
    before = maintenance(a)
    a.daemon.stop()
    a.daemon.start()
    a.daemon.ready()
    assert maintenance(a) == before
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


def test_a_drain_goes_on_after_a_crash(clients: Fleet) -> None:
    b = clients.lab.servers[1]
    here = len(fleet.listed(b))
    assert order(b, "drain", "--over", f"{OVER:g}s", "--reason", "kernel")[0] == 0

    def sent() -> list[str]:
        return [e.client for e in events(b) if isinstance(e, ClientSentOn)]

    wait_for("some clients to be sent on", lambda: len(sent()) >= 3)
    before = maintenance(b)
    b.daemon.crash()
    assert before["maintenance"] == "draining"
    began = time.time()
    b.daemon.start()
    b.daemon.ready()
    assert maintenance(b) == before
    wait_for("all to be sent on", lambda: set(fleet.listed(b)) <= {"scanner"}, 60.0)
    took = time.time() - began
    print(f"{here} clients, of whom the crash left some: gone {took:.1f} s after it")
    assert OVER / 3 < took < OVER + 6.0 + SLACK  # OpenVPN lists a client for 5 s more
    wait_state(b, "maintenance")
    assert set(clients.wait_settled()) == set(clients.clients)


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
    counts = clients.counts()
    one, other, full = sorted(clients.lab.servers, key=lambda server: counts[server.name])
    here = counts[full.name]
    for server, room in ((one, here - 1), (other, 0)):
        limit = f"capacity = {counts[server.name] + room}"
        server.daemon.reload(configuration(server, limit))

    def refused() -> str:
        status, text = order(full, "drain", "--dry-run")
        assert status == 1, text
        return text

    wait_for("it to know the capacity of the others", refused)
    status, text = order(full, "drain")
    assert status == 1
    why = f"{here} clients are here, and the others have room for {here - 1} ("
    assert text.startswith(why)
    assert f"{one.name} {here - 1}" in text
    assert f"{other.name} 0" in text
    assert reply(full, "status")["maintenance"] == "active"


def test_the_last_active_node_refuses_unless_it_is_forced(clients: Fleet) -> None:
    a, b, c = clients.lab.servers
    for server in (a, b):
        assert order(server, "drain", "--over", "2s")[0] == 0
    wait_state(a, "maintenance", 60.0)
    wait_state(b, "maintenance", 60.0)
    status, text = order(c, "drain")
    assert status == 1
    assert text.startswith("no other node takes clients: vpnsrvA is in maintenance")
    assert remotes(c) == {c.internet}
    assert order(c, "drain", "--force", "--over", "2s")[0] == 0
    wait_for("C to send its clients on", lambda: clients.counts()[c.name] < 5, 30.0)
    assert order(c, "nodes", "--available") == (1, "no node is available\n")


def rebalance(server: Server, share: float) -> None:
    """Have *server* send its surplus on, and wait until that is done."""
    status, text = order(server, "rebalance", "--per-minute", "200")
    assert status == 0, text
    print(text.strip())
    wait_for(f"{text} to end", lambda: len(fleet.listed(server)) < share + 1, 40.0)


def test_rebalance_evens_out(clients: Fleet) -> None:
    a = clients.lab.servers[0]
    assert order(a, "drain", "--over", "1s")[0] == 0
    wait_state(a, "maintenance", 60.0)
    assert order(a, "resume")[0] == 0
    clients.wait_settled()
    share = len(clients.clients) / len(clients.lab.servers)
    print(f"before: {dict(clients.counts())}, share {share:.1f}")
    ordered = []
    for _ in clients.lab.servers:  # who gets them may have too many then, and sends them on itself
        counts = {server: len(fleet.listed(server)) for server in clients.lab.servers}
        fullest = max(counts, key=lambda server: counts[server])
        if counts[fullest] < share + 1:
            break
        assert fullest not in ordered
        ordered.append(fullest)
        rebalance(fullest, share)
        clients.wait_settled()
        print(f"after: {dict(clients.counts())}")
    final = clients.counts()
    assert max(final.values()) - min(final.values()) <= 3


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
