"""Sessions that must not be killed: only one whose client has connected elsewhere is."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, start_daemons, wait_routes
from tests.lab.openvpn import READY, Options
from tests.lab.server import Server
from tests.lab.waiting import wait_for

POOL = "ifconfig-pool 10.100.100.130 10.100.100.140 255.255.255.0"
POOLED = ("10.100.100.130", "10.100.100.131")
LISTING = "CMD 'status 3'"
POOLS = Options(lines=(POOL, "duplicate-cn"))


@pytest.fixture
def pooled_lab() -> Iterator[Lab]:
    """Two servers with the same address pool for clients without an entry, and duplicate-cn."""
    with Lab(options=POOLS) as lab:
        yield lab


def pooled(lab: Lab, name: str, server: Server, *, twin_of: Client | None = None) -> Client:
    """A client, connected, that gets the next address of its server's pool."""
    client = lab.client(name, twin_of=twin_of)
    for each in lab.servers:
        each.host.path(f"/etc/openvpn/ccd/{client.name}").unlink(missing_ok=True)
    client.connect(server)
    return client


def start_until_up(lab: Lab) -> None:
    """Starts the daemons, and waits until they are up with each other: before that the servers
    do not know each other's sessions, and cannot say which is newer."""
    start_daemons(lab.servers, lambda server: mesh(server, "status_interval = 500ms"))
    for server in lab.servers:
        server.daemon.process.wait_log("syncing -> up")


def address(client: Client) -> str:
    """The address that its server gave it."""
    [found] = re.findall(r"inet (\S+)/24", client.host.run("ip", "-4", "address", "show", "tun0"))
    return str(found)


def drops(server: Server) -> int:
    """How many sessions cuberouted has killed there, by OpenVPN's own log."""
    return len(re.findall("CMD '(?:client-)?kill", server.openvpn.process.log))


def problems(server: Server) -> list[str]:
    """What `status` calls a problem."""
    found: list[str] = server.daemon.ask("status")["problems"]
    return found


def wait_listings(server: Server, more: int = 3) -> None:
    """Waits for further listings: cuberouted would kill a superseded session after the first one
    that began later."""
    times = server.openvpn.process.log.count(LISTING) + more
    server.openvpn.process.wait_log(LISTING, times)


def test_overlapping_pools_are_reported_and_no_session_is_killed(pooled_lab: Lab) -> None:
    a, b = pooled_lab.servers
    start_until_up(pooled_lab)
    alice = pooled(pooled_lab, "alice", a)
    bob = pooled(pooled_lab, "bob", b)
    assert address(alice) == address(bob) == POOLED[0]
    expected = "10.100.100.130 has two clients: bob at vpnsrvB and alice at vpnsrvA"
    wait_for(
        "the conflict in status", lambda: all(expected in " ".join(problems(s)) for s in (a, b))
    )
    print(problems(a))
    routes.wait_towards(b.host, {f"{a.data}/32": b.device(a), f"{a.data6}/128": b.device(a)})
    for server in (b, a):
        wait_listings(server)
    assert ping.reaches(bob.host, b.data)  # the newer one; an address leads to one place
    assert [drops(server) for server in (a, b)] == [0, 0]
    assert [c.openvpn.process.log.count(READY) for c in (alice, bob)] == [1, 1]


def test_no_session_of_a_name_that_is_listed_twice_is_killed(pooled_lab: Lab) -> None:
    a, b = pooled_lab.servers
    start_until_up(pooled_lab)
    first = pooled(pooled_lab, "shared", a)
    twins = {"twin1": a, "twin2": b, "twin3": b}
    others = [pooled(pooled_lab, name, server, twin_of=first) for name, server in twins.items()]
    devices = [first, *others]
    assert [address(device) for device in devices] == [*POOLED, *POOLED]
    routes_of_a = {f"{b.data}/32", f"{b.data6}/128", *(f"{address}/32" for address in POOLED)}
    routes.wait_towards(a.host, dict.fromkeys(routes_of_a, a.device(b)))
    wait_listings(b)  # which confirm the sessions that supersede A's
    wait_listings(a)
    assert [ping.reaches(device.host, b.data) for device in devices[2:]] == [True, True]
    assert [device.openvpn.process.log.count(READY) for device in devices] == [1] * 4
    assert [drops(server) for server in (a, b)] == [0, 0]


def test_two_live_devices_with_one_certificate_do_not_flap(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, _ = where
    a, b = lab.servers
    twin = lab.client("twin", twin_of=one)
    twin.connect(b)
    wait_for("A to kill the first", lambda: drops(a) == 1)
    rounds = range(2, 9)
    for times in rounds:
        for device in (one, twin):  # as its ping-restart would
            device.openvpn.process.send(signal.SIGUSR1)
            device.openvpn.ready(times)
    del where[one]
    where[twin] = b
    wait_routes(lab, where)
    assert_all_reach_all(where)
    print(f"kills in {len(rounds)} reconnections each: {drops(a)} on A, {drops(b)} on B")
    assert max(drops(a), drops(b)) <= 6  # five at once, and one a minute
