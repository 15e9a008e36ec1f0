from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.report import (
    ClientRow,
    Clients,
    NodeRow,
    Nodes,
    OpenVPNRow,
    RouteRow,
    Routes,
    iso_time,
)
from cuberouted.cli.render_lists import client_lines, lines
from cuberouted.cli.terminal import Terminal, cell_len

NOW = 1_795_262_400.0
SCREEN, NARROW, PIPE = Terminal(80, 24), Terminal(60, 24), Terminal()


def client(address, node, name, ago, *, kind="client", local=False):
    return ClientRow(address, node, name, kind, iso_time(NOW - ago), local)


CLIENTS = Clients(
    [
        client("10.100.100.10", "vpnsrvA", "host1", 240, local=True),
        client("10.100.100.14", "vpnsrvB", "accounting-printer-3", 5000),
        client("192.168.50.0/24", "vpnsrvB", "Anna Smith", 3, kind="network"),
        client("2001:db8:100:200::1014", "vpnsrvA", "日本のお客さん", 400_000, local=True),
    ]
)
ROUTES = Routes(
    "vpnsrvA",
    [
        RouteRow("10.100.100.14/32", "vpnsrvB", "tun1", None, "client", "host2", 4.24),
        RouteRow("192.168.50.0/24", None, "tun1", None, None, None, None),
        RouteRow("2001:db8:1::101/128", "frankfurt", "wg-ffm", None, "server", "frankfurt", 9e5),
    ],
)
NODES = Nodes(
    "vpnsrvA",
    [
        NodeRow(
            *("vpnsrvA", True, "running", 3, None, None, None, None),
            openvpn=[
                OpenVPNRow("udp", "connected", "2.6.14", 3),
                OpenVPNRow("tcp", "waiting", None, 0),
            ],
        ),
        NodeRow("vpnsrvB", False, "up", 12345, 0.31, "10.200.200.5", "tun1", True),
        NodeRow("vpnsrvC", False, "incompatible", 0, 400.0, "fd00:200::9", "tun2", True),
        NodeRow("vpnsrvD", False, "down", 0, None, "10.203.203.9", "tun3", True),
    ],
)


def printed(report, terminal):
    return "\n".join(lines(report, terminal, NOW)) + "\n"


def test_clients_on_a_terminal():
    assert (
        printed(CLIENTS, SCREEN)
        == """\
ADDRESS                 NODE            CONNECTED   NAME
10.100.100.10           vpnsrvA (here)  4 min ago   host1
10.100.100.14           vpnsrvB         83 min ago  accounting-printer-3
192.168.50.0/24         vpnsrvB         3 s ago     Anna Smith
2001:db8:100:200::1014  vpnsrvA (here)  4 days ago  日本のお客さん
"""
    )


def test_clients_on_a_narrow_terminal():
    assert (
        printed(CLIENTS, NARROW)
        == """\
ADDRESS                 NODE     CONNECTED   NAME
10.100.100.10           vpnsrvA  4 min ago   host1
10.100.100.14           vpnsrvB  83 min ago  accounting-pri…
192.168.50.0/24         vpnsrvB  3 s ago     Anna Smith
2001:db8:100:200::1014  vpnsrvA  4 days ago  日本のお客さん
"""
    )


def test_clients_in_a_pipe():
    assert (
        printed(CLIENTS, PIPE)
        == """\
ADDRESS                 NODE     KIND     CONNECTED             NAME
10.100.100.10           vpnsrvA  client   2026-11-21T11:56:00Z  host1
10.100.100.14           vpnsrvB  client   2026-11-21T10:36:40Z  accounting-printer-3
192.168.50.0/24         vpnsrvB  network  2026-11-21T11:59:57Z  Anna Smith
2001:db8:100:200::1014  vpnsrvA  client   2026-11-16T20:53:20Z  日本のお客さん
"""
    )


def test_routes_on_a_terminal():
    assert (
        printed(ROUTES, SCREEN)
        == """\
DESTINATION      NODE       DEV     KIND    AGE      NAME
10.100.100.14    vpnsrvB    tun1    client  4 s      host2
192.168.50.0/24  -          tun1    -       -        -
2001:db8:1::101  frankfurt  wg-ffm  server  10 days  frankfurt
"""
    )


def test_routes_in_a_pipe_have_all_columns():
    assert (
        printed(ROUTES, PIPE)
        == """\
DESTINATION      NODE       DEV     GATEWAY  KIND    AGE       NAME
10.100.100.14    vpnsrvB    tun1    -        client  4.2       host2
192.168.50.0/24  -          tun1    -        -       -         -
2001:db8:1::101  frankfurt  wg-ffm  -        server  900000.0  frankfurt
"""
    )


def test_gateways_are_a_column_where_there_are_any():
    routes = Routes("A", [RouteRow("10.9.0.1/32", "B", "eth1", "10.0.0.5", "client", "x", 1.0)])
    head, row = printed(routes, SCREEN).splitlines()
    assert row.split()[head.split().index("GATEWAY")] == "10.0.0.5"


