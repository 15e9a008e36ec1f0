"""Gathers what `check` wants to know of this host. Reads only, and disturbs nobody.

It never connects to OpenVPN's management interface: that serves one client at a time,
and with ``management-signal`` in OpenVPN's configuration our leaving would restart it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from cuberouted.api.server import ControlError, is_served
from cuberouted.check.rules import HostFacts, sysctls_of_interest
from cuberouted.config import Config, ConfigError, OpenVPNConfig
from cuberouted.config.keypair import public_of, with_secret_key
from cuberouted.daemon.host import HostState, data_interfaces, evaluate_links
from cuberouted.model import Prefix, format_address
from cuberouted.routing.linux.kernel import missing_capability, open_kernel

SOCKETS = Path("/proc/net")
"""Where the kernel lists its sockets; a host without IPv6 has no list of those."""

LISTENING = "0A"
"""TCP_LISTEN as /proc/net/tcp writes it (include/net/tcp_states.h)."""


async def probe_host(config: Config) -> HostFacts:
    """The facts about this host, as far as this user may see them."""
    async with open_kernel(
        config.route_table, config.route_metric, config.route_protocol
    ) as kernel:
        links = await kernel.links()
        through = {
            link.name: await kernel.routes_through(link.index)
            for link in links
            if link.name in data_interfaces(config)
        }
    host = evaluate_links(config, links, through, HostState())
    running = _running(config.control_socket)
    public_key, useless = _key(config)
    return HostFacts(
        links=links,
        host=host,
        missing_capability=missing_capability(),
        sysctls={name: _sysctl(name) for name in sysctls_of_interest(config)},
        openvpn={openvpn.name: _unreachable(openvpn) for openvpn in config.openvpns},
        busy={} if running else dict(_busy(host.listen, config.cube_routed_port)),
        unreadable=dict(_unreadable(config)) | useless,
        daemon=running,
        public_key=public_key,
    )


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _running(control_socket: Path) -> bool:
    try:
        return is_served(control_socket)
    except ControlError:
        return False


def _key(config: Config) -> tuple[str | None, dict[Path, str]]:
    """Our public key; or why the secret one cannot be used."""
    if config.secret_key_file is None:
        return None, {}
    try:
        secret = with_secret_key(config).secret_key
    except ConfigError as error:
        return None, {config.secret_key_file: ", ".join(p.what for p in error.problems)}
    return public_of(secret).decode() if secret else None, {}


def _unreachable(openvpn: OpenVPNConfig) -> str | None:
    path = openvpn.status_file or openvpn.mgmt_socket
    if path is None:
        return _nobody_at(openvpn.mgmt_port)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is not there: does OpenVPN run, and make it?"
    except OSError as error:
        return f"{path}: {error.strerror}"
    if path is openvpn.mgmt_socket and not os.access(path, os.W_OK, effective_ids=True):
        return f"{path}: Permission denied; see systemd/drop-ins/openvpn-socket.conf"
    return None


def _nobody_at(port: int) -> str | None:
    if port in set(_listening_ports()):
        return None
    return (
        f"nobody listens on TCP port {port}: does OpenVPN run, with `management 127.0.0.1 {port}`?"
    )


def _listening_ports() -> Iterator[int]:
    for table in ("tcp", "tcp6"):
        path = SOCKETS / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, _, state, *_ = line.split()
            if state == LISTENING:
                yield int(local.rpartition(":")[2], 16)


def _busy(addresses: frozenset[bytes], port: int) -> Iterator[tuple[str, str]]:
    for address in addresses:
        family = Prefix.host(address).family
        text = format_address(address)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((text, port))
                probe.listen(1)
            except OSError as error:
                yield f"{text} port {port}", str(error.strerror)


def _unreadable(config: Config) -> Iterator[tuple[Path, str]]:
    for openvpn in config.openvpns:
        for path in (openvpn.mgmt_pass_file, openvpn.status_file):
            if path is not None:
                try:
                    path.open("rb").close()
                except OSError as error:
                    if path is openvpn.status_file and isinstance(error, FileNotFoundError):
                        continue  # OpenVPN will make it: nothing is wrong
                    yield path, f"cannot be read: {error.strerror}"
