"""Users end the sessions of a client, wherever in the mesh it is connected."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.test_attacks import attack
from tests.lab.waiting import wait_for

ALLOWED = "allow_remote_disconnect = yes"


def start(lab: Lab, names: Mapping[str, int], *refusing: Server) -> dict[Client, Server]:
    """Connected clients that do not come back, and daemons that know them."""
    where = connect(lab, names)
    start_daemons(lab.servers, lambda s: mesh(s) if s in refusing else mesh(s, ALLOWED))
    wait_routes(lab, where)
    return where


def listed(server: Server) -> set[str]:
    """The common names that the daemon of *server* has as its own clients."""
    rows = server.daemon.ask("clients")["clients"]
    return {row["name"] for row in rows if row["local"] and row["kind"] == "client"}


def sessions(server: Server) -> int:
    """How many clients OpenVPN on *server* has."""
    count: int = server.daemon.ask("status")["openvpn"][0]["clients"]
    return count


def order(server: Server, *arguments: str) -> tuple[int, list[str]]:
    done = server.daemon.command("disconnect", *arguments)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def killed(client: Client) -> None:
    """Wait until OpenVPN has ended the session of *client*.

    Its next packet is not answered then: it learns of the end at its ping-restart.
    """
    server_lost = "Connection reset", "Inactivity timeout", "process restarting"
    wait_for(
        f"{client.name} to lose its session",
        lambda: any(text in client.openvpn.process.log for text in server_lost),
        timeout=30,
    )


def test_clients_are_disconnected_here_there_and_refused(lab3: Lab) -> None:
    a, b, c = lab3.servers
    where = start(lab3, {"host1": 0, "host2": 1, "host3": 2}, c)
    for client in where:
        client.vanish()  # so that none comes back at once

    assert order(a, "host1") == (0, [f"host1: 1 session ended at {a.name} (client id 0)"])
    wait_for("host1 to be gone", lambda: listed(a) == set())

    assert order(a, "host2") == (0, [f"host2: 1 session ended at {b.name} (client id 0)"])
    wait_for("host2 to be gone", lambda: listed(b) == set())
    b.daemon.process.wait_log(f"disconnect of host2 at {b.name} requested by root at {a.name}")

    refused = [f"{c.name} refuses: allow_remote_disconnect is not set there"]
    assert order(a, "host3") == (1, refused)
    c.daemon.process.wait_log("its request to disconnect host3 was refused")
    assert listed(c) == {"host3"}

    assert order(a, "host4") == (1, ["nobody has host4"])
    assert order(a, "--from", b.name, "host3") == (1, [f"nobody at {b.name} has host3"])
    code, [text] = order(a, "--from", "vpnsrvX", "host3")
    assert (code, "there is no node vpnsrvX" in text) == (1, True)

    assert order(c, "host3") == (0, [f"host3: 1 session ended at {c.name} (client id 0)"])
    wait_routes(lab3, {})


def test_a_client_on_two_servers_is_disconnected_on_both(lab3: Lab) -> None:
    a, b, c = lab3.servers
    one = lab3.client("host1")
    one.connect(b)
    twin = lab3.client("twin", twin_of=one)
    keep = "kill_superseded_sessions = no"
    start_daemons(lab3.servers, lambda server: mesh(server, ALLOWED, keep))
    wait_routes(lab3, {one: b})
    twin.connect(c)
    wait_routes(lab3, {one: c})
    assert (sessions(b), sessions(c)) == (1, 1)
    for client in (one, twin):
        client.vanish()

    done = a.daemon.command("disconnect", "host1", "--json")
    found = {row["node"]: row["outcome"] for row in json.loads(done.stdout)["nodes"]}
    assert (done.returncode, found) == (
        0,
        {a.name: "not_found", b.name: "ended", c.name: "ended"},
    )
    wait_for("both sessions to be gone", lambda: sessions(b) == sessions(c) == 0)


def test_from_one_node_the_client_stays_at_the_other(lab3: Lab) -> None:
    a, b, c = lab3.servers
    one = lab3.client("host1")
    one.connect(b)
    twin = lab3.client("twin", twin_of=one)
    keep = "kill_superseded_sessions = no"
    start_daemons(lab3.servers, lambda server: mesh(server, ALLOWED, keep))
    wait_routes(lab3, {one: b})
    twin.connect(c)
    wait_routes(lab3, {one: c})
    one.vanish()
    assert order(a, "--from", b.name, "host1") == (
        0,
        [f"host1: 1 session ended at {b.name} (client id 0)"],
    )
    wait_for("the session at B to be gone", lambda: sessions(b) == 0)
    assert listed(c) == {"host1"}


def test_a_connected_client_loses_its_session_and_comes_back(lab: Lab) -> None:
    a, b = lab.servers
    [client] = start(lab, {"host1": 1})
    assert order(a, "host1")[0] == 0
    b.daemon.process.wait_log("disconnect requested by root at vpnsrvA")
    killed(client)
    client.openvpn.ready(times=2)
    wait_routes(lab, {client: b})


def test_requests_of_a_stranger_a_flood_and_without_permission_end_no_session(lab3: Lab) -> None:
    a, b, c = lab3.servers
    where = connect(lab3, {"host1": 0, "host3": 2})
    start_daemons([a, c], lambda server: mesh(server, ALLOWED) if server is c else mesh(server))
    wait_routes(lab3, where, silent=[b])
    attack(b, a, "disconnect_flood").wait_log("done", timeout=60)
    a.daemon.process.wait_log("its request to disconnect")
    log = a.daemon.process.log
    assert log.count("its request to disconnect") <= 2
    assert log.count("dropped a request") <= 2
    assert listed(a) == {"host1"}
    assert a.daemon.command("status").returncode in (0, 1)
    assert a.daemon.ask("status")["peers"]
    wait_routes(lab3, where, silent=[b])


def test_with_permission_a_flood_is_bounded(lab3: Lab) -> None:
    a, b, c = lab3.servers
    where = connect(lab3, {"host1": 0, "host3": 2})
    start_daemons([a, c], lambda server: mesh(server, ALLOWED))
    wait_routes(lab3, where, silent=[b])
    attack(b, a, "disconnect_flood").wait_log("done", timeout=60)
    wait_for("host1 to be gone", lambda: listed(a) == set(), timeout=30)
    assert a.daemon.process.log.count("killing the session of host1") <= 10
    peers = {row["name"]: row["state"] for row in a.daemon.ask("status")["peers"]}
    assert peers[c.name] == "up"
    assert listed(c) == {"host3"}


def test_a_node_that_is_no_peer_of_ours_cannot_ask(lab: Lab) -> None:
    """B names A as its peer, but A does not name B: A never connects to B, and so receives
    nothing.
    """
    a, b = lab.servers
    where = connect(lab, {"host1": 0})
    other = mesh(a, ALLOWED).replace(a.tunnels[b.name].theirs, "10.200.222.222")
    a.daemon.run(other)
    b.daemon.run(mesh(b, ALLOWED))
    code, lines = order(b, "--from", a.name, "host1")
    assert code == 1
    assert "nothing was received from it" in lines[0]
    assert listed(a) == {"host1"}
    assert where
