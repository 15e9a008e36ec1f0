"""The output of `why` for people."""

from __future__ import annotations

from cuberouted.api.report_why import (
    Why,
    WhyAddress,
    WhyClaim,
    WhyLookup,
    WhyMatch,
    WhyPeer,
    WhyPing,
    WhyRoute,
)
from cuberouted.cli.render_why import why_lines
from cuberouted.cli.terminal import Terminal

ROUTE = "10.100.100.14/32 dev tun1 in table main (protocol 201, metric 50)"
SINCE = "2026-11-27T09:43:07Z"
CURE = "`ip route del 10.100.100.14/32 dev tun0 table main metric 20 proto boot scope link`"
ONE = WhyAddress(
    "10.100.100.14",
    False,
    "10.100.100.14 is not reached: packets to host2 at vpnsrvB follow 10.100.100.14/32 dev tun0 in"
    " table main (protocol boot, metric 20)",
    f"remove it where it was configured, or by {CURE}",
    notes=["the session of host2 here is kept: the session at vpnsrvB is not in a listing yet"],
    claims=[
        WhyClaim("10.100.100.14/32", "B", "host2", "client", "peer", SINCE, False, True, False, ""),
        WhyClaim(
            "10.100.100.14/32", "A", "", "client", "local", SINCE, True, False, False, "it is older"
        ),
        WhyClaim("10.0.0.0/8", "B", "b", "network", "peer", SINCE, True, False, True, "refused: x"),
        WhyClaim("10.0.0.1/32", "B", "", "server", "configured", None, False, False, False, "y"),
    ],
    routes=[
        WhyRoute(ROUTE, "cuberouted", False, 61.0, "shadowed", SINCE),
        WhyRoute("10.100.100.14/32 dev tun0", "foreign", True),
    ],
    rules=["100: iif tun0, table 77"],
    lookups=[
        WhyLookup("", "", "10.100.100.14/32 dev tun0", "tun0", None, False),
        WhyLookup("tun0", "10.100.100.10", "10.100.100.14/32 dev tun1", "tun1", None, True),
    ],
    peer=WhyPeer("vpnsrvB", "syncing", None, "waiting", "tun1", "10.200.200.2", None),
    pings=[
        WhyPing("10.200.200.2", "peer", "tun1", 84, 3, 2, 0.00031),
        WhyPing("10.200.200.2", "peer", "tun1", 1500, 3, 0, problem="message too long"),
    ],
)


def printed(why, width=None, **more):
    return "\n".join(why_lines(why, Terminal(width, **more))) + "\n"


def test_the_first_line_is_the_verdict_and_the_last_what_to_do():
    lines = printed(Why("host2", "A", False, ONE.verdict, ONE.advice, [ONE])).splitlines()
    assert lines[0] == ONE.verdict
    assert lines[-1] == f"to do: {ONE.advice}"


def test_all_that_it_rests_on_is_shown():
    text = printed(Why("host2", "A", False, ONE.verdict, ONE.advice, [ONE]))
    for line in (
        "note: the session of host2 here is kept:",
        f"  * 10.100.100.14/32 host2 at B, since {SINCE}, not listed there yet",
        f"    10.100.100.14/32 a client without a name here, since {SINCE}\n      it is older\n",
        "    10.0.0.0/8 network of b at B",
        "    10.0.0.1/32 the server B itself, configured here",
        f"    {ROUTE}\n      cuberouted's, 1 min 1 s old; shadowed by a foreign route at {SINCE}",
        "  * 10.100.100.14/32 dev tun0\n      another program's",
        "    100: iif tun0, table 77",
        "    from this host: WRONG: 10.100.100.14/32 dev tun0",
        "    from 10.100.100.10, in on tun0: 10.100.100.14/32 dev tun1",
        "peer vpnsrvB: syncing (waiting), never heard, at 10.200.200.2 through tun1",
        "    10.200.200.2 through tun1, 84 bytes: 2 of 3 answered, 0.3 ms",
        "    10.200.200.2 through tun1, 1500 bytes: message too long",
    ):
        assert line in text


def test_lines_fit_80_columns_and_commands_stay_whole():
    lines = printed(Why("host2", "A", False, ONE.verdict, ONE.advice, [ONE]), 80).splitlines()
    assert [line.strip() for line in lines if len(line) > 80] == [CURE]


def test_only_a_terminal_with_colours_has_them_and_escapes_what_it_cannot_show():
    why = Why("x", "A", False, "né is not reached")
    assert printed(why, 80, colours=True) == "\x1b[31mné is not reached\x1b[0m\n"
    assert printed(why, 80, encoding="ascii") == "n\\xe9 is not reached\n"


def test_matches_are_listed():
    text = printed(
        Why("hots2", "A", False, "no", matches=[WhyMatch("10.100.100.14", "host2", "vpnsrvB")])
    )
    assert text == "no\n  10.100.100.14  host2 at vpnsrvB\n"
