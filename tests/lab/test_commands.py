"""What the commands say of a running mesh, and with which exit status."""

from __future__ import annotations

from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import share, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for
from tests.openapi.validation import validate

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
    rows = validate("dump-routes", done.stdout)["routes"]
    assert {r["destination"] for r in rows} == {r["destination"] for r in dump["routes"]}
    assert {r["node"] for r in rows} == {None}
    assert len(done.stderr.splitlines()) == 1


def test_listings_are_of_a_node_a_name_or_a_network(lab: Lab) -> None:
    one, two = share(lab, CLIENTS)
    a = lab.servers[0]

    def found(*arguments: str) -> list[str]:
        """The addresses in the first column, without those of IPv6 and of the servers."""
        done = a.daemon.command(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        clients = {one.data, two.data}
        return [row.split()[0] for row in done.stdout.splitlines() if row.split()[0] in clients]

    for arguments, addresses in (
        (["clients"], [one.data, two.data]),
        (["clients", "host2"], [two.data]),
        (["clients", "--node", "vpnsrvA"], [one.data]),
        (["clients", one.data], [one.data]),
        (["clients", "--name", "h?st*", "--prefix", f"{two.data}/32"], [two.data]),
        (["dump-routes"], [two.data]),
        (["dump-routes", "host2", "--node", "vpnsrvB"], [two.data]),
        (["dump-routes", two.data], [two.data]),
    ):
        assert found(*arguments) == addresses, arguments
    for arguments in (["clients", "host3"], ["dump-routes", "host1"], ["clients", "10.9.9.9"]):
        done = a.daemon.command(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert " matches " in done.stderr
    assert a.daemon.command("clients", f"{one.data}/1").returncode == 2
    a.daemon.crash()
    assert found_without(a, two.data) == (0, [two.data])
    assert a.daemon.command("dump-routes", "host2").returncode == 3


def found_without(server: Server, address: str) -> tuple[int, list[str]]:
    """The exit status and the destinations of dump-routes, without the daemon."""
    done = server.daemon.command("dump-routes", "--prefix", address)
    return done.returncode, [row.split()[0] for row in done.stdout.splitlines()[1:]]


def test_nodes_shows_every_node_and_whether_it_is_up(lab: Lab) -> None:
    share(lab, CLIENTS)
    a, b = lab.servers
    here, there = a.daemon.ask("nodes")["nodes"]
    assert (here["name"], here["local"], here["state"], here["clients"]) == (
        *("vpnsrvA", True, "running", 1),
    )
    assert [(o["name"], o["state"]) for o in here["openvpn"]] == [("openvpn", "connected")]
    assert (there["name"], there["local"], there["state"], there["clients"]) == (
        *("vpnsrvB", False, "up", 1),
    )
    assert there["interface"] == "tun1"
    assert a.daemon.command("nodes").returncode == 0
    b.daemon.stop()
    wait_for("A to miss B", lambda: a.daemon.command("nodes", "vpnsrvB").returncode == 1)
    assert a.daemon.command("nodes", "vpnsrvA").returncode == 0
    assert a.daemon.command("nodes", "vpnsrvC").stderr == "no node matches node vpnsrvC\n"


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
