"""Configurations and links that the unit tests of several packages use."""

from __future__ import annotations

from pathlib import Path

from cuberouted.config import Config, parse
from cuberouted.model import Prefix
from cuberouted.routing.types import Address, Link

BASE = "node = A\ndata_interface = tun0\n"
TWO_SERVERS = "mgmt_interface = tun1\nremote_mgmt_ip = 10.200.200.5\n"
THREE_SERVERS = """\
[peer B]
mgmt_interface = tun1
mgmt_ip = 10.200.200.5
data_ip = 10.100.100.102
[peer C]
mgmt_interface = tun2
mgmt_ip = 10.200.201.5
"""


def config(*parts: str) -> Config:
    """The configuration of these parts of a file, after the keys that every file needs."""
    return parse(BASE + "\n".join(parts) + "\n", Path("/etc/cuberouted.conf"), "A")


def packed(text: str) -> bytes:
    return Prefix.parse(text).address


def link(
    name: str, *addresses: str, index: int = 0, running: bool = True, point_to_point: bool = True
) -> Link:
    """*addresses* as ``LOCAL/LENGTH`` or ``LOCAL peer OTHER/LENGTH``."""
    number = index or sum(name.encode())
    return Link(number, name, running, point_to_point, tuple(map(_address, addresses)))


def _address(text: str) -> Address:
    local, _, other = text.partition(" peer ")
    host, _, length = (other or local).partition("/")
    address, bits = packed(host), int(length)
    behind = len(address) * 8 - bits
    network = (int.from_bytes(address) >> behind << behind).to_bytes(len(address))
    return Address(packed(local.partition("/")[0]), Prefix(network, bits))


TUN0 = link("tun0", "10.100.100.101/24", "fd00:1::101/64", "fe80::1/64")
TUN1 = link("tun1", "10.200.200.1 peer 10.200.200.5/32")
TUN2 = link("tun2", "10.200.201.1 peer 10.200.201.5/32")
ETH0 = link("eth0", "192.0.2.1/24", point_to_point=False)
LINKS = (ETH0, TUN0, TUN1, TUN2)
