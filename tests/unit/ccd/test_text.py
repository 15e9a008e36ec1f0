"""The two parts of a client's file."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import assume, given
from hypothesis import strategies as st

from cuberouted.ccd.subnets import Topology
from cuberouted.ccd.text import MARKER, format_client, other_end, parse_client, push_line
from cuberouted.openvpn.config_file import parse_file

MADE = ("ifconfig-push 10.100.100.10 255.255.255.0", "ifconfig-ipv6-push fd00::10/64")
PIECES = (b"iroute 192.168.50.0 255.255.255.0", b"ifconfig-push 10.9.0.1 10.9.0.2", b"\r", b"\n",
          MARKER, b"<x>", b"\0\xff", b" ", b"# x", b'push "a')  # fmt: skip
hand_written = st.one_of(
    st.binary(), st.lists(st.sampled_from(PIECES)).map(b"".join), st.just(MARKER + b"\n")
)


@given(hand_written)
def test_what_is_written_by_hand_is_kept_byte_for_byte(hand):
    content = format_client(MADE, hand)
    text = parse_client(content)
    assert text.ours
    assert text.hand == hand
    assert text.strange == ()
    assert format_client(MADE, text.hand) == content


@given(hand_written)
def test_every_content_can_be_read(content):
    text = parse_client(content)
    assert text.ours == (MARKER in [line.rstrip() for line in content.split(b"\n")])
    assert content.endswith(text.hand)


@given(st.ip_addresses(), st.sampled_from(Topology))
def test_what_is_made_parses_back(address, topology):
    assume(address.version == 6 or other_end(address))
    network = ip_network((address, 24 if address.version == 4 else 64), strict=False)
    line = push_line(address, network, topology)
    (option,) = parse_file(line.encode())
    (push,) = parse_client(line.encode()).pushes.values()
    assert (push.text, push.address) == (line, address)
    assert option.name == ("ifconfig-push" if address.version == 4 else "ifconfig-ipv6-push")


def test_the_last_option_counts_and_its_line_is_known():
    text = parse_client(
        format_client(
            MADE,
            b"# ifconfig-push 10.0.0.9 x\n ifconfig-push 10.0.0.1 10.0.0.2\n"
            b"ifconfig-push 'host 1' 255.255.255.0 # there\n",
        )
    )
    push = text.pushes[4]
    assert (push.line, push.text, push.address) == (6, "ifconfig-push host 1 255.255.255.0", None)
    assert 6 not in text.pushes


def test_lines_above_the_marker_that_are_not_made_are_found():
    above = b"# a comment\n\nifconfig-push 10.0.0.1 10.0.0.2\niroute 10.1.0.0\n"
    text = parse_client(above + b"ifconfig-push 10.0.0.1 10.0.0.2 # why\n" + MARKER + b" \r\n")
    assert text.strange == (
        (1, "# a comment"),
        (4, "iroute 10.1.0.0"),
        (5, "ifconfig-push 10.0.0.1 10.0.0.2 # why"),
    )


def test_addresses_of_both_families():
    text = parse_client(b"ifconfig-ipv6-push fd00::1/64 fd00::2\nifconfig-push 10.0.0.1 10.0.0.2\n")
    assert not text.ours
    found = {version: push.address for version, push in text.pushes.items()}
    assert found == {4: ip_address("10.0.0.1"), 6: ip_address("fd00::1")}
