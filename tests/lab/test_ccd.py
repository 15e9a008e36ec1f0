"""Clients get the addresses of one hosts file, on every server: `cuberouted ccd`."""

from __future__ import annotations

import pytest

from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.openvpn import Options
from tests.lab.server import Server

CCD = "/etc/openvpn/ccd"
HOSTS = "/run/hosts"


def hosts_file(lab: Lab) -> str:
    """As a site has it: with the servers, other hosts, and every client."""
    lines = ["127.0.0.1 localhost", "ff02::1 ip6-allnodes", "192.168.1.10 printer"]
    machines: list[Server | Client] = [*lab.servers, *lab.clients.values()]
    for one in machines:
        lines += [f"{one.data} {one.name}  # {one.name}'s own", f"{one.data6} {one.name}"]
    return "\n".join(lines) + "\n"


def make(server: Server, hosts: str) -> str:
    """Makes the client-config-dir of *server*, and returns the last line of the output."""
    server.host.write(HOSTS, hosts)
    server.daemon.configure(mesh(server))
    done = server.daemon.command("ccd", HOSTS, CCD)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()[-1]


def clear(server: Server) -> None:
    """Removes what the lab has given the clients."""
    server.host.run("find", CCD, "-type", "f", "-delete")


def content(server: Server, name: str) -> str:
    return server.host.path(f"{CCD}/{name}").read_text()


@pytest.mark.parametrize("topology", ["subnet", "net30"])
def test_clients_keep_the_addresses_of_the_hosts_file_on_every_server(topology: str) -> None:
    with Lab(options=Options(topology=topology)) as lab:
        a, b = lab.servers
        lab.client("host1"), lab.client("host2"), lab.client("host3")
        for server in lab.servers:
            clear(server)
            said = make(server, hosts_file(lab))
            assert said == (
                "3 clients and 2 servers in 10.100.100.0/24 and fd00:100::/64, 1 host outside:"
                " 3 files created, 0 unchanged"
            )
        where: dict[Client, Server] = dict.fromkeys(lab.clients.values(), a)
        one, _, three = where
        where[three] = b
        for client, server in where.items():
            client.connect(server)
        start_daemons(lab.servers)
        wait_routes(lab, where)
        assert_all_reach_all(where)
        for client, server in ((one, b), (three, a), (one, a)):
            client.roam(server)
            where[client] = server
            wait_routes(lab, where)
        assert_all_reach_all(where)
        found = a.daemon.command("check", "--peers", "-v")
        assert "client-config-dir is the same" in found.stdout
        # OpenVPN and the daemon run now: the same is found
        assert make(b, hosts_file(lab)).endswith("3 unchanged")


def test_a_changed_hosts_file_counts_when_a_client_connects_again(lab: Lab) -> None:
    iroute = "iroute 192.168.50.0 255.255.255.0\n"
    one = lab.client("host1")
    for server in lab.servers:
        clear(server)
        make(server, hosts_file(lab))
        path = f"{CCD}/host1"
        server.host.write(path, content(server, "host1") + iroute)
    where = connect(lab, {"host2": 1})
    one.connect(lab.servers[0])
    where[one] = lab.servers[0]
    start_daemons(lab.servers)
    wait_routes(lab, where)
    one.data, one.data6 = "10.100.100.77", "fd00:100::77"
    for server in lab.servers:
        assert "1 file changed" in make(server, hosts_file(lab))
        assert content(server, "host1").endswith(iroute)
    one.leave()  # its old address would stay listed with a session that is not superseded
    one.connect(lab.servers[1])
    where[one] = lab.servers[1]
    wait_routes(lab, where)
    assert_all_reach_all(where)


def test_openvpn_looks_for_the_names_that_are_allowed(lab: Lab) -> None:
    names = ("anna@example.org", "Host-1.vpn.example.org", "_a_b")
    a, _ = lab.servers
    for name in names:
        lab.client(name)
    clear(a)
    make(a, hosts_file(lab))
    for client in lab.clients.values():
        client.connect(a)
        assert client.data in client.host.run("ip", "-4", "-o", "address", "show", "dev", "tun0")
