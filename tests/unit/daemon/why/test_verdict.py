"""The judgement of `why`, situation by situation."""

from __future__ import annotations

import errno
from socket import AF_INET

import attrs
import pytest

from cuberouted.daemon.why.facts import KernelFacts, MeshFacts, OwnRoute, PeerFacts, Probe
from cuberouted.daemon.why.judgement import ago
from cuberouted.daemon.why.report import explain
from cuberouted.daemon.why.verdict import judge, judge_kernel
from cuberouted.model import MAIN_TABLE, Advertisement, Kind, Prefix
from cuberouted.routing.neighbours import ResolvedNexthop
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, Rib, Source
from cuberouted.routing.types import (
    LOCAL_TABLE,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    ForeignRoute,
    RouteLookup,
    Rule,
)

TUN0, TUN1, ETH0 = 2, 3, 4
DEVICES = {1: "lo", TUN0: "tun0", TUN1: "tun1", ETH0: "eth0"}
OURS, KERNEL, BOOT = 201, 2, 3
NOW = 1_700_000_000.0

ALLOWED = Prefix.parse("10.100.100.0/24"), Prefix.parse("192.168.0.0/16")
HOST = Prefix.parse("10.100.100.14")
MGMT = Prefix.parse("10.200.200.2")
NET = Prefix.parse("192.168.50.0/24")
B = Source(Origin.PEER, "vpnsrvB")
CONFIGURED_B = Source(Origin.CONFIGURED, "vpnsrvB")
A = Source(Origin.LOCAL, "openvpn")
PEER = PeerFacts(
    "vpnsrvB",
    "vpnsrvB",
    "up",
    0.4,
    "",
    "tun1",
    Prefix.parse("10.200.200.2").address,
    Prefix.parse("10.100.100.2").address,
)
TO_B = ResolvedNexthop(AF_INET, TUN1, None)
TO_CLIENTS = ResolvedNexthop(AF_INET, TUN0, None)
CLIENT = Prefix.parse("10.100.100.11").address


def advert(prefix=HOST, name=b"host2", kind=Kind.CLIENT, version=5, since=NOW - 250, **more):
    return Advertisement(prefix, kind, name, version, more.get("confirmed", True), int(since))


def route(prefix=HOST, device=TUN1, protocol=OURS, metric=50, table=MAIN_TABLE, **more):
    return ForeignRoute(prefix, table, metric, protocol, device, **more)


CONNECTED = route(ALLOWED[0], TUN0, KERNEL, 0)
MAIN_RULES = (Rule(AF_INET, 0, LOCAL_TABLE, 2), Rule(AF_INET, 32766, MAIN_TABLE, 2))


def kernel(here, forwarded=None, prefix=HOST, **more):
    """*here*, *forwarded*: a route, or the error of the lookup."""

    def answer(found):
        return RouteLookup(None, found) if isinstance(found, int) else RouteLookup(found)

    forwarded = here if forwarded is None else forwarded
    facts = KernelFacts(
        prefix=prefix,
        devices=DEVICES,
        indexes={name: index for index, name in DEVICES.items()},
        running=frozenset(DEVICES),
        data_devices=frozenset({TUN0}),
        table=MAIN_TABLE,
        protocol=OURS,
        foreign=(CONNECTED,),
        rules=MAIN_RULES,
        probes=(Probe(answer(here)), Probe(answer(forwarded), TUN0, CLIENT)),
    )
    return attrs.evolve(facts, **more)


def mesh(*claims, prefix=HOST, **more):
    """*claims*: (source, advertisement); the RIB orders them."""
    rib = Rib(Policy(allowed=ALLOWED))
    for source, advertisement in claims:
        node = "vpnsrvA" if source.origin in (Origin.LOCAL, Origin.KERNEL) else source.name
        if advertisement.version:
            rib.update(source, node, [advertisement])
        else:
            rib.adopt(source, node, advertisement.kind, [advertisement.prefix])
    found = [claim for around in (prefix, NET) for claim in rib.claims(around)]
    facts = MeshFacts(now=NOW, claims=found, allowed=ALLOWED)
    best = facts.best
    if best is not None and best.route.leads_here:
        facts = attrs.evolve(facts, nexthop=TO_CLIENTS, interface="tun0")
    elif best is not None:
        facts = attrs.evolve(facts, nexthop=TO_B, interface="tun1", peer=PEER)
    return attrs.evolve(facts, **more)


REMOTE = (B, advert())
LOCAL = (A, advert())
BLACKHOLE = route(device=None, protocol=BOOT, metric=20, type=RTN_BLACKHOLE)
IN_THE_WAY = route(device=TUN0, protocol=BOOT, metric=20)
RULE = Rule(AF_INET, 100, 77, 0, conditional=True, text="from 10.100.100.0/24")
DOWN = attrs.evolve(PEER, state="down", detail="nothing received for 3 s", last_heard=180.0)
ADOPTED = advert(version=0)

