from __future__ import annotations

import pytest

from cuberouted.check.facts import FilterChain
from tests.fakes.samples import LINKS, THREE_SERVERS, TUN0, TUN1, TUN2, config, link
from tests.unit.check.hosts import OK, PROBLEM, UNSEEN, WARNING, bad, cures, found, sysctls

ALL = "net/ipv4/ip_forward"
IPV4 = "net/ipv4/conf/{}/forwarding"
IPV6 = "net/ipv6/conf/all/forwarding"
FORCED = "net/ipv6/conf/{}/force_forwarding"
INTERFACES = ("tun0", "tun1", "tun2")
ONLY_IPV4 = (link("tun0", "10.100.100.101/24"), TUN1, TUN2)


def with_sysctls(**other):
    return sysctls(config(THREE_SERVERS), **other)


@pytest.mark.parametrize("name", INTERFACES)
@pytest.mark.parametrize("value", ["0", None])
def test_each_interface_has_to_forward_ipv4(name, value):
    off = with_sysctls(**{IPV4.format(name): value})
    text = f"is off for what arrives on {name}"
    assert bad(sysctls=off) == {"IPv4 forwarding": (PROBLEM, text)}
    command = f"sysctl -w net/ipv4/conf/{name}/forwarding=1"
    assert cures(sysctls=off) == {"IPv4 forwarding": ("", command)}


def test_ip_forward_says_nothing_but_can_be_changed_where_it_is_off():
    other = {IPV4.format(name): "0" for name in INTERFACES}
    _, text = bad(sysctls=with_sysctls(**other))["IPv4 forwarding"]
    assert text == "is off for what arrives on tun0, tun1, tun2"
    advice, _ = cures(sysctls=with_sysctls(**other))["IPv4 forwarding"]
    assert advice == ""  # writing the same value sets no interface
    advice, command = cures(sysctls=with_sysctls(**other, **{ALL: "0"}))["IPv4 forwarding"]
    assert advice == "for every interface: sysctl -w net/ipv4/ip_forward=1"
    assert command.split() == [
        "sysctl",
        "-w",
        *(f"net/ipv4/conf/{name}/forwarding=1" for name in INTERFACES),
    ]
    assert bad(sysctls=with_sysctls(**{ALL: "0", IPV4.format("eth0"): "0"})) == {}


def test_an_interface_that_comes_later_gets_the_default():
    off = with_sysctls(**{IPV4.format("tun2"): None, IPV4.format("default"): "0"})
    level, text = bad(links=(TUN0, TUN1), sysctls=off)["IPv4 forwarding"]
    assert level is PROBLEM
    assert text == "is off for what arrives on interfaces that come later"
    _, command = cures(links=(TUN0, TUN1), sysctls=off)["IPv4 forwarding"]
    assert command == "sysctl -w net/ipv4/conf/default/forwarding=1"
    on = with_sysctls(**{IPV4.format("tun2"): None})
    assert bad(links=(TUN0, TUN1), sysctls=on).keys() == {"tun2"}


def test_ipv6_is_forwarded_for_all_interfaces_or_forced_for_each():
    one_forced = with_sysctls(**{IPV6: "0", FORCED.format("tun2"): "0"})
    text = "is off for what arrives on tun2"
    assert bad(sysctls=one_forced) == {"IPv6 forwarding": (PROBLEM, text)}
    advice = "for these interfaces alone: sysctl -w net/ipv6/conf/tun2/force_forwarding=1"
    command = "sysctl -w net/ipv6/conf/all/forwarding=1"
    assert cures(sysctls=one_forced) == {"IPv6 forwarding": (advice, command)}
    assert bad(sysctls=with_sysctls(**{IPV6: "0"})) == {}
    not_forced = {FORCED.format(name): "0" for name in INTERFACES}
    assert bad(sysctls=with_sysctls(**not_forced)) == {}


def test_before_linux_6_17_ipv6_cannot_be_forced():
    absent = {FORCED.format(name): None for name in (*INTERFACES, "default")}
    off = with_sysctls(**{IPV6: "0"}, **absent)
    assert bad(sysctls=off)["IPv6 forwarding"][0] is PROBLEM
    cure = ("", "sysctl -w net/ipv6/conf/all/forwarding=1")
    assert cures(sysctls=off) == {"IPv6 forwarding": cure}


