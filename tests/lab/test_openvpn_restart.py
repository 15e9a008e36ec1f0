"""OpenVPN restarts under a running cuberouted.

SIGUSR1 keeps the device, SIGHUP and a restart make a new one. Every client is lost, and
without a message; with the data address the kernel drops the routes that prefer it.
"""

from __future__ import annotations

import signal
import time

import pytest

from tests.lab import ping, routes
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes, wanted
from tests.lab.openvpn import OpenVPN

CLIENTS = {"host1": 0, "host2": 1}
RESTARTS = [signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM]


def restart(openvpn: OpenVPN, number: signal.Signals) -> None:
    """Makes an OpenVPN restart: by itself on a signal, or ended by it and started again."""
    if number is signal.SIGTERM:
        openvpn.restart()
        openvpn.ready()
    else:
        openvpn.process.send(number)
        openvpn.ready(times=2)


@pytest.mark.parametrize("number", RESTARTS)
def test_the_clients_openvpn_restarts(lab: Lab, number: signal.Signals) -> None:
    where = share(lab, CLIENTS)
    one, _ = where
    a, _ = lab.servers
    restart(a.openvpn, number)
    ready = time.monotonic()
    routes.wait_towards(a.host, wanted(a, where))
    assert time.monotonic() - ready < 1.0
    # the client would notice after its ping-restart, 10 s
    one.vanish()
    one.connect(a)
    wait_routes(lab, where)
    assert_all_reach_all(where)
    assert {r.source for r in routes.ours(a.host) if ":" not in r.destination} == {a.data}


@pytest.mark.parametrize("number", RESTARTS)
def test_a_client_that_does_not_come_back_loses_its_route(lab: Lab, number: signal.Signals) -> None:
    where = share(lab, CLIENTS)
    one, _ = where
    one.vanish()
    restart(lab.servers[0].openvpn, number)
    del where[one]
    wait_routes(lab, where)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_the_tunnel_s_openvpn_restarts(lab: Lab, number: signal.Signals) -> None:
    where = share(lab, CLIENTS)
    a, _ = lab.servers
    tunnel = a.tunnels["vpnsrvB"]
    if number is signal.SIGTERM:
        tunnel.openvpn.restart()
    else:
        tunnel.openvpn.process.send(number)
        tunnel.openvpn.process.wait_log("TUN/TAP device tun1 opened", times=2)
    # one that is back within the second in which it started counts its packets as before, and
    # the other end takes the first few for replays
    ping.wait_reaches(a.host, tunnel.theirs)
    wait_routes(lab, where)
    assert_all_reach_all(where)


def test_the_clients_of_an_openvpn_that_does_not_return_are_withdrawn(lab: Lab) -> None:
    share(lab, CLIENTS)
    a, b = lab.servers
    a.openvpn.process.end(signal.SIGTERM)
    routes.wait_towards(b.host, {f"{a.data}/32": "tun1"})
    assert a.daemon.command("status").returncode == 1
