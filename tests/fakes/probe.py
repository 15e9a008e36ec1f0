"""What a daemon reads and tries when it checks its peers, in memory."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from cuberouted.config import OpenVPNConfig, PeerConfig
from cuberouted.model import FileKind
from cuberouted.openvpn.fingerprints import OwnFingerprint


class FakeProbe:
    """``files``: name and content by kind, of every OpenVPN process. ``unreadable``: why a kind
    cannot be read. ``ports``: why the port of a peer cannot be reached. ``mtus``: by interface,
    where it is not 1500. ``reads``: how often files were read, each time for ``takes`` seconds.
    """

    def __init__(self) -> None:
        self.files: dict[FileKind, dict[bytes, bytes]] = {}
        self.unreadable: dict[FileKind, str] = {}
        self.ports: dict[str, str] = {}
        self.mtus: dict[str, int] = {}
        self.reads = 0
        self.takes = 0.0

    async def fingerprints(
        self, configs: Sequence[OpenVPNConfig], nonce: bytes
    ) -> list[OwnFingerprint]:
        self.reads += 1
        await trio.sleep(self.takes)
        return [self._of(kind, config.name, nonce) for config in configs for kind in FileKind]

    def _of(self, kind: FileKind, openvpn: str, nonce: bytes) -> OwnFingerprint:
        if kind in self.unreadable:
            return OwnFingerprint.unknown(kind, openvpn, self.unreadable[kind])
        return OwnFingerprint.of(kind, openvpn, nonce, self.files.get(kind, {}).items())

    def mtu(self, interface: str) -> int:
        return self.mtus.get(interface, 1500)

    async def connect(self, peer: PeerConfig) -> str:
        await trio.lowlevel.checkpoint()
        return self.ports.get(peer.label, "")
