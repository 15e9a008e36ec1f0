from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Prefix, format_address, printable_name


def networks_of(size):
    return st.builds(
        lambda address, length: ipaddress.ip_network((address, length), strict=False),
        st.binary(min_size=size, max_size=size).map(ipaddress.ip_address),
        st.integers(0, size * 8),
    )


networks = networks_of(4) | networks_of(16)


@given(networks)
def test_text_form_agrees_with_the_standard_library(network):
    prefix = Prefix.parse(str(network))
    assert prefix == (network.network_address.packed, network.prefixlen)
    assert ipaddress.ip_network(str(prefix)) == network
    assert Prefix.parse(str(prefix)) == prefix
    assert prefix.validated() is prefix


@given(networks, networks, st.booleans())
def test_contains_agrees_with_the_standard_library(one, other, nested):
    if nested and one.prefixlen < one.max_prefixlen:
        other = next(one.subnets(1))
    expected = one.version == other.version and other.subnet_of(one)
    assert Prefix.parse(str(one)).contains(Prefix.parse(str(other))) is expected


@given(st.text(max_size=40))
def test_any_other_text_raises_value_error(text):
    try:
        prefix = Prefix.parse(text)
    except ValueError:
        return
    assert ipaddress.ip_network(text) == ipaddress.ip_network(str(prefix))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.0/33", "not a prefix: 4 bytes / 33"),
        ("10.0.0.1/24", "10.0.0.1/24 has host bits set"),
        ("10.0.0.0/", "'10.0.0.0/': '' is not a prefix length"),
        ("10.0.0.0/-1", "'10.0.0.0/-1': '-1' is not a prefix length"),
        ("10.0.0.0/٣", "'10.0.0.0/٣': '٣' is not a prefix length"),
        ("10.0.0.0/8/8", "'10.0.0.0/8/8': '8/8' is not a prefix length"),
        ("10.0.0", "'10.0.0' is not an IP address"),
        ("010.0.0.1", "'010.0.0.1' is not an IP address"),
        ("fe80::1%eth0", "'fe80::1%eth0' is not an IP address"),
        ("10.0.0.1\0", "'10.0.0.1\\x00' is not an IP address"),
        ("", "'' is not an IP address"),
    ],
)
def test_parse_error_says_what_is_wrong(text, why):
    with pytest.raises(ValueError, match=r"prefix|address|bits") as caught:
        Prefix.parse(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(("address", "length"), [(b"", 0), (b"12345", 32), (b"1234", -1)])
def test_prefix_of_wrong_size_or_length_is_invalid(address, length):
    with pytest.raises(ValueError, match="not a prefix"):
        Prefix(address, length).validated()


def test_host_prefix_is_a_single_address():
    v4, v6 = Prefix.host(bytes(4)), Prefix.host(bytes(16))
    assert (v4.family, v4.is_host, str(v4)) == (socket.AF_INET, True, "0.0.0.0/32")
    assert (v6.family, v6.is_host, str(v6)) == (socket.AF_INET6, True, "::/128")
    assert not Prefix(bytes(4), 31).is_host
    assert format_address(v6.address) == "::"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"host1", "host1"),
        ("jürg müller".encode(), "jürg müller"),
        (b"j\xfcrg", "j\\xfcrg"),
        (b"a\x1b[31mred", "a\\x1b[31mred"),
        (b"a\nb\tc", "a\\nb\\tc"),
        ("a\u202eb\u2028c".encode(), "a\\u202eb\\u2028c"),  # text that would turn, or end a line
        (b"", ""),
    ],
)
def test_unprintable_parts_of_a_name_are_escaped(name, text):
    assert printable_name(name) == text


@given(st.binary(max_size=64))
def test_any_name_is_printable_on_one_line(name):
    text = printable_name(name)
    assert text.isprintable()
    text.encode()
