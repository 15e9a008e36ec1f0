from __future__ import annotations

import pytest

from cuberouted.check.facts import Device
from tests.fakes.samples import THREE_SERVERS, TUN0, TUN1, TUN2, config, link
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
    said = bad(links=(TUN1, TUN2), sysctls=off)
    assert said.keys() == {"tun0", "IPv4 forwarding"}
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


def devices(data=1500, **tunnels):
    sizes = {"tun1": 1500, "tun2": 1500} | tunnels
    return {"tun0": Device("tun", data)} | {n: Device("tun", mtu) for n, mtu in sizes.items()}


def test_a_tunnel_has_to_carry_what_clients_send():
    assert bad(devices=devices()) == {}
    assert bad(devices=devices(data=1420, tun1=1420)) == {}
    said = bad(devices=devices(tun1=1420))
    text = "carries packets of at most 1420 bytes, and clients send up to 1500"
    assert said == {"tun1": (WARNING, text)}
    advice, command = cures(devices=devices(tun1=1420))["tun1"]
    assert advice.startswith("set `tun-mtu 1420` in OpenVPN's configuration, or make the tunnel's")
    assert command == "ip link set dev tun1 mtu 1500"


def test_a_tunnel_that_would_lose_larger_packets_is_not_made_larger():
    wireguard = devices() | {"tun1": Device("wireguard", 1420)}
    advice = "set `tun-mtu 1420` in OpenVPN's configuration"
    assert cures(devices=wireguard) == {"tun1": (advice, "")}


def test_where_no_size_is_known_nothing_is_said_of_it():
    assert "tunnel-mtu-small" not in [f.id for f in found(devices={})]
    only = {"tun0": Device("tun", 1500)}
    assert "tunnel-mtu-small" not in [f.id for f in found(devices=only)]


def test_a_kernel_without_nexthop_objects_is_a_problem():
    text = "Linux 5.2.0 has no nexthop objects"
    assert bad(nexthops=text) == {"kernel": (PROBLEM, text)}


def test_an_frr_that_makes_nexthop_objects_is_doubtful():
    assert bad(zebra=True) == {"FRR": (WARNING, "zebra runs and makes nexthop objects")}
    assert cures(zebra=True)["FRR"][1].endswith("-c 'no zebra nexthop kernel enable'")
    assert bad(zebra=False) == bad(zebra=None) == {}
    assert "frr-nexthops" in [f.id for f in found(zebra=False)]


def test_on_amazon_the_source_check_cannot_be_seen():
    level, text = bad(instance="i-0123456789abcdef0")["Amazon EC2"]
    assert level is UNSEEN
    assert "is not seen from here" in text
    _, command = cures(instance="i-0123456789abcdef0")["Amazon EC2"]
    assert command.endswith("--no-source-dest-check --instance-id i-0123456789abcdef0")
    assert cures(instance="")["Amazon EC2"][1] == ""
