"""All keys of the configuration, and the classes that hold their values.

A key is one field, defined only here: its name, converter, default, meaning, and whether a reload
applies a change of it. The parser, the suggestions for misspelt keys, `restart_needed` and the
test of conf/cuberouted.conf.reference work from these fields. Fields that are no keys, such as
`Config.peers`, are filled in by `build.parse`.
"""

# ruff: noqa: RUF009 - `key` makes an attrs field, not a default that all instances share

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs

from cuberouted.config import converters
from cuberouted.config.converters import MAX_UINT32, ListenAddress, duration, number
from cuberouted.model import MAIN_TABLE, MAX_ADVERTISEMENTS, Prefix, format_address

DEFAULT_CONTROL_SOCKET = Path("/run/cuberouted/control.sock")
DEFAULT_STATE_DIRECTORY = Path("/var/lib/cuberouted")

T = TypeVar("T")
D = TypeVar("D")


class OnExit(enum.Enum):
    """What becomes of this node's routes when the daemon is stopped."""

    WITHDRAW = "withdraw"
    KEEP = "keep"


class LogFormat(enum.StrEnum):
    """The format of the log."""

    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"


class Placement(enum.StrEnum):
    """Where a service address is. SINGLE: on one node. NEAREST: on every healthy one."""

    SINGLE = "single"
    NEAREST = "nearest"


class Reload(enum.Enum):
    """Whether a reload applies a changed key, or is refused because the daemon must restart."""

    LIVE = "live"
    RESTART = "restart"


def key(
    convert: Callable[[str], T],
    default: D,
    meaning: str,
    *,
    reload: Reload = Reload.LIVE,
    shorthand: str = "",
    alias: str | None = None,
) -> T | D:
    """A field that is a key of the file.

    *convert* makes the value from text, or raises ValueError. *default*: None or empty if the key
    has none. *shorthand*: the key that stands for this one before the first section, where the
    node has only one peer or OpenVPN process. *alias*: the key, if the field has another name.
    """
    metadata = {"convert": convert, "meaning": meaning, "reload": reload, "shorthand": shorthand}
    field: T | D = attrs.field(default=default, metadata=metadata, alias=alias)
    return field


@attrs.frozen
class PeerConfig:
    """Another node: a ``[peer NAME]`` section, or the shorthand keys of a node with one peer.

    ``name`` is None with the shorthand keys: the peer's name is then whatever it announces.
    Addresses are packed, keys in Z85. Either of two public keys is accepted.
    """

    name: str | None = None
    mgmt_interface: str = key(
        converters.interface, "", "the interface to this peer; default: the node's mgmt_interface"
    )
    mgmt_ip: bytes = key(
        converters.peer_address,
        b"",
        "the peer's address in the management subnet",
        shorthand="remote_mgmt_ip",
    )
    data_ip: bytes | None = key(
        converters.peer_address,
        None,
        "the peer's address in the clients' subnet",
        shorthand="remote_data_ip",
    )
    port: int = key(number(1, 65535), 0, "the peer's TCP port; default: cube_routed_port")
    public_keys: tuple[bytes, ...] = key(
        converters.public_keys,
        (),
        "the peer's public key, or two while it changes its key",
        shorthand="remote_public_key",
        alias="public_key",
    )

    @property
    def label(self) -> str:
        """A unique name for this peer: its configured name, or else its management address."""
        return self.name if self.name is not None else format_address(self.mgmt_ip)


@attrs.frozen
class OpenVPNConfig:
    """One OpenVPN process: an ``[openvpn NAME]`` section, or the node's shorthand keys.

    ``name`` is "" with the shorthand keys. The management interface is at ``mgmt_socket``, or
    else at ``mgmt_host`` and ``mgmt_port``; a ``mgmt_host`` of None is 127.0.0.1 and then the
    data interface's address. With a ``status_file`` the management interface is not used.
    """

    name: str = ""
    data_interface: str = key(
        converters.interface,
        "",
        "the tun device for its clients; default: the node's data_interface",
    )
    mgmt_host: str | None = key(
        converters.host,
        None,
        "host or address of its management interface",
        shorthand="openvpn_mgmt_host",
    )
    mgmt_port: int = key(
        number(1, 65535),
        5656,
        "TCP port of its management interface",
        shorthand="openvpn_mgmt_port",
    )
    mgmt_socket: Path | None = key(
        converters.socket_path,
        None,
        "Unix socket of its management interface",
        shorthand="openvpn_mgmt_socket",
    )
    mgmt_pass_file: Path | None = key(
        converters.file_path,
        None,
        "file whose first line is the password of its management interface",
        shorthand="openvpn_mgmt_pass_file",
    )
    status_file: Path | None = key(
        converters.file_path,
        None,
        "its status file, read instead of the management interface",
        shorthand="openvpn_status_file",
    )
    mgmt_shared: bool = key(
        converters.yes_no,
        False,
        "whether its management interface is passed through by the program that decides who may"
        " connect",
        shorthand="openvpn_mgmt_shared",
    )
    remotes: tuple[str, ...] = key(
        converters.remotes,
        (),
        "where clients reach it: HOST [PORT [PROTO]], several separated by commas",
        shorthand="openvpn_remote",
        alias="remote",
    )
    service: str = key(
        converters.name,
        "",
        "the service whose commands start and stop it: it runs only where that is",
        shorthand="openvpn_service",
    )


