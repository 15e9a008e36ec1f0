"""Collects the facts about this host that `check` needs. Only reads.

It never connects to OpenVPN's management interface, which serves one client at a time; and with
``management-signal`` in OpenVPN's configuration our disconnecting would restart OpenVPN.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from cuberouted.api.client import is_served
from cuberouted.api.protocol import ControlError
from cuberouted.check.rules import HostFacts, sysctls_to_read
from cuberouted.config import Config, ConfigError, OpenVPNConfig
from cuberouted.config.keypair import public_of, with_secret_key
from cuberouted.daemon.host import HostState, read_host_state
from cuberouted.model import Prefix, format_address
from cuberouted.routing.kernel_api import KernelApi
from cuberouted.routing.linux.kernel import missing_capability

SOCKETS = Path("/proc/net")
"""Where the kernel lists its sockets. tcp6 is missing on a host without IPv6."""

TCP_LISTEN = "0A"
"""The state in /proc/net/tcp (include/net/tcp_states.h)."""


async def probe_host(kernel: KernelApi, config: Config) -> HostFacts:
    """The facts about this host, as far as this user may read them.

    Raises:
      KernelError: the kernel does not answer.
    """
    links = await kernel.links()
    host = await read_host_state(kernel, config, links, HostState())
    running = _is_running(config.control_socket)
    public_key, key_errors = _public_key(config)
    return HostFacts(
        links=links,
        host=host,
        missing_capability=missing_capability(),
        sysctls={name: _sysctl(name) for name in sysctls_to_read(config)},
        openvpn={openvpn.name: _why_unreachable(openvpn) for openvpn in config.openvpns},
        busy={} if running else dict(_busy(host.listen, config.cube_routed_port)),
        unreadable=dict(_unreadable_files(config)) | key_errors,
        daemon=running,
        public_key=public_key,
    )


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _is_running(control_socket: Path) -> bool:
    try:
        return is_served(control_socket)
    except ControlError:
        return False


def _public_key(config: Config) -> tuple[str | None, dict[Path, str]]:
    """Our public key, or why the secret key cannot be used."""
    if config.secret_key_file is None:
        return None, {}
    try:
        secret = with_secret_key(config).secret_key
    except ConfigError as error:
        return None, {config.secret_key_file: ", ".join(p.what for p in error.problems)}
    return public_of(secret).decode() if secret else None, {}


def _why_unreachable(openvpn: OpenVPNConfig) -> str | None:
    path = openvpn.status_file or openvpn.mgmt_socket
    if path is None:
        return _why_closed(openvpn.mgmt_port)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} does not exist: is OpenVPN running, and configured to create it?"
    except OSError as error:
        return f"{path}: {error.strerror}"
    if path is openvpn.mgmt_socket and not os.access(path, os.W_OK, effective_ids=True):
        return f"{path}: Permission denied; see systemd/drop-ins/openvpn-socket.conf"
    return None


def _why_closed(port: int) -> str | None:
    if port in set(_listening_ports()):
        return None
    return (
        f"no process listens on TCP port {port}: is OpenVPN running, with"
        f" `management 127.0.0.1 {port}`?"
    )


def _listening_ports() -> Iterator[int]:
    for table in ("tcp", "tcp6"):
        path = SOCKETS / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, _, state, *_ = line.split()
            if state == TCP_LISTEN:
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


def _unreadable_files(config: Config) -> Iterator[tuple[Path, str]]:
    for openvpn in config.openvpns:
        for path in (openvpn.mgmt_pass_file, openvpn.status_file):
            if path is not None:
                try:
                    path.open("rb").close()
                except OSError as error:
                    if path is openvpn.status_file and isinstance(error, FileNotFoundError):
                        continue  # OpenVPN will create it
                    yield path, f"cannot be read: {error.strerror}"
