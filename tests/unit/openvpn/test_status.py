from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.openvpn.status import IgnoredRows, ListedClient, ListingReader, StatusError
from tests.fakes.openvpn_listing import Client, rows

VERSIONS = ["2.3", "2.4", "2.6", "2.7"]
HOST = Client(3, b"host1", b"10.9.0.50", 1_795_222_140, b"fd00::5", (b"192.168.50.0/24",))
NAMES = [
    b"Surname Given",
    b"a/b",
    b"jurg \"q\" 'BACKEND'",
    b"Doe, John, jr.",
    b"host:9:1",
    b"END",
    b"CLIENT_LIST,x",
    b"j\xfcrg \xe2\x82",
]


class Session(NamedTuple):
    """What a listing says of one client with a name."""

    cid: int
    since: int
    name: bytes
    addresses: tuple[Prefix, ...]
    networks: tuple[Prefix, ...]


@attrs.frozen
class ReadListing:
    """A listing, and the routes that the reader has found meanwhile."""

    clients: Sequence[ListedClient]
    ignored: IgnoredRows
    routes: list[LocalRoute]


def read(lines: list[bytes], separator: bytes | None = b"\t") -> ReadListing:
    """The contents of a listing. Its END is not fed to the reader."""
    reader = ListingReader(separator)
    routes: list[LocalRoute] = []
    for line in lines:
        if line != b"END":
            reader.feed(line)
            routes += reader.drain()
    listing = reader.finish()
    return ReadListing(listing.clients, listing.ignored, routes)


def sessions(listing: ReadListing) -> tuple[Session, ...]:
    """The clients with a name, in OpenVPN's order."""
    by_kind: dict[tuple[SessionId, bytes, Kind], tuple[Prefix, ...]] = {}
    for route in listing.routes:
        assert (route.announced, route.confirmed) == (False, True)
        key = route.session, route.name, route.kind
        by_kind[key] = (*by_kind.get(key, ()), route.prefix)
    found = []
    for client in listing.clients:
        if client.name not in (b"UNDEF", b""):
            addresses, networks = (
                by_kind.get((client.session, client.name, kind), ())
                for kind in (Kind.CLIENT, Kind.NETWORK)
            )
            assert {*addresses, *networks} == set(client.prefixes)
            found.append(Session(*client.session, client.name, addresses, networks))
    return tuple(found)


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    return tuple(Prefix.parse(text) for text in texts)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("separator", [b"\t", b","])
def test_a_client_is_read_as_every_version_writes_it(version: str, separator: bytes) -> None:
    listing = read(rows(version, [HOST], separator), separator=None)
    assert sessions(listing) == (
        Session(
            NO_CID if version == "2.3" else 3,
            1_795_222_140,
            b"host1",
            prefixes("10.9.0.50", "fd00::5"),
            prefixes("192.168.50.0/24"),
        ),
    )
    assert listing.ignored == IgnoredRows()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("separator", [b"\t", b","])
@pytest.mark.parametrize("name", NAMES)
def test_names_may_hold_anything(version: str, separator: bytes, name: bytes) -> None:
    client = Client(1, name, b"10.9.0.51", 7, username=b"UNDEF")
    listing = read(rows(version, [HOST, client], separator), separator=None)
    assert sessions(listing)[1].name == name
    assert sessions(listing)[1].addresses == prefixes("10.9.0.51")


def test_user_names_may_hold_commas_too() -> None:
    client = Client(1, b"Doe, John", b"10.9.0.51", 7, username=b"x,y,z")
    (session,) = sessions(read(rows("2.6", [client], b","), separator=None))
    assert session == Session(1, 7, b"Doe, John", prefixes("10.9.0.51"), ())


def test_clients_without_a_name_have_no_routes() -> None:
    undef = [Client(i, b"UNDEF", b"", 7, real=(b"192.0.2.2", i)) for i in range(3)]
    addressed = Client(9, b"UNDEF", b"10.9.0.52", 7, real=(b"192.0.2.3", 1))
    listing = read(rows("2.6", [*undef, HOST, addressed]))
    assert [session.name for session in sessions(listing)] == [b"host1"]
    assert listing.ignored == IgnoredRows(unnamed=1)


@pytest.mark.parametrize(
    ("route", "ignored"),
    [
        (b"10.77.1.9C", IgnoredRows(cached=1)),
        (b"fd00:77::9C", IgnoredRows(cached=1)),
        (b"02:00:00:00:00:05@0", IgnoredRows(mac=1)),
        (b"02:00:00:00:00:05", IgnoredRows(mac=1)),
        (b"UNKNOWN", IgnoredRows(malformed=1)),
        (b"10.77.1.9/24", IgnoredRows(malformed=1)),  # bits behind the length
        (b"10.77.1.0/99", IgnoredRows(malformed=1)),
        (b"\xff\xfe", IgnoredRows(malformed=1)),
        (b"", IgnoredRows(malformed=1)),
    ],
)
def test_rows_without_a_clients_prefix_are_counted(route: bytes, ignored: IgnoredRows) -> None:
    client = Client(1, b"host2", b"10.9.0.51", 7, networks=(b"10.78.0.0/16",))
    lines = rows("2.6", [client])
    row = b"\t".join((b"ROUTING_TABLE", route, b"host2", client.real_address("2.6"), b"x", b"1"))
    listing = read([*lines[:-3], row, *lines[-3:]])
    assert listing.ignored == ignored
    assert sessions(listing)[0].networks == prefixes("10.78.0.0/16")


