"""Packets go where the longest claim is, over the kernels of all nodes."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cuberouted.config import parse
from cuberouted.daemon.host import HostState, evaluate_links
from cuberouted.daemon.node import Node
from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.sessions import SessionUpdate
from cuberouted.peering.events import RoutesChanged
from cuberouted.util.tasks import run_trio
from tests.fakes import forwarding
from tests.fakes.kernel import FakeKernel
from tests.fakes.kernel_driver import MAIN

NAMES = "ABCD"
METRIC, PROTOCOL, BOOT = 50, 201, 3
ALLOWED = "10.100.100.0/24", "192.168.0.0/16", "fd00:100::/64"
CLAIMED = (
    *("10.100.100.0/26", "10.100.100.8/29", "10.100.100.10", "10.100.100.11", "10.100.100.200"),
    *("192.168.0.0/16", "192.168.50.0/24", "192.168.50.8/29", "192.168.50.9", "192.168.60.0/24"),
    *("fd00:100::/96", "fd00:100::10/124", "fd00:100::11", "fd00:100::1000"),
)


class Fabric:
    """Nodes with a tunnel between every two; what they announce is delivered by `deliver`."""

    def __init__(self, tables, own_routes):
        self.names = NAMES[: len(tables)]
        self.kernels = {
            name: FakeKernel(table, METRIC, PROTOCOL)
            for name, table in zip(self.names, tables, strict=True)
        }
        self.tunnels = {(a, f"to-{b}"): b for a, b in itertools.permutations(self.names, 2)}
        self.nodes: dict[str, Node] = {}
        pairs = itertools.permutations(self.names, 2)
        self.queues: dict[tuple[str, str], list[Any]] = {pair: [] for pair in pairs}
        self.held: dict[str, dict[Prefix, Any]] = {name: {} for name in self.names}
        for number, (name, kernel) in enumerate(self.kernels.items(), 101):
            kernel.add_tunnel("tun0")
            kernel.add_address("tun0", f"10.100.100.{number}/24")
            kernel.add_route("fd00:100::/64", "tun0", 1024, BOOT)
            for network in own_routes:
                kernel.add_route(network, "tun0", 1024 if ":" in network else 0, BOOT)
            for other in self.others(name):
                kernel.add_tunnel(f"to-{other}")

    def others(self, name):
        return [other for other in self.names if other != name]

    async def start(self, name):
        sections = "".join(
            f"[peer {o}]\nmgmt_interface = to-{o}\nmgmt_ip = 10.200.200.{1 + NAMES.index(o)}\n"
            for o in self.others(name)
        )
        kernel = self.kernels[name]
        text = f"data_interface = tun0\nallowed_networks = {', '.join(ALLOWED)}\n" + sections
        config = parse(text, Path("/etc/cuberouted.conf"), name)
        host = evaluate_links(config, await kernel.links(), {}, HostState())

        def announce(advertise, withdraw):
            for other in self.others(name):
                self.queues[name, other].append((tuple(advertise), tuple(withdraw)))

        def out_of_sync():
            raise AssertionError("the kernel is not as mirrored")

        node = Node(
            name,
            [""],
            kernel,
            METRIC,
            announce,
            lambda *_: None,
            out_of_sync,
            emit=lambda _event: None,
            wall_clock=lambda: 0.0,
        )
        self.nodes[name] = node
        await kernel.set_rules(present=True)
        adopted = await node.kernel_sync.adopt(host.nexthops, host.sources)
        await node.start(host, {}, adopted)

    async def toggle(self, name, text):
        """A client of *name* gets this prefix, or loses it."""
        prefix, held = Prefix.parse(text), self.held[name]
        routes: list[LocalRoute] = []
        withdrawn: list[Prefix] = []
        if prefix in held:
            del held[prefix]
            withdrawn.append(prefix)
        else:
            kind = Kind.CLIENT if prefix.is_host else Kind.NETWORK
            id_ = SessionId(len(held), 1)
            routes.append(LocalRoute(prefix, kind, text.encode(), id_, True, confirmed=True))
            held[prefix] = routes[0]
        await self.nodes[name].update_local(
            SessionUpdate("", tuple(routes), tuple(withdrawn), complete=True)
        )

    async def deliver(self, rng):
        """Deliver everything that was announced, from peer to peer in any order."""
        while pairs := [pair for pair, queue in self.queues.items() if queue]:
            sender, receiver = rng.choice(pairs)
            advertise, withdraw = self.queues[sender, receiver].pop(0)
            await self.nodes[receiver].update_peer(
                RoutesChanged(sender, sender, advertise, withdraw)
            )

    @property
    def claims(self):
        """Who has each prefix. Where several list one, the newest is not known here."""
        claims: dict[Prefix, list[str]] = {}
        for name, held in self.held.items():
            for prefix in held:
                claims.setdefault(prefix, []).append(name)
        return claims

    def check(self):
        claims = self.claims
        for address in sorted(forwarding.addresses_of(claims)):
            claim = forwarding.longest_claim(claims, address)
            assert claim is not None
            for name in self.names:
                way = forwarding.walk(self.kernels, self.tunnels, name, address)
                wrong = forwarding.misdelivered(way, claim, claims, self.kernels)
                assert not wrong, f"to {Prefix.host(address)} of {claim} at {claims[claim]}: {way}"

    def check_local_routes(self):
        """A prefix of this node's has a route only where another's is around it."""
        for name, node in self.nodes.items():
            for prefix in self.kernels[name].installed.routes:
                best = node.rib.best(prefix)
                assert best is not None
                if best.is_local:
                    around = [p for p in self.claims if p != prefix and p.contains(prefix)]
                    wider = [found for p in around if (found := node.rib.best(p)) is not None]
                    assert not all(found.is_local for found in wider), (name, prefix)


async def play(tables, own_routes, steps, seed):
    fabric, rng = Fabric(tables, own_routes), random.Random(seed)
    for name in fabric.names:
        await fabric.start(name)
    for number, text in steps:
        await fabric.toggle(fabric.names[number % len(tables)], text)
        if rng.random() < 0.6:
            await fabric.deliver(rng)
            fabric.check()
            fabric.check_local_routes()
    await fabric.deliver(rng)
    fabric.check()
    fabric.check_local_routes()


@given(
    st.lists(st.sampled_from([MAIN, 100]), min_size=2, max_size=4),
    st.sets(st.sampled_from([p for p in CLAIMED if "/" in p])),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(CLAIMED)), max_size=25),
    st.integers(0, 1000),
)
@settings(max_examples=150)
def test_every_packet_arrives_where_the_longest_claim_is(tables, own_routes, steps, seed):
    run_trio(play, tables, own_routes, steps, seed)


def test_a_packet_that_loops_is_found():
    fabric = Fabric([100, 100], [])
    for here, there in ("AB", "BA"):
        fabric.kernels[here].add_route("192.168.0.0/16", f"to-{there}", 50, PROTOCOL, 100)
    fabric.held["A"][Prefix.parse("192.168.50.0/24")] = None
    way = forwarding.walk(fabric.kernels, fabric.tunnels, "B", bytes((192, 168, 50, 1)))
    assert way.end != forwarding.LOOP  # without a rule nothing leads to that table
    for kernel in fabric.kernels.values():
        kernel.add_rule(5657, 100)
    way = forwarding.walk(fabric.kernels, fabric.tunnels, "B", bytes((192, 168, 50, 1)))
    assert str(way) == "B by 192.168.0.0/16 -> A by 192.168.0.0/16: loop"
    claim = Prefix.parse("192.168.50.0/24")
    assert forwarding.misdelivered(way, claim, fabric.claims, fabric.kernels)
