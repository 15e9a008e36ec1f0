from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.report import OpenVPNRow, PeerRow, RouteCounts, Status, iso_time
from cuberouted.cli.render_status import status_lines
from cuberouted.cli.terminal import Terminal, cell_len

STANDBY = OpenVPNRow("one", "standby", None, 0, "service db is at A")
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
    openvpn=[OpenVPNRow("data", "waiting", None, 0, "127.0.0.1 port 5656: Connection refused")],
    peers=[
        PeerRow("vpnsrvB", "up", 12345, 0.04, encrypted=True),
        PeerRow("10.200.200.9", "down", 0, 71.0, "nothing received for 3 s", known_as="C (10.9)"),
    ],
    routes=RouteCounts(desired=2, installed=1, conflicts=1),
    problems=[
        (
            "10.100.100.10/32 dev tun1 in table main (protocol static): packets to host1 leave by"
            " tun1; remove it where it was configured, or by"
            " `ip route del 10.100.100.10/32 dev tun1 table main`"
        )
    ],
    warnings=["data: with DCO, this version may list clients that have gone"],
)
SCREEN = Terminal(80, 24)
NOW = 1_795_262_400.0


def printed(status, terminal=SCREEN):
    return "\n".join(status_lines(status, terminal, NOW)) + "\n"


def test_status_on_a_terminal():
    assert (
        printed(WELL)
        == """\
vpnsrvA: running 1 day 2 h, 1 client here, 2 of 2 peers up, 3 of 3 routes

OPENVPN  STATE      CLIENTS  VERSION
openvpn  connected        1  2.6.14

PEER     STATE  CLIENTS  LAST HEARD  ENCRYPTED
vpnsrvB  up           3  0.2 s ago   no
vpnsrvC  up           0  0.1 s ago   no

all is well
"""
    )


def test_nobody_is_sent_to_look_at_what_works():
    openvpn = OpenVPNRow("data", "waiting", None, 0, "cannot read the password file /p: No")
    peers = [
        PeerRow("B", "down", 0, None, "nothing received yet; it rejects us: our public key"),
        PeerRow("C", "down", 0, 71.0, "nothing received for 3 s; connected, but no handshake: the"),
    ]
    said = printed(msgspec.structs.replace(ILL, openvpn=[openvpn], peers=peers), Terminal())
    assert "password file /p: No; `cuberouted check` looks why\n" in said
    assert "our public key; `cuberouted check --peers` looks\n" in said
    assert "no handshake: the; `cuberouted check --peers` looks\n" in said
    assert "is OpenVPN running" not in said
    assert "is the tunnel up" not in said


def test_what_is_wrong_and_what_to_do_is_at_the_end():
    assert (
        printed(ILL)
        == """\
vpnsrvA: running 1.0 s, 0 clients here, 1 of 2 peers up, 1 of 2 routes

OPENVPN  STATE    CLIENTS  VERSION
data     waiting        0  -

PEER      STATE  CLIENTS  LAST HEARD  ENCRYPTED
vpnsrvB   up       12345  0.0 s ago   yes
C (10.9)  down         0  71 s ago    no

problem: data: 127.0.0.1 port 5656: Connection refused; is OpenVPN running, and
         is this its management interface or status file?
problem: peer C (10.9): nothing received for 3 s; is the tunnel up, and
         cuberouted running there? `cuberouted check --peers` looks
problem: 10.100.100.10/32 dev tun1 in table main (protocol static): packets to
         host1 leave by tun1; remove it where it was configured, or by
         `ip route del 10.100.100.10/32 dev tun1 table main`
warning: data: with DCO, this version may list clients that have gone
3 problems, 1 warning
"""
    )


def test_in_a_pipe_a_problem_is_a_line():
    lines = printed(ILL, Terminal()).splitlines()
    assert [line.partition(": ")[0] for line in lines[-5:-1]] == ["problem"] * 3 + ["warning"]
    assert lines[-3] == f"problem: {ILL.problems[0]}"


