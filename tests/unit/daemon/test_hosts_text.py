from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.daemon.hosts_text import Entry, HostNames, Owner, dns_label, entry_of
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.rib import ADOPTED_VERSION, Origin, RibRoute, Source


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("host2", "host2"),
        ("Host2", "host2"),
        ("Anna Müller", "anna-muller"),
        ("anna@example.com", "anna-example-com"),
        ("www.google.com", "www-google-com"),
        ("a_b--c", "a-b-c"),
        ("-x-", "x"),
        ("straße", "strasse"),
        ("ﬁle №5", "file-no5"),
        ("山田", ""),
        ("", ""),
        ("...", ""),
        ("x" * 70, "x" * 63),
        ("x" * 62 + ".y", "x" * 62),
        ("a\nb 10.0.0.1 c", "a-b-10-0-0-1-c"),
    ],
)
def test_a_common_name_becomes_one_label(name, label):
    assert dns_label(name.encode()) == label


def test_bytes_that_are_not_utf8_become_hyphens():
    assert dns_label(b"h\xffst") == "h-st"


@given(st.binary(max_size=512) | st.text(max_size=100).map(lambda text: text.encode("utf-8")))
def test_whatever_the_name_is_its_line_has_one_address_and_safe_names(name):
    entry = Entry(32, bytes((10, 0, 0, 1)), name, Owner.CLIENT)
    names = HostNames("vpn.example.org")
    names.add(entry)
    line = names.line(entry)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    assert line.startswith("# ") or re.fullmatch(
        rf"10\.0\.0\.1 {label}\.vpn\.example\.org {label}\n", line
    )


def client(last: int, name: str) -> Entry:
    return Entry(32, bytes((10, 0, 0, last)), name.encode(), Owner.CLIENT)


def lines(*entries: Entry, domain: str = "") -> list[str]:
    names = HostNames(domain)
    for entry in entries:
        names.add(entry)
    return [names.line(entry).rstrip("\n") for entry in entries]


def test_with_a_domain_the_full_name_comes_first():
    six = Entry(128, b"\xfd" + bytes(14) + b"\1", b"host2", Owner.CLIENT)
    assert lines(client(2, "host2"), six, domain="vpn.example.org") == [
        "10.0.0.2 host2.vpn.example.org host2",
        "fd00::1 host2.vpn.example.org host2",
    ]
    assert lines(client(2, "host2")) == ["10.0.0.2 host2"]


def test_one_common_name_at_two_addresses_has_both():
    assert lines(client(2, "host2"), client(3, "host2")) == ["10.0.0.2 host2", "10.0.0.3 host2"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_names_that_become_one_the_exact_one_and_then_the_lowest_has_it(order):
    entries = [client(1, "Host2"), client(2, "host2"), client(3, "a.b"), client(4, "a b")][::order]
    assert set(lines(*entries)) == {
        "# 10.0.0.1 Host2: host2 is the name of host2",
        "10.0.0.2 host2",
        "# 10.0.0.3 a.b: a-b is the name of a b",
        "10.0.0.4 a-b",
    }


def test_no_client_has_the_name_of_a_server():
    server = Entry(32, bytes((10, 0, 0, 9)), b"vpnsrvA", Owner.SERVER)
    assert lines(client(1, "vpnsrva"), server) == [
        "# 10.0.0.1 vpnsrva: vpnsrva is the name of server vpnsrvA",
        "10.0.0.9 vpnsrva",
    ]


def test_a_client_with_the_common_name_of_a_server_does_not_have_its_name_either():
    server = Entry(32, bytes((10, 0, 0, 9)), b"srv", Owner.SERVER)
    assert lines(client(1, "srv"), server) == [
        "# 10.0.0.1 srv: srv is the name of server srv",
        "10.0.0.9 srv",
    ]


def test_a_service_has_its_name_before_any_client_and_after_the_servers():
    server = Entry(32, bytes((10, 0, 0, 9)), b"web", Owner.SERVER)
    db, web = (
        Entry(32, bytes((10, 0, 0, 7 + n)), name, Owner.SERVICE)
        for n, name in enumerate((b"db", b"Web"))
    )
    assert lines(client(1, "db"), client(2, "web"), db, web, server) == [
        "# 10.0.0.1 db: db is the name of service db",
        "# 10.0.0.2 web: web is the name of server web",
        "10.0.0.7 db",
        "# 10.0.0.8 Web: web is the name of server web",
        "10.0.0.9 web",
    ]


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "wpad", "W.P.A.D"])
def test_reserved_names(name):
    (line,) = lines(client(1, name))
    assert line.startswith("#") is (dns_label(name.encode()) in {"localhost", "wpad"})


def test_names_without_a_letter_and_line_breaks_are_comments():
    assert lines(client(1, "山田"), client(2, "\n")) == [
        "# 10.0.0.1 山田: no letter or digit of ASCII",
        "# 10.0.0.2 \\n: no letter or digit of ASCII",
    ]


def route(kind: Kind, name: bytes, version: int = 5, node: str = "B") -> RibRoute:
    advertisement = Advertisement(Prefix.parse("10.0.0.2"), kind, name, version, confirmed=True)
    return RibRoute(Source(Origin.PEER, "B"), node, advertisement)


@pytest.mark.parametrize(
    ("best", "name"),
    [
        (route(Kind.CLIENT, b"host2"), b"host2"),
        (route(Kind.SERVER, b"whatever it says"), b"B"),
        (route(Kind.NETWORK, b"host2"), None),
        (route(Kind.CLIENT, b"", ADOPTED_VERSION), None),
        (route(Kind.SERVER, b"", ADOPTED_VERSION, "10.200.200.5"), None),
        (route(Kind.CLIENT, b""), None),
    ],
)
def test_which_routes_have_an_entry(best, name):
    entry = entry_of(best.advertisement.prefix, best)
    assert (entry and entry.name) == name
