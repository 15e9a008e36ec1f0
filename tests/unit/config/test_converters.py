from __future__ import annotations

import contextlib
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
def test_durations_take_units_and_a_bare_number_is_seconds(text, seconds):
    assert converters.duration(0.0)(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1d", "-1s", "1e3", "inf", "nan", "1,5s", "٣s", "1s 2s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="no duration: as in 300ms, 3s, 5m or 1h"):
        converters.duration(0.0)(text)


def test_durations_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"100ms is out of range: 0\.3s to 86400s"):
        converters.duration(0.3)("100ms")
    with pytest.raises(ValueError, match="out of range"):
        converters.duration(0.3)("25h")


@pytest.mark.parametrize("text", ["vpnsrvA", "a", "a.b-c_d", "9", "x" * 64])
def test_names(text):
    assert converters.name(text) == text


@pytest.mark.parametrize("text", ["", "-a", ".", "a b", "jürg", "x" * 65, "a/b", "a\n"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(ValueError, match="is no name: 1 to 64 letters"):
        converters.name(text)


@pytest.mark.parametrize("text", ["tun0", "eth0.100", "wg-b", "x" * 15])
def test_interfaces(text):
    assert converters.interface(text) == text


@pytest.mark.parametrize("text", ["tun 0", "a/b", "a:1", ".", "..", "x" * 16, "ü" * 8, "a\x1b"])
def test_what_is_no_interface_is_refused(text):
    with pytest.raises(ValueError, match="is no interface name"):
        converters.interface(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "localhost", "vpn-a.example.net", "::1"])
def test_hosts(text):
    assert converters.host(text) == text


@pytest.mark.parametrize("text", ["127.0.0.1:5656", "a b", "[::1]", "host/x", "-h", "x" * 300])
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ValueError, match="is no "):
        converters.host(text)


def test_addresses_are_packed():
    assert converters.peer_address("10.200.200.5") == bytes([10, 200, 200, 5])
    assert converters.peer_address("fd00::5") == socket.inet_pton(socket.AF_INET6, "fd00::5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.200.200", "is no IP address: as in 10.200.200.5"),
        ("10.200.200.5/24", "is no IP address"),
        ("vpnsrvB", "is no IP address"),
        ("10.0.0.1\ud800", "is no IP address"),
        ("0.0.0.0", "nobody's address"),
        ("255.255.255.255", "nobody's address"),
        ("224.0.0.5", "nobody's address"),
        ("::", "nobody's address"),
        ("ff02::1", "nobody's address"),
        ("fe80::1", "is link-local"),
        ("::ffff:10.0.0.1", "in disguise: write 10.0.0.1"),
    ],
)
def test_addresses_that_no_peer_has_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        converters.peer_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "10.200.200.1", "fd00::1"])
def test_listen_takes_every_address_as_well(text):
    assert converters.listen_address(text) == converters.packed(text)


@pytest.mark.parametrize("text", ["10.100.100.0/24", "10.0.0.1", "fd00:9::/64", "10.0.0.0/8"])
def test_networks(text):
    assert converters.network(text) == Prefix.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.100.100.1/24", "bits set behind its length: write 10.100.100.0/24"),
        ("fd00::1/64", "write fd00::/64"),
        ("10.0.0.0/33", "the length behind '/' is 0 to 32"),
        ("10.0.0.0/", "the length behind '/' is 0 to 32"),
        ("10.0.0.0/255.0.0.0", "the length behind '/' is 0 to 32"),
        ("10.0.0.0/" + "1" * 5000, "the length behind '/' is 0 to 32"),
        ("0.0.0.0/0", "the whole Internet"),
        ("128.0.0.0/1", "the whole Internet"),
        ("::/0", "the whole Internet"),
        ("office", "is no IP address"),
    ],
)
def test_what_is_no_network_is_refused_and_the_right_one_named(text, message):
    with pytest.raises(ValueError, match=message):
        converters.network(text)


def test_lists_take_commas_and_white_space():
    read = converters.listed(converters.number(1, 9))
    assert read("1, 2 3,4 ,5") == (1, 2, 3, 4, 5)
    with pytest.raises(ValueError, match="names nothing"):
        read(" , ")
    with pytest.raises(ValueError, match="twice"):
        read("1 2 1")


@pytest.mark.parametrize("text", ["0", "65536", "-1", "+1", "1.0", "0x10", "٣", "9" * 5000])
def test_numbers_out_of_range_are_refused(text):
    with pytest.raises(ValueError, match="a whole number from 1 to 65535 is needed"):
        converters.number(1, 65535)(text)


def test_yes_and_no():
    assert [converters.yes_no(text) for text in ("yes", "True", "ON")] == [True] * 3
    assert [converters.yes_no(text) for text in ("no", "false", "Off")] == [False] * 3
    with pytest.raises(ValueError, match="'1' is none of yes, true, on, no, false, off"):
        converters.yes_no("1")


@pytest.mark.parametrize("text", ["pass", "./pass", "~/pass", "/a\x00b"])
def test_paths_are_whole_paths(text):
    with pytest.raises(ValueError, match="is no whole path: it begins with '/'"):
        converters.file_path(text)


def test_socket_paths_are_as_short_as_the_kernel_wants_them():
    assert str(converters.socket_path("/" + "x" * 106)) == "/" + "x" * 106
    with pytest.raises(ValueError, match="too long for a socket: 107 bytes"):
        converters.socket_path("/" + "x" * 107)


@given(st.text())
def test_readers_refuse_nothing_but_by_value_error(text):
    for read in (
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
            read(text)
