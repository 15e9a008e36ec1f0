"""What this host's programs and files tell of OpenVPN."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from cuberouted.api.report import OpenVPNRow, Status
from cuberouted.check import holders, servers, surroundings
from cuberouted.check.facts import ClientFiles, Device, Holder
from cuberouted.daemon.host import HostState
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from cuberouted.openvpn.config_search import SearchError
from tests.fakes.samples import THREE_SERVERS, TWO_SERVERS, config, packed
from tests.unit.check.test_access import status
from tests.unit.daemon.test_host import TWO_OPENVPNS

SS = """\
u_str LISTEN 0 1 /run/openvpn/server.sock 501 * 0   users:(("openvpn",pid=9,fd=4))
u_str ESTAB  0 0 /run/openvpn/server.sock 502 * 503 users:(("openvpn",pid=9,fd=5))
u_str ESTAB  0 0                        * 503 * 502 users:(("socat",pid=7,fd=3),("sh",pid=8,fd=3))
u_str ESTAB  0 0 /run/other.sock          504 * 505
u_dgr UNCONN 0 0                        * 506 * 0
"""


def test_ss_names_the_other_end_of_a_unix_socket():
    found = holders.parse_ss(SS, Path("/run/openvpn/server.sock"))
    assert [(holder.program, holder.pid) for holder in found.holders] == [("sh", 8), ("socat", 7)]
    assert not found.unseen
    assert holders.parse_ss(SS, Path("/run/other.sock")) == holders.Held((), unseen=True)
    assert holders.parse_ss(SS, Path("/run/none.sock")) == holders.Held((), unseen=False)
    assert holders.parse_ss("nonsense", Path("/x")) == holders.Held((), unseen=False)


def test_who_is_connected_to_a_unix_socket_of_this_host_is_found(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        server.listen()
        assert holders.of_unix_socket(path) == holders.Held((), unseen=False)
        client.connect(str(path))
        accepted, _ = server.accept()
        with accepted:
            found = holders.of_unix_socket(path)
    assert found is not None
    assert [holder.pid for holder in found.holders] == [os.getpid()]
    assert str(path) in found.holders[0].listens


def test_who_is_connected_to_a_port_of_this_host_is_found():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = server.getsockname()
        here = [socket.inet_aton("127.0.0.1")]
        assert holders.of_port(here, address[1]) == holders.Held((), unseen=False)
        with closing(socket.create_connection(address)):
            found = holders.of_port(here, address[1])
    assert [holder.pid for holder in found.holders] == [os.getpid()]
    assert f"{address[1]} at 127.0.0.1" in found.holders[0].listens


def test_cuberouted_itself_is_nobody_else(tmp_path):
    program = tmp_path / "cuberouted"
    program.write_text(
        "import socket, sys\n"
        "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "print(flush=True)\n"
        "input()\n"
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, program, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as running:
            assert running.stdout
            running.stdout.readline()
            found = holders.of_port([socket.inet_aton("127.0.0.1")], port)
            running.communicate(b"\n")
    assert found == holders.Held((), unseen=False)


def test_the_clients_files_are_read(tmp_path):
    (tmp_path / "ccd").mkdir()
    for name, text in (
        ("host1", "ifconfig-push 10.9.0.1 255.255.255.0\nifconfig-ipv6-push fd00::1/64\n"),
        ("host2", "# fixed\nifconfig-push 10.9.0.2 255.255.255.0\n"),
        ("host3", "push 'route 10.0.0.0 255.0.0.0'\nifconfig-push pool\n"),
        ("DEFAULT", "ifconfig-push 10.9.0.9 255.255.255.0\n"),
    ):
        (tmp_path / "ccd" / name).write_text(text)
    (tmp_path / "ccd/old").mkdir()
    options = OpenVPNOptions(tuple(parse_file(b"client-config-dir ccd")), tmp_path)
    assert servers.read_clients(options) == ClientFiles(
        tmp_path / "ccd",
        frozenset({"host1", "host2", "host3"}),
        frozenset({"host1", "host2", "host3"}),
        frozenset({"host1"}),
        {packed("10.9.0.1"): "host1", packed("fd00::1"): "host1", packed("10.9.0.2"): "host2"},
    )
    missing = OpenVPNOptions(tuple(parse_file(b"client-config-dir none")), tmp_path)
    assert servers.read_clients(missing) is None
    assert servers.read_clients(OpenVPNOptions((), tmp_path)) is None


@pytest.mark.parametrize(
    ("reported", "version"),
    [
        (status(), "OpenVPN 2.6.14"),
        (None, "OpenVPN 2.7.0 x86_64"),
        ("no answer", "OpenVPN 2.7.0 x86_64"),
    ],
)
def test_the_daemon_knows_the_version_best(monkeypatch, reported: Status | str | None, version):
    def none(_):
        raise SearchError("none")

    monkeypatch.setattr(servers, "find_options", none)
    monkeypatch.setattr(servers, "run", lambda *_: "OpenVPN 2.7.0 x86_64\nlibrary versions\n")
    (found,) = servers.read_servers(config(TWO_SERVERS), HostState(), reported).values()
    assert (found.version, found.options) == (version, "none")


def test_of_several_openvpns_each_has_its_own_version(monkeypatch):
    monkeypatch.setattr(servers, "find_options", lambda _: OpenVPNOptions((), Path("/")))
    monkeypatch.setattr(servers, "run", lambda *_: "OpenVPN 2.7.0 x86_64\n")
    rows = [OpenVPNRow(name, "connected", v, 0) for name, v in (("udp", "2.6.14"), ("tcp", ""))]
    several = msgspec.structs.replace(status(), openvpn=rows)
    found = servers.read_servers(config(TWO_OPENVPNS + THREE_SERVERS), HostState(), several)
    assert {name: of.version for name, of in found.items()} == {
        "udp": "OpenVPN 2.6.14",
        "tcp": "OpenVPN 2.7.0 x86_64",
    }


IP = """[
{"ifindex":1,"ifname":"lo","mtu":65536,"link_type":"loopback"},
{"ifindex":4,"ifname":"tun0","mtu":1500,"linkinfo":{"info_kind":"tun","info_data":{"type":"tun"}}},
{"ifindex":5,"ifname":"wg0","altnames":["to-B"],"mtu":1420,"linkinfo":{"info_kind":"wireguard"}},
{"ifindex":6,"ifname":"odd","mtu":"x"}, {}
]"""


def test_kinds_and_sizes_of_interfaces_are_read():
    assert surroundings.parse_devices(IP) == {
        "lo": Device("", 65536),
        "tun0": Device("tun", 1500),
        "wg0": Device("wireguard", 1420),
        "to-B": Device("wireguard", 1420),
    }
    for output in ("", "nonsense", "{}", "[1]"):
        assert surroundings.parse_devices(output) == {}
    assert surroundings.read_devices()["lo"].mtu > 1500


@pytest.mark.parametrize(
    ("vendor", "tag", "instance"),
    [
        ("Amazon EC2\n", "i-0123456789abcdef0\n", "i-0123456789abcdef0"),
        ("Amazon EC2\n", "x; reboot\n", ""),
        ("Amazon EC2\n", None, ""),
        ("QEMU\n", "i-0123456789abcdef0\n", None),
        (None, None, None),
    ],
)
def test_an_amazon_instance_is_known_by_its_dmi(tmp_path, vendor, tag, instance):
    if vendor is not None:
        (tmp_path / "sys_vendor").write_text(vendor)
    if tag is not None:
        (tmp_path / "board_asset_tag").write_text(tag)
    assert surroundings.read_instance(tmp_path) == instance


@pytest.mark.parametrize(
    ("runs", "shown", "makes"),
    [
        (True, "frr version 8.4\nno zebra nexthop kernel enable\n!\n", False),
        (True, "frr version 8.4\n!\n", True),
        (True, None, None),
        (False, "frr version 8.4\n", None),
    ],
)
def test_frr_tells_whether_it_makes_nexthop_objects(monkeypatch, runs, shown, makes):
    monkeypatch.setattr(surroundings, "run", lambda *_: shown)
    assert surroundings.zebra_makes_nexthops(runs) is makes


def test_a_holder_is_named_with_its_process():
    assert str(Holder("telnet", 7)) == "telnet (process 7)"
