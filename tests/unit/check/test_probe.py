"""Facts about this very host; nothing is changed, and no privilege is needed."""

from __future__ import annotations

import os
import socket
from contextlib import closing, contextmanager

import attrs
import pytest

from cuberouted.api.server import listening
from cuberouted.check import probe
from cuberouted.config import keypair
from cuberouted.routing.linux.kernel import open_kernel
from tests.fakes.samples import TWO_SERVERS, config


@contextmanager
def as_nobody():
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def configured(tmp_path, *lines, port=5657):
    """A peer behind lo, where there surely is an address."""
    text = TWO_SERVERS.replace("tun1", "lo").replace("10.200.200.5", "127.0.0.2")
    socket_line = f"control_socket = {tmp_path}/control.sock"
    return config(f"cube_routed_port = {port}", socket_line, *lines, text)


async def probed(configuration):
    async with open_kernel(254, 50, 251) as kernel:
        return await probe.probe_host(kernel, configuration)


async def test_this_host_s_links_and_sysctls_are_found(tmp_path):
    found = await probed(configured(tmp_path))
    assert "lo" in [link.name for link in found.links]
    assert found.host.missing == ("tun0",)
    assert found.sysctls["net/ipv4/ip_forward"] in ("0", "1")
    assert found.sysctls["net/ipv4/conf/tun0/rp_filter"] is None
    assert found.unreadable == {}
    assert not found.daemon


async def test_a_port_that_is_taken_is_found_unless_it_is_taken_by_ourselves(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        configuration = attrs.evolve(
            configured(tmp_path, port=port), listen=(socket.inet_aton("127.0.0.1"),)
        )
        found = await probed(configuration)
        assert found.busy == {f"127.0.0.1 port {port}": "Address already in use"}
        with listening(configuration.control_socket):
            found = await probed(configuration)
        assert (found.daemon, found.busy) == (True, {})
    assert (await probed(configuration)).busy == {}


async def test_an_openvpn_on_tcp_is_there_when_its_port_is_listened_on(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as openvpn:
        port = openvpn.getsockname()[1]
        configuration = configured(tmp_path, f"openvpn_mgmt_port = {port}")
        assert (await probed(configuration)).openvpn == {"": None}
        assert openvpn.getblocking()
        openvpn.settimeout(0)
        with pytest.raises(BlockingIOError):  # it was not connected to
            openvpn.accept()
    why = (await probed(configuration)).openvpn[""]
    assert why == (
        f"no process listens on TCP port {port}: is OpenVPN running, with"
        f" `management 127.0.0.1 {port}`?"
    )


async def test_an_openvpn_on_a_unix_socket_is_there_when_that_is(tmp_path):
    path = tmp_path / "data.sock"
    configuration = configured(tmp_path, f"openvpn_mgmt_socket = {path}")
    why = (await probed(configuration)).openvpn[""]
    assert why == f"{path} does not exist: is OpenVPN running, and configured to create it?"
    with socket.socket(socket.AF_UNIX) as openvpn:
        openvpn.bind(str(path))
        assert (await probed(configuration)).openvpn == {"": None}


async def test_a_status_file_that_is_not_there_yet_is_no_mistake(tmp_path):
    path = tmp_path / "status"
    configuration = configured(tmp_path, f"openvpn_status_file = {path}")
    found = await probed(configuration)
    assert found.openvpn == {
        "": f"{path} does not exist: is OpenVPN running, and configured to create it?"
    }
    assert found.unreadable == {}
    path.touch()
    assert (await probed(configuration)).openvpn == {"": None}


async def test_a_password_file_that_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "pass"
    found = await probed(configured(tmp_path, f"openvpn_mgmt_pass_file = {path}"))
    assert found.unreadable == {path: "cannot be read: No such file or directory"}


async def test_our_public_key_is_told_or_why_the_secret_one_cannot_be_used(tmp_path):
    (public, secret), (theirs, _) = keypair.generate(), keypair.generate()
    path = tmp_path / "key"
    configuration = configured(
        tmp_path, f"secret_key_file = {path}", f"remote_public_key = {theirs.decode()}"
    )
    found = await probed(configuration)
    assert found.public_key is None
    assert found.unreadable.keys() == {path}
    keypair.write_secret(path, secret)
    found = await probed(configuration)
    assert (found.public_key, found.unreadable) == (public.decode(), {})


@as_root
@pytest.mark.parametrize("key", ["openvpn_mgmt_socket", "openvpn_status_file"])
async def test_what_this_user_may_not_see_is_told_as_such(tmp_path, key):
    path = tmp_path / "private" / "it"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    configuration = configured(tmp_path, f"{key} = {path}")
    with as_nobody():
        found = await probed(configuration)
    said = found.openvpn[""] or ""
    assert said.startswith(f"{path}: Permission denied")
    assert found.missing_capability == "CAP_NET_ADMIN"


def test_a_host_without_ipv6_has_ports_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "tcp").write_text("head\n  0: 0100007F:1618 00000000:0000 0A 0 0\n")
    monkeypatch.setattr(probe, "SOCKETS", tmp_path)
    assert list(probe._listening_ports()) == [0x1618]
