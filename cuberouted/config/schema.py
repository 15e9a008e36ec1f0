"""Every key there is: what it is called, how it is read, what it is when left out.

A key is one field here and stands nowhere else: the parser, the hints for misspelt keys and
the test of the reference file are driven by these classes. A value of None means "not set".
"""

# ruff: noqa: RUF009 - `key` makes an attrs field, not a default that all instances share

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import attrs

from cuberouted.config import converters
from cuberouted.config.converters import duration, number
from cuberouted.model import MAIN_TABLE, MAX_ADVERTISEMENTS, Prefix

T = TypeVar("T")
D = TypeVar("D")

_MAX_UINT32 = 2**32 - 1


class OnExit(enum.Enum):
    """What becomes of our routes when the daemon ends in good order."""

    WITHDRAW = "withdraw"
    KEEP = "keep"


def key(read: Callable[[str], T], default: D, meaning: str) -> T | D:
    """A field of a section: one key. *read* raises ValueError with a message for people."""
    field: T | D = attrs.field(default=default, metadata={"read": read, "meaning": meaning})
    return field


def route_table(text: str) -> int | str:
    """A table's number, or its name as it stands; the name is looked up later."""
    if not text.isdigit():
        return converters.name(text)
    table = number(1, _MAX_UINT32)(text)
    if table == 255:
        raise ValueError(
            "255 is the kernel's table of local addresses: use main, or one of your own"
        )
    return table


def route_protocol(text: str) -> int:
    """A route's protocol number: what bears it is taken to be ours, and is removed by us."""
    protocol = number(5, 255)(text)
    if protocol in _TAKEN_PROTOCOLS:
        raise ValueError(
            f"{protocol} is {_TAKEN_PROTOCOLS[protocol]}'s: use 201, or another free one"
        )
    return protocol


