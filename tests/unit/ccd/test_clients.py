"""From a hosts file to clients, and what is wrong with it."""

from __future__ import annotations

from ipaddress import ip_network

import attrs
import pytest

from cuberouted.ccd.clients import select_clients
from cuberouted.ccd.hosts import parse_hosts
from tests.unit.ccd.samples import HOSTS, NET30, SUBNETS, made, mistakes, select

DEBIAN = """\
127.0.0.1\tlocalhost
127.0.1.1\tvpnsrvA.example.org vpnsrvA
::1     localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
fe80::1%eth0 router
192.168.1.10 printer   # not in the VPN

10.100.100.1   vpnsrvA
10.100.100.101 vpnsrvB.vpn.example.org
10.100.100.201 whatever-it-is-called
10.100.100.10  host1 www  # the web server
fd00:100::10   host1
10.100.100.14  host2
"""


def test_hosts_in_the_subnet_are_clients_and_servers_are_not():
    assert made(DEBIAN) == {
        "host1": [
            "ifconfig-push 10.100.100.10 255.255.255.0",
            "ifconfig-ipv6-push fd00:100::10/64",
        ],
        "host2": ["ifconfig-push 10.100.100.14 255.255.255.0"],
    }


def test_what_every_hosts_file_has_is_not_mentioned():
    assert [str(note) for note in select(DEBIAN).outside.values()] == [
        "/etc/hosts:7: printer: 192.168.1.10 is outside 10.100.100.0/24 and fd00:100::/64"
    ]


def test_other_addresses_of_servers_are_no_clients():
    text = "10.100.100.201 vpn3.org\nfd00:100::201 vpn3.org\nfd00:100::101 vpnsrvB.org\n"
    assert made(text) == {}


def test_a_server_whose_address_is_not_configured_is_known_by_its_name():
    assert made("10.100.100.51 vpnsrvD\n") == {}
    (found,) = mistakes("10.100.100.51 host1\n10.100.100.51 vpnsrvD\n")
    assert found.startswith("/etc/hosts:1: host1: 10.100.100.51 is the address of server vpnsrvD:")


def test_ipv4_comes_first_whatever_the_order_of_the_lines():
    assert made("fd00:100::10 host1\n10.100.100.10 host1\n") == made(
        "10.100.100.10 host1\nfd00:100::10 host1\n"
    )


def test_the_first_name_counts_as_it_is_written():
    assert list(made("10.100.100.10 Host1.vpn.example.org host1\n")) == ["Host1.vpn.example.org"]
    assert list(made("10.100.100.10 Host1.vpn.example.org other\n", short=True)) == ["Host1"]


def test_net30():
    assert made("10.100.100.10 host1\n10.100.100.13 host2\nfd00:100::10 host1\n", NET30) == {
        "host1": [
            "ifconfig-push 10.100.100.10 10.100.100.9",
            "ifconfig-ipv6-push fd00:100::10/64",
        ],
        "host2": ["ifconfig-push 10.100.100.13 10.100.100.14"],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.100.100 host1", "'10.100.100' is not an IP address"),
        ("10.100.100.010 host1", "'10.100.100.010' is not an IP address"),
        ("10.100.100.10", "10.100.100.10 has no name"),
        ("10.100.100.0 host1", "host1: 10.100.100.0 is the first or last address of"),
        ("10.100.100.255 host1", "host1: 10.100.100.255 is the first or last address of"),
        ("fd00:100:: host1", "host1: fd00:100:: is the address of fd00:100::/64 itself"),
        ("fd00:100::10%eth0 host1", "host1: fd00:100::10%eth0 has an interface"),
        ("10.100.100.101 host1", "host1: 10.100.100.101 is the address of server vpnsrvB"),
        ("10.100.100.10 DEFAULT", "DEFAULT: is the file for clients that have none"),
        ("10.100.100.10 " + "x" * 65, "is longer than a common name"),
    ],
)
def test_mistakes(text, expected):
    (found,) = mistakes(f"# comment\n{text}\n")
    assert found.startswith("/etc/hosts:2: ")
    assert expected in found


@pytest.mark.parametrize(
    "name",
    ["..", ".", ".host1", "-host1", "a/b", "/etc/passwd", "*", "*.example.org", "a\\b", "jürg",
     "a,b", "a:b", "host\x1b[2J", "host\x7f"],
)  # fmt: skip
def test_names_that_are_no_file_names(name):
    (found,) = mistakes(f"10.100.100.10 {name}\n")
    assert found.startswith("/etc/hosts:1: ")
    assert "cannot be the name of a client's file" in found
    assert found.isprintable()


@pytest.mark.parametrize("name", ["host1", "anna@example.org", "a_b-c.d", "1", "_", "x" * 64])
def test_names_that_are(name):
    assert list(made(f"10.100.100.10 {name}\n")) == [name]


def test_a_name_that_is_no_text_is_a_mistake_in_the_subnet_only():
    hosts = parse_hosts(b"10.0.0.1 \xe9\n10.100.100.10 \xe9\n", HOSTS)
    clients = select_clients(hosts, HOSTS, SUBNETS, short=False)
    assert [note.line for note in clients.mistakes] == [2]
    assert str(clients.mistakes[0]).isascii()


def test_duplicates_name_both_lines():
    text = "10.100.100.10 host1\n10.100.100.10 host2\n10.100.100.11 host1\n10.100.100.10 host1\n"
    assert mistakes(text) == [
        "/etc/hosts:2: host2: 10.100.100.10 is the address of host1 in line 1, too",
        "/etc/hosts:3: host1: has 10.100.100.10 in line 1, and 10.100.100.11 here",
        "/etc/hosts:4: host1: 10.100.100.10 is the address of host1 in line 1, too",
    ]


def test_short_names_that_are_the_same_are_duplicates():
    text = "10.100.100.10 host1.a.org\n10.100.100.11 host1.b.org\n"
    assert mistakes(text) == []
    assert len(mistakes(text, short=True)) == 1


def test_all_mistakes_are_found_at_once_in_the_order_of_their_lines():
    text = "10.100.100.0 a\nx y\n10.100.100.9 ../b\n10.100.100.9 c\n"
    assert [found.split(":")[1] for found in mistakes(text)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.100.100.12 host1", "which topology net30 cannot use"),
        ("10.100.100.15 host1", "which topology net30 cannot use"),
        ("10.100.100.2 host1", "in the /30 of a server's address, 10.100.100.1"),
        ("10.100.100.9 host1\n10.100.100.10 host2", "same /30 as 10.100.100.9 of host1 in line 1"),
    ],
)
def test_mistakes_of_net30(text, expected):
    (found,) = mistakes(text, NET30)
    assert expected in found


def test_what_no_server_would_share_is_a_mistake():
    allowed = attrs.evolve(SUBNETS, allowed=(ip_network("10.100.100.0/25"),))
    assert mistakes("10.100.100.10 host1\n", allowed) == []
    (found,) = mistakes("10.100.100.130 host1\n", allowed)
    assert "is not in allowed_networks" in found