def test_an_iroute_to_a_host_is_a_network() -> None:
    client = Client(1, b"host2", b"10.9.0.51", 7, networks=(b"10.8.0.7/32", b"fd00:8::7/128"))
    (session,) = sessions(read(rows("2.6", [client])))
    assert session.addresses == prefixes("10.9.0.51")
    assert session.networks == prefixes("10.8.0.7", "fd00:8::7")


def test_an_address_of_push_update_is_the_clients_own() -> None:
    # ROUTING_TABLE has the new address, CLIENT_LIST the old one
    client = Client(1, b"host2", b"10.9.0.51", 7, b"fd00::51")
    lines = [
        line.replace(b"10.9.0.51", b"10.9.0.77").replace(b"fd00::51", b"fd00::77")
        if line.startswith(b"ROUTING_TABLE")
        else line
        for line in rows("2.7", [client])
    ]
    (session,) = sessions(read(lines))
    assert session.addresses == prefixes("10.9.0.77", "fd00::77")
    assert session.networks == ()


def test_a_shared_ipv6_pool_address_leads_to_its_owner_alone() -> None:
    # ifconfig-push and an IPv6 pool: CLIENT_LIST shows fd00:9::1000 for both
    one = Client(1, b"host1", b"10.9.0.50", 7, b"fd00:9::1000", real=(b"192.0.2.1", 1))
    two = Client(2, b"host2", b"10.9.0.51", 7, b"fd00:9::1000", real=(b"192.0.2.1", 2))
    lines = rows("2.6", [one, two])
    stolen = [line for line in lines if line.startswith(b"ROUTING_TABLE\tfd00:9::1000\thost2")]
    found = sessions(read([line for line in lines if line not in stolen]))
    assert found[0].addresses == prefixes("10.9.0.50", "fd00:9::1000")
    assert found[1].addresses == prefixes("10.9.0.51")


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
def test_several_sessions_of_one_name_are_told_apart(version: str) -> None:
    # duplicate-cn; before 2.7 IPv6 real addresses come without a port
    real = (b"2001:db8::1", 1), (b"2001:db8::1", 2), (b"192.0.2.1", 3), (b"192.0.2.1", 4)
    clients = [
        Client(cid, b"twin", b"10.9.0.%d" % (50 + cid), 7 + cid, real=address)
        for cid, address in enumerate(real)
    ]
    clients.append(Client(9, b"other", b"10.9.0.99", 7, real=real[0]))
    got = {s.cid: s.addresses for s in sessions(read(rows(version, clients)))}
    assert got == {c.cid: prefixes(c.address.decode()) for c in clients}


def test_20_000_clients_behind_one_real_address_are_read_in_linear_time() -> None:
    # IPv6 clients of one host before 2.7; comparing each with each would take 200 million steps
    count = 20_000
    clients = [
        Client(i, b"twin%d" % (i % 2), b"10.%d.%d.9" % (i >> 8, i & 255), 7, real=(b"fd00::1", 1))
        for i in range(count)
    ]
    lines = rows("2.6", clients)
    begin = time.process_time()
    found = sessions(read(lines))
    assert time.process_time() - begin < 10
    assert len(found) == count
    assert all(len(session.addresses) == 1 for session in found)


def test_an_ambiguous_network_belongs_to_the_newer_session() -> None:
    real = (b"2001:db8::1", 1)
    old = Client(1, b"twin", b"10.9.0.50", 7, real=real)
    new = Client(2, b"twin", b"10.9.0.51", 8, networks=(b"10.8.0.0/16",), real=real)
    got = {s.cid: s.networks for s in sessions(read(rows("2.6", [new, old])))}
    assert got == {1: (), 2: prefixes("10.8.0.0/16")}


def test_unknown_columns_rows_and_tables_are_skipped() -> None:
    lines = rows("2.6", [HOST])
    lines = [line.replace(b"\tReal Address", b"\tShoe Size\tReal Address") for line in lines]
    lines = [line.replace(b"\t192.0.2.1:1194", b"\t44\t192.0.2.1:1194") for line in lines]
    lines[3:3] = [b"HEADER\tWEATHER\tSky", b"WEATHER\tblue", b"", b"HEADER", b"x" * 600]
    listing = read(lines)
    assert [session.cid for session in sessions(listing)] == [3]
    assert sessions(listing)[0].networks == prefixes("192.168.50.0/24")
    assert listing.ignored == IgnoredRows()


