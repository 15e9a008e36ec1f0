"""Finds out about each peer what only a node of the mesh can: for `check --peers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cuberouted.api.http import Endpoint, Request
from cuberouted.api.report_peers import PeerAnswer, PeerCheck, PeersReport, SharedFile
from cuberouted.model import format_address, printable_name
from cuberouted.openvpn.fingerprints import OwnFingerprint, compare
from cuberouted.peering.events import PeerState
from cuberouted.peering.messages import NONCE_OF_DIGESTS, FactsReply, FactsRequest

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon, Peer


def endpoint(daemon: Daemon) -> Endpoint:
    """The check by the API."""

    async def get_check(_request: Request) -> PeersReport:
        return await check_peers(daemon)

    return Endpoint(
        "GET",
        "/v1/peers/check",
        get_check,
        local_only=True,
        reply=PeersReport,
        summary="Ask every peer for what it sees and has. Takes 16 s if one does not answer.",
    )


async def check_peers(daemon: Daemon) -> PeersReport:
    """Ask all peers, and compare. Takes some `requests.REPEAT_DELAYS` if one does not answer."""
    nonce = daemon.environment.random_bytes(NONCE_OF_DIGESTS)
    own = await daemon.environment.probe.fingerprints(daemon.config.openvpns, nonce)
    found: dict[str, PeerCheck] = {}

    async def check(label: str, peer: Peer) -> None:
        found[label] = await _check_peer(daemon, peer, nonce, own)

    peers = dict(daemon.peers)
    async with trio.open_nursery() as nursery:
        for label, peer in peers.items():
            nursery.start_soon(check, label, peer)
    return PeersReport(daemon.node.name, [found[label] for label in peers])


async def _check_peer(
    daemon: Daemon, peer: Peer, nonce: bytes, own: list[OwnFingerprint]
) -> PeerCheck:
    session, config, probe = peer.session, peer.config, daemon.environment.probe
    port = await probe.connect(config)
    subscribed = daemon.is_subscribed(session.peer)
    answer = None
    # who is not connected to us does not get our request
    if subscribed and not session.connection_problem and session.state is not _INCOMPATIBLE:
        answer = await _ask(daemon, peer, nonce, own)
    status = session.status()
    return PeerCheck(
        name=config.label,
        known_as=session.known_as,
        interface=config.mgmt_interface,
        address=format_address(config.mgmt_ip),
        tcp_port=config.port,
        state=status.state.value,
        detail=status.detail,
        connection=session.connection_problem,
        port=port,
        subscribed=daemon.is_subscribed(session.peer),
        mtu=probe.mtu(config.mgmt_interface),
        answer=answer,
    )


_INCOMPATIBLE = PeerState.INCOMPATIBLE


async def _ask(
    daemon: Daemon, peer: Peer, nonce: bytes, own: list[OwnFingerprint]
) -> PeerAnswer | None:
    session, clock = peer.session, daemon.environment.wall_clock
    if session.node is None:
        return None
    sent_at, request = clock(), FactsRequest(nonce=nonce)
    reply = await daemon.requests.ask(session.peer, session.node, request, FactsReply)
    if reply is None:
        return None
    offset, error = clock_offset(sent_at, reply, clock())
    return PeerAnswer(
        cuberouted=printable_name(reply.cuberouted.encode()),
        clock_offset=round(offset, 3),
        clock_error=round(error, 3),
        state=printable_name(reply.state.encode()),
        detail=printable_name(reply.detail.encode()),
        mtu=reply.mtu,
        files=[
            SharedFile(item.kind.value, item.openvpn, item.verdict.value, item.text)
            for item in compare(own, reply.fingerprints)
        ],
    )


def clock_offset(sent_at: float, reply: FactsReply, received_at: float) -> tuple[float, float]:
    """Seconds that the peer's clock is ahead of ours, and the largest error of that.

    *sent_at*, *received_at*: of the request's first sending and of the reply, in Unix seconds of
    our clock. Source: RFC 5905 section 8 (NTP); repetitions only add to the error.
    """
    there_received, there_sent = reply.received_at / 1e6, reply.sent_at / 1e6
    offset = ((there_received - sent_at) + (there_sent - received_at)) / 2
    error = ((received_at - sent_at) - (there_sent - there_received)) / 2
    return offset, max(error, 0.0)
