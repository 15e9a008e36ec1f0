"""What `check --peers` asks the daemon for: what it found out about each peer. Pure."""

from __future__ import annotations

import msgspec


class SharedFile(msgspec.Struct):
    """A kind of file that all servers have to share, compared with the peer's.

    ``kind``: ccd, crl, tls_key or token_secret. ``openvpn``: the OpenVPN process here.
    ``verdict``: same, differs or unknown. ``text``: a clause, empty for same.
    """

    kind: str
    openvpn: str
    verdict: str
    text: str = ""


class PeerAnswer(msgspec.Struct):
    """What a peer has replied.

    ``clock_offset``: seconds that its clock is ahead, give or take ``clock_error``. ``state`` and
    ``detail``: of this node, as the peer sees it. ``mtu``: of its interface to this node, or 0.
    """

    cuberouted: str
    clock_offset: float
    clock_error: float
    state: str
    detail: str
    mtu: int
    files: list[SharedFile]


class PeerCheck(msgspec.Struct):
    """One configured peer.

    ``state``, ``detail``: as `status` shows them. ``connection``: why the daemon's connection to
    it fails, or empty. ``port``: why its TCP port cannot be reached, or empty. ``subscribed``: it
    is connected to this node. ``mtu``: of the interface that leads to it, or 0. ``answer``: None
    if it did not reply.
    """

    name: str
    known_as: str
    interface: str
    address: str
    tcp_port: int
    state: str
    detail: str
    connection: str
    port: str
    subscribed: bool
    mtu: int
    answer: PeerAnswer | None = None


class PeersReport(msgspec.Struct):
    """All configured peers."""

    node: str
    peers: list[PeerCheck]
