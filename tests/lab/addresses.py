"""The addresses of servers, clients and tunnels: the article's for two servers, continued for more.

Every server and client has its number, from 1. The address of a client does not depend
on the server that it connects to.
"""

from __future__ import annotations

from ipaddress import IPv4Address

SUBNET = "10.100.100.0"
SUBNET6 = "fd00:100::/64"
NETMASK = "255.255.255.0"
MAX_SERVERS = 5


def server_data(number: int) -> str:
    """A server's address in the clients' subnet; the lower end of a /30, for topology net30."""
    return f"10.100.100.{(1, 101, 201, 241, 249)[number - 1]}"


def second_data(number: int) -> str:
    """The address of a server's second OpenVPN process; the lower end of the next /30."""
    return str(IPv4Address(server_data(number)) + 4)


def client_data(number: int) -> str:
    """A client's address: 10.100.100.10, .14, .18; the upper end of a /30, for topology net30."""
    return f"10.100.100.{6 + 4 * number}"


def other_end(address: str) -> str:
    """The other address of a /30, for topology net30."""
    last = int(address.rpartition(".")[2])
    return str(IPv4Address(address) + (1 if last % 4 == 1 else -1))


def ipv6(data: str) -> str:
    """The IPv6 address that goes with a data address: fd00:100::10 with 10.100.100.10."""
    return "fd00:100::" + data.rpartition(".")[2]


def tunnel(one: int, other: int) -> tuple[str, str, int]:
    """Our address, theirs, and the UDP port of the tunnel between two servers, as *one* has it.

    The article's for servers 1 and 2: 10.200.200.1 and 10.200.200.5.
    """
    low, high = sorted((one, other))
    pairs = [(a, b) for b in range(1, MAX_SERVERS + 1) for a in range(1, b)]
    pair = pairs.index((low, high))
    ends = f"10.200.{200 + pair}.1", f"10.200.{200 + pair}.5"
    ours, theirs = ends if one == low else ends[::-1]
    return ours, theirs, 1200 + pair
