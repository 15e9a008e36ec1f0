"""What nft 1.0.6 and iptables 1.8.9 write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.check.filter_lists import parse_iptables, parse_nft
from cuberouted.check.packet_filter import UNKNOWN, Chain, Field, Match, Rule, Verdict, range_of
from cuberouted.model import Prefix

META = {"iifname": Field.IN, "oif": Field.OUT}


def nets(*networks):
    return tuple(range_of(Prefix.parse(network)) for network in networks)


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


def saddr(right, op="=="):
    return match({"payload": {"protocol": "ip", "field": "saddr"}}, right, op)


def oif(right, op="=="):
    return match({"meta": {"key": "oifname"}}, right, op)


def state(right, op="in"):
    return match({"ct": {"key": "state"}}, right, op)


COUNTER = {"counter": {"packets": 0, "bytes": 0}}
MASQUERADE = {"masquerade": None}


def rules_of(*expr):
    place = {"family": "ip", "table": "nat"}
    chain = {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}
    items = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "ip", "name": "nat", "handle": 1}},
        {"chain": place | {"name": "POST", "handle": 1} | chain},
        {"rule": place | {"chain": "POST", "handle": 3, "expr": list(expr)}},
    ]
    found = parse_nft(json.dumps({"nftables": items}))
    assert found is not None
    (only,) = found.chains
    assert (only.family, only.table, only.name) == ("ip", "nat", "POST")
    assert (only.hook, only.kind, only.policy) == ("postrouting", "nat", Verdict.ACCEPT)
    return list(only.rules)


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        (oif("tun1"), Match(Field.OUT, ("tun1",))),
        (oif("tun1", "!="), Match(Field.OUT, ("tun1",), negated=True)),
        (oif({"set": ["tun0", "tun*"]}), Match(Field.OUT, ("tun0", "tun*"))),
        (oif("@names"), UNKNOWN),
        (oif("tun1", "<"), UNKNOWN),
        (match({"meta": {"key": "iif"}}, "lo"), Match(Field.IN, ("lo",))),
        (match({"meta": {"key": "mark"}}, 7), UNKNOWN),
        (saddr("10.0.0.1"), Match(Field.SOURCE, nets("10.0.0.1/32"))),
        (
            saddr({"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="),
            Match(Field.SOURCE, nets("10.0.0.0/8"), negated=True),
        ),
        (
            saddr({"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "192.168.0.1"]}),
            Match(Field.SOURCE, nets("10.0.0.0/8", "192.168.0.1/32")),
        ),
        (
            saddr({"range": ["192.168.1.0", "192.168.1.255"]}),
            Match(Field.SOURCE, nets("192.168.1.0/24")),
        ),
        (
            saddr({"elem": {"val": "10.0.0.1", "timeout": 9}}),
            Match(Field.SOURCE, nets("10.0.0.1/32")),
        ),
        (saddr("@clients"), UNKNOWN),
        (saddr("example.org"), UNKNOWN),
        (saddr({"&": ["10.0.0.0", 7]}), UNKNOWN),
        (state(["established", "related"]), Match(Field.STATE, ("established", "related"))),
        (match({"concat": [1, 2]}, {"set": []}), UNKNOWN),
        (match("x", "y"), UNKNOWN),
    ],
)
def test_conditions_of_nftables(expr, found):
    assert rules_of(expr, COUNTER, MASQUERADE) == [Rule((found,), Verdict.NAT)]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ({"accept": None}, Rule((), Verdict.ACCEPT)),
        ({"reject": {"type": "icmpx"}}, Rule((), Verdict.DROP)),
        ({"jump": {"target": "one"}}, Rule((), Verdict.JUMP, "one")),
        ({"goto": {"target": "one"}}, Rule((), Verdict.GOTO, "one")),
        ({"snat": {"addr": "192.0.2.1"}}, Rule((), Verdict.NAT)),
        ({"masquerade": {"flags": "random"}}, Rule((), Verdict.NAT)),
        ({"queue": {"num": 1}}, Rule((UNKNOWN,), Verdict.OTHER)),
        ({"xt": {"type": "target", "name": "MASQUERADE"}}, Rule((), Verdict.NAT)),
        ({"xt": {"type": "target", "name": "TPROXY"}}, Rule((), Verdict.OTHER)),
    ],
)
def test_verdicts_of_nftables(statement, rule):
    assert rules_of({"log": None}, statement) == [rule]


def test_what_has_no_effect_is_no_rule():
    assert rules_of(COUNTER, {"log": {"prefix": "x"}}) == []
    assert rules_of({"xt": {"type": "target", "name": "LOG"}}) == []


def test_a_match_of_iptables_nft_is_not_known():
    statement = {"xt": {"type": "match", "name": "comment"}}
    assert rules_of(statement, {"accept": None}) == [Rule((UNKNOWN,), Verdict.ACCEPT)]
    assert rules_of({"xt": None}, {"accept": None}) == [Rule((UNKNOWN,), Verdict.ACCEPT)]


def test_a_map_of_verdicts_is_a_rule_for_each_element():
    pairs = [["established", {"accept": None}], ["new", {"jump": {"target": "one"}}]]
    found = rules_of({"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": pairs}}})
    assert found == [
        Rule((Match(Field.STATE, ("established",)),), Verdict.ACCEPT),
        Rule((Match(Field.STATE, ("new",)),), Verdict.JUMP, "one"),
    ]
    named = rules_of({"vmap": {"key": {"meta": {"key": "oifname"}}, "data": "@map"}})
    assert named == [Rule((UNKNOWN,), Verdict.OTHER)]


@pytest.mark.parametrize("output", ["", "nonsense", "[]", "{}", '{"nftables": 1}'])
def test_what_is_no_listing_is_told(output):
    assert parse_nft(output) is None


def test_a_policy_and_a_chain_that_is_not_entered_by_itself():
    chains = [
        {"chain": {"family": "ip", "table": "f", "name": "a", "hook": "forward", "policy": "drop"}},
        {"chain": {"family": "ip", "table": "f", "name": "b", "handle": 2}},
        {"chain": None},
        1,
    ]
    found = parse_nft(json.dumps({"nftables": chains}))
    assert found is not None
    assert found.chains == (
        Chain("ip", "f", "a", (), "forward", "", Verdict.DROP),
        Chain("ip", "f", "b"),
    )


LISTED = """\
-P PREROUTING ACCEPT
-P POSTROUTING ACCEPT
-N DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING ! -d 10.100.100.0/24 -o eth+ -m conntrack --ctstate NEW -j SNAT --to-source 192.0.2.1
-A POSTROUTING -m comment --comment "a b" -p udp -j DOCKER
-A DOCKER -i docker0 -j LOG --log-prefix "x y"
-A DOCKER -g OTHER
-A DOCKER -s example.org
-A DOCKER "unbalanced
"""


def test_chains_of_iptables():
    found = parse_iptables("iptables-legacy", "ip", "nat", LISTED)
    _, post, docker = found.chains
    assert (post.hook, post.kind, docker.hook) == ("postrouting", "nat", "")
    assert post.rules == (
        Rule(
            (
                Match(Field.SOURCE, nets("172.17.0.0/16")),
                Match(Field.OUT, ("docker0",), negated=True),
            ),
            Verdict.NAT,
        ),
        Rule(
            (
                Match(Field.TARGET, nets("10.100.100.0/24"), negated=True),
                Match(Field.OUT, ("eth*",)),
                Match(Field.STATE, ("new",)),
            ),
            Verdict.NAT,
        ),
        Rule((UNKNOWN,), Verdict.JUMP, "DOCKER"),
    )
    assert [rule.verdict for rule in docker.rules] == [Verdict.NONE, Verdict.GOTO, Verdict.NONE]
    (forward,) = parse_iptables("iptables-legacy", "ip", "filter", "-P FORWARD DROP\n").chains
    assert (forward.hook, forward.policy) == ("forward", Verdict.DROP)


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["accept", "ip", "10.0.0.1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "match",
                    "left",
                    "right",
                    "meta",
                    "key",
                    "set",
                    "vmap",
                    "data",
                    "xt",
                    "range",
                    "elem",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(st.lists(values, max_size=3), st.text(max_size=80))
def test_odd_listings_never_stop_it(expr, text):
    rules_of(*expr)
    parse_iptables("iptables-legacy", "ip", "nat", f"-A POSTROUTING {text}\n{text}")