def test_nodes_on_a_terminal():
    assert (
        printed(NODES, SCREEN)
        == """\
NODE                 STATE         CLIENTS  LAST HEARD  ADDRESS       DEV
vpnsrvA (this node)  running             3  -           -             -
vpnsrvB              up              12345  0.3 s ago   10.200.200.5  tun1
vpnsrvC              incompatible        0  6 min ago   fd00:200::9   tun2
vpnsrvD              down                0  never       10.203.203.9  tun3

OpenVPN here: udp connected, tcp waiting
"""
    )


def test_nodes_that_take_no_clients_on_a_terminal():
    drained = msgspec.structs.replace(
        NODES.nodes[1],
        maintenance="maintenance",
        by="root",
        since=iso_time(NOW - 240),
        until=iso_time(NOW + 3600),
        reason="kernel",
        capacity=400,
    )
    unheard = msgspec.structs.replace(NODES.nodes[3], maintenance="")
    assert (
        printed(Nodes("vpnsrvA", [drained, unheard]), SCREEN)
        == """\
NODE     STATE  MAINTENANCE  CLIENTS  CAPACITY  LAST HEARD  ADDRESS       DEV
vpnsrvB  up     maintenance    12345       400  0.3 s ago   10.200.200.5  tun1
vpnsrvD  down   -                  0         -  never       10.203.203.9  tun3

vpnsrvB is in maintenance for 4 min (60 min left), by root: kernel
"""
    )


def test_nodes_in_a_pipe():
    assert (
        printed(NODES, PIPE)
        == """\
NODE     STATE         MAINTENANCE  CLIENTS  CAPACITY  LAST HEARD  ADDRESS       DEV   ENCRYPTED
vpnsrvA  running       active             3         -  -           -             -     -
vpnsrvB  up            active         12345         -  0.3         10.200.200.5  tun1  yes
vpnsrvC  incompatible  active             0         -  400.0       fd00:200::9   tun2  yes
vpnsrvD  down          active             0         -  -           10.203.203.9  tun3  yes
"""
    )


def test_usual_content_fits_80_columns():
    name, node = "accounting-printer-3", "vpn-frankfurt-gw-02"
    address = "2001:db8:100:200::1014"
    route = RouteRow(f"{address}/128", node, "tun1", None, "client", name, 172_799.0)
    for report in (
        Clients([client(address, node, name, 172_799)]),
        Routes("A", [route]),
    ):
        for line in lines(report, SCREEN, NOW):
            assert cell_len(line) <= 80
            assert "…" not in line


def test_every_row_in_a_pipe_has_the_same_fields():
    for report, names in ((CLIENTS, 1), (ROUTES, 1), (NODES, 0)):
        head, *rows = printed(report, PIPE).replace("LAST HEARD", "LAST_HEARD").splitlines()
        count = len(head.split()) - names
        assert {len(row.split(maxsplit=count)) for row in rows} == {count + names}


def test_rows_of_this_node_and_states_have_colours():
    colours = Terminal(80, 24, colours=True)
    assert "\x1b[1m10.100.100.10\x1b[0m" in printed(CLIENTS, colours)
    text = printed(NODES, colours)
    for colour, state in ((32, "running"), (32, "up"), (31, "incompatible"), (31, "down")):
        assert f"\x1b[{colour}m{state}\x1b[0m" in text
    assert "\x1b" not in printed(CLIENTS, SCREEN) + printed(NODES, PIPE)


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[bold", ":smile:", "\\[a]", "[[1]]"])
def test_a_name_is_shown_as_it_is_and_never_as_markup(name):
    clients = Clients([client("10.9.0.1", name, name, 1)])
    assert printed(clients, SCREEN).count(name) == 2


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(
    texts,
    texts,
    st.none() | st.integers(1, 200),
    st.booleans(),
    st.sampled_from(["ascii", "latin-1", "utf-8"]),
)
def test_odd_words_never_stop_a_report(name, node, width, colours, encoding):
    terminal = Terminal(width, 24, colours, encoding)
    route = RouteRow("10.9.0.1/32", node, name, None, None, name, 1.0)
    for report in (
        Clients([client("10.9.0.1", node, name, 1)]),
        Routes(node, [route]),
        Nodes(node, [NodeRow(name, False, node, 1, 1.0, name, node, False)]),
    ):
        printed(report, terminal).encode(encoding)


@pytest.mark.parametrize("terminal", [SCREEN, PIPE, Terminal(60, 24, colours=True)])
def test_20_000_rows_are_no_long_wait(terminal):
    rows = [client(f"10.9.{n >> 8}.{n & 255}", "vpnsrvB", f"host{n}", n) for n in range(20_000)]
    started = time.process_time()
    assert len(client_lines(Clients(rows), terminal, NOW)) == 20_001
    assert time.process_time() - started < 2  # 0.1 s usually
