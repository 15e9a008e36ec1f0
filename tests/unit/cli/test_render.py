from __future__ import annotations

import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cuberouted.api.report import (
    ClientRow,
    Clients,
    OpenVPNRow,
    PeerRow,
    RouteCounts,
    RouteRow,
    Routes,
    Status,
    pluralize,
)
from cuberouted.cli import render
from cuberouted.cli.render import PIPED_WIDTH, format_duration

WELL = Status(
    node="vpnsrvA",
    uptime=93784.0,
    openvpn=[OpenVPNRow("openvpn", "connected", "2.6.14", 1)],
    peers=[PeerRow("vpnsrvB", "up", 3, 0.21), PeerRow("vpnsrvC", "up", 0, 0.1)],
    routes=RouteCounts(desired=3, installed=3, conflicts=0),
)
ILL = Status(
    node="vpnsrvA",
    uptime=1.0,
    openvpn=[OpenVPNRow("data", "waiting", None, 0, "port 5656: Connection refused")],
    peers=[PeerRow("vpnsrvB", "down", 0, None, "nothing received yet")],
    routes=RouteCounts(desired=2, installed=1, conflicts=1),
    problems=["route 10.9.0.1/32: shadowed"],
)


def printed(function, what, *, terminal=False, width=PIPED_WIDTH):
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        highlight=False,
    )
    function(what, console)
    return out.getvalue()


def test_warnings_follow_the_problems():
    text = printed(render.render_status, msgspec.structs.replace(ILL, warnings=["it has ghosts"]))
    assert text.splitlines()[-2:] == ["route 10.9.0.1/32: shadowed", "warning: it has ghosts"]


def test_status_says_how_all_is_in_its_first_line():
    first, blank, head, row, *_ = printed(render.render_status, WELL).splitlines()
    assert first == (
        "vpnsrvA: running for 1 day 2 h, 1 client here, 2 of 2 peers up, 3 of 3 routes installed"
    )
    assert blank == ""
    assert head.split() == ["OPENVPN", "STATE", "VERSION", "CLIENTS"]
    assert row.split() == ["openvpn", "connected", "2.6.14", "1"]


def test_what_is_wrong_comes_last():
    lines = printed(render.render_status, ILL).splitlines()
    assert lines[-4:] == [
        "",
        "data: port 5656: Connection refused",
        "peer vpnsrvB: nothing received yet",
        "route 10.9.0.1/32: shadowed",
    ]
    assert "0 of 1 peer up" in lines[0]


def test_refused_prefixes_are_a_column_where_there_are_any():
    assert "REFUSED" not in printed(render.render_status, WELL)
    b, c = WELL.peers
    status = msgspec.structs.replace(
        WELL, peers=[msgspec.structs.replace(b, known_as="B (10.0.0.2)", refused_prefixes=7), c]
    )
    head, one, other = printed(render.render_status, status).splitlines()[-3:]
    assert head.endswith("  REFUSED")
    assert (one.split()[-1], other.split()[-1]) == ("7", "0")
    assert one.startswith("B (10.0.0.2)  up")


def test_clients_are_a_line_each():
    rows = [
        ClientRow("10.9.0.1", "A", "host1", "client", "2026-11-21T12:00:00Z", True),
        ClientRow("192.168.50.0/24", "B", "", "network", "2026-11-21T12:00:00Z", False),
    ]
    head, one, other = printed(render.render_clients, Clients(rows)).splitlines()
    assert "A (here)" in one
    assert other.split() == ["192.168.50.0/24", "B", "-", "network", "2026-11-21T12:00:00Z"]
    assert head.index("KIND") == one.index("client") == other.index("network")


def test_what_only_the_daemon_knows_of_a_route_may_be_missing():
    rows = [
        RouteRow("10.9.0.12/32", "B", "tun1", None, "client", "host2", 12.34),
        RouteRow("10.9.0.13/32", None, "eth1", "10.0.0.5", None, None, None),
    ]
    head, one, other = printed(render.render_routes, Routes("A", rows)).splitlines()
    assert head.split() == ["DESTINATION", "NODE", "INTERFACE", "GATEWAY", "KIND", "NAME", "AGE"]
    assert one.split() == ["10.9.0.12/32", "B", "tun1", "-", "client", "host2", "12.3", "s"]
    assert other.split() == ["10.9.0.13/32", "-", "eth1", "10.0.0.5", "-", "-", "-"]


def test_a_pipe_gets_whole_lines_and_no_colours():
    name = "x" * 200
    rows = [ClientRow("10.9.0.1", "A", name, "client", "2026-11-21T12:00:00Z", True)]
    assert name in printed(render.render_clients, Clients(rows))
    assert "\x1b" not in printed(render.render_status, WELL)
    assert render.console().width == PIPED_WIDTH  # pytest captures: this is no terminal


def test_a_terminal_gets_colours():
    assert "\x1b[32mup" in printed(render.render_status, WELL, terminal=True)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(texts, texts, texts, st.booleans(), st.integers(1, 200))
def test_odd_words_never_stop_a_report(name, node, detail, terminal, width):
    status = Status(
        node="A",
        uptime=0.0,
        openvpn=[OpenVPNRow(name, detail, node, 1, detail)],
        peers=[PeerRow(name, "up", 1, 1.0, detail)],
        routes=RouteCounts(1, 1, 1),
        problems=[detail],
    )
    client = ClientRow("10.9.0.1", node, name, "client", "now", False)
    route = RouteRow("10.9.0.1/32", node, name, None, None, name, 1.0)
    printed(render.render_status, status, terminal=terminal, width=width)
    printed(render.render_clients, Clients([client]), terminal=terminal, width=width)
    printed(render.render_routes, Routes(node, [route]), terminal=terminal, width=width)


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[bold", ":smile:", "\\[a]", "[[1]]"])
def test_a_name_is_shown_as_it_is_and_never_as_markup(name):
    client = ClientRow("10.9.0.1", name, name, "client", "now", False)
    assert printed(render.render_clients, Clients([client])).count(name) == 2
    assert name in printed(render.render_status, Status(name, 1.0, [], [], RouteCounts(0, 0, 0)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (60.0, "1 min 0 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h 0 min"),
        (86399.0, "23 h 59 min"),
        (86400.0, "1 day 0 h"),
        (200_000.0, "2 days 7 h"),
        (8.64e8, "10000 days 0 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert format_duration(seconds) == text


def test_things_are_counted_as_in_english():
    assert [pluralize(number, "peer") for number in (0, 1, 2)] == ["0 peers", "1 peer", "2 peers"]
