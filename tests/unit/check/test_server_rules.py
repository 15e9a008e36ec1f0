from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.report import OpenVPNRow
from cuberouted.check.facts import ClientFiles, Device, Holder, ServerFacts
from cuberouted.check.server_rules import pool_of
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from tests.fakes.samples import THREE_SERVERS
from tests.unit.check import hosts
from tests.unit.check.hosts import OK, PROBLEM, UNSEEN, WARNING
from tests.unit.check.test_access import status
from tests.unit.daemon.test_host import TWO_OPENVPNS

README = """\
dev tun0
mode server
tls-server
topology subnet
ifconfig 10.100.100.1 255.255.255.0
push "topology subnet"
client-config-dir ccd
management 127.0.0.1 5656 /etc/openvpn/pass
keepalive 2 10
"""


def options(*lines):
    text = README + "\n".join(lines)
    return OpenVPNOptions(tuple(parse_file(text.encode())), Path("/etc/openvpn/server"))


def clients(names, fixed6=None):
    all_names = frozenset(names.split())
    fixed = all_names if fixed6 is None else frozenset(fixed6.split())
    return ClientFiles(Path("/etc/openvpn/ccd"), all_names, all_names, fixed)


def findings(*lines, text="", known=None, server=None, **other):
    facts = server or ServerFacts(options(*lines), known)
    return hosts.found(text + THREE_SERVERS, servers={"": facts}, **other)


def bad(*args, **other):
    """What is not right: level and text by id."""
    found = findings(*args, **other)
    return {f.id: (f.level, f.text) for f in found if f.level is not OK}


def passed(*args, **other):
    return {f.id for f in findings(*args, **other) if f.level is OK}


STATUS_FILE = "openvpn_status_file = /run/openvpn-status/server.log\n"
SHARED = "openvpn_mgmt_shared = yes\n"


def test_the_readme_s_configuration_is_all_right():
    assert bad(known=clients("host1 host2")) == {}
    assert passed(known=clients("host1 host2")) >= {
        "management-taken",
        "max-clients-low",
        "verb-high",
        "client-auth-foreign",
        "duplicate-names",
    }


def test_without_openvpn_s_configuration_nothing_is_said_of_it():
    said = bad(server=ServerFacts("no configuration was found"))
    assert said == {"openvpn-config-unread": (UNSEEN, "no configuration was found")}
    away = bad(server=ServerFacts("none"), openvpn={"": "no process listens"})
    assert away == {"openvpn-absent": (WARNING, "no process listens")}


@pytest.mark.parametrize("line", ["server-ipv6 fd00:1::/64", "ifconfig-ipv6-pool fd00:1::1000/64"])
def test_ipv6_addresses_from_a_pool_are_the_same_on_every_server(line):
    level, text = bad(line, known=clients("a b c d e", fixed6="a"))["ipv6-from-pool"]
    assert level is WARNING
    assert text == (
        "4 of 5 clients in /etc/openvpn/ccd have ifconfig-push and no ifconfig-ipv6-push (b, c, d,"
        f" ...), so they get an IPv6 address from {line.split()[0]}"
    )
    assert "ipv6-from-pool" in passed(line, known=clients("a b"))
    assert bad(line) == {}
    assert bad(known=clients("a b", fixed6="a")) == {}


@pytest.mark.parametrize(
    ("lines", "is_tap"),
    [
        (["dev tap"], True),
        (["dev tap0"], True),
        (["dev clients", "dev-type tap"], True),
        (["dev tap0", "dev-type tun"], False),
        (["dev tun0"], False),
    ],
)
def test_a_tap_device_is_refused(lines, is_tap):
    found = bad(*lines)
    if is_tap:
        level, text = found["tap-device"]
        assert level is PROBLEM
        assert "MAC addresses" in text
    else:
        assert found == {}


def test_a_pool_with_the_address_of_a_server_is_doubtful():
    level, text = bad("server 10.100.100.0 255.255.255.0")["pool-overlap"]
    assert level is WARNING
    assert text == (
        "gives clients addresses from 10.100.100.2 to 10.100.100.254, where the servers"
        " 10.100.100.102 are"
    )


