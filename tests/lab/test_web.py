"""The web listener: what it serves, a reload, and load balancers that ask for readiness."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.lab import pki
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.haproxy import HAProxy, documented
from tests.lab.lab import Lab
from tests.lab.mesh import connect, share, start_daemons, wait_routes
from tests.lab.openvpn import OpenVPN, Options, client_config
from tests.lab.server import Server
from tests.lab.waiting import wait_for

PORT = 9657
LOCAL = f"127.0.0.1:{PORT}"

OUT_WITHIN = 6.0
"""Seconds until HAProxy has taken a server out: two checks, 2 s apart, and what they take."""


def web(server: Server) -> str:
    """A configuration with the web listener on the address of its eth0."""
    return mesh(server, f"web_listen = {server.internet}:{PORT}")


def local_web(server: Server) -> str:
    """A configuration with the web listener on loopback."""
    return mesh(server, f"web_listen = {LOCAL}")


def curl(machine: Server | Client, url: str, *options: str) -> tuple[int, str]:
    """Status and body of the reply, as *machine* gets them; status 0: none."""
    argv = ("curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}", *options)
    body, _, status = machine.host.try_run(*argv, f"http://{url}").stdout.rpartition("\n")
    return int(status), body


def clients(server: Server) -> dict[str, str]:
    """By name, where each client is, as *server* has it."""
    return {row["name"]: row["node"] for row in server.daemon.ask("clients")["clients"]}


def test_every_path_answers(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, local_web)
    wait_routes(lab, where)
    a, _ = lab.servers
    assert curl(a, f"{LOCAL}/healthz") == (200, "ok\n")
    wait_for("the node to be ready", lambda: curl(a, f"{LOCAL}/readyz") == (200, "ready\n"))
    assert _json(a, "/v1/status")["node"] == "vpnsrvA"
    assert [node["state"] for node in _json(a, "/v1/nodes")["nodes"]] == ["running", "up"]
    assert {c["name"]: c["node"] for c in _json(a, "/v1/clients")["clients"]} == {
        "host1": "vpnsrvA",
        "host2": "vpnsrvB",
    }
    assert len(_json(a, "/v1/routes")["routes"]) == 4
    assert _json(a, "/v1/why/host2")["target"] == "host2"
    status, events = curl(a, f"{LOCAL}/v1/events?after=0&follow=0&type=client_joined")
    assert (status, len(events.splitlines())) == (200, 4)
    status, stream = curl(a, f"{LOCAL}/events?after=0&follow=0")
    assert (status, "event: " in stream or "data: " in stream) == (200, True)
    status, metrics = curl(a, f"{LOCAL}/metrics")
    assert (status, "\ncuberouted_ready 1.0\n" in metrics) == (200, True)
    status, page = curl(a, f"{LOCAL}/")
    assert (status, page[:15].lower()) == (200, "<!doctype html>")
    assert curl(a, f"{LOCAL}/nonsense")[0] == 404
    assert curl(a, f"{LOCAL}/v1/status", "--header", "Host: attacker.example")[0] == 421


def _json(server: Server, path: str) -> Any:
    status, body = curl(server, LOCAL + path)
    assert status == 200, body
    return json.loads(body)


def test_a_reload_opens_moves_and_closes_it(lab: Lab) -> None:
    share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    elsewhere = f"{a.internet}:9000"
    assert curl(a, f"{LOCAL}/healthz")[0] == 0
    a.daemon.reload(local_web(a))
    wait_for("it to be opened", lambda: curl(a, f"{LOCAL}/healthz")[0] == 200)
    a.daemon.reload(mesh(a, f"web_listen = {elsewhere}"))
    wait_for("it to be moved", lambda: curl(a, f"{elsewhere}/healthz")[0] == 200)
    assert curl(a, f"{LOCAL}/healthz")[0] == 0
    a.daemon.reload(mesh(a))
    wait_for("it to be closed", lambda: curl(a, f"{elsewhere}/healthz")[0] == 0)


def test_a_port_that_is_taken_is_shown_and_tried_again(lab: Lab) -> None:
    a, _ = lab.servers
    other = a.host.start("other", "python3", "-m", "http.server", "-b", "127.0.0.1", str(PORT))
    wait_for("the other program to listen", lambda: curl(a, LOCAL)[0] == 200)
    a.daemon.configure(local_web(a))
    assert f"cannot listen on {LOCAL}" in a.daemon.command("check").stdout
    a.daemon.run(local_web(a))
    problem = f"web_listen: {LOCAL}: the port is in use (`ss -ltnp` shows by what): use another one"
    wait_for("the problem", lambda: problem in a.daemon.ask("status")["problems"])
    other.end(signal.SIGKILL)
    wait_for("it to be opened", lambda: curl(a, f"{LOCAL}/healthz") == (200, "ok\n"))
    assert problem not in a.daemon.ask("status")["problems"]


def is_served(client: Client, url: str) -> bool:
    """Whether *client* gets a reply from *url*."""
    return curl(client, url) == (200, "ready\n")


def test_clients_of_the_vpn_are_refused_at_every_address_and_servers_are_not(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    tunnel = a.tunnels[b.name].ours
    a.daemon.reload(mesh(a, f"web_listen = [::]:{PORT}"))
    at = [f"{host}:{PORT}/readyz" for host in (tunnel, a.data, f"[{a.data6}]")]
    wait_for("it to be opened", lambda: curl(a, at[0]) == (200, "ready\n"))
    for client, server in where.items():
        client.host.ip(f"route add {tunnel} via {server.data}")
        for url in at:
            status, reply = curl(client, url)
            assert (status, "web_clients = yes admits them" in reply) == (403, True), url
    for url in at:
        assert curl(a, url) == curl(b, url) == (200, "ready\n"), url
    a.daemon.reload(mesh(a, f"web_listen = [::]:{PORT}", "web_clients = yes"))
    for client in where:
        wait_for("clients to be admitted", partial(is_served, client, at[0]))
    assert "clients among them (web_clients = yes)" in a.daemon.command("check").stdout


@pytest.fixture
def lab3_tcp() -> Iterator[Lab]:
    """Three servers with OpenVPN over TCP."""
    options = Options(lines=("proto tcp4-server",))
    with Lab(("vpnsrvA", "vpnsrvB", "vpnsrvC"), options) as lab:
        yield lab


def connect_through(client: Client, balancer: str) -> OpenVPN:
    """Connects *client* over TCP to whatever server the balancer at this address chooses."""
    config = client_config(client.name, balancer).replace("explicit-exit-notify 1", "")
    openvpn = OpenVPN(client.host, "client", config.replace("proto udp4", "proto tcp4-client"))
    openvpn.start()
    openvpn.ready()
    return openvpn


def test_haproxy_sends_clients_only_to_servers_that_are_ready(lab3_tcp: Lab) -> None:
    balancer = lab3_tcp.client("balancer")
    start_daemons(lab3_tcp.servers, web)
    haproxy = HAProxy(balancer.host, documented("openvpn"))
    haproxy.start()
    everybody_up = {server.name: "UP" for server in lab3_tcp.servers}
    wait_for("all servers to be up", lambda: haproxy.states() == everybody_up)
    client = lab3_tcp.client("host1")
    connect_through(client, address_of(balancer))
    a, *_ = lab3_tcp.servers
    at = wait_for("the client to be known", lambda: clients(a).get("host1"))
    lost = next(server for server in lab3_tcp.servers if server.name == at)
    seen_at = next(server for server in lab3_tcp.servers if server is not lost)
    began = time.monotonic()
    lost.openvpn.process.end(signal.SIGKILL)
    down = {**everybody_up, lost.name: "DOWN"}
    wait_for("HAProxy to take it out", lambda: haproxy.states() == down)
    assert time.monotonic() - began < OUT_WITHIN
    wait_for("the client elsewhere", lambda: clients(seen_at).get("host1") not in (None, at))
    lost.openvpn.start()
    wait_for("HAProxy to bring it back", lambda: haproxy.states() == everybody_up)


def test_haproxy_takes_a_server_out_whose_openvpn_accepts_and_does_not_answer(
    lab3_tcp: Lab,
) -> None:
    """With the option that docs/web.md names, its clients have to come back elsewhere."""
    balancer = lab3_tcp.client("balancer")
    start_daemons(lab3_tcp.servers, web)
    text = documented("openvpn").replace("rise 2\n", "rise 2 on-marked-down shutdown-sessions\n")
    haproxy = HAProxy(balancer.host, text)
    haproxy.start()
    a, *_ = lab3_tcp.servers
    up = {server.name: "UP" for server in lab3_tcp.servers}
    wait_for("all servers to be up", lambda: haproxy.states() == up)
    openvpn = connect_through(lab3_tcp.client("host1"), address_of(balancer))
    at = wait_for("the client to be known", lambda: clients(a).get("host1"))
    silent = next(server for server in lab3_tcp.servers if server.name == at)
    other = next(server for server in lab3_tcp.servers if server is not silent)
    silent.openvpn.process.send(signal.SIGSTOP)
    wait_for("HAProxy to take it out", lambda: haproxy.states() == {**up, silent.name: "DOWN"}, 15)
    openvpn.process.wait_log("Connection reset")  # before its own ping-restart
    openvpn.ready(times=2)
    silent.openvpn.process.send(signal.SIGCONT)
    wait_for("HAProxy to bring it back", lambda: haproxy.states() == up, 15)
    assert clients(other)["host1"] != silent.name
    other.daemon.stop()
    wait_for("HAProxy to take it out", lambda: haproxy.states() == {**up, other.name: "DOWN"})


def address_of(client: Client) -> str:
    """Its address in the lab's Internet."""
    found = client.host.run("ip", "-4", "-o", "address", "show", "dev", "eth0")
    return found.split()[3].partition("/")[0]


