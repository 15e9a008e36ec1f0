from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing

import attrs
import pytest

from cuberouted.check import ports
from cuberouted.check.ports import Listener
from cuberouted.daemon.host import HostState, evaluate_links
from tests.fakes.samples import LINKS, TWO_SERVERS, config, packed

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1618 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 15 1 0
   1: 0100007F:1619 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 16 1 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx rx
   0: 00000000000000000000000001000000:1618 00000000000000000000000000000000:0000 0A \
00000000:00000000 00:00000000 00000000     0        0 17 1 0
   1: 0000000000000000FFFF00000265640A:1618 00000000000000000000000000000000:0000 0A \
00000000:00000000 00:00000000 00000000     0        0 18 1 0
"""


def listener(address, port=5656, uid=0):
    return Listener(packed(address), port, uid, 1)


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of such a host")
def test_the_kernel_s_tables_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "SOCKETS", tmp_path)
    (tmp_path / "tcp").write_text(TCP)
    ipv4 = Listener(packed("127.0.0.1"), 0x1618, 1000, 15)
    assert list(ports.listeners()) == [ipv4]  # a host without IPv6 has no tcp6
    (tmp_path / "tcp6").write_text(TCP6)
    assert list(ports.listeners()) == [
        ipv4,
        Listener(packed("::1"), 0x1618, 0, 17),
        Listener(packed("10.100.101.2"), 0x1618, 0, 18),
    ]


def test_a_unix_socket_is_listened_on_or_stale_or_cannot_be_judged(tmp_path, monkeypatch):
    path, link = tmp_path / "the socket", tmp_path / "link"
    link.symlink_to(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert ports.is_listened_on(path) is False
        server.listen()
        assert ports.is_listened_on(path) is True
        assert ports.is_listened_on(link) is True
        (tmp_path / "other").mkdir()
        other = tmp_path / "other" / path.name
        other.touch()
        assert ports.is_listened_on(other) is False
    assert ports.is_listened_on(path) is False
    monkeypatch.chdir(tmp_path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
        server.listen()
        assert ports.is_listened_on(path) is None
        path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.unlink()  # what is listed may be in another mount namespace
        assert ports.is_listened_on(other) is None
    with socket.socket(socket.AF_UNIX) as server:  # anybody may choose such a path
        server.bind("x\n1 2 3 flags 5 6 7 8")
        assert ports.is_listened_on(other) is False
    monkeypatch.setattr(ports, "SOCKETS", tmp_path / "nothing")
    assert ports.is_listened_on(path) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_socket_of_this_host_is_found(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.create_server((address, 0), family=family)) as server:
        port = server.getsockname()[1]
        (found,) = (x for x in ports.listeners() if x.port == port)
        assert (found.address, found.uid) == (packed(address), os.getuid())
        pid, command = ports.process_of(found.inode) or (0, ())
    assert (pid, bool(command)) == (os.getpid(), True)


@pytest.mark.parametrize(
    ("listening", "connecting", "accepted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("0.0.0.0", "10.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "10.0.0.1", True),
        ("::", "fd00::1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_a_listener_accepts_its_own_address_or_any(listening, connecting, accepted):
    assert listener(listening).accepts(packed(connecting)) is accepted


@pytest.mark.parametrize(
    ("host", "listening", "absent"),
    [
        (None, ["127.0.0.1"], None),
        (None, ["10.100.100.101"], None),  # management tunnel
        (None, ["0.0.0.0"], None),
        (
            None,
            ["192.0.2.1", "::1"],
            "no process listens on 127.0.0.1 or 10.100.100.101 port 5656, ",
        ),
        ("::1", ["::1"], None),
        ("::1", ["127.0.0.1"], "no process listens on ::1 port 5656, but one on 127.0.0.1: if"),
        ("localhost", ["127.0.0.1"], None),
        (
            "::1",
            [],
            "no process listens on ::1 port 5656: is OpenVPN running, with `management ::1",
        ),
    ],
)
def test_openvpn_is_there_if_it_listens_where_the_daemon_connects(
    monkeypatch, host, listening, absent
):
    monkeypatch.setattr(ports, "listeners", lambda: map(listener, listening))
    (openvpn,) = config(TWO_SERVERS, f"openvpn_mgmt_host = {host}" if host else "").openvpns
    state = evaluate_links(config(TWO_SERVERS), LINKS, {}, HostState())
    found = ports.find_management(openvpn, state)
    assert found.elsewhere is None
    assert (found.why_absent or "").startswith(absent or "")
    assert (found.why_absent is None) == (absent is None)


def test_the_key_that_would_be_right_is_named_as_it_is_written(monkeypatch):
    monkeypatch.setattr(ports, "listeners", lambda: [listener("::1")])
    (openvpn,) = config(TWO_SERVERS).openvpns
    why = ports.find_management(openvpn, HostState()).why_absent
    assert why is not None
    assert why.endswith("if that is OpenVPN, set openvpn_mgmt_host = ::1")
    why = ports.find_management(attrs.evolve(openvpn, name="one"), HostState()).why_absent
    assert why is not None
    assert why.endswith("set mgmt_host = ::1")


def test_a_management_interface_on_another_host_is_not_judged(monkeypatch):
    monkeypatch.setattr(ports, "listeners", lambda: iter(()))
    (openvpn,) = config(TWO_SERVERS, "openvpn_mgmt_host = 198.51.100.7").openvpns
    found = ports.find_management(openvpn, HostState())
    assert found.why_absent is None
    assert "198.51.100.7 port 5656" in (found.elsewhere or "")


def test_a_host_that_cannot_be_resolved_is_told(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (openvpn,) = config(TWO_SERVERS, "openvpn_mgmt_host = nowhere").openvpns
    why = ports.find_management(openvpn, HostState()).why_absent
    assert why == "nowhere cannot be resolved: Name or service not known"


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example"])
def test_a_host_that_is_no_name_is_told(name):
    (openvpn,) = config(TWO_SERVERS).openvpns
    why = ports.find_management(attrs.evolve(openvpn, mgmt_host=name), HostState()).why_absent
    assert why == f"{name} cannot be resolved: it is no host name"


LISTEN = "import socket, sys; s = socket.create_server(('127.0.0.1', 0));\
 print(s.getsockname()[1], flush=True); sys.stdin.read()"


@pytest.mark.parametrize("name", ["cuberouted", "other"])
def test_a_port_of_cuberouted_itself_is_told_from_that_of_another_program(name):
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, f"/usr/bin/{name}"]
        if name == "other"
        else ["cuberouted", "-c", LISTEN],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        found = ports.taken([packed("127.0.0.1")], port, None)
        process.communicate()
    text, pid = f"127.0.0.1 port {port}", process.pid
    if name == "cuberouted":
        assert (found.by_ourselves, found.by_others) == ({text: f"process {pid}"}, {})
    else:
        assert found.by_ourselves == {}
        assert found.by_others[text].endswith(f"(process {pid})")
    assert ports.taken([packed("127.0.0.1")], port, None) == ports.Taken({}, {}, {})


def test_a_port_is_tried_without_listening_on_it(monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        def fail(*_):
            raise AssertionError("a connection would be accepted")

        monkeypatch.setattr(socket.socket, "listen", fail)
        found = ports.taken([packed("127.0.0.1"), packed("127.0.0.2")], port, None)
    (why,) = found.by_others.values()
    assert found.by_others.keys() == {f"127.0.0.1 port {port}"}
    assert why.startswith("Address already in use by ")


@pytest.mark.parametrize(
    ("taken", "wanted"), [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1")]
)
def test_a_port_that_another_address_covers_is_taken(taken, wanted):
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    dualstack = taken == "::"
    with closing(
        socket.create_server((taken, 0), family=family, dualstack_ipv6=dualstack)
    ) as server:
        port = server.getsockname()[1]
        found = ports.taken([packed(wanted)], port, None)
    assert found.by_others.keys() == {f"{wanted} port {port}"}


def test_a_port_of_the_daemon_s_user_is_cuberouted_s(monkeypatch):
    """Another user does not see which process it is."""
    monkeypatch.setattr(ports, "process_of", lambda _: None)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        addresses = [packed("127.0.0.1")]
        text = f"127.0.0.1 port {port}"
        assert ports.taken(addresses, port, os.getuid()).by_ourselves.keys() == {text}
        assert ports.taken(addresses, port, None).by_somebody.keys() == {text}


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        (("/opt/cuberouted/bin/python3", "/usr/bin/cuberouted", "/etc/cuberouted.conf"), True),
        (("/usr/bin/python3", "-m", "cuberouted", "FILE"), True),
        (("/usr/bin/nc", "-l", "5657"), False),
        (("vi", "/etc/cuberouted.conf"), False),
        (("",), False),
    ],
)
def test_our_daemon_is_known_by_its_command_line(command, ours):
    assert ports.is_cuberouted(command) is ours
