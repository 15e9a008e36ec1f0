"""`why` agrees with whether a client's ping arrives, whatever has happened on the way."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.lab import ping
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, share, start_daemons
from tests.lab.network import drop_large_packets, drop_pings, stop_dropping
from tests.lab.server import Server
from tests.lab.services import ADDRESS, NAME, section
from tests.lab.waiting import wait_for


def why(server: Server, target: str, *options: str) -> tuple[int, str, dict[str, Any]]:
    """The exit status, the first line, and the JSON of `why`."""
    done = server.daemon.command("why", target, *options)
    answer = server.daemon.command("why", target, "--json", *options)
    assert answer.stdout, done.stderr + answer.stderr
    assert done.returncode == answer.returncode, done.stdout + done.stderr + answer.stderr
    print(done.stdout)
    return done.returncode, done.stdout.partition("\n")[0], json.loads(answer.stdout)


def agrees(server: Server, client: Client, address: str, verdict: str) -> dict[str, Any]:
    """Waits until `why` on *server* agrees with a ping by *client*, and has this verdict."""

    def look() -> dict[str, Any]:
        status, line, answer = why(server, address)
        assert verdict in line, line
        assert status == (0 if ping.reaches(client.host, address) else 1), line
        assert answer["reached"] == (status == 0)
        return answer

    return wait_for(f"`why {address}` to agree with a ping: {verdict}", look)


def hears(server: Server, address: str) -> bool:
    """Whether the peer that has *address* was heard just now."""
    peer = why(server, address)[2]["addresses"][0]["peer"]
    return peer is not None and peer["state"] == "up" and peer["last_heard"] < 1


def test_the_verdict_agrees_with_a_ping_while_clients_come_roam_and_leave(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, b = lab.servers
    reached = f"{two.data} is reached through tun1 by vpnsrvB: host2 connected there"
    answer = agrees(a, one, two.data, reached)
    [found] = answer["addresses"]
    assert [claim["node"] for claim in found["claims"] if claim["best"]] == ["vpnsrvB"]
    assert [(r["owner"], r["used"], r["trace"]) for r in found["routes"]] == [
        ("cuberouted", True, "added"),
        ("kernel", False, ""),
    ]
    assert found["peer"]["state"] == "up"
    agrees(a, one, two.data6, f"{two.data6} is reached through tun1 by vpnsrvB")
    agrees(a, one, a.data, "an address of this host")
    agrees(a, one, b.data, "the data address of vpnsrvB")
    agrees(b, two, two.data, f"{two.data} is reached through tun0: host2 connected here")

    two.roam(a)
    agrees(a, one, two.data, f"{two.data} is reached through tun0: host2 connected here")
    answer = agrees(b, one, two.data, f"{two.data} is reached through tun1 by vpnsrvA")
    assert answer["addresses"][0]["claims"][0]["node"] == "vpnsrvA"
    two.leave()
    agrees(a, one, two.data, f"{two.data} is not reached: no client has it")
    agrees(a, one, "10.100.100.77", "is not reached: no client has it")
    status, line, answer = why(a, "host2")
    assert (status, answer["addresses"]) == (1, [])
    assert "no client, server or service is called host2; did you mean" in line


def test_the_verdict_agrees_with_a_ping_to_a_service_that_moves(lab: Lab, tmp_path: Path) -> None:
    one, two = connect(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    fit = tmp_path / "fit"
    fit.touch()
    checked = f"check = /usr/bin/test -e {fit}", "check_interval = 100ms", "fall = 1", "rise = 1"
    of_a, of_b = section("priority = 200", *checked), section("priority = 100")
    start_daemons((a, b), lambda server: mesh(server, services=[of_a if server is a else of_b]))
    holds = f"has the address of service {NAME}"
    agrees(a, one, ADDRESS, f"{ADDRESS} is on lo of this host: vpnsrvA {holds}")
    answer = agrees(b, two, ADDRESS, f"{ADDRESS} is reached through tun1: vpnsrvA {holds}")
    assert [
        (claim["node"], claim["phase"], claim["why"]) for claim in answer["addresses"][0]["claims"]
    ] == [("vpnsrvA", "holding", ""), ("vpnsrvB", "standby", "it is on standby")]
    fit.unlink()
    agrees(a, one, ADDRESS, f"{ADDRESS} is reached through tun1: vpnsrvB {holds}")
    agrees(b, two, ADDRESS, f"{ADDRESS} is on lo of this host: vpnsrvB {holds}")
    by_name = why(a, NAME)[2]["addresses"][0]
    assert by_name["claims"][1]["why"].startswith("it cannot have the address: ")
    [row] = json.loads(a.daemon.command("dump-routes", NAME, "--json").stdout)["routes"]
    assert (row["destination"], row["kind"], row["name"], row["node"]) == (
        f"{ADDRESS}/32",
        "service",
        NAME,
        "vpnsrvB",
    )


def test_the_verdict_agrees_with_a_ping_while_others_change_routes_and_rules(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, _ = lab.servers
    reached = f"{two.data} is reached through tun1 by vpnsrvB: host2 connected there"
    route = f"{two.data}/32 dev tun0"
    for add, verdict, told in (
        (
            f"route add {route} metric 20",
            f"is not reached: packets to host2 at vpnsrvB follow {route} in table main",
            f"`ip route del {route} table main metric 20`",
        ),
        (
            f"route add blackhole {two.data}/32 metric 20",
            f"are dropped by blackhole {two.data}/32 in table main",
            f"`ip route del blackhole {two.data}/32 table main metric 20`",
        ),
        (
            "rule add priority 100 iif tun0 table 77",
            "is reached from this host, but not from tun0",
            "`ip rule del priority 100`",
        ),
        (
            "rule add priority 101 from 10.100.100.0/24 unreachable",
            "because of rule 101 (from 10.100.100.0/24 unreachable)",
            "`ip rule del priority 101`",
        ),
    ):
        a.host.ip("route replace 10.100.100.0/24 dev tun0 table 77", add)
        answer = agrees(a, one, two.data, verdict)
        assert told in answer["advice"], answer["advice"]
        a.host.ip(answer["advice"].partition("`ip ")[2].partition("`")[0])  # the cure works
        agrees(a, one, two.data, reached)

    a.host.ip(f"route del {two.data}/32")
    agrees(a, one, two.data, reached)
    forward = "/proc/sys/net/ipv4/ip_forward"
    a.host.run("sh", "-c", f"echo 0 > {forward}")
    answer = agrees(a, one, two.data, "is reached from this host, but not from tun0")
    assert "`sysctl -w net.ipv4.ip_forward=1`" in answer["advice"]
    a.host.run("sh", "-c", f"echo 1 > {forward}")
    agrees(a, one, two.data, reached)


def test_the_verdict_agrees_with_a_ping_while_peers_and_tunnels_fail(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, b = lab.servers
    reached = f"{two.data} is reached through tun1 by vpnsrvB"
    agrees(a, one, two.data, reached)
    tunnel = a.tunnels[b.name].openvpn
    tunnel.process.end(signal.SIGTERM)
    agrees(a, one, two.data, "it is host2 at vpnsrvB, and the interface tun1 does not exist")
    tunnel.start()
    wait_for("A to hear B again", lambda: hears(a, two.data))
    agrees(a, one, two.data, reached)

    # what only pings show
    drop_large_packets(b.host, 1000, "tun1")
    assert why(a, two.data)[0] == 0
    status, line, _ = why(a, two.data, "--ping")
    assert (status, "only small packets reach" in line) == (1, True), line
    stop_dropping(b.host)
    status, line, answer = why(a, two.data, "--ping-client")
    assert (status, line.startswith(reached)) == (0, True), line
    pings = answer["addresses"][0]["pings"]
    assert [(p["what"], p["size"], p["received"]) for p in pings] == [
        ("peer", 84, 3),
        ("peer", 1500, 3),
        ("peer", 84, 3),
        ("peer", 1500, 3),
        ("client", 84, 3),
        ("client", 1500, 3),
    ]
    drop_pings(b.host, "tun1")
    status, line, _ = why(a, two.data, "--ping")
    assert (status, "vpnsrvB answers no ping through tun1" in line) == (1, True), line
    stop_dropping(b.host)

    b.daemon.crash()
    agrees(a, one, two.data, "no client has it, here or at any peer; vpnsrvB is down")
    b.daemon.start()
    agrees(a, one, two.data, reached)
    b.host.kill_all()
    agrees(a, one, two.data, "no client has it, here or at any peer; vpnsrvB is down")
    agrees(a, one, b.data, "may not be reached: packets leave through tun1 to vpnsrvB")


def test_a_refused_address_is_told_with_the_reason(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1, "host3": 1})
    one, two, three = where
    a, b = lab.servers
    narrow = f"allowed_networks = 10.100.100.0/28, fd00:100::/64, {b.data}/32"
    start_daemons(lab.servers, lambda server: mesh(server, *([narrow] if server is a else [])))
    agrees(a, one, two.data, "is reached through tun1 by vpnsrvB: host2")
    verdict = "host3 at vpnsrvB has it, but it is refused: outside allowed_networks"
    agrees(a, one, three.data, f"{three.data} is not reached: {verdict}")


def test_overlapping_pools_are_told_and_the_client_that_lost(lab: Lab) -> None:
    clients = [lab.client(name) for name in ("host1", "host2", "host3")]
    one, two, _ = clients
    a, b = lab.servers
    a.allow("host3", two.data)
    for client, server in zip(clients, (a, b, a), strict=True):
        client.connect(server)
    start_daemons(lab.servers)

    def overlap() -> bool:
        status, line, answer = why(a, two.data)
        assert "their address pools overlap" in "".join(answer["addresses"][0]["notes"])
        assert status == (0 if ping.reaches(one.host, two.data) else 1), line
        return status == 0

    wait_for("the overlap to be told", overlap)
    lost = next(c["name"] for c in why(a, two.data)[2]["addresses"][0]["claims"] if not c["best"])
    status, line, _ = why(a, lost)
    assert (status, f"{lost} is not reached: " in line) == (1, True), line


def test_without_the_daemon_only_the_kernel_is_asked(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, _ = lab.servers
    a.daemon.crash()
    start = f"cuberouted is not running here, so only the kernel was asked: packets to {two.data}"
    status, line, answer = why(a, two.data)
    assert status == 3
    assert line.startswith(f"{start} follow {two.data}/32 dev tun1 in table main"), line
    assert line.endswith("(to vpnsrvB)")
    assert ping.reaches(one.host, two.data)
    assert (answer["node"], answer["reached"]) == (None, False)
    a.host.ip(f"route del {two.data}/32")
    status, line, _ = why(a, two.data)
    assert status == 3
    assert line.startswith(f"{start} follow 10.100.100.0/24 dev tun0 in table main"), line
    assert not ping.reaches(one.host, two.data)
    done = a.daemon.command("why", "host2")
    assert (done.returncode, "only an address can be asked for" in done.stderr) == (3, True)
