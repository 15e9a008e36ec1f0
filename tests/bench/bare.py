"""The same routes without cuberouted: what the kernel alone takes, and `ip -batch`.

    python -m tests.bench.bare DEVICE GATEWAY COUNT

To be run in a network namespace that is otherwise empty. Prints seconds, as a JSON object.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

from tests.bench.fake_management_server import address

TABLE, PROTOCOL, METRIC, NEXTHOP = 254, 202, 60, 7
MESSAGES_PER_SEND = 256
_ROUTE = struct.Struct("=IHHIIBBBBBBBBIHH4sHHIHHIHHI")
_NEXTHOP = struct.Struct("=IHHIIBBBBIHHIHHIHH4s")
_NEXTHOP_NAMED = struct.Struct("=IHHIIBBBBIHHI")
_ONLINK = 4
_CREATE, _EXCL, _ACK, _REQUEST = 0x400, 0x200, 0x4, 0x1
_NEW_ROUTE, _NEW_NEXTHOP, _DELETE_NEXTHOP = 24, 104, 105


def main(device: str, gateway: str, count: int) -> None:
    """Measure both, one after the other."""
    routes = [address(1, number) for number in range(count)]
    took = {
        "bare": bare(device, gateway, routes),
        "batch": batch(f"via {gateway} dev {device} onlink", routes),
    }
    print(json.dumps(took))


def bare(device: str, gateway: str, routes: list[str]) -> float:
    """Routes through a nexthop object, packed by one `struct`, 256 per send."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.bind((0, 0))
    netlink.send(_new_nexthop(socket.if_nametoindex(device), socket.inet_aton(gateway)))
    _raise_for(netlink)
    packed = [socket.inet_aton(route) for route in routes]
    begin = time.perf_counter()
    for start in range(0, len(packed), MESSAGES_PER_SEND):
        netlink.send(b"".join([_route(one) for one in packed[start : start + MESSAGES_PER_SEND]]))
    took = time.perf_counter() - begin
    netlink.send(_delete_nexthop())
    _raise_for(netlink)
    return took


def _raise_for(netlink: socket.socket) -> None:
    """Receive the acknowledgement; raise the error that it contains."""
    refused = struct.unpack_from("=i", netlink.recv(1 << 16), 16)[0]
    if refused:
        raise OSError(-refused, os.strerror(-refused))


def _route(destination: bytes) -> bytes:
    return _ROUTE.pack(
        *(_ROUTE.size, _NEW_ROUTE, _REQUEST | _CREATE | _EXCL, 0, 0),
        *(socket.AF_INET, 32, 0, 0, TABLE, PROTOCOL, 0, 1, 0),
        *(8, 1, destination),
        *(8, 30, NEXTHOP),
        *(8, 15, TABLE),
        *(8, 6, METRIC),
    )


def _new_nexthop(device: int, gateway: bytes) -> bytes:
    return _NEXTHOP.pack(
        *(_NEXTHOP.size, _NEW_NEXTHOP, _REQUEST | _ACK | _CREATE | _EXCL, 0, 0),
        *(socket.AF_INET, 0, PROTOCOL, 0, _ONLINK),
        *(8, 1, NEXTHOP),
        *(8, 5, device),
        *(8, 6, gateway),
    )


def _delete_nexthop() -> bytes:
    return _NEXTHOP_NAMED.pack(
        *(_NEXTHOP_NAMED.size, _DELETE_NEXTHOP, _REQUEST | _ACK, 0, 0),
        *(0, 0, 0, 0, 0),
        *(8, 1, NEXTHOP),
    )


def batch(through: str, routes: list[str]) -> float:
    """The same routes by `ip -batch`, from a file."""
    with tempfile.NamedTemporaryFile("w", dir="/run") as lines:
        lines.writelines(f"route add {r}/32 {through} metric {METRIC}\n" for r in routes)
        lines.flush()
        begin = time.perf_counter()
        subprocess.run(["ip", "-batch", lines.name], check=True)
        took = time.perf_counter() - begin
    subprocess.run(["ip", "route", "flush", "metric", str(METRIC)], check=True)
    return took


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
