from __future__ import annotations

import contextlib
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.config import converters
from cuberouted.model import Prefix


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("300ms", 0.3), ("0.5 s", 0.5), ("1.5m", 90.0), ("2h", 7200.0), ("0", 0.0)],
)
def test_durations_have_units_and_default_to_seconds(text, seconds):
    assert converters.duration(0.0)(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1d", "-1s", "1e3", "inf", "nan", "1,5s", "٣s", "1s 2s"])
def test_invalid_durations(text):
    with pytest.raises(ValueError, match=r"not a valid duration \(examples: 300ms, 3s, 5m\)"):
        converters.duration(0.0)(text)


def test_durations_out_of_range():
    with pytest.raises(ValueError, match=r"100ms is out of range \(0\.3s to 86400s\)"):
        converters.duration(0.3)("100ms")
    with pytest.raises(ValueError, match="out of range"):
        converters.duration(0.3)("25h")


@pytest.mark.parametrize("text", ["vpnsrvA", "a", "a.b-c_d", "9", "x" * 64])
def test_names(text):
    assert converters.name(text) == text


@pytest.mark.parametrize("text", ["", "-a", ".", "a b", "jürg", "x" * 65, "a/b", "a\n"])
def test_invalid_names(text):
    with pytest.raises(ValueError, match=r"is not a valid name \(1 to 64 letters"):
        converters.name(text)


@pytest.mark.parametrize("text", ["tun0", "eth0.100", "wg-b", "x" * 15])
def test_interfaces(text):
    assert converters.interface(text) == text


@pytest.mark.parametrize("text", ["tun 0", "a/b", "a:1", ".", "..", "x" * 16, "ü" * 8, "a\x1b"])
def test_invalid_interfaces(text):
    with pytest.raises(ValueError, match="is not a valid interface name"):
        converters.interface(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "localhost", "vpn-a.example.net", "::1"])
def test_hosts(text):
    assert converters.host(text) == text


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:5656", "a b", "[::1]", "host/x", "-h", "x" * 300, "a..b", "a.", "x" * 64, "a-.b"],
)
def test_invalid_hosts(text):
    with pytest.raises(ValueError, match="is not "):
        converters.host(text)


def test_addresses_are_packed():
    assert converters.peer_address("169.254.1.5") == bytes([169, 254, 1, 5])
    assert converters.peer_address("10.200.200.5") == bytes([10, 200, 200, 5])
    assert converters.peer_address("fd00::5") == socket.inet_pton(socket.AF_INET6, "fd00::5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.200.200", r"is not an IP address \(example: 10\.200\.200\.5\)"),
        ("10.200.200.5/24", "is more than an address: write 10.200.200.5 alone"),
        ("10.200.200.5 255.255.255.0", "is more than an address: write 10.200.200.5 alone"),
        ("10.200.200.5:5657", "is more than an address: write 10.200.200.5 alone"),
        ("[fd00::5]:5657", "is more than an address: write fd00::5 alone"),
        ("fd00::5/64", "is more than an address: write fd00::5 alone"),
        ("vpnsrvB", "is not an IP address"),
        ("10.0.0.1\ud800", "is not an IP address"),
        ("fd00::1%tun0", "is not an IP address"),
        ("0.0.0.0", "not the address of a host"),
        ("255.255.255.255", "not the address of a host"),
        ("224.0.0.5", "not the address of a host"),
        ("::", "not the address of a host"),
        ("ff02::1", "not the address of a host"),
        ("0.1.2.3", "not the address of a host"),
        ("fe80::1", "is a link-local address"),
        ("::ffff:10.0.0.1", "IPv4-mapped address: write 10.0.0.1"),
    ],
)
def test_invalid_peer_addresses(text, message):
    with pytest.raises(ValueError, match=message):
        converters.peer_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "10.200.200.1", "fd00::1"])
def test_listen_accepts_unspecified_addresses(text):
    assert converters.listen_address(text) == ipaddress.ip_address(text).packed


@pytest.mark.parametrize("text", ["10.100.100.0/24", "10.0.0.1", "fd00:9::/64", "10.0.0.0/8"])
def test_networks(text):
    assert converters.network(text) == Prefix.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.100.100.1/24", "has host bits set: write 10.100.100.0/24"),
        ("fd00::1/64", "write fd00::/64"),
        ("10.0.0.0/33", "the length is 0 to 32"),
        ("10.0.0.0/", "the length is 0 to 32"),
        ("10.0.0.0/255.0.0.0", "write 10.0.0.0/8"),
        ("10.100.100.1/255.255.255.0", "write 10.100.100.0/24"),
        ("10.0.0.0/255.0.255.0", "the length is 0 to 32"),
        ("10.0.0.0/0.0.0.255", "the length is 0 to 32"),
        ("255.255.255.0", "contains no address of a client"),
        ("240.1.0.0/16", "contains no address of a client"),
        ("240.0.0.0/4", "contains no address of a client"),
        ("224.0.0.5", "contains no address of a client"),
        ("127.0.0.0/8", "contains no address of a client"),
        ("ffff:ffff:ffff:ffff::", "contains no address of a client"),
        ("10.0.0.0/" + "1" * 5000, "the length is 0 to 32"),
        ("0.0.0.0/0", "covers the whole Internet"),
        ("128.0.0.0/1", "covers the whole Internet"),
        ("::/0", "covers the whole Internet"),
        ("office", "is not an IP address"),
    ],
)
def test_invalid_networks(text, message):
    with pytest.raises(ValueError, match=message):
        converters.network(text)


