from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.report import Clients
from cuberouted.daemon.snapshot import CHUNK_SORTED, client_row, route_info
from cuberouted.model import MAX_VERSION, Advertisement, Kind, Prefix
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, RibRoute, Source
from tests.fakes.api import get

B = Source(Origin.PEER, "B")
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
