"""Networks behind clients that lie inside each other, and around other clients' addresses.

Everybody is reached at the longest prefix, whichever server it is on: as with all clients on one
server, where OpenVPN's own longest prefix decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons, wanted
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.waiting import wait_for

BRANCH, HQ = ("192.168.50.0/24", "fd00:50:0:50::/64"), ("192.168.0.0/16", "fd00:50::/48")
AROUND = ("10.100.100.8/29", "fd00:100::10/125")
"""Around the addresses of host1 and host2, and behind host3."""

AT_BRANCH, AT_HQ = ("192.168.50.1", "fd00:50:0:50::1"), ("192.168.1.1", "fd00:50:0:1::1")
BESIDE = ("10.100.100.9", "fd00:100::13")
"""Addresses behind host3 beside those of host1 and host2."""

ALLOWED = "allowed_networks = 10.100.100.0/24, fd00:100::/64, 192.168.0.0/16, fd00:50::/48"
OPTIONS = Options(
    lines=(
        "route 192.168.0.0 255.255.0.0 10.100.100.2",
        "route-ipv6 fd00:50::/48",
        'push "route 192.168.0.0 255.255.0.0"',
        'push "route-ipv6 fd00:50::/48"',
        # OpenVPN pushes no route to the client that is behind it, so hq needs one to the branch
        'push "route 192.168.50.0 255.255.255.0"',
        'push "route-ipv6 fd00:50:0:50::/64"',
    )
)


class Case:
    """host1 and the branch are on A; host2, host3 and the headquarters on B."""

    def __init__(self, lab: Lab, table: str) -> None:
        self.lab = lab
        self.table = table
        self.a, self.b = lab.servers
        self.host1, self.host2 = lab.client("host1"), lab.client("host2")
        self.host3 = lab.client("host3", AROUND)
        self.branch, self.hq = lab.client("branch", BRANCH), lab.client("hq", HQ)
        for client, addresses in (
            (self.host3, BESIDE),
            (self.branch, AT_BRANCH),
            (self.hq, AT_HQ),
        ):
            client.host.ip(*(f"address add {address} dev lo" for address in addresses))
        on_b = dict.fromkeys((self.host2, self.host3, self.hq), self.b)
        self.where = {self.host1: self.a, self.branch: self.a, **on_b}
        for client, server in self.where.items():
            client.start(server)
        for client in self.where:
            client.openvpn.ready()

    def configuration(self, server: Server) -> str:
        return mesh(server, ALLOWED, "on_exit = keep", f"route_table = {self.table}")

    def wait_routes(self, local_on_a: Sequence[str], local_on_b: Sequence[str] = ()) -> None:
        """Waits for the routes to the other server, and these to tun0."""
        for server, local in ((self.a, local_on_a), (self.b, local_on_b)):
            expected = wanted(server, self.where) | dict.fromkeys(local, "tun0")
            routes.wait_towards(server.host, expected, self.table)

    def unreached(self) -> set[tuple[str, str]]:
        """Which client does not reach which address, of all that have any."""
        reached = {
            self.host1: (self.host1.data, self.host1.data6),
            self.host2: (self.host2.data, self.host2.data6),
            self.host3: (self.host3.data, self.host3.data6, *BESIDE),
            self.branch: AT_BRANCH,
            self.hq: AT_HQ,
        }
        pairs = [
            (client, address)
            for client in self.where
            for other, addresses in reached.items()
            for address in addresses
            if client is not other
        ]
        answers = ping.answers([(client.host, address) for client, address in pairs], wait=2)
        return {
            (client.name, address)
            for (client, address), answered in zip(pairs, answers, strict=True)
            if not answered
        }

    @property
    def around_host1(self) -> list[str]:
        return [f"{self.host1.data}/32", f"{self.host1.data6}/128"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(options=OPTIONS) as lab:
        yield lab


def conflicts(server: Server) -> list[str]:
    problems: list[str] = server.daemon.ask("status")["problems"]
    return problems


def test_everybody_is_reached_at_the_longest_prefix(lab: Lab) -> None:
    case = Case(lab, "100")
    start_daemons(lab.servers, case.configuration)
    inside = [*case.around_host1, *BRANCH]
    case.wait_routes(inside)
    assert case.unreached() == set()
    rows = {row["destination"]: row for row in case.a.daemon.ask("dump-routes")["routes"]}
    shown = rows[BRANCH[0]]
    assert (shown["node"], shown["interface"], shown["name"]) == ("vpnsrvA", "tun0", "branch")
    restart_without_a_deletion(case)
    case.wait_routes(inside)
    # both on one server: OpenVPN finds the longest prefix, and nothing is left of ours
    case.hq.roam(case.a)
    case.where[case.hq] = case.a
    case.wait_routes(case.around_host1)
    assert case.unreached() == set()
    case.host3.roam(case.a)
    case.where[case.host3] = case.a
    case.wait_routes([], [f"{case.host2.data}/32", f"{case.host2.data6}/128"])
    assert case.unreached() == set()
    assert conflicts(case.a) == conflicts(case.b) == []


def restart_without_a_deletion(case: Case) -> None:
    """A restarted daemon finds its routes to tun0 in the kernel, and keeps them."""
    with routes.deletions(case.a.host) as deleted:
        assert case.a.daemon.stop() == 0
        case.a.daemon.start()
        case.a.daemon.ready()
        wait_for("B to be up", lambda: case.a.daemon.command("status").returncode == 0)
        assert deleted() == [[]]


def test_in_the_main_table_openvpn_s_own_route_is_in_the_way_of_one_as_long_alone(
    lab: Lab,
) -> None:
    case = Case(lab, "main")
    start_daemons(lab.servers, case.configuration)
    case.wait_routes([*case.around_host1, *BRANCH])
    # IPv4 alone: in IPv6 the kernel gives OpenVPN's route the metric 1024, and ours is better
    hidden = {(client.name, AT_HQ[0]) for client, on in case.where.items() if on is case.a}
    assert case.unreached() == hidden
    wait_for("the conflict", lambda: conflicts(case.a))
    (problem,) = conflicts(case.a)
    assert "192.168.0.0/16" in problem
    assert "route_table" in problem
    assert conflicts(case.b) == []