def test_the_verdict_is_the_exit_status():
    up, _ = WELL.peers
    for status in (
        WELL,
        ILL,
        msgspec.structs.replace(WELL, peers=[msgspec.structs.replace(up, state="syncing")]),
        msgspec.structs.replace(WELL, peers=[msgspec.structs.replace(up, detail="no connection")]),
        msgspec.structs.replace(WELL, warnings=["a"], rejected_connections=3),
        msgspec.structs.replace(
            WELL, openvpn=[OpenVPNRow("o", "connected", "2.6", 1, "this OpenVPN is no server")]
        ),
        msgspec.structs.replace(WELL, openvpn=[STANDBY]),
        msgspec.structs.replace(WELL, problems=["waiting for interface tun1"]),
    ):
        assert ("problem" in printed(status)) is not status.well


def test_an_openvpn_on_standby_is_no_problem_and_tells_where_its_service_is():
    text = printed(msgspec.structs.replace(WELL, openvpn=[STANDBY]))
    assert "one: on standby, service db is at A" in text
    assert text.splitlines()[-1] == "all is well"


def test_rejected_connections_are_counted():
    status = msgspec.structs.replace(WELL, rejected_connections=1)
    assert printed(status).splitlines()[-2:] == [
        "1 connection rejected since the start",
        "all is well",
    ]


def test_no_way_is_suspected_while_the_peer_is_heard():
    refused = PeerRow("B", "down", 0, 0.5, "announces the name 'X', but is configured as 'B'")
    text = printed(msgspec.structs.replace(WELL, peers=[refused]), Terminal())
    assert "problem: peer B: announces the name 'X', but is configured as 'B'\n" in text


def test_refused_prefixes_are_a_column_where_there_are_any():
    assert "REFUSED" not in printed(WELL)
    b, c = WELL.peers
    status = msgspec.structs.replace(
        WELL, peers=[msgspec.structs.replace(b, known_as="B (10.0.0.2)", refused_prefixes=7), c]
    )
    head, one, other = printed(status).splitlines()[-5:-2]
    assert head.endswith("  REFUSED")
    assert (one.split()[-1], other.split()[-1]) == ("7", "0")
    assert one.startswith("B (10.0.0.2)  up")


def test_states_and_findings_have_colours():
    text = printed(ILL, Terminal(80, 24, colours=True))
    for colour, words in ((32, "up"), (31, "down"), (31, "problem: "), (33, "warning: ")):
        assert f"\x1b[{colour}m{words}\x1b[0m" in text
    assert text.endswith("\x1b[31m3 problems, 1 warning\x1b[0m\n")
    assert "\x1b[32mall is well\x1b[0m" in printed(WELL, Terminal(80, 24, colours=True))
    assert "\x1b" not in printed(ILL) + printed(ILL, Terminal())


def test_nothing_is_wider_than_a_narrow_terminal_but_commands():
    lines = printed(ILL, Terminal(60, 24)).splitlines()
    assert [line for line in lines if cell_len(line) > 60] == []


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
widths = st.none() | st.integers(1, 200)


@given(texts, texts, texts, widths, st.booleans(), st.sampled_from(["ascii", "utf-8"]))
def test_odd_words_never_stop_a_report(name, state, detail, width, colours, encoding):
    status = Status(
        node="A",
        uptime=0.0,
        openvpn=[OpenVPNRow(name, state, detail, 1, detail)],
        peers=[PeerRow(name, "up", 1, 1.0, detail)],
        routes=RouteCounts(1, 1, 1),
        problems=[detail],
    )
    text = printed(status, Terminal(width, 24, colours, encoding))
    text.encode(encoding)


def test_who_takes_no_clients_is_a_warning_for_whoever_has_forgotten_it():
    drained = msgspec.structs.replace(
        WELL,
        maintenance="draining",
        by="root",
        since=iso_time(NOW - 240),
        until=iso_time(NOW + 3600),
        reason="kernel",
        peers=[
            msgspec.structs.replace(WELL.peers[0], maintenance="maintenance", by="anna"),
            msgspec.structs.replace(WELL.peers[1], maintenance=""),
        ],
    )
    assert drained.well
    assert printed(drained, Terminal()).splitlines()[-3:] == [
        "warning: this node is draining for 4 min (60 min left), by root: kernel",
        "warning: peer vpnsrvB is in maintenance, by anna",
        "2 warnings",
    ]
