"""Requests to one peer, and the answers to its requests.

Messages between peers may get lost, so a request is repeated until its reply arrives or the time
is over. It is carried out once (`received_requests`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from cuberouted.events import Emit, PeerWarning
from cuberouted.peering.messages import (
    ID_BYTES,
    AnyReply,
    AnyRequest,
    Direct,
)
from cuberouted.peering.received_requests import ReceivedRequests, Verdict
from cuberouted.util.ratelimit import LogRateLimit

log = logging.getLogger(__name__)

REPEAT_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds after each time that a request is sent; after the last one it is given up."""

ReplyT = TypeVar("ReplyT", bound=AnyReply)

Send = Callable[[str, bytes, AnyRequest | AnyReply], None]
"""Sends a body with an id to a node; it may get lost."""
Answer = Callable[[str, AnyRequest], Awaitable[AnyReply]]
"""Awaited with a peer's key and its request."""


@attrs.frozen
class _Pending:
    """A request that waits for a reply, which is the only item of ``replies`` then."""

    arrived: trio.Event = attrs.field(factory=trio.Event)
    replies: list[AnyReply] = attrs.field(factory=list)


class Requests:
    """All requests of this node to its peers, and theirs to this node.

    *random_bytes* returns as many random bytes as it is asked for.
    """

    def __init__(
        self, send: Send, answer: Answer, random_bytes: Callable[[int], bytes], emit: Emit
    ) -> None:
        self._send = send
        self._answer = answer
        self._random_bytes = random_bytes
        self._pending: dict[tuple[str, bytes], _Pending] = {}
        self._received: dict[str, ReceivedRequests] = {}
        self._nursery: trio.Nursery | None = None
        self._emit = emit
        self._dropped_limit = LogRateLimit()

    async def run(self) -> None:
        """Answer requests, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = None  # what is received from now on is not answered

    async def ask(
        self, peer: str, node: str, request: AnyRequest, kind: type[ReplyT]
    ) -> ReplyT | None:
        """The reply of kind *kind* to *request*; None if there is none in time.

        *peer*: the key of the peer; *node*: the name that it announces.
        """
        id_ = self._random_bytes(ID_BYTES)
        pending = self._pending[peer, id_] = _Pending()
        try:
            for delay in REPEAT_DELAYS:
                self._send(node, id_, request)
                with trio.move_on_after(delay):
                    await pending.arrived.wait()
                    break
        finally:
            del self._pending[peer, id_]
        reply = pending.replies[0] if pending.replies else None
        return reply if isinstance(reply, kind) else None

    def receive(self, peer: str, message: Direct) -> None:
        """Handle *message* of *peer*: a request is answered later, a reply ends a request."""
        body = message.body
        if isinstance(body, AnyRequest):
            self._receive_request(peer, message.node, message.id, body)
            return
        pending = self._pending.get((peer, message.id))
        if pending is not None and not pending.replies:
            pending.replies.append(body)
            pending.arrived.set()

    def _receive_request(self, peer: str, node: str, id_: bytes, request: AnyRequest) -> None:
        if self._nursery is None:
            return
        now = trio.current_time()
        received = self._received.setdefault(peer, ReceivedRequests())
        result = received.receive(id_, now)
        if result is Verdict.ANSWER:
            self._nursery.start_soon(self._reply, peer, node, id_, request)
        elif result is Verdict.DROP:
            self._emit_dropped(peer, now)
        elif not isinstance(result, Verdict):
            self._send(node, id_, result)

    async def _reply(self, peer: str, node: str, id_: bytes, request: AnyRequest) -> None:
        reply: AnyReply | None = None
        try:
            reply = await self._answer(peer, request)
        except Exception:
            log.exception("peer %s: its request failed", peer)
        self._received[peer].answered(id_, reply)
        if reply is not None:
            self._send(node, id_, reply)

    def _emit_dropped(self, peer: str, now: float) -> None:
        suppressed = self._dropped_limit.allow(peer, now)
        if suppressed is not None:
            why = "dropped a request: too many"
            self._emit(PeerWarning(peer=peer, why=why, count=suppressed + 1))