@pytest.mark.parametrize(
    "row",
    [
        b"CLIENT_LIST",
        b"CLIENT_LIST\tx\ty",
        b"ROUTING_TABLE\t10.0.0.1",
        b"ROUTING_TABLE\t10.0.0.1\thost9\t192.0.2.9:1\tx\t1",  # of no client
        b"CLIENT_LIST\ta\tb\tc\td\t1\t2\tx\tyesterday\tUNDEF\t1\t1\tAES",
        b"CLIENT_LIST\ta\tb\tc\td\t1\t2\tx\t7\tUNDEF\t" + b"9" * 30 + b"\t1\tAES",
    ],
)
def test_malformed_rows_are_counted_and_skipped(row: bytes) -> None:
    lines = rows("2.6", [HOST])
    listing = read([*lines[:-3], row, *lines[-3:]])
    assert len(sessions(listing)) == 1
    assert listing.ignored == IgnoredRows(malformed=1)


def test_the_first_malformed_row_is_kept() -> None:
    lines = rows("2.6", [HOST, attrs.evolve(HOST, cid=4, real=(b"192.0.2.1", 1195))])
    wrong = [line.replace(b"1795222140\tUNDEF", b"never\tUNDEF") for line in lines]
    reader = ListingReader()
    for line in wrong[:-1]:
        reader.feed(line)
    assert b"never" in reader.finish().unreadable
    assert b"1194" in reader.finish().unreadable


def test_only_clients_with_an_address_count_as_connected() -> None:
    connecting = attrs.evolve(HOST, name=b"UNDEF", address=b"", address6=b"", networks=())
    reader = ListingReader()
    for line in rows("2.6", [HOST, attrs.evolve(connecting, real=(b"192.0.2.9", 1))])[:-1]:
        reader.feed(line)
    listing = reader.finish()
    assert (len(listing.clients), listing.connected) == (2, 1)
    assert listing.unnamed == frozenset()


def test_rows_before_their_header_are_counted_and_skipped() -> None:
    lines = rows("2.6", [HOST])
    assert read([lines[3], *lines]).ignored == IgnoredRows(malformed=1)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([b"OpenVPN CLIENT LIST"], "status-version 3"),
        ([b"OpenVPN STATISTICS"], "is no server"),
        ([b""], "empty"),
        ([b"\x7fELF"], "not a status file"),
        ([b"TITLE,x"], "no HEADER rows"),
        ([b"TITLE,x", b"HEADER,CLIENT_LIST,Common Name"], "no column Real Address"),
        ([b"TITLE,x", b"HEADER,ROUTING_TABLE,Common Name"], "ROUTING_TABLE has no column"),
    ],
)
def test_what_is_not_a_listing_is_refused_with_a_reason(lines: list[bytes], why: str) -> None:
    with pytest.raises(StatusError, match=why):
        read(lines, separator=None)


def test_the_statistics_of_an_openvpn_that_is_no_server_are_told_as_such() -> None:
    statistics = [b"OpenVPN STATISTICS", b"Updated,2026-11-21 00:49:00", b"TUN/TAP read bytes,0"]
    with pytest.raises(StatusError, match="is no server"):
        read(statistics)


FIELDS = st.sampled_from(
    [b"CLIENT_LIST", b"ROUTING_TABLE", b"HEADER", b"Common Name", b"10.0.0.1", b"7", b"fd00::/64"]
) | st.binary(max_size=12)


@given(
    st.lists(
        st.sampled_from(rows("2.6", [HOST]) + rows("2.3", [HOST], b","))
        | st.lists(FIELDS, max_size=14).map(b"\t".join)
        | st.lists(FIELDS, max_size=14).map(b",".join)
    ),
    st.sampled_from([b"\t", b",", None]),
)
def test_random_rows_raise_no_other_error(lines: list[bytes], separator: bytes | None) -> None:
    with contextlib.suppress(StatusError):
        read(lines, separator)


PRINTABLE = st.binary(min_size=1, max_size=40).map(
    lambda name: bytes(byte for byte in name if byte >= 32 and byte != 127) or b"x"
)


@given(
    names=st.lists(PRINTABLE, max_size=8),
    version=st.sampled_from(VERSIONS),
    separator=st.sampled_from([b"\t", b","]),
)
def test_every_name_is_read_with_its_address(
    names: list[bytes], version: str, separator: bytes
) -> None:
    clients = [
        Client(i, name, b"10.9.1.%d" % i, 7 + i, real=(b"192.0.2.1", 1000 + i))
        for i, name in enumerate(names)
    ]
    found = sessions(read(rows(version, clients, separator), separator))
    expected = [(c.name, c.address) for c in clients if c.name != b"UNDEF"]
    got = [(s.name, str(s.addresses[0])[:-3].encode()) for s in found]
    assert got == expected


def test_20_000_clients_are_read_fast() -> None:
    clients = [
        Client(i, b"client%d" % i, b"10.%d.%d.7" % (i >> 8, i & 255), 7 + i, real=(b"192.0.2.1", i))
        for i in range(20_000)
    ]
    lines = rows("2.6", clients)
    began = time.process_time()
    assert len(read(lines).clients) == 20_000
    assert time.process_time() - began < 1.0  # some 0.1 s; and ten times that if quadratic