@attrs.frozen
class ServiceConfig:
    """A shared service address: a ``[service NAME]`` section. Times are in seconds.

    ``preempt``: seconds that a holder with a lower priority is left alone; None: for ever.
    """

    name: str = ""
    address: bytes = key(converters.peer_address, b"", "the address that the nodes share")
    priority: int = key(
        number(0, 1_000_000), 100, "which node should have it: the highest healthy one"
    )
    placement: Placement = key(
        converters.choice({word.value: word for word in Placement}),
        Placement.SINGLE,
        "whether one node has the address, or every healthy one for its own clients",
    )
    preempt: float | None = key(
        converters.preempt,
        None,
        "time after which it is taken back from a node with a lower priority, or no",
    )
    witness: bool = key(converters.yes_no, False, "whether it is given up while no peer is heard")
    check: tuple[str, ...] = key(
        converters.command, (), "command that ends with 0 while this node can provide the service"
    )
    check_interval: float = key(duration(0.1, 3600.0), 2.0, "time between two checks")
    check_timeout: float = key(duration(0.1, 3600.0), 1.0, "time until a check has failed")
    rise: int = key(number(1, 1000), 2, "checks in a row that succeed, until it is healthy")
    fall: int = key(number(1, 1000), 2, "checks in a row that fail, until it is not")
    fence: tuple[str, ...] = key(
        converters.command,
        (),
        "command that makes sure that a peer that is not heard does not have the address",
    )
    on_acquire: tuple[str, ...] = key(
        converters.command, (), "command that has to succeed before the address is taken"
    )
    on_release: tuple[str, ...] = key(
        converters.command, (), "command that is run when the address is given up"
    )
    command_timeout: float = key(
        duration(0.1, 3600.0), 60.0, "time until fence, on_acquire or on_release is killed"
    )