def test_a_reverse_proxy_adds_a_password_and_encryption(lab: Lab) -> None:
    a, _ = lab.servers
    a.daemon.run(local_web(a))
    hashed = a.host.run("openssl", "passwd", "-5", "-salt", "salt", "secret").strip()
    own = pki.certificate("vpnsrvA")
    a.host.write("/run/haproxy/vpnsrva.pem", own.certificate + own.key)
    HAProxy(a.host, documented("web").replace("HASH", hashed)).start()
    url = f"https://{a.internet}/v1/status"
    argv = ("curl", "--silent", "--insecure", "--write-out", "%{http_code}", "--output", "/run/out")
    assert a.host.run(*argv, url) == "401"
    assert a.host.run(*argv, "--user", "anna:secret", url) == "200"
    assert json.loads(a.host.run("cat", "/run/out"))["node"] == "vpnsrvA"


def test_nothing_but_readiness_is_published_for_dns(lab: Lab) -> None:
    connect(lab, {"host1": 0})
    start_daemons(lab.servers, local_web)
    a, _ = lab.servers
    HAProxy(a.host, documented("health")).start()
    public = f"{a.internet}:8080"
    wait_for("the node to be ready", lambda: curl(a, f"{public}/readyz") == (200, "ready\n"))
    assert curl(a, f"{public}/v1/status")[0] == 403
    assert curl(a, f"{public}/readyz", "--data", "x")[0] == 403
    a.openvpn.process.end()
    wait_for("503", lambda: curl(a, f"{public}/readyz") == (503, "not ready"))


def test_a_portal_s_node_is_down_while_it_is_not_ready(lab: Lab) -> None:
    a, _ = lab.servers
    a.host.start("node", "python3", "-m", "http.server", "-b", "127.0.0.1", "41194")
    start_daemons(lab.servers, local_web)
    haproxy = HAProxy(a.host, documented("node"))
    haproxy.start()
    node = f"{a.internet}:41194"
    wait_for("the node to be up", lambda: curl(a, node)[0] == 200)
    a.openvpn.process.end()
    wait_for("the node to be down", lambda: curl(a, node)[0] == 0)
    assert haproxy.states() == {"node": "DOWN"}
    a.openvpn.start()
    wait_for("the node to be back", lambda: curl(a, node)[0] == 200)
