from __future__ import annotations

import re
from urllib.parse import urlencode

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.http import HttpError
from cuberouted.api.report import Clients, Nodes, RouteInfo, RouteInfos
from cuberouted.api.selection import Selection
from cuberouted.daemon.listings import CHUNK_SORTED, client_row, clients, count_clients, route_info
from cuberouted.model import MAX_VERSION, Advertisement, Kind, Prefix
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, Rib, RibRoute, Source
from cuberouted.service_claim import ServiceClaim, ServicePhase
from tests.fakes.api import get
from tests.unit.longest_step import longest_step

B = Source(Origin.PEER, "elsewhere")  # no peer of a mesh, which would replace its routes
NOON = 1_795_262_400


def route(prefix, name=b"host1", since=NOON, version=NOON * 1_000_000):
    advertisement = Advertisement(Prefix.parse(prefix), Kind.CLIENT, name, version, True, since)
    return RibRoute(B, "vpnsrvB", advertisement)


def test_since_is_the_sessions_start_also_where_its_version_is_ahead_of_the_clock():
    version = (NOON + 3600) * 1_000_000  # it came from a server whose clock is an hour ahead
    row = client_row(Prefix.parse("10.9.0.1"), route("10.9.0.1", version=version))
    assert row.since == "2026-11-21T12:00:00Z"


@given(st.binary(max_size=64), st.integers(0, MAX_VERSION - 1))
def test_any_name_and_time_can_be_reported(name, since):
    best = route("10.9.0.1", name=name, since=since)
    row = client_row(best.advertisement.prefix, best)
    assert row.name.isprintable()
    assert len(row.since) == len("2026-11-21T12:00:00Z")
    msgspec.json.encode(row)
    msgspec.json.encode(route_info(best, 1.0))


@pytest.mark.parametrize(
    ("prefix", "text"),
    [("10.9.0.0/24", "10.9.0.0/24"), ("10.9.0.1/32", "10.9.0.1"), ("fd00::/128", "fd00::")],
)
def test_a_host_is_reported_without_its_length(prefix, text):
    assert client_row(Prefix.parse(prefix), route(prefix)).address == text


async def test_clients_are_sorted_by_address_also_over_several_chunks(mesh, autojump_clock):
    server, _ = mesh.add("A", "allowed_networks = 10.0.0.0/8, fd00::/8"), mesh.add("B")
    await mesh.start()
    count = 2 * CHUNK_SORTED + 1
    rib = server.daemon.node.rib
    rib.policy = Policy((Prefix.parse("10.0.0.0/8"), Prefix.parse("fd00::/8")))
    prefixes = [Prefix((0x0A000000 + n * 7919 % 2**20).to_bytes(4), 32) for n in range(count)]
    extra = [Prefix.parse("fd00::5"), Prefix.parse("10.200.0.0/24")]
    advertise = [Advertisement(p, Kind.CLIENT, b"x", 1, True, NOON) for p in [*prefixes, *extra]]
    advertise.append(Advertisement(Prefix.parse("10.201.0.1"), Kind.SERVER, b"B", 1, True))
    rib.update(B, "vpnsrvB", advertise)
    rib.adopt(B, "B", Kind.CLIENT, [Prefix.parse("10.202.0.1")])  # not advertised yet
    rows = (await get(server.endpoints, "/v1/clients", Clients)).clients
    expected = sorted({*prefixes, *extra})
    assert [row.address for row in rows] == [
        str(p).removesuffix("/32").removesuffix("/128") for p in expected
    ]
    assert {row.node for row in rows} == {"vpnsrvB"}


CLAIM = ServiceClaim(ServicePhase.HOLDING, 100)
DB = Advertisement(Prefix.parse("10.9.0.8"), Kind.SERVICE, b"db", 1, True, NOON, CLAIM)


def test_a_route_to_a_service_is_told_by_its_name():
    assert route_info(RibRoute(B, "B", DB), 2.5) == RouteInfo("B", "service", "db", 2.5)


async def test_a_service_is_no_client(meeting, autojump_clock):
    counts = await count_clients(meeting.daemon.node.rib)
    assert counts == {"A": 1, "B": 2, "C": 1}


@pytest.fixture
async def meeting(mesh, autojump_clock):
    """A server that has routes of three nodes."""
    server = mesh.add("A", "allowed_networks = 10.0.0.0/8, fd00::/8")
    mesh.add("B")
    await mesh.start()
    rib = server.daemon.node.rib
    rib.policy = Policy((Prefix.parse("10.0.0.0/8"), Prefix.parse("fd00::/8")))
    for source, node, prefixes in (
        (Source(Origin.LOCAL, "openvpn"), "A", ["10.9.0.1"]),
        (B, "B", ["10.9.0.2", "fd00::2", "10.9.0.3", "10.9.1.0/24"]),
        (Source(Origin.PEER, "C"), "C", ["fd00::4"]),
    ):
        for text in prefixes:
            prefix = Prefix.parse(text)
            name = b"[host] \xc3\xbc" + text.encode()[-1:]
            kind = Kind.CLIENT if prefix.is_host else Kind.NETWORK
            rib.update(source, node, [Advertisement(prefix, kind, name, 1, True, NOON)])
    rib.update(B, "B", [Advertisement(Prefix.parse("10.9.0.9"), Kind.SERVER, b"B", 1, True)])
    rib.update(B, "B", [DB])
    rib.adopt(B, "B", Kind.CLIENT, [Prefix.parse("10.202.0.1")])
    return server


