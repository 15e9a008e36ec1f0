"""Mistakes of people, and what they read then. Nothing here ends a running daemon."""

from __future__ import annotations

import sys

import pytest

from tests.lab import routes
from tests.lab.configs import mesh, shipped
from tests.lab.daemon import CONFIG
from tests.lab.lab import Lab
from tests.lab.mesh import share, start_daemons, wait_routes
from tests.lab.waiting import wait_for

LISTENER = """
import socket, sys
sock = socket.socket()
sock.bind((sys.argv[1], int(sys.argv[2])))
sock.listen()
print("listening", flush=True)
while True:
    peer, _ = sock.accept()
    peer.sendall(bytes(range(256)) * 40)
    peer.close()
"""


def test_a_wrong_management_password_is_told_once_and_the_rest_works(lab: Lab) -> None:
    a, b = lab.servers
    a.host.write("/etc/openvpn/pass", "wrong\n", 0o600)
    start_daemons(lab.servers)
    a.daemon.process.wait_log("password")
    done = a.daemon.command("status")
    assert done.returncode == 1
    assert "openvpn_mgmt_pass_file" in done.stdout
    done = a.daemon.command("check")
    assert done.returncode == 1
    assert "reports: openvpn is refused: OpenVPN refuses the password" in done.stdout
    two = lab.client("host2")
    two.connect(b)
    wait_routes(lab, {two: b})
    assert a.daemon.process.log.count("password") == 1


def test_an_interface_that_does_not_exist_is_told_and_waited_for(lab: Lab) -> None:
    a, _ = lab.servers
    a.daemon.run(shipped(a, "article").replace("tun1", "tun7"))
    a.daemon.process.wait_log("tun7")
    assert routes.ours(a.host) == set()
    assert a.daemon.command("status").returncode == 1
    assert a.daemon.running


def test_a_port_that_is_in_use_is_told_and_waited_for(lab: Lab) -> None:
    a, b = lab.servers
    tunnel = a.tunnels[b.name]
    squatter = a.host.start("squatter", sys.executable, "-c", LISTENER, tunnel.ours, "5657")
    squatter.wait_log("listening")
    start_daemons(lab.servers)
    a.daemon.process.wait_log("5657")
    assert a.daemon.running
    squatter.end()
    wait_routes(lab, {})


def test_a_peer_that_speaks_garbage_is_no_peer(lab: Lab) -> None:
    a, b = lab.servers
    tunnel = b.tunnels[a.name]
    garbler = b.host.start("garbler", sys.executable, "-c", LISTENER, tunnel.ours, "5657")
    garbler.wait_log("listening")
    a.daemon.run(mesh(a))
    routes.wait_towards(a.host, {f"{b.data}/32": "tun1"})
    garbler.end()
    b.daemon.run(mesh(b))
    wait_routes(lab, {})
    assert len(a.daemon.process.log.splitlines()) < 50


def test_a_peer_with_our_own_name_is_refused_and_both_names_are_shown(lab: Lab) -> None:
    a, b = lab.servers
    start_daemons([a])
    b.daemon.run("node = vpnsrvA\n" + shipped(b, "article"))
    wait_for("A to refuse B", lambda: "vpnsrvA" in str(a.daemon.ask("status")["peers"]))
    assert a.daemon.command("status").returncode == 1
    routes.wait_towards(a.host, {f"{b.data}/32": "tun1"})


def test_without_the_right_to_change_routes_it_ends_before_anything_is_touched(lab: Lab) -> None:
    a, _ = lab.servers
    a.daemon.configure(mesh(a))
    powerless = a.host.start(
        "powerless", "setpriv", "--inh-caps=-all", "--bounding-set=-all", *a.daemon.argv
    )
    assert powerless.wait() == 1
    assert "CAP_NET_ADMIN" in powerless.log
    assert not a.host.path("/run/cuberouted").exists()


def test_a_configuration_with_mistakes_ends_it_with_all_of_them(lab: Lab) -> None:
    a, _ = lab.servers
    a.daemon.configure("hold_tiem = 3s\npoll_interval = never\n" + mesh(a))
    a.daemon.start()
    assert a.daemon.process.wait() == 2
    log = a.daemon.process.log
    assert f"{CONFIG}:1: hold_tiem" in log
    assert "hold_time" in log
    assert f"{CONFIG}:2: poll_interval" in log


@pytest.mark.parametrize("kind", ["missing", "a directory"])
def test_a_configuration_that_cannot_be_read_ends_it(lab: Lab, kind: str) -> None:
    a, _ = lab.servers
    if kind == "a directory":
        a.host.path(CONFIG).mkdir()
    a.daemon.start()
    assert a.daemon.process.wait() == 2
    assert CONFIG in a.daemon.process.log


def test_nothing_of_this_disturbs_a_mesh_that_works(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    stranger = a.host.start(
        "stranger", sys.executable, "-c", f"""
import socket
for _ in range(20):
    with socket.create_connection(("{b.tunnels[a.name].ours}", 5657)) as sock:
        sock.sendall(bytes(range(256)))
""",
    )  # fmt: skip
    assert stranger.wait() == 0, stranger.log
    assert b.daemon.running
    wait_routes(lab, where)
