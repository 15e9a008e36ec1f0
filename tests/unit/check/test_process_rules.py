from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from cuberouted.check.facts import ClientFiles, ServerFacts
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from tests.fakes.samples import THREE_SERVERS
from tests.unit.check import hosts
from tests.unit.check.hosts import OK, WARNING
from tests.unit.daemon.test_host import TWO_OPENVPNS

SUBNET = "ifconfig 10.100.100.1 255.255.255.0\n"
IDS = ("pools-shared", "fixed-addresses-differ")


def server(text: str, **addresses: str) -> ServerFacts:
    """A process with this configuration, and the fixed address of each client."""
    names = frozenset(addresses)
    fixed = {ip_address(address).packed: name for name, address in addresses.items()}
    clients = ClientFiles(Path("/etc/openvpn/ccd"), names, names, names, fixed)
    options = OpenVPNOptions(tuple(parse_file(text.encode())), Path("/etc/openvpn"))
    return ServerFacts(options, clients if names else None)


def found(udp: ServerFacts, tcp: ServerFacts) -> dict[str, list[tuple[object, str, str]]]:
    """Level, subject and text of what is found of the two, by id."""
    findings = hosts.found(TWO_OPENVPNS + THREE_SERVERS, servers={"udp": udp, "tcp": tcp})
    return {
        id_: [(f.level, f.subject, f.text) for f in findings if f.id == id_]
        for id_ in IDS
        if any(f.id == id_ for f in findings)
    }


def test_one_directory_of_clients_and_no_pools_are_all_right() -> None:
    both = server(SUBNET, host1="10.100.100.10", host2="10.100.100.14")
    levels = {id_: [level for level, _, _ in all_] for id_, all_ in found(both, both).items()}
    assert levels == {"pools-shared": [OK], "fixed-addresses-differ": [OK]}


@pytest.mark.parametrize(
    ("udp", "tcp", "shared"),
    [
        (
            "ifconfig-pool 10.100.100.2 10.100.100.9",
            "ifconfig-pool 10.100.100.10 10.100.100.99",
            "",
        ),
        ("ifconfig-pool 10.100.100.10 10.100.100.99", "", ""),
        (
            "ifconfig-pool 10.100.100.10 10.100.100.99",
            "ifconfig-pool 10.100.100.99 10.100.100.199",
            "10.100.100.99 to 10.100.100.99",
        ),
        (
            "server 10.100.100.0 255.255.255.0",
            "server 10.100.100.0 255.255.255.0",
            "10.100.100.2 to 10.100.100.254",
        ),
    ],
)
def test_two_processes_give_no_address_to_two_clients(udp: str, tcp: str, shared: str) -> None:
    [(level, subject, text)] = found(server(SUBNET + udp), server(SUBNET + tcp))["pools-shared"]
    assert subject == "openvpn tcp"
    if shared:
        assert level is WARNING
        assert text == f"gives clients addresses from {shared}, and so does openvpn udp"
    else:
        assert level is OK


def test_a_fixed_address_is_in_no_pool_of_the_other() -> None:
    pool = "ifconfig-pool 10.100.100.10 10.100.100.99"
    fixed = {f"host{n}": f"10.100.100.{n}" for n in (9, 10, 12, 14, 99, 100)}
    for udp, tcp in ((SUBNET, SUBNET + pool), (SUBNET + pool, SUBNET)):
        sides = (
            server(udp, **fixed if not udp.endswith(pool) else {}),
            server(tcp, **fixed if not tcp.endswith(pool) else {}),
        )
        [(level, subject, text)] = found(*sides)["pools-shared"]
        assert (level, subject) == (WARNING, "openvpn tcp")
        assert "host10, host12, host14, ... have fixed addresses from 10.100.100.10" in text
    one = found(server(SUBNET, host10="10.100.100.10"), server(SUBNET + pool))["pools-shared"]
    assert "openvpn tcp: host10 has a fixed address from" in one[0][2]


def test_a_client_has_one_address() -> None:
    udp = server(SUBNET, host1="10.100.100.10", host2="10.100.100.14", host3="10.100.100.18")
    tcp = server(SUBNET, host1="10.100.100.10", host2="10.100.100.15", host4="10.100.100.18")
    [(level, _, text)] = found(udp, tcp)["fixed-addresses-differ"]
    assert level is WARNING
    assert text == "gives host2 10.100.100.15, and openvpn udp gives it 10.100.100.14"
    more = server(SUBNET, host1="10.100.100.11", host2="10.100.100.15")
    [(_, _, text)] = found(udp, more)["fixed-addresses-differ"]
    assert text.endswith("gives it 10.100.100.10; 2 clients have such addresses")


def test_processes_with_subnets_of_their_own_give_addresses_of_their_own() -> None:
    udp = server(SUBNET, host1="10.100.100.10")
    tcp = server(SUBNET.replace("10.100.100", "10.101.0"), host1="10.101.0.10")
    assert all(level is OK for all_ in found(udp, tcp).values() for level, _, _ in all_)
    assert "fixed-addresses-differ" not in found(udp, tcp)  # which says that they are the same


def test_nothing_is_said_of_a_process_whose_configuration_is_not_known() -> None:
    assert found(server(SUBNET), ServerFacts("no configuration was found")) == {}
