"""The pings of `why`, and what they change in its verdict."""

from __future__ import annotations

import pytest

from cuberouted.api.report_why import Why, WhyAddress, WhyLookup, WhyPeer, WhyPing
from cuberouted.cli import ping
from cuberouted.cli.ping import SMALL, Job, command, jobs, judged, read, with_pings

PEER = WhyPeer("vpnsrvB", "up", 0.4, "", "tun1", "10.200.200.2", "10.100.100.2")
VERDICT = "10.100.100.14 is reached through tun1 by vpnsrvB"
ANSWERED = """\
PING 10.200.200.2 (10.200.200.2) from 10.200.200.1 tun1: 56(84) bytes of data.
64 bytes from 10.200.200.2: icmp_seq=1 ttl=64 time=0.301 ms
64 bytes from 10.200.200.2: icmp_seq=2 ttl=64 time=0.250 ms
64 bytes from 10.200.200.2: icmp_seq=3 ttl=64 time=9.10 ms

--- 10.200.200.2 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 401ms
"""
SILENT = """\
PING 10.200.200.2 (10.200.200.2) from 10.200.200.1 tun1: 56(84) bytes of data.

--- 10.200.200.2 ping statistics ---
3 packets transmitted, 0 received, 100% packet loss, time 401ms
"""


def address(reached=True, *pings, peer=PEER):
    lookup = WhyLookup("", "", "10.100.100.14/32 dev tun1", "tun1", None, reached)
    verdict = VERDICT if reached else "10.100.100.14 may not be reached"
    return WhyAddress(
        "10.100.100.14", reached, verdict, "", lookups=[lookup], peer=peer, pings=list(pings)
    )


def pings(small, large, client=None):
    """How many were answered: small and large ones to the peer, small ones to the client."""
    rows = [("10.200.200.2", "peer", SMALL, small), ("10.200.200.2", "peer", 1500, large)]
    if client is not None:
        rows.append(("10.100.100.14", "client", SMALL, client))
    return [WhyPing(to, what, "tun1", size, 3, count) for to, what, size, count in rows]


@pytest.mark.parametrize(
    ("before", "found", "reached", "verdict"),
    [
        (True, pings(3, 3), True, VERDICT),
        (True, pings(1, 2), True, VERDICT),
        (True, pings(0, 0), False, "is not reached: vpnsrvB answers no ping through tun1"),
        (True, pings(3, 0), False, "only small packets reach 10.100.100.14: none of 1500 bytes"),
        (True, pings(3, 3, 3), True, VERDICT),
        (True, pings(3, 3, 0), False, "10.100.100.14 answers no ping, although all else"),
        (True, pings(0, 0, 3), True, VERDICT),  # the peer's firewall drops pings to itself
        (False, pings(3, 3), False, "may not be reached"),
        (False, pings(3, 3, 1), True, "may not be reached; but it answers pings"),
        (False, pings(3, 3, 0), False, "may not be reached"),
        (True, [], True, VERDICT),
    ],
)
def test_pings_may_change_the_verdict(before, found, reached, verdict):
    one = judged(address(before, *found))
    assert one.reached is reached
    assert verdict in one.verdict
    assert one.reached or not before or one.advice


def test_pings_that_could_not_be_sent_change_nothing():
    missing = [WhyPing("10.200.200.2", "peer", "tun1", SMALL, 0, 0, problem="no ping")]
    assert judged(address(True, *missing)).reached


def test_the_peer_is_pinged_through_its_tunnel_and_the_client_as_its_route_leads(monkeypatch):
    monkeypatch.setattr(ping, "mtu", {"tun1": 1400}.get)
    assert [*jobs(address(), client_too=True)] == [
        Job(to, what, "tun1", size, bound)
        for to, what, bound in (
            ("10.200.200.2", "peer", True),
            ("10.100.100.2", "peer", True),
            ("10.100.100.14", "client", False),
        )
        for size in (SMALL, 1400)
    ]
    assert {job.what for job in jobs(address(), client_too=False)} == {"peer"}
    assert [*jobs(address(peer=None), client_too=False)] == []


@pytest.mark.parametrize(
    ("to", "size", "payload"), [("10.200.200.2", 1500, "1472"), ("fd00::2", 1500, "1452")]
)
def test_a_ping_has_the_whole_packet_s_size_and_is_not_fragmented(to, size, payload):
    argv = command(Job(to, "peer", "tun1", size, True))
    assert argv[argv.index("-s") + 1] == payload
    assert argv[argv.index("-M") + 1] == "do"
    assert argv[-3:] == ["-I", "tun1", to]
    assert "-I" not in command(Job(to, "client", "tun1", size, False))


@pytest.mark.parametrize(
    ("output", "status", "received", "rtt", "problem"),
    [
        (ANSWERED, 0, 3, 0.000301, ""),
        (SILENT, 1, 0, None, ""),
        ("ping: SO_BINDTODEVICE tun7: No such device\n", 2, 0, None, "SO_BINDTODEVICE tun7"),
        ("ping: local error: message too long, mtu=1400\n", 1, 0, None, "message too long"),
        ("", 2, 0, None, "ping failed"),
    ],
)
def test_what_ping_writes_is_read(output, status, received, rtt, problem):
    found = read(WhyPing("10.200.200.2", "peer", "tun1", SMALL, 3, 0), output, status)
    assert (found.received, found.rtt) == (received, rtt)
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)


def test_each_address_is_pinged_once_and_what_is_not_reached_comes_first(monkeypatch, tmp_path):
    program = tmp_path / "ping"
    asked = tmp_path / "asked"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {asked}\n'
        'case "$*" in *fd00::14) exit 1;; esac\necho "time=0.5 ms"\n'
    )
    program.chmod(0o755)
    monkeypatch.setitem(ping._ENVIRONMENT, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(ping, "mtu", {}.get)
    other = address()
    other.address = "fd00::14"
    why = Why("host2", "vpnsrvA", True, VERDICT, addresses=[address(), other])
    found = with_pings(why, client_too=True)
    assert (found.reached, found.addresses[0].address) == (False, "fd00::14")
    assert found.verdict == found.addresses[0].verdict
    assert len(asked.read_text().splitlines()) == 4
    without_daemon = Why("10.100.100.14", None, False, "x", addresses=[address()])
    assert not with_pings(without_daemon, client_too=True).reached


def test_without_the_program_that_is_told(monkeypatch):
    monkeypatch.setitem(ping._ENVIRONMENT, "PATH", "/nosuch")
    found = with_pings(Why("x", "A", True, VERDICT, addresses=[address()]), client_too=False)
    assert found.reached
    assert {p.problem for p in found.addresses[0].pings} == {
        "the program ping (Debian: iputils-ping) cannot be run"
    }


def test_the_mtu_of_an_interface_is_the_kernel_s():
    assert ping.mtu("lo")
    assert ping.mtu("nosuch0") is None