@pytest.mark.parametrize(
    ("query", "addresses"),
    [
        ({"node": "B"}, ["10.9.0.2", "10.9.0.3", "10.9.1.0/24", "fd00::2"]),
        ({"node": "b"}, []),
        ({"node": "?"}, ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.1.0/24", "fd00::2", "fd00::4"]),
        ({"name": "[host] ü2"}, ["10.9.0.2", "fd00::2"]),
        (
            {"name": "[*ü?"},
            ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.1.0/24", "fd00::2", "fd00::4"],
        ),
        ({"name": "host"}, []),
        ({"prefix": "10.9.0.2"}, ["10.9.0.2"]),
        ({"prefix": "10.9.0.2/31"}, ["10.9.0.2", "10.9.0.3"]),
        ({"prefix": "10.9.0.0/23"}, ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.1.0/24"]),
        ({"prefix": "fd00::/64", "node": "B"}, ["fd00::2"]),
        ({"prefix": "fd00::/64", "node": "B", "name": "*4"}, []),
    ],
)
async def test_clients_are_selected_by_all_that_is_given(meeting, autojump_clock, query, addresses):
    target = "/v1/clients?" + urlencode(query)
    rows = (await get(meeting.endpoints, target, Clients)).clients
    assert [row.address for row in rows] == addresses


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("prefix=10.9.0.2/31x", "is not a prefix length"),
        ("prefix=10.9.0.3/31", "has host bits set; the network is 10.9.0.2/31"),
        ("name=", "name: must have 1 to"),
        ("who=x", "unknown parameter who"),
    ],
)
async def test_a_wrong_query_is_told(meeting, autojump_clock, query, text):
    for path in ("/v1/clients", "/v1/routes"):
        with pytest.raises(HttpError, match=re.escape(text)) as caught:
            await get(meeting.endpoints, f"{path}?{query}", Clients)
        assert caught.value.status == 400


async def test_nodes_have_the_clients_of_the_rib(meeting, autojump_clock):
    reply = await get(meeting.endpoints, "/v1/nodes", Nodes)
    assert reply.node == "A"
    assert [(n.name, n.local, n.state, n.clients) for n in reply.nodes] == [
        ("A", True, "running", 1),
        ("B", False, "up", 2),  # one of them has two addresses
    ]
    here, there = reply.nodes
    assert [openvpn.state for openvpn in here.openvpn] == ["connected"]
    assert (here.address, here.interface, here.encrypted, here.last_heard) == (None,) * 4
    assert (there.interface, there.encrypted) == ("to-B", False)
    assert there.last_heard is not None
    assert reply.well
    selected = await get(meeting.endpoints, "/v1/nodes?node=B*", Nodes)
    assert [node.name for node in selected.nodes] == ["B"]


async def test_routes_are_selected(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    await mesh.start()
    b.connect("host1", "10.100.100.11")
    b.connect("host2", "10.100.100.12")
    await trio.sleep(1)
    for query, found in (
        ("", ["10.100.100.11/32", "10.100.100.12/32"]),
        ("?name=host2", ["10.100.100.12/32"]),
        ("?prefix=10.100.100.11", ["10.100.100.11/32"]),
        ("?node=A", []),
    ):
        routes = (await get(a.endpoints, f"/v1/routes{query}", RouteInfos)).routes
        clients = [prefix for prefix, info in routes.items() if info.kind == "client"]
        assert sorted(clients) == found


@pytest.mark.parametrize("selection", [Selection(), Selection.of(name="*h*o*st*nobody")])
async def test_20_000_clients_never_hold_the_loop_for_long(selection):
    rib = Rib(Policy((Prefix.parse("10.0.0.0/8"),)))
    rib.update(
        B,
        "B",
        [
            Advertisement(
                Prefix.host(bytes((10, 1, n >> 8, n & 255))), Kind.CLIENT, b"h" * 40, n + 1, True
            )
            for n in range(20_000)
        ],
    )
    with longest_step() as longest:
        size = sum([len(part) async for part in clients(rib, selection)])
        assert (await count_clients(rib))["B"] == 20_000
    assert (size > 1_000_000) == (selection == Selection())
    assert longest.seconds < 0.02
