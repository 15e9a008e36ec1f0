"""IPv6 addresses of clients, where OpenVPN reports wrong ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping, routes
from tests.lab.lab import Lab
from tests.lab.mesh import share, start_daemons
from tests.lab.openvpn import Options

POOL = "fd00:100::1000"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """With ``ifconfig-push`` and an IPv6 pool OpenVPN lists the pool's first address for all."""
    with Lab(options=Options(lines=(f"ifconfig-ipv6-pool {POOL}/64",))) as lab:
        yield lab


def test_an_address_listed_for_two_clients_is_routed_to_the_one_that_has_it(lab: Lab) -> None:
    a, b = lab.servers
    one, two, three = (lab.client(f"host{number}") for number in (1, 2, 3))
    for client in (one, two):
        b.host.write(
            f"/etc/openvpn/ccd/{client.name}", f"ifconfig-push {client.data} 255.255.255.0"
        )
        client.connect(b)
    if POOL not in two.host.run("ip", "-6", "address"):
        pytest.skip("this OpenVPN gives a client with ifconfig-push no address of the IPv6 pool")
    three.connect(a)
    start_daemons(lab.servers)
    on_a = [(a.data, 32), (a.data6, 128), (three.data, 32), (three.data6, 128)]
    six = {f"{b.data6}/128": "tun1", f"{POOL}/128": "tun1"}
    four = {f"{end.data}/32": "tun1" for end in (b, one, two)}
    routes.wait_towards(a.host, four | six)
    routes.wait_towards(b.host, {f"{end}/{size}": "tun1" for end, size in on_a})
    assert ping.reaches(three.host, two.data)
    assert ping.reaches(three.host, POOL)


def test_a_client_keeps_its_ipv6_address_when_it_moves(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    one.roam(lab.servers[1])
    ping.wait_reaches(two.host, one.data6)
    one.roam(lab.servers[0])
    ping.wait_reaches(two.host, one.data6)
    ping.wait_reaches(one.host, two.data6)