def test_only_families_that_are_served_have_to_be_forwarded():
    forced = {FORCED.format(name): "0" for name in INTERFACES}
    assert bad(links=ONLY_IPV4, sysctls=with_sysctls(**{IPV6: "0"}, **forced)) == {}


def test_before_the_data_interface_is_there_the_families_of_the_peers_have_to_be_forwarded():
    off = with_sysctls(**{IPV4.format("default"): "0", IPV6: "0", FORCED.format("default"): "0"})
    chain = FilterChain("ip", "filter", "FORWARD", "policy drop")
    said = bad(links=(TUN1, TUN2), sysctls=off, filters=(chain,))
    assert said.keys() == {"tun0", "IPv4 forwarding", "firewall"}
    ipv6 = "[peer B]\nmgmt_interface = tun1\nmgmt_ip = 10.200.200.5\ndata_ip = fd00:1::102\n"
    said = bad(ipv6, links=(TUN1,), sysctls=off)
    assert said.keys() == {"tun0", "IPv4 forwarding", "IPv6 forwarding"}


@pytest.mark.parametrize(
    ("everywhere", "here", "strict"),
    [
        ("0", "0", False),
        ("0", "1", True),
        ("1", "0", True),
        ("1", "2", False),
        ("2", "1", False),
        ("2", "2", False),
        (None, None, False),
    ],
)
def test_a_strict_reverse_path_filter_is_doubtful(everywhere, here, strict):
    values = {f"net/ipv4/conf/{name}/rp_filter": here for name in INTERFACES}
    values["net/ipv4/conf/all/rp_filter"] = everywhere
    said = bad(sysctls=with_sysctls(**values))
    doubtful = (WARNING, "the reverse path filter is strict")
    assert said == (dict.fromkeys(INTERFACES, doubtful) if strict else {})
    if strict:
        command = "sysctl -w net/ipv4/conf/tun1/rp_filter=2"
        assert cures(sysctls=with_sysctls(**values))["tun1"] == ("", command)


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
    chain = FilterChain(family, "filter", "FORWARD", "policy drop")
    said = bad(links=links, filters=(chain,))
    text = f"chain FORWARD of table {family} filter drops what no rule accepts (policy drop)"
    assert said == ({"firewall": (UNSEEN, text)} if told else {})
    advice = "make sure that it accepts tun0 -> tun0, tun0 <-> tun1, tun0 <-> tun2"
    assert cures(links=links, filters=(chain,)) == ({"firewall": (advice, "")} if told else {})


def test_with_two_openvpns_each_pair_of_interfaces_is_named():
    several = "[openvpn one]\n[openvpn two]\nmgmt_port = 1\ndata_interface = eth0\n"
    chain = FilterChain("inet", "filter", "forward", "policy drop")
    both = {"one": None, "two": None}
    advice, _ = cures(several + THREE_SERVERS, openvpn=both, filters=(chain,))["firewall"]
    assert advice.endswith(
        "accepts tun0 -> tun0, eth0 -> eth0, tun0 <-> eth0, tun0 <-> tun1, tun0 <-> tun2,"
        " eth0 <-> tun1, eth0 <-> tun2"
    )


def test_who_may_not_see_the_filters_is_told_so():
    text = "only root sees whether it drops what is forwarded"
    assert bad(filters=None) == {"firewall": (UNSEEN, text)}


def test_a_filter_that_nobody_could_look_at_is_told():
    assert bad(filters_unseen=("install nft",)) == {"firewall": (UNSEEN, "install nft")}


def test_a_networkd_that_removes_foreign_routes_is_doubtful():
    level, text = bad(networkd=("ManageForeignRoutes", "ManageForeignNextHops"))["systemd-networkd"]
    assert level is WARNING
    assert text == "does not have ManageForeignRoutes=no, ManageForeignNextHops=no"
    assert {f.level for f in found(networkd=())} == {OK}


def test_a_tunnel_that_an_old_networkd_manages_is_doubtful():
    said = bad(networkd=(), networkd_links=frozenset({"tun2", "tun0", "eth0"}))
    assert said.keys() == {"tun2"}
    level, text = said["tun2"]
    assert level is WARNING
    assert "nexthop objects there" in text