SITUATIONS = {
    "a remote client": (
        mesh(REMOTE),
        kernel(route()),
        True,
        "10.100.100.14 is reached through tun1 by vpnsrvB: host2 connected there 4 min ago",
        "",
    ),
    "a local client": (
        mesh(LOCAL),
        kernel(CONNECTED),
        True,
        "10.100.100.14 is reached through tun0: host2 connected here 4 min ago",
        "",
    ),
    "a network behind a remote client": (
        mesh((B, advert(NET, b"host3", Kind.NETWORK)), prefix=Prefix.parse("192.168.50.7")),
        kernel(route(NET), prefix=Prefix.parse("192.168.50.7")),
        True,
        (
            "192.168.50.7 is reached through tun1 by vpnsrvB: it is in 192.168.50.0/24"
            " behind host3,"
            " connected there 4 min ago"
        ),
        "",
    ),
    "a server": (
        mesh((B, advert(name=b"vpnsrvB", kind=Kind.SERVER))),
        kernel(route()),
        True,
        "10.100.100.14 is reached through tun1: it is the data address of vpnsrvB",
        "",
    ),
    "our own address": (
        mesh(),
        kernel(ForeignRoute(HOST, LOCAL_TABLE, 0, KERNEL, TUN0, RTN_LOCAL)),
        True,
        "10.100.100.14 is an address of this host itself, on tun0",
        "",
    ),
    "nobody has it": (
        mesh(),
        kernel(CONNECTED),
        False,
        "10.100.100.14 is not reached: no client has it, here or at any peer",
        "`cuberouted clients`",
    ),
    "nobody has it, and a peer is down": (
        mesh(unheard=[DOWN]),
        kernel(CONNECTED),
        False,
        (
            "10.100.100.14 is not reached: no client has it, here or at any peer; vpnsrvB is"
            " down, so"
            " its clients are not known"
        ),
        "on vpnsrvB: `systemctl status cuberouted`",
    ),
    "outside the allowed networks": (
        mesh(prefix=Prefix.parse("203.0.113.5")),
        kernel(route(Prefix.parse("0.0.0.0/0"), ETH0, BOOT, 0), prefix=Prefix.parse("203.0.113.5")),
        False,
        (
            "203.0.113.5 is outside allowed_networks (10.100.100.0/24, 192.168.0.0/16): cuberouted"
            " does not route it; packets to it follow 0.0.0.0/0 dev eth0 in table main"
            " (protocol boot)"
        ),
        "allowed_networks",
    ),
    "refused": (
        mesh(
            (B, advert(Prefix.parse("10.55.0.1"))),
            prefix=Prefix.parse("10.55.0.1"),
        ),
        kernel(errno.ENETUNREACH, prefix=Prefix.parse("10.55.0.1")),
        False,
        (
            "10.55.0.1 is not reached: host2 at vpnsrvB has it, but it is refused: outside"
            " allowed_networks"
        ),
        "add its network to allowed_networks on every server",
    ),
    "a foreign route in the way": (
        mesh(REMOTE),
        kernel(IN_THE_WAY, foreign=(IN_THE_WAY, CONNECTED)),
        False,
        (
            "10.100.100.14 is not reached: packets to host2 at vpnsrvB follow 10.100.100.14/32 dev"
            " tun0 in table main (protocol boot, metric 20)"
        ),
        "`ip route del 10.100.100.14/32 dev tun0 table main metric 20`",
    ),
    "a blackhole in the way": (
        mesh(REMOTE),
        kernel(errno.EINVAL, foreign=(BLACKHOLE, CONNECTED)),
        False,
        (
            "10.100.100.14 is not reached: packets to host2 at vpnsrvB are dropped by blackhole"
            " 10.100.100.14/32 in table main (protocol boot, metric 20)"
        ),
        "`ip route del blackhole 10.100.100.14/32 table main metric 20`",
    ),
    "a local client without OpenVPN's route": (
        mesh((A, advert(NET, kind=Kind.NETWORK)), prefix=NET),
        kernel(
            route(Prefix.parse("0.0.0.0/0"), ETH0, BOOT, 0),
            prefix=NET,
            foreign=(route(Prefix.parse("0.0.0.0/0"), ETH0, BOOT, 0),),
        ),
        False,
        (
            "192.168.50.0/24 is not reached: packets to 192.168.50.0/24 behind host2 here follow"
            " 0.0.0.0/0 dev eth0 in table main (protocol boot)"
        ),
        "add a `route` (or `route-ipv6`)",
    ),
    "the route is not there yet": (
        mesh(REMOTE, pending=True),
        kernel(CONNECTED),
        False,
        "10.100.100.14 is not reached yet: the kernel's route to host2 at vpnsrvB is being set",
        "ask again",
    ),
    "a rule before ours": (
        mesh(REMOTE),
        kernel(
            route(),
            route(Prefix.parse("0.0.0.0/0"), ETH0, BOOT, 0, 77),
            rules=(MAIN_RULES[0], RULE, MAIN_RULES[1]),
        ),
        False,
        (
            "10.100.100.14 is reached from this host, but not from tun0: packets to host2"
            " at vpnsrvB"
            " that come in there follow 0.0.0.0/0 dev eth0 in table 77 (protocol boot), because of"
            " rule 100 (from 10.100.100.0/24)"
        ),
        "`ip rule del priority 100`",
    ),
    "a rule that drops": (
        mesh(REMOTE),
        kernel(
            route(),
            errno.EINVAL,
            rules=(
                Rule(AF_INET, 90, 0, 0, conditional=True, text="iif tun0 blackhole"),
                *MAIN_RULES,
            ),
        ),
        False,
        (
            "10.100.100.14 is reached from this host, but not from tun0: packets to host2"
            " at vpnsrvB"
            " that come in there are dropped, because of rule 90 (iif tun0 blackhole)"
        ),
        "`ip rule del priority 90`",
    ),
    "reverse path filtering": (
        mesh(REMOTE),
        kernel(route(), errno.EXDEV),
        False,
        (
            "10.100.100.14 is reached from this host, but not from tun0: packets to host2"
            " at vpnsrvB"
            " that come in there are dropped by reverse path filtering (rp_filter)"
        ),
        "`sysctl -w net.ipv4.conf.tun0.rp_filter=2`",
    ),
    "forwarding is off": (
        mesh(REMOTE),
        kernel(route(), errno.EHOSTUNREACH),
        False,
        (
            "10.100.100.14 is reached from this host, but not from tun0: packets to host2"
            " at vpnsrvB"
            " that come in there are rejected as unreachable"
        ),
        "`sysctl -w net.ipv4.ip_forward=1`",
    ),
    "the tunnel does not exist": (
        mesh(REMOTE, nexthop=None, interface="tun7"),
        kernel(CONNECTED),
        False,
        (
            "10.100.100.14 is not reached: it is host2 at vpnsrvB, and the interface tun7 does not"
            " exist"
        ),
        "start what makes tun7",
    ),
    "the tunnel is down": (
        mesh(REMOTE, nexthop=None),
        kernel(CONNECTED, running=frozenset({TUN0})),
        False,
        "10.100.100.14 is not reached: it is host2 at vpnsrvB, and the interface tun1 is down",
        "`ip link set tun1 up`",
    ),
    "two peers on one tunnel": (
        mesh(REMOTE, nexthop=None, peer=attrs.evolve(PEER, problem="give each peer a tunnel")),
        kernel(CONNECTED),
        False,
        "10.100.100.14 is not reached: it is host2 at vpnsrvB",
        "give each peer a tunnel",
    ),
    "a configured server whose daemon is down": (
        mesh((CONFIGURED_B, advert(kind=Kind.SERVER, version=0)), peer=DOWN),
        kernel(route()),
        False,
        (
            "10.100.100.14 may not be reached: packets leave through tun1 to vpnsrvB, which"
            " is down:"
            " nothing received for 3 s"
        ),
        "on vpnsrvB: `systemctl status cuberouted`",
    ),
    "a peer that restarts": (
        mesh(REMOTE, peer=attrs.evolve(PEER, state="restarting")),
        kernel(route()),
        True,
        (
            "10.100.100.14 is reached through tun1 by vpnsrvB: host2 connected there 4 min ago;"
            " vpnsrvB is restarting, and its routes are kept meanwhile"
        ),
        "",
    ),
    "OpenVPN is away": (
        mesh(LOCAL, openvpn="connecting"),
        kernel(CONNECTED),
        True,
        (
            "10.100.100.14 is reached through tun0: host2 connected here 4 min ago; OpenVPN is"
            " connecting, and its clients are kept meanwhile"
        ),
        "",
    ),
    "an adopted route": (
        mesh((B, ADOPTED), peer=attrs.evolve(PEER, state="syncing")),
        kernel(route()),
        True,
        (
            "10.100.100.14 is reached through tun1 by vpnsrvB: by a route of before our"
            " restart, which"
            " is kept until vpnsrvB is heard; vpnsrvB is syncing, and its routes are kept meanwhile"
        ),
        "",
    ),
    "overlapping pools": (
        mesh(REMOTE, (A, advert(name=b"host9", version=3))),
        kernel(route()),
        True,
        "10.100.100.14 is reached through tun1 by vpnsrvB: host2 connected there 4 min ago",
        "give each server an address pool of its own",
    ),
    "the name of a client whose address another one has": (
        mesh(REMOTE, (A, advert(name=b"host9", version=3)), asked=b"host9"),
        kernel(route()),
        False,
        (
            "host9 is not reached: host2 at vpnsrvB has 10.100.100.14, too; its session is"
            " older than"
            " the one at vpnsrvB"
        ),
        "give each server an address pool of its own",
    ),
    "a peer's management address": (
        mesh(prefix=MGMT, peer=PEER),
        kernel(route(MGMT, TUN1, KERNEL, 0), prefix=MGMT),
        True,
        "10.200.200.2 is reached through tun1: the management address of vpnsrvB",
        "",
    ),
    "a peer's management address through the wrong interface": (
        mesh(prefix=MGMT, peer=PEER),
        kernel(route(Prefix.parse("0.0.0.0/0"), ETH0, BOOT, 0), prefix=MGMT),
        False,
        (
            "10.200.200.2 is not reached: packets to it, the management address of vpnsrvB, follow"
            " 0.0.0.0/0 dev eth0 in table main (protocol boot)"
        ),
        "`cuberouted check`",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_verdict_tells_where_packets_go_and_what_to_do(situation):
    facts, found, reached, verdict, advice = SITUATIONS[situation]
    judgement = judge(facts, found)
    assert (judgement.reached, judgement.verdict) == (reached, verdict)
    assert advice in judgement.advice
    assert bool(advice) == bool(judgement.advice)


def test_a_gateway_has_to_be_the_peer_s_own():
    gateway, other = (Prefix.parse(text).address for text in ("10.200.0.2", "10.200.0.3"))
    facts = mesh(REMOTE, nexthop=ResolvedNexthop(AF_INET, ETH0, gateway))
    assert judge(facts, kernel(route(device=ETH0, gateway=gateway))).reached
    assert not judge(facts, kernel(route(device=ETH0, gateway=other))).reached


def test_without_the_daemon_only_the_kernel_is_told_of():
    neighbours: dict[tuple[int, bytes | None], str] = {(TUN1, None): "to vpnsrvB"}
    judgement = judge_kernel(kernel(route()), neighbours)
    assert judgement.verdict == (
        "cuberouted is not running here, so only the kernel was asked: packets to 10.100.100.14"
        " follow 10.100.100.14/32 dev tun1 in table main (protocol 201, metric 50) (to vpnsrvB)"
    )
    assert not judgement.reached
    assert "have no route" in judge_kernel(kernel(errno.ENETUNREACH), {}).verdict


def test_the_report_has_every_claim_and_route_with_its_reason():
    facts = mesh(REMOTE, (A, advert(name=b"host9", version=3)))
    found = kernel(
        IN_THE_WAY,
        own=[OwnRoute(route(), 61.27)],
        foreign=(IN_THE_WAY, CONNECTED),
        rules=(*MAIN_RULES, RULE),
    )
    why = explain(facts, found)
    assert [(c.node, c.best, c.why) for c in why.claims] == [
        ("vpnsrvB", True, ""),
        ("vpnsrvA", False, "its session is older than the one at vpnsrvB"),
    ]
    assert [(r.owner, r.used, r.age) for r in why.routes] == [
        ("cuberouted", False, 61.3),
        ("foreign", True, None),
        ("kernel", False, None),
    ]
    assert why.rules == ["100: from 10.100.100.0/24, table 77"]
    assert [(p.origin, p.source, p.right) for p in why.lookups] == [
        ("", "", False),
        ("tun0", "10.100.100.11", False),
    ]
    assert why.notes == [
        (
            "10.100.100.14 has two clients: host2 at vpnsrvB and host9 at vpnsrvA: their"
            " address pools"
            " overlap"
        ),
        (
            "the session of host9 here is kept: another client with the same address: the address"
            " pools overlap"
        ),
    ]
    assert why.peer is not None
    assert (why.peer.name, why.peer.mgmt_ip) == ("vpnsrvB", "10.200.200.2")


def test_a_claim_on_a_wider_network_loses_to_the_longer_prefix():
    inside = Prefix.parse("192.168.50.7")
    facts = mesh((B, advert(inside)), (A, advert(NET, b"host3", Kind.NETWORK)), prefix=inside)
    why = explain(facts, kernel(route(inside), prefix=inside))
    assert [claim.why for claim in why.claims] == [
        "",
        "192.168.50.7/32 is longer, and so comes first",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0.9, "just now"),
        (59, "59 s ago"),
        (250, "4 min ago"),
        (7300, "2 h ago"),
        (86400, "1 day ago"),
        (200_000, "2 days ago"),
    ],
)
def test_a_time_ago_is_in_its_largest_unit(seconds, text):
    assert ago(seconds) == text