@attrs.frozen
class Config:
    """A configuration file: the keys before the first section, peers, OpenVPN processes, services.

    Times are in seconds, addresses packed. `mgmt_interface`, `data_interface` and
    `cube_routed_port` are already filled in where a peer or OpenVPN process has none of its own.
    """

    path: Path
    peers: tuple[PeerConfig, ...] = ()
    openvpns: tuple[OpenVPNConfig, ...] = ()
    services: tuple[ServiceConfig, ...] = ()
    node: str = key(
        converters.name,
        "",
        "this node's name, unique in the mesh; default: the host's name",
        reload=Reload.RESTART,
    )
    mgmt_interface: str = key(
        converters.interface, "", "the interface of the management subnet, which leads to the peers"
    )
    data_interface: str = key(converters.interface, "", "OpenVPN's tun device for the clients")
    listen: tuple[bytes, ...] | None = key(
        converters.listed(converters.listen_address),
        None,
        "addresses to listen on for peers; default: those of every peer's mgmt_interface",
    )
    cube_routed_port: int = key(
        number(1, 65535),
        5657,
        "TCP port of this node and of every peer that has no port of its own",
        reload=Reload.RESTART,
    )
    poll_interval: float = key(
        duration(0.01), 1.0, "time between two requests for OpenVPN's number of clients"
    )
    status_interval: float = key(
        duration(0.1), 30.0, "time between two requests for OpenVPN's list of clients"
    )
    heartbeat_interval: float = key(
        duration(0.01), 1.0, "longest time between two messages to the peers"
    )
    hold_time: float = key(duration(0.3), 3.0, "time without a message until a peer is down")
    restart_time: float = key(
        duration(0.0), 30.0, "time that peers keep this node's routes after an announced restart"
    )
    kill_superseded_sessions: bool = key(
        converters.yes_no, True, "end a session here once its client has connected elsewhere"
    )
    allow_remote_disconnect: bool = key(
        converters.yes_no,
        False,
        "whether users of the peers may end sessions here by `cuberouted disconnect`",
    )
    on_exit: OnExit = key(
        converters.choice({word.value: word for word in OnExit}),
        OnExit.WITHDRAW,
        "what becomes of this node's routes when the daemon is stopped",
    )
    allowed_networks: tuple[Prefix, ...] | None = key(
        converters.networks,
        None,
        "networks whose prefixes are advertised and accepted; default: the data interface's",
    )
    secret_key_file: Path | None = key(
        converters.file_path,
        None,
        "file with this node's secret key; all traffic between peers is then encrypted",
        reload=Reload.RESTART,
    )
    route_table: int = key(
        converters.route_table,
        MAIN_TABLE,
        "routing table that contains the routes",
        reload=Reload.RESTART,
    )
    route_metric: int = key(
        number(1, MAX_UINT32), 50, "metric of the routes", reload=Reload.RESTART
    )
    route_protocol: int = key(
        converters.route_protocol,
        201,
        "protocol number that marks the daemon's routes",
        reload=Reload.RESTART,
    )
    control_socket: Path = key(
        converters.socket_path,
        DEFAULT_CONTROL_SOCKET,
        "Unix socket that answers the commands",
        reload=Reload.RESTART,
    )
    state_directory: Path = key(
        converters.file_path,
        DEFAULT_STATE_DIRECTORY,
        "directory where the state of maintenance is kept over a restart",
        reload=Reload.RESTART,
    )
    capacity: int = key(
        number(0, 1_000_000), 0, "clients that this node should have at most; 0: any number"
    )
    service_interface: str = key(
        converters.interface,
        "lo",
        "the interface that gets the addresses of services",
        reload=Reload.RESTART,
    )
    max_advertisements: int = key(
        number(1, MAX_ADVERTISEMENTS), 65536, "prefixes that one peer may advertise"
    )
    events_kept: int = key(
        number(100, 1_000_000), 10_000, "events that are kept for `cuberouted history`"
    )
    log_level: str = key(
        converters.choice({word: word for word in ("debug", "info", "warning", "error")}),
        "info",
        "lowest severity of the messages that are logged",
    )
    log_format: LogFormat = key(
        converters.choice({word.value: word for word in LogFormat}),
        LogFormat.TEXT,
        "format of the log: lines of text or JSON, or entries of systemd's journal",
    )
    hook: tuple[str, ...] = key(converters.command, (), "command that is run for each event")
    hook_events: tuple[str, ...] = key(
        converters.listed(converters.event_type),
        (),
        "types of the events that it is run for; default: all but debug events",
    )
    hook_timeout: float = key(duration(0.1, 3600.0), 10.0, "time until the command is killed")
    hosts_file: Path | None = key(
        converters.generated_file,
        None,
        "file in which names and addresses of all clients are kept, in the form of hosts(5)",
    )
    hosts_domain: str = key(converters.domain, "", "DNS domain of the names in that file")
    web_listen: ListenAddress | None = key(
        converters.web_listen,
        None,
        "address and port where metrics, health and the page are served over HTTP",
    )
    web_hosts: tuple[str, ...] = key(
        converters.listed(converters.web_host),
        (),
        "host names by which browsers and monitoring may address web_listen",
    )
    web_clients: bool = key(
        converters.yes_no, False, "whether clients of the VPN may read what is served there"
    )
    web_names: bool = key(
        converters.yes_no, True, "whether names and addresses of clients are served there"
    )
    # in Z85; `keypair.with_secret_key` reads it from secret_key_file
    secret_key: bytes | None = attrs.field(default=None, repr=False)

    def allowed_peers(self) -> dict[bytes, str]:
        """Labels of the peers that may connect, by public key, or without keys by address."""
        if self.secret_key_file is None:
            return {peer.mgmt_ip: peer.label for peer in self.peers}
        return {key: peer.label for peer in self.peers for key in peer.public_keys}


SectionConfig = Config | PeerConfig | OpenVPNConfig | ServiceConfig

SECTIONS: Final = MappingProxyType[str, type[SectionConfig]](
    {"": Config, "peer": PeerConfig, "openvpn": OpenVPNConfig, "service": ServiceConfig}
)
"""The class for each kind of section; "" is what precedes the first header."""


def key_fields(section: type[SectionConfig]) -> dict[str, attrs.Attribute[Any]]:
    """The fields of *section* that are keys, by key."""
    fields = attrs.fields(section)
    return {field.alias: field for field in fields if "convert" in field.metadata}


SHORTHANDS: Final = MappingProxyType(
    {
        field.metadata["shorthand"]: (kind, key)
        for kind, section in SECTIONS.items()
        for key, field in key_fields(section).items()
        if field.metadata["shorthand"]
    }
)
"""Kind of section and key that each shorthand key stands for."""


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """The keys that differ between *old* and *new* and that a reload cannot apply."""
    return tuple(
        key
        for key, field in key_fields(Config).items()
        if field.metadata["reload"] is Reload.RESTART and _differs(key, old, new)
    )


def _differs(key: str, old: Config, new: Config) -> bool:
    if key == "secret_key_file":  # the same secret key in another file is no change
        return old.secret_key != new.secret_key
    return bool(getattr(old, key) != getattr(new, key))
