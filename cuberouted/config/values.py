"""A configuration that is right, as the rest of cuberouted uses it."""

from __future__ import annotations

from pathlib import Path

import attrs

from cuberouted.config.schema import OnExit
from cuberouted.model import Prefix, format_address

_FIXED = {
    "node": "node",
    "route_table": "route_table",
    "route_metric": "route_metric",
    "route_protocol": "route_protocol",
    "cube_routed_port": "cube_routed_port",
    "control_socket": "control_socket",
    "secret_key": "secret_key_file",
}
"""What a running daemon cannot change, and the key that says it."""


@attrs.frozen
class OpenVPNConfig:
    """One OpenVPN process on this host.

    ``name`` is "" where the node's own keys describe it. Its management interface is at
    ``mgmt_socket``, or else at ``mgmt_port`` of ``mgmt_host``; a ``mgmt_host`` of None is
    127.0.0.1 and then the data interface's address. With a ``status_file`` it is not used.
    """

    name: str
    data_interface: str
    mgmt_host: str | None
    mgmt_port: int
    mgmt_socket: Path | None
    mgmt_pass_file: Path | None
    status_file: Path | None


@attrs.frozen
class PeerConfig:
    """Another node. Addresses are packed.

    ``name`` is None in the two-server form: the peer's name is what it announces.
    ``public_keys``: in Z85; either of two is good while the peer changes its key.
    """

    name: str | None
    mgmt_interface: str
    mgmt_ip: bytes
    data_ip: bytes | None
    port: int
    public_keys: tuple[bytes, ...] = ()

    @property
    def label(self) -> str:
        """What tells this peer from every other: its name, or else its management address."""
        if self.name is not None:
            return self.name
        return format_address(self.mgmt_ip)


@attrs.frozen
class Config:
    """Everything that the file at ``path`` says, with the defaults filled in.

    Intervals and times are seconds, addresses packed. ``listen`` None: the addresses of
    every peer's mgmt_interface. ``allowed_networks`` None: learned from the data interface.
    ``secret_key``: what `keypair.with_secret_key` found in ``secret_key_file``, in Z85.
    """

    path: Path
    node: str
    openvpns: tuple[OpenVPNConfig, ...]
    peers: tuple[PeerConfig, ...]
    listen: tuple[bytes, ...] | None
    cube_routed_port: int
    poll_interval: float
    status_interval: float
    heartbeat_interval: float
    hold_time: float
    restart_time: float
    kill_superseded_sessions: bool
    on_exit: OnExit
    allowed_networks: tuple[Prefix, ...] | None
    route_table: int
    route_metric: int
    route_protocol: int
    control_socket: Path
    max_advertisements: int
    log_level: str
    log_format: str
    secret_key_file: Path | None = None
    secret_key: bytes | None = attrs.field(default=None, repr=False)

    def allowed_peers(self) -> dict[bytes, str]:
        """Who may connect: by public key where there are keys, else by management address."""
        if self.secret_key_file is None:
            return {peer.mgmt_ip: peer.label for peer in self.peers}
        return {key: peer.label for peer in self.peers for key in peer.public_keys}


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """The keys that differ and that a running daemon cannot change."""
    return tuple(key for name, key in _FIXED.items() if getattr(old, name) != getattr(new, name))