@pytest.mark.parametrize(
    ("text", "write"),
    [
        ("10.100.100.0 255.255.255.0", "10.100.100.0/24"),
        ("10.100.100.1 255.255.255.0", "10.100.100.0/24"),
        ("10.0.0.0/8, 10.100.100.0, 255.255.255.252", "10.100.100.0/30"),
        ("10.0.0.0 255.0.0.0 192.168.0.0 255.255.0.0", "10.0.0.0/8"),
        ("10.100.100.7 255.255.255.255", "10.100.100.7/32"),
    ],
)
def test_a_network_with_a_netmask_as_openvpn_writes_it_is_refused_with_the_right_spelling(
    text, write
):
    with pytest.raises(ValueError, match=f"is not a valid network: write {write}$"):
        converters.networks(text)


@pytest.mark.parametrize(
    "text", ["10.100.100.0/24 255.255.255.0", "10.100.100.0 255.0.255.0", "255.255.255.0"]
)
def test_a_netmask_is_no_network_wherever_it_stands(text):
    with pytest.raises(ValueError, match=r"255\S+ contains no address of a client"):
        converters.networks(text)


def test_lists_are_separated_by_commas_or_white_space():
    read = converters.listed(converters.number(1, 9))
    assert read("1, 2 3,4 ,5") == (1, 2, 3, 4, 5)
    with pytest.raises(ValueError, match="contains no value"):
        read(" , ")
    with pytest.raises(ValueError, match="twice"):
        read("1 2 1")


@pytest.mark.parametrize("text", ["0", "65536", "-1", "+1", "1.0", "0x10", "٣", "9" * 5000])
def test_invalid_numbers(text):
    with pytest.raises(ValueError, match="is not a whole number from 1 to 65535"):
        converters.number(1, 65535)(text)


def test_yes_and_no():
    assert [converters.yes_no(text) for text in ("yes", "True", "ON")] == [True] * 3
    assert [converters.yes_no(text) for text in ("no", "false", "Off")] == [False] * 3
    with pytest.raises(
        ValueError, match="'1' is invalid; choose one of: yes, true, on, no, false, off"
    ):
        converters.yes_no("1")


@pytest.mark.parametrize("text", ["pass", "./pass", "~/pass", "/a\x00b"])
def test_paths_are_absolute(text):
    with pytest.raises(ValueError, match="is not an absolute path"):
        converters.file_path(text)


def test_socket_paths_are_limited_to_the_kernel_s_maximum():
    assert str(converters.socket_path("/" + "x" * 106)) == "/" + "x" * 106
    with pytest.raises(ValueError, match=r"too long for a socket \(at most 107 bytes\)"):
        converters.socket_path("/" + "x" * 107)


@given(st.text())
def test_converters_raise_only_value_error(text):
    for convert in (
        converters.name,
        converters.interface,
        converters.host,
        converters.peer_address,
        converters.listen_address,
        converters.network,
        converters.listed(converters.network),
        converters.number(0, 9),
        converters.duration(0.0),
        converters.yes_no,
        converters.file_path,
        converters.socket_path,
    ):
        with contextlib.suppress(ValueError):
            convert(text)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", True),
        (b"0" * 40, True),
        (b"0" * 35, False),
        (b"0" * 45, False),
        (b"~" + b"0" * 39, False),
        (b"#####" + b"0" * 35, False),  # 85**5 - 1, more than 32 bits
        (b"\xff" * 40, False),
    ],
)
def test_curve_keys_are_32_bytes_in_z85(text, valid):
    assert converters.is_curve_key(text) is valid


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("VPN-A.example.org.", "vpn-a.example.org"),
        ("FD00::1", "fd00::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_web_hosts_are_as_the_host_header_is_compared(text, host):
    assert converters.web_host(text) == host


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:9657", "127.0.0.1:9657"),
        ("localhost:9657", "127.0.0.1:9657"),
        ("[FD00::1]:80", "[fd00::1]:80"),
        ("0.0.0.0:1", "0.0.0.0:1"),
    ],
)
def test_web_listen_is_an_address_and_a_port(text, listen):
    assert str(converters.web_listen(text)) == listen


@pytest.mark.parametrize(
    "text", ["9657", ":9657", "::1:9657", "[127.0.0.1]:9657", "vpn-a:9657", "127.0.0.1", "[::1]"]
)
def test_invalid_web_listen(text):
    with pytest.raises(ValueError, match="is not an IP address and a port"):
        converters.web_listen(text)


def test_a_port_of_web_listen_is_one():
    with pytest.raises(ValueError, match="is not a whole number from 1 to 65535"):
        converters.web_listen("127.0.0.1:65536")
