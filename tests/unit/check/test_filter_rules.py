from __future__ import annotations

import pytest

from cuberouted.check.filter_lists import parse_iptables
from cuberouted.check.packet_filter import UNKNOWN, Chain, Field, Match, Rule, Ruleset, Verdict
from tests.fakes.samples import LINKS, THREE_SERVERS, TUN0, TUN1, TUN2, link
from tests.unit.check.hosts import OK, UNSEEN, WARNING, bad, cures, found

ONLY_IPV4 = (link("tun0", "10.100.100.101/24"), TUN1, TUN2)
ALL = "tun0 -> tun0, tun0 <-> tun1, tun0 <-> tun2"


def forward(*rules, family="ip", policy=Verdict.DROP):
    chain = Chain(family, "filter", "FORWARD", rules, "forward", "filter", policy)
    return (Ruleset("nft", (chain,)),)


def postrouting(*rules, family="ip"):
    chain = Chain(family, "nat", "POSTROUTING", rules, "postrouting", "nat")
    return (Ruleset("nft", (chain,)),)


def out(*names, negated=False):
    return Match(Field.OUT, names, negated)


def accept(*matches):
    return Rule(matches, Verdict.ACCEPT)


def masquerade(*matches):
    return Rule(matches, Verdict.NAT)


@pytest.mark.parametrize(
    ("links", "family", "told"),
    [
        (LINKS, "ip", True),
        (LINKS, "ip6", True),
        (LINKS, "inet", True),
        (ONLY_IPV4, "ip", True),
        (ONLY_IPV4, "ip6", False),
        (ONLY_IPV4, "inet", True),
        (LINKS, "bridge", False),
    ],
)
def test_a_chain_that_drops_what_we_forward_is_told_for_its_families(links, family, told):
    text = f"chain FORWARD of table {family} filter drops packets {ALL}"
    said = bad(links=links, filters=forward(family=family))
    assert said == ({"firewall": (WARNING, text)} if told else {})


def test_a_chain_that_accepts_it_is_all_right():
    between = Match(Field.IN, ("tun0", "tun1", "tun2")), out("tun*")
    assert bad(filters=forward(accept(*between))) == {}
    assert bad(filters=forward(policy=Verdict.ACCEPT)) == {}
    assert {f.level for f in found(filters=forward(accept()))} == {OK}


def test_a_chain_that_cannot_be_judged_is_told_as_such():
    text = f"chain FORWARD of table ip filter may drop packets {ALL}"
    assert bad(filters=forward(accept(UNKNOWN))) == {"firewall": (UNSEEN, text)}
    other = forward(Rule((), Verdict.OTHER), policy=Verdict.ACCEPT)
    assert bad(filters=other) == {"firewall": (UNSEEN, text)}


def test_what_is_dropped_is_named_and_the_rule_that_accepts_it():
    rules = accept(Match(Field.IN, ("tun0",)), out("tun0", "tun1"))
    _, text = bad(filters=forward(rules))["firewall"]
    assert text.endswith("drops packets tun0 <-> tun2, tun1 -> tun0")
    _, command = cures(filters=forward())["firewall"]
    names = '{ "tun0", "tun1", "tun2" }'
    assert command == (
        f"nft 'insert rule ip filter FORWARD iifname {names} oifname {names} accept'"
    )


def test_iptables_gets_a_rule_for_each_way():
    lists = parse_iptables("iptables-legacy", "ip", "filter", "-P FORWARD DROP\n")
    two = "[peer B]\nmgmt_interface = tun1\nmgmt_ip = 10.200.200.5\n"
    _, command = cures(two, filters=(lists,))["firewall"]
    assert command.split(" && ") == [
        "iptables-legacy -I FORWARD -i tun0 -o tun0 -j ACCEPT",
        "iptables-legacy -I FORWARD -i tun0 -o tun1 -j ACCEPT",
        "iptables-legacy -I FORWARD -i tun1 -o tun0 -j ACCEPT",
    ]


def test_with_two_openvpns_each_pair_of_interfaces_is_named():
    several = "[openvpn one]\n[openvpn two]\nmgmt_port = 1\ndata_interface = eth0\n"
    both = {"one": None, "two": None}
    _, text = bad(several + THREE_SERVERS, openvpn=both, filters=forward())["firewall"]
    assert text.endswith(
        "packets tun0 -> tun0, eth0 -> eth0, tun0 <-> eth0, tun0 <-> tun1, tun0 <-> tun2,"
        " eth0 <-> tun1, eth0 <-> tun2"
    )


def test_who_may_not_see_the_filters_is_told_so():
    text = "only root sees whether it drops what is forwarded"
    assert bad(filters=None) == {"firewall": (UNSEEN, text)}
    assert "nat-between-servers" not in [f.id for f in found(filters=None)]


def test_a_filter_that_nobody_could_look_at_is_told():
    assert bad(filters_unseen=("install nft",)) == {"firewall": (UNSEEN, "install nft")}


CLIENTS = Match(Field.SOURCE, ((10 << 24, (11 << 24) - 1),))


@pytest.mark.parametrize(
    "rule",
    [
        masquerade(out("eth0")),
        masquerade(CLIENTS, out("tun0", "tun1", "tun2", negated=True)),
        masquerade(CLIENTS, Match(Field.TARGET, ((10 << 24, (11 << 24) - 1),), negated=True)),
        masquerade(Match(Field.SOURCE, ((172 << 24, (173 << 24) - 1),))),
        masquerade(UNKNOWN),
        accept(),
    ],
)
def test_an_address_that_is_kept_or_may_be_is_no_finding(rule):
    assert bad(filters=postrouting(rule)) == {}


def test_masquerading_without_an_output_interface_is_doubtful():
    said = bad(links=ONLY_IPV4, filters=postrouting(masquerade(CLIENTS)))
    text = (
        "chain POSTROUTING of table ip nat rewrites the source address of packets tun0 <-> tun1,"
        " tun0 <-> tun2"
    )
    assert said == {"firewall": (WARNING, text)}
    _, command = cures(links=ONLY_IPV4, filters=postrouting(masquerade(CLIENTS)))["firewall"]
    network = "10.100.100.0/24"
    assert command == (
        f"nft 'insert rule ip nat POSTROUTING ip saddr {network} ip daddr {network} accept'"
    )
    ipv6 = cures(links=(TUN0, TUN1, TUN2), filters=postrouting(masquerade(), family="inet"))
    assert ipv6["firewall"][1].count("nft 'insert rule inet nat POSTROUTING") == 2
    assert "ip6 saddr fd00:1::/64 ip6 daddr fd00:1::/64 accept" in ipv6["firewall"][1]


def test_the_same_for_iptables():
    lists = parse_iptables(
        "iptables-legacy", "ip", "nat", "-A POSTROUTING -s 10.100.100.0/24 -j MASQUERADE\n"
    )
    assert cures(filters=(lists,))["firewall"][1] == (
        "iptables-legacy -t nat -I POSTROUTING -s 10.100.100.0/24 -d 10.100.100.0/24 -j ACCEPT"
    )
