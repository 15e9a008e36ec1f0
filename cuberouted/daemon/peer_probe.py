"""What is read from this host, and tried on the network, when the peers are checked."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import trio

from cuberouted.config import OpenVPNConfig, PeerConfig
from cuberouted.model import format_address
from cuberouted.openvpn.fingerprints import OwnFingerprint
from cuberouted.openvpn.shared_files import take_fingerprints

CONNECT_TIMEOUT = 3.0
"""Seconds for a TCP connection to a peer."""


class PeerProbe(Protocol):
    """Implemented by `HostProbe`; tests have another one."""

    async def fingerprints(
        self, configs: Sequence[OpenVPNConfig], nonce: bytes
    ) -> list[OwnFingerprint]:
        """The fingerprints of the OpenVPN processes of this host."""

    def mtu(self, interface: str) -> int:
        """The MTU of an interface, or 0 if it does not exist."""

    async def connect(self, peer: PeerConfig) -> str:
        """Try a TCP connection to *peer* through its interface. Empty, or why there is none."""


class HostProbe:
    """Implements `PeerProbe` on this host."""

    async def fingerprints(
        self, configs: Sequence[OpenVPNConfig], nonce: bytes
    ) -> list[OwnFingerprint]:
        """See `PeerProbe`. Reads files in a thread."""
        return await trio.to_thread.run_sync(take_fingerprints, tuple(configs), nonce)

    def mtu(self, interface: str) -> int:
        """See `PeerProbe`."""
        try:
            return int(Path("/sys/class/net", interface, "mtu").read_text())
        except (OSError, ValueError):
            return 0

    async def connect(self, peer: PeerConfig) -> str:
        """See `PeerProbe`."""
        family = socket.AF_INET if len(peer.mgmt_ip) == 4 else socket.AF_INET6
        with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            try:
                device = os.fsencode(peer.mgmt_interface)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
                with trio.move_on_after(CONNECT_TIMEOUT):
                    await sock.connect((format_address(peer.mgmt_ip), peer.port))
                    return ""
            except OSError as error:
                return _ERRORS.get(error.errno or 0) or os.strerror(error.errno or 0)
        return f"no answer in {CONNECT_TIMEOUT:g} s"


_ERRORS = {
    errno.ENODEV: "the interface does not exist",
    errno.ECONNREFUSED: "connection refused: nobody listens there",
}