def test_a_pool_of_most_of_the_subnet_may_be_another_server_s_too():
    without = THREE_SERVERS.replace("data_ip = 10.100.100.102\n", "")
    facts = ServerFacts(options("server 10.100.100.0 255.255.255.0"))
    (found,) = (f for f in hosts.found(without, servers={"": facts}) if f.id == "pool-overlap")
    assert found.level is UNSEEN
    assert "which is most of 10.100.100.0/24" in found.text


@pytest.mark.parametrize(
    "lines",
    [
        ["ifconfig-pool 10.100.100.110 10.100.100.199"],
        ["ifconfig-pool 10.100.100.2 10.100.100.99 255.255.255.0"],
        ["server 10.100.100.0 255.255.255.0 nopool"],
        [],
    ],
)
def test_a_part_of_the_subnet_as_a_pool_is_all_right(lines):
    assert bad(*lines) == {}
    assert ("pool-overlap" in passed(*lines)) is (lines != [] and "nopool" not in lines[0])


@pytest.mark.parametrize(
    ("lines", "pool"),
    [
        (["server 10.8.0.0 255.255.255.0"], ("10.8.0.2", "10.8.0.254", "10.8.0.0/24")),
        (["ifconfig-pool 10.8.0.4 10.8.0.9"], ("10.8.0.4", "10.8.0.9", "10.100.100.0/24")),
        (["ifconfig-pool 10.8.0.4 x"], None),
        (["ifconfig-pool 10.8.0.4"], None),
        (["server 10.8.0.0 255.0.255.0"], None),
        (["server 10.8.0.0 255.255.255.255"], None),
        (["server"], None),
    ],
)
def test_the_pool_of_a_configuration(lines, pool):
    expected = pool and (ip_address(pool[0]), ip_address(pool[1]), ip_network(pool[2]))
    assert pool_of(options(*lines)) == expected


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30)))
def test_odd_configurations_never_stop_it(lines):
    words = ["server", "ifconfig-pool", "max-clients", "verb", "ifconfig"]
    findings(*(f"{word} {line}" for word, line in zip(words, lines, strict=False)))


def test_a_server_has_to_take_every_client():
    known = clients(" ".join(f"host{n}" for n in range(7)))
    level, text = bad("max-clients 6", known=known)["max-clients-low"]
    assert level is WARNING
    assert text == "takes 6 clients, and 7 clients have a file in /etc/openvpn/ccd"
    assert bad("max-clients 7", known=known) == {}
    # without their number, the subnet's size counts where a limit was set
    level, text = bad("max-clients 100")["max-clients-low"]
    assert text == "takes 100 clients, and 253 clients may be in 10.100.100.0/24"
    assert "max-clients-low" not in passed("ifconfig 10.0.0.1 255.0.0.0")
    assert bad("max-clients x") == bad("max-clients 99999999999") == {}


def test_a_token_of_one_server_alone_is_doubtful():
    assert bad("auth-gen-token 3600").keys() == {"token-unshared"}
    secret = "auth-gen-token-secret /etc/openvpn/token.key"
    assert bad("auth-gen-token", secret) == {}
    assert "token-unshared" in passed("auth-gen-token", secret)
    assert "token-unshared" not in passed()


def test_a_log_with_every_packet_is_doubtful():
    assert bad("verb 5") == {"verb-high": (WARNING, "logs with verb 5")}
    assert bad("verb 4") == {}
    assert bad("verb 5", text=STATUS_FILE) == {}


def test_an_openvpn_that_asks_for_each_client_is_a_problem():
    level, text = bad("management-client-auth")["client-auth-foreign"]
    assert level is PROBLEM
    assert text.startswith("has management-client-auth")
    assert bad("management-client-auth", text=SHARED) == {}
    assert bad("management-client-auth", text=STATUS_FILE) == {}


def test_an_openvpn_that_restarts_without_cuberouted_is_doubtful():
    assert bad("management-signal") == {"management-signal": (WARNING, "has management-signal")}
    assert bad("management-signal", text=STATUS_FILE) == {}


