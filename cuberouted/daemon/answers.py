"""Answers the peers' requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from cuberouted import __version__
from cuberouted.daemon.disconnect import DisconnectAnswers
from cuberouted.peering.messages import (
    MAX_FINGERPRINTS,
    AnyReply,
    AnyRequest,
    DisconnectRequest,
    FactsReply,
    FactsRequest,
)

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

PAUSE_FACTOR = 9
"""After files were read for T seconds, the next time waits for 9 T: a tenth of a processor."""


class Answers:
    """The answers of one node."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._disconnects = DisconnectAnswers(daemon)
        self._reading = trio.Lock()
        self._not_before = -math.inf

    async def answer(self, peer: str, request: AnyRequest) -> AnyReply:
        """The reply to *request* of *peer*."""
        if isinstance(request, DisconnectRequest):
            return await self._disconnects.answer(peer, request)
        return await self._facts(peer, request)

    async def _facts(self, peer: str, request: FactsRequest) -> FactsReply:
        daemon, probe = self._daemon, self._daemon.environment.probe
        received_at = self._microseconds()
        async with self._reading:
            await trio.sleep_until(self._not_before)
            began = trio.current_time()
            found = await probe.fingerprints(daemon.config.openvpns, request.nonce)
            now = trio.current_time()
            self._not_before = now + PAUSE_FACTOR * (now - began)
        known = daemon.peers.get(peer)
        status = known.session.status() if known else None
        return FactsReply(
            cuberouted=__version__,
            received_at=received_at,
            sent_at=self._microseconds(),
            state=status.state.value if status else "removed",
            detail=status.detail[:1000] if status else "",
            mtu=probe.mtu(known.config.mgmt_interface) if known else 0,
            fingerprints=tuple(item.fingerprint for item in found)[:MAX_FINGERPRINTS],
        )

    def _microseconds(self) -> int:
        return max(0, round(self._daemon.environment.wall_clock() * 1e6))