# RTPROT_* of linux/rtnetlink.h; up to 4 they are the kernel's and the administrator's
_TAKEN_PROTOCOLS: Final = MappingProxyType(
    {8: "gated", 9: "router advertisement", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted",
     14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn",
     99: "openr", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp"}
)  # fmt: skip


@attrs.frozen
class NodeKeys:
    """The keys before the first section."""

    node: str | None = key(converters.name, None, "this node's name, unique in the mesh")
    mgmt_interface: str | None = key(
        converters.interface, None, "the management subnet's interface: routes to peers leave by it"
    )
    data_interface: str | None = key(
        converters.interface, None, "OpenVPN's tun device for the clients"
    )
    remote_mgmt_ip: bytes | None = key(
        converters.peer_address, None, "the only peer's address in the management subnet"
    )
    remote_data_ip: bytes | None = key(
        converters.peer_address, None, "the only peer's address in the clients' subnet"
    )
    listen: tuple[bytes, ...] | None = key(
        converters.listed(converters.listen_address), None, "our addresses that peers connect to"
    )
    cube_routed_port: int = key(number(1, 65535), 5657, "TCP port, ours and every peer's")
    openvpn_mgmt_host: str | None = key(
        converters.host, None, "where OpenVPN's management interface listens"
    )
    openvpn_mgmt_port: int = key(
        number(1, 65535), 5656, "TCP port of OpenVPN's management interface"
    )
    openvpn_mgmt_socket: Path | None = key(
        converters.socket_path, None, "Unix socket of OpenVPN's management interface"
    )
    openvpn_mgmt_pass_file: Path | None = key(
        converters.file_path, None, "file whose first line is the management password"
    )
    openvpn_status_file: Path | None = key(
        converters.file_path,
        None,
        "OpenVPN's status file, read instead of its management interface",
    )
    poll_interval: float = key(duration(0.01), 1.0, "how often OpenVPN's clients are counted")
    status_interval: float = key(duration(0.1), 30.0, "how often OpenVPN's whole list is asked for")
    heartbeat_interval: float = key(
        duration(0.01), 1.0, "how often peers hear from us when there is no news"
    )
    hold_time: float = key(duration(0.3), 3.0, "a peer not heard for so long is down")
    restart_time: float = key(
        duration(0.0), 30.0, "how long our routes are kept after an announced restart"
    )
    kill_superseded_sessions: bool = key(
        converters.yes_no, True, "drop a local session once its client has connected elsewhere"
    )
    on_exit: OnExit = key(
        converters.choice({exit_.value: exit_ for exit_ in OnExit}),
        OnExit.WITHDRAW,
        "what becomes of the routes when cuberouted ends",
    )
    allowed_networks: tuple[Prefix, ...] | None = key(
        converters.listed(converters.network), None, "only prefixes inside these are shared"
    )
    secret_key_file: Path | None = key(
        converters.file_path, None, "our secret key; with it everything between peers is encrypted"
    )
    remote_public_key: tuple[bytes, ...] | None = key(
        converters.public_keys, None, "the only peer's public key; two while it is changed"
    )
    route_table: int | str = key(route_table, MAIN_TABLE, "table that routes are put in")
    route_metric: int = key(number(1, _MAX_UINT32), 50, "metric of our routes")
    route_protocol: int = key(route_protocol, 201, "protocol number that marks routes as ours")
    control_socket: Path = key(
        converters.socket_path, Path("/run/cuberouted/control.sock"), "where the commands ask"
    )
    max_advertisements: int = key(
        number(1, MAX_ADVERTISEMENTS), 65536, "prefixes that one peer may advertise"
    )
    log_level: str = key(
        converters.choice({word: word for word in ("debug", "info", "warning", "error")}),
        "info",
        "what is logged: this and what is graver",
    )
    log_format: str = key(converters.choice({"text": "text"}), "text", "form of the log lines")


@attrs.frozen
class PeerKeys:
    """The keys of a ``[peer NAME]`` section."""

    mgmt_interface: str | None = key(
        converters.interface, None, "the interface towards this peer; default: the node's"
    )
    mgmt_ip: bytes | None = key(
        converters.peer_address, None, "the peer's address in the management subnet"
    )
    data_ip: bytes | None = key(
        converters.peer_address, None, "the peer's address in the clients' subnet"
    )
    port: int | None = key(number(1, 65535), None, "the peer's TCP port; default: cube_routed_port")
    public_key: tuple[bytes, ...] | None = key(
        converters.public_keys, None, "the peer's public key; two while it is changed"
    )


@attrs.frozen
class OpenVPNKeys:
    """The keys of an ``[openvpn NAME]`` section."""

    data_interface: str | None = key(
        converters.interface, None, "its tun device for the clients; default: the node's"
    )
    mgmt_host: str | None = key(converters.host, None, "where its management interface listens")
    mgmt_port: int = key(number(1, 65535), 5656, "TCP port of its management interface")
    mgmt_socket: Path | None = key(
        converters.socket_path, None, "Unix socket of its management interface"
    )
    mgmt_pass_file: Path | None = key(
        converters.file_path, None, "file whose first line is its management password"
    )
    status_file: Path | None = key(
        converters.file_path, None, "its status file, read instead of the management interface"
    )


Keys = NodeKeys | PeerKeys | OpenVPNKeys

KINDS: Final = MappingProxyType[str, type[Keys]](
    {"": NodeKeys, "peer": PeerKeys, "openvpn": OpenVPNKeys}
)
"""The kinds of sections; "" is what stands before the first header."""

UNAVAILABLE: Final = MappingProxyType[str, MappingProxyType[str, str]](
    {
        "": MappingProxyType({"metrics_listen": "metrics for Prometheus"}),
        "peer": MappingProxyType[str, str]({}),
        "openvpn": MappingProxyType[str, str]({}),
    }
)
"""Keys with a meaning to come, and what they are for. They are refused, not passed over."""