def test_names_that_are_connected_twice_are_doubtful():
    assert bad("duplicate-cn") == {"duplicate-names": (WARNING, "has duplicate-cn")}


def test_client_to_client_needs_superseded_sessions_to_be_ended():
    assert bad("client-to-client") == {}
    assert "client-to-client" in passed("client-to-client")
    level, text = bad("client-to-client", text="kill_superseded_sessions = no\n")[
        "client-to-client"
    ]
    assert level is WARNING
    assert text.endswith("ends no superseded session with kill_superseded_sessions = no")
    assert bad("client-to-client", text=STATUS_FILE).keys() == {"client-to-client"}


@pytest.mark.parametrize(
    ("kind", "version", "level"),
    [
        ("ovpn-dco", "OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL", WARNING),
        ("ovpn-dco", "OpenVPN 2.6.20", None),
        ("ovpn", "OpenVPN 2.7_rc1 x86_64", WARNING),
        ("ovpn", "OpenVPN 2.7.0", None),
        ("ovpn", "", UNSEEN),
        ("tun", "OpenVPN 2.6.14", None),
    ],
)
def test_ghosts_of_dco(kind, version, level):
    devices = {"tun0": Device(kind, 1500)}
    server = ServerFacts(options(), version=version)
    said = bad(server=server, devices=devices)
    assert {found[0] for found in said.values()} == ({level} if level else set())
    assert said.keys() <= {"dco-ghosts"}
    reported = status(warnings=["openvpn: with DCO, this version of OpenVPN may list clients"])
    both = bad(server=server, devices=devices, daemon=True, reported=reported)
    assert both.keys() == ({"dco-ghosts"} if level is WARNING else {"daemon-reports"} | said.keys())


def held(*holders, held=True, **other):
    server = ServerFacts(options(), holders=holders, held=held)
    found = findings(server=server, **other)
    return [(f.level, f.text, f.advice) for f in found if f.id == "management-taken"]


def test_another_program_at_the_management_interface_is_a_problem_and_named():
    ((level, text, advice),) = held(Holder("telnet", 7))
    assert level is PROBLEM
    assert text == "telnet (process 7) is connected to its management interface"
    assert advice.startswith("stop it, or use a status file")


def test_a_pass_through_is_named():
    path = "/run/openvpn-auth-oauth2/server.sock"
    ((_, _, advice),) = held(Holder("openvpn-auth-oauth2", 7, (path, "9000 at ::")))
    assert advice == (
        f"let cuberouted use its pass-through: openvpn_mgmt_socket = {path} or its port 9000 at ::,"
        " and openvpn_mgmt_shared = yes"
    )
    ((_, _, advice),) = held(Holder("openvpn-auth-oauth2", 7))
    assert advice.startswith("switch on openvpn.pass-through")


def test_who_is_not_seen_is_told_as_such_and_our_own_daemon_is_nobody_else():
    ((level, _, _),) = held()
    assert level is UNSEEN
    ((level, _, _),) = held(held=False)
    assert level is OK
    assert held(held=None) == []
    assert held(Holder("telnet", 7), daemon=True, reported=status()) == []
    assert held(daemon_hidden="permission denied") == []  # it may be the daemon


def test_a_named_openvpn_that_the_daemon_is_connected_to_is_held_by_it():
    rows = [OpenVPNRow(name, "connected", "2.6.14", 0) for name in ("udp", "tcp")]
    reported = msgspec.structs.replace(status(), openvpn=rows)
    servers = {name: ServerFacts(options(), held=True) for name in ("udp", "tcp")}
    text = TWO_OPENVPNS + THREE_SERVERS
    found = hosts.found(text, servers=servers, daemon=True, reported=reported)
    assert [f.text for f in found if f.id == "management-taken"] == []
    assert held(Holder("telnet", 7), text=STATUS_FILE) == []
    busy = status(("busy", "another program is connected"))
    said = bad(
        server=ServerFacts(options(), holders=(Holder("telnet", 7),)), daemon=True, reported=busy
    )
    assert said.keys() == {"management-taken"}
