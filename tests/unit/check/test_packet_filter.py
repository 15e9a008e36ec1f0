from __future__ import annotations

from itertools import pairwise

import pytest

from cuberouted.check.packet_filter import (
    UNKNOWN,
    Chain,
    Field,
    Match,
    Packet,
    Rule,
    Ruleset,
    Verdict,
    outcomes,
    range_of,
)
from cuberouted.model import Prefix

CLIENTS = Prefix.parse("10.100.100.0/24")
PACKET = Packet("tun0", "tun1", CLIENTS, CLIENTS)
ACCEPT, DROP, NAT, RETURN, JUMP, GOTO, OTHER, NONE = Verdict


def rule(verdict, *matches, to=""):
    return Rule(matches, verdict, to)


def through(*names):
    return Match(Field.OUT, names)


def source(*networks, negated=False):
    ranges = tuple(range_of(Prefix.parse(network)) for network in networks)
    return Match(Field.SOURCE, ranges, negated)


def decided(*rules, policy=ACCEPT, **others):
    chain = Chain("ip", "filter", "FORWARD", rules, "forward", "filter", policy)
    more = tuple(Chain("ip", "filter", name, found) for name, found in others.items())
    elsewhere = Chain("ip", "nat", "one", (rule(DROP),))
    return outcomes(Ruleset("nft", (elsewhere, chain, *more)), chain, PACKET)


@pytest.mark.parametrize(
    ("match", "applies"),
    [
        (through("tun1"), True),
        (through("eth0", "tun*"), True),
        (through("eth0"), False),
        (Match(Field.OUT, ("eth0",), negated=True), True),
        (Match(Field.IN, ("tun0",)), True),
        (Match(Field.IN, ("tun1",)), False),
        (source("10.0.0.0/8"), True),
        (source("10.100.100.0/24"), True),
        (source("10.100.100.128/25"), None),
        (source("10.100.100.128/25", negated=True), None),
        (source("192.168.0.0/16"), False),
        (source("192.168.0.0/16", negated=True), True),
        (source("10.0.0.0/8", negated=True), False),
        (Match(Field.TARGET, (range_of(CLIENTS),)), True),
        (Match(Field.STATE, ("established", "related")), False),
        (Match(Field.STATE, ("new",)), True),
        (UNKNOWN, None),
    ],
)
def test_a_condition_holds_or_not_or_cannot_be_known(match, applies):
    expected = {True: {DROP}, False: {ACCEPT}, None: {DROP, ACCEPT}}[applies]
    assert decided(rule(DROP, match)) == expected


def test_every_condition_of_a_rule_has_to_hold():
    assert decided(rule(DROP, through("tun1"), UNKNOWN)) == {DROP, ACCEPT}
    assert decided(rule(DROP, through("eth0"), UNKNOWN)) == {ACCEPT}


def test_the_first_rule_that_surely_applies_decides():
    assert decided(rule(ACCEPT), rule(DROP), policy=DROP) == {ACCEPT}
    assert decided(rule(NONE), rule(DROP)) == {DROP}
    assert decided(rule(ACCEPT, UNKNOWN), rule(DROP)) == {ACCEPT, DROP}
    assert decided(rule(DROP, UNKNOWN), rule(DROP)) == {DROP}
    assert decided(rule(OTHER), rule(DROP)) == {OTHER, DROP}
    assert decided(policy=DROP) == {DROP}


def test_a_chain_that_is_jumped_to_comes_back_unless_it_decides():
    assert decided(rule(JUMP, to="one"), rule(DROP), one=(rule(ACCEPT),)) == {ACCEPT}
    assert decided(rule(JUMP, to="one"), rule(DROP), one=(rule(RETURN), rule(ACCEPT))) == {DROP}
    assert decided(rule(JUMP, to="one"), rule(DROP), one=()) == {DROP}
    assert decided(rule(JUMP, UNKNOWN, to="one"), rule(DROP), one=(rule(ACCEPT),)) == {ACCEPT, DROP}
    assert decided(rule(JUMP, to="one"), rule(DROP), one=(rule(ACCEPT, UNKNOWN),)) == {ACCEPT, DROP}
    maybe = (rule(RETURN, UNKNOWN), rule(ACCEPT))
    assert decided(rule(JUMP, to="one"), rule(DROP), one=maybe) == {ACCEPT, DROP}


def test_after_a_goto_the_policy_decides():
    assert decided(rule(GOTO, to="one"), rule(DROP), one=()) == {ACCEPT}
    assert decided(rule(GOTO, to="one"), rule(ACCEPT), one=(rule(DROP),)) == {DROP}
    assert decided(rule(GOTO, UNKNOWN, to="one"), rule(DROP), one=()) == {ACCEPT, DROP}


def test_chains_that_are_missing_or_go_in_circles_are_not_known():
    assert decided(rule(JUMP, to="nowhere")) == {OTHER, ACCEPT}
    assert decided(rule(JUMP, to="one"), one=(rule(JUMP, to="one"),)) == {OTHER, ACCEPT}
    assert decided(rule(JUMP, to="one"), policy=DROP) == {OTHER, DROP}  # of another table


def test_chains_are_found_by_their_hook():
    chain = Chain("ip", "nat", "POSTROUTING", (rule(NAT),), "postrouting", "nat")
    assert Ruleset("nft", (chain,)).entered_at("postrouting", "nat") == [chain]
    assert Ruleset("nft", (chain,)).entered_at("forward", "filter") == []
    assert outcomes(Ruleset("nft", (chain,)), chain, PACKET) == {NAT}


def test_many_jumps_take_no_time():
    names = [f"c{number}" for number in range(30)]
    jumps = {name: (rule(JUMP, UNKNOWN, to=to),) * 30 for name, to in pairwise([*names, "end"])}
    assert decided(rule(JUMP, to="c0"), end=(), **jumps) == {OTHER, ACCEPT}
