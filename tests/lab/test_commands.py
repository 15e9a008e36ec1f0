"""What the commands say of a running mesh, and with which exit status."""

from __future__ import annotations

import json

from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import share, wait_routes
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1}


def test_status_is_fine_while_all_is_well(lab: Lab) -> None:
    share(lab, CLIENTS)
    a = lab.servers[0]
    wait_for("A to be well", lambda: a.daemon.command("status").returncode == 0)
    status = a.daemon.ask("status")
    assert status["node"] == "vpnsrvA"
    assert [(o["name"], o["clients"]) for o in status["openvpn"]] == [("openvpn", 1)]
    assert status["openvpn"][0]["version"].startswith("2.")
    assert [(p["name"], p["state"], p["clients"]) for p in status["peers"]] == [
        ("vpnsrvB", "up", 1)
    ]
    assert status["routes"]["desired"] == status["routes"]["installed"] == 4
    assert status["routes"]["conflicts"] == 0


def test_status_is_1_while_a_peer_is_down_and_3_without_a_daemon(lab: Lab) -> None:
    share(lab, CLIENTS)
    a, b = lab.servers
    b.daemon.stop()
    wait_for("A to miss B", lambda: a.daemon.command("status").returncode == 1)
    assert b.daemon.command("status").returncode == 3
    assert b.daemon.command("clients").returncode == 3


def test_clients_shows_where_each_client_is(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    a = lab.servers[0]
    rows = {row["name"]: row for row in a.daemon.ask("clients")["clients"] if "." in row["address"]}
    for client, server in where.items():
        row = rows[client.name]
        assert (row["address"].split("/")[0], row["node"]) == (client.data, server.name)
        assert (row["kind"], row["local"]) == ("client", server is a)
        assert row["since"].endswith(("Z", "+00:00"))
        assert client.data in a.daemon.command("clients").stdout


def test_dump_routes_shows_the_kernel_s_routes_even_without_the_daemon(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    _, two = where
    a = lab.servers[0]
    dump = a.daemon.ask("dump-routes")
    assert dump["node"] == "vpnsrvA"
    row = next(r for r in dump["routes"] if r["destination"] == f"{two.data}/32")
    age = row.pop("age")
    assert 0 <= age < 60
    assert row == {
        "destination": f"{two.data}/32",
        "node": "vpnsrvB",
        "interface": "tun1",
        "gateway": None,
        "kind": "client",
        "name": "host2",
    }
    a.daemon.crash()
    done = a.daemon.command("dump-routes", "--json")
    rows = json.loads(done.stdout)["routes"]
    assert {r["destination"] for r in rows} == {r["destination"] for r in dump["routes"]}
    assert {r["node"] for r in rows} == {None}
    assert len(done.stderr.splitlines()) == 1


def test_check_finds_a_server_that_would_work_fit(lab: Lab) -> None:
    a = lab.servers[0]
    a.daemon.configure(mesh(a))
    done = a.host.try_run(*a.daemon.argv[:-1], "check", a.daemon.argv[-1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_socket_can_be_named_outright(lab: Lab) -> None:
    where = share(lab, CLIENTS)
    a = lab.servers[0]
    socket = "/run/cuberouted/control.sock"
    done = a.host.try_run(*a.daemon.argv[:-1], "--socket", socket, "status")
    assert "vpnsrvB" in done.stdout
    wait_routes(lab, where)
