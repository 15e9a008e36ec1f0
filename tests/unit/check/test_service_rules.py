"""What `check` says of shared service addresses, and of the state directory."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from cuberouted.check.facts import ClientFiles, ServerFacts
from tests.fakes.samples import LINKS, THREE_SERVERS, link, packed
from tests.unit.check.hosts import OK, PROBLEM, UNSEEN, WARNING, found
from tests.unit.check.test_server_rules import options

IDS = {
    "service-given-to-clients",
    "service-on-interface",
    "service-outside-networks",
    "service-command-unusable",
}
COMMANDS = """\
check = /usr/local/bin/is-master --quiet
fence = /usr/local/bin/power-off
on_acquire = /usr/local/bin/role start
on_release = /usr/local/bin/role stop
"""


def of_service(address, *lines, links=LINKS, clients=None, keys="", more="", **other):
    """What is found of a service with *address*, of an OpenVPN with these *lines*."""
    text = f"{keys}\n{THREE_SERVERS}\n[service db]\naddress = {address}\n{more}"
    servers = {"": ServerFacts(options(*lines), clients)}
    findings = found(text, links=links, servers=servers, **other)
    return {f.id: (f.level, f.subject, f.text) for f in findings if f.id in IDS}


def bad(*args, **other):
    """The findings that are not all right: id, level and text."""
    results = of_service(*args, **other).items()
    return {id_: (level, text) for id_, (level, _, text) in results if level is not OK}


def test_an_address_of_the_clients_subnet_that_nobody_else_has_is_well():
    results = of_service("10.100.100.200", more=COMMANDS)
    assert results.keys() == IDS - {"service-command-unusable"}
    assert {level for level, _, _ in results.values()} == {OK}
    assert {subject for _, subject, _ in results.values()} == {"service db"}


def test_without_a_service_nothing_is_said_of_any():
    assert IDS.isdisjoint(finding.id for finding in found())


@pytest.mark.parametrize(
    ("address", "given"),
    [
        ("10.100.100.49", False),
        ("10.100.100.50", True),
        ("10.100.100.99", True),
        ("10.100.100.100", False),
    ],
)
def test_an_address_in_openvpn_s_pool_is_a_problem(address, given):
    results = bad(address, "ifconfig-pool 10.100.100.50 10.100.100.99 255.255.255.0")
    text = f"its address {address} is in the pool 10.100.100.50 to 10.100.100.99 of openvpn"
    assert results == ({"service-given-to-clients": (PROBLEM, text)} if given else {})


def test_an_ipv6_address_is_in_no_pool_of_ipv4():
    assert bad("fd00:1::200", "server 10.100.100.0 255.255.255.0") == {}


@pytest.mark.parametrize("address", ["10.100.100.11", "fd00:1::11"])
def test_a_fixed_address_of_a_client_is_a_problem(address):
    files = ClientFiles(
        Path("/etc/openvpn/ccd"),
        frozenset({"host1"}),
        frozenset({"host1"}),
        frozenset({"host1"}),
        {packed("10.100.100.11"): "host1", packed("fd00:1::11"): "host1"},
    )
    text = f"its address {address} is that of client host1 in /etc/openvpn/ccd of openvpn"
    assert bad(address, clients=files) == {"service-given-to-clients": (PROBLEM, text)}
    assert bad("10.100.100.12", clients=files) == {}


def test_of_an_openvpn_that_is_not_known_nothing_is_said():
    text = f"{THREE_SERVERS}\n[service db]\naddress = 10.100.100.200\n"
    findings = found(text, servers={"": ServerFacts("no configuration was found")})
    assert "service-given-to-clients" not in {finding.id for finding in findings}


def test_an_address_on_another_interface_is_a_problem():
    links = (*LINKS, link("eth1", "192.0.2.9/24", "10.100.100.200/32"))
    text = "its address 10.100.100.200 is on eth1"
    assert bad("10.100.100.200", links=links) == {"service-on-interface": (PROBLEM, text)}


def test_on_service_interface_or_with_our_mark_the_address_is_ours():
    eth1 = link("eth1", "10.100.100.200/32")
    marked = attrs.evolve(eth1, ours=frozenset({packed("10.100.100.200")}))
    assert bad("10.100.100.200", links=(*LINKS, marked)) == {}
    named = attrs.evolve(eth1, altnames=("services",))
    keys = "service_interface = services"
    assert bad("10.100.100.200", links=(*LINKS, named), keys=keys) == {}


def test_an_address_outside_the_networks_is_refused_by_others():
    text = "its address 10.55.0.1 is outside allowed_networks"
    assert bad("10.55.0.1") == {"service-outside-networks": (WARNING, text)}
    assert bad("10.55.0.1", keys="allowed_networks = 10.55.0.0/24") == {}


@pytest.mark.parametrize("address", ["10.100.100.0", "10.100.100.255"])
def test_the_network_and_the_broadcast_address_are_no_hosts(address):
    text = f"its address {address} is the network or broadcast address of 10.100.100.0/24"
    assert bad(address) == {"service-outside-networks": (PROBLEM, text)}


def test_commands_that_cannot_be_run_are_told():
    role, power_off = Path("/usr/local/bin/role"), Path("/usr/local/bin/power-off")
    text = f"{THREE_SERVERS}\n[service db]\naddress = 10.100.100.200\n{COMMANDS}"
    findings = found(
        text,
        unreadable={role: "cannot be executed: No such file or directory"},
        unjudged={power_off: "this user may not look at it"},
    )
    assert {f.subject: (f.level, f.text) for f in findings if f.level is not OK} == {
        f"service db, fence {power_off}": (UNSEEN, "this user may not look at it"),
        f"service db, on_acquire {role}": (
            PROBLEM,
            "cannot be executed: No such file or directory",
        ),
        f"service db, on_release {role}": (
            PROBLEM,
            "cannot be executed: No such file or directory",
        ),
    }


def test_a_state_directory_that_cannot_be_written_to_is_told():
    why = "cannot be written to: Permission denied"
    findings = found(unreadable={Path("/var/lib/cuberouted"): why})
    assert [(f.id, f.level, f.text) for f in findings if f.level is not OK] == [
        ("state-unwritable", WARNING, why)
    ]
