"""Ending all sessions of a client: here by OpenVPN, and at the peers by a request to each.

A user's order goes to every node where the RIB has the client. A peer's request is carried out
here only if ``allow_remote_disconnect`` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import trio

from cuberouted.api.http import Endpoint, HttpError, Request
from cuberouted.api.report_disconnect import DisconnectOrder, DisconnectReport, NodeDisconnected
from cuberouted.events import ClientKilled, DisconnectRequested, PeerWarning
from cuberouted.model import printable_name
from cuberouted.openvpn.disconnects import Disconnected
from cuberouted.openvpn.protocol import UNDEF
from cuberouted.openvpn.status import ListedClient
from cuberouted.peering.messages import (
    MAX_CLIENT_IDS,
    DisconnectReply,
    DisconnectRequest,
    Outcome,
)
from cuberouted.routing.rib import Origin, Source
from cuberouted.util.ratelimit import LogRateLimit

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon, Peer

MAX_NAME = 512
"""Bytes of a common name, as in `Advertisement`."""
CHUNK_ROUTES = 2000
"""Routes that are compared before other tasks run: some milliseconds of work."""

NOT_ALLOWED = "allow_remote_disconnect is not set there"


class DisconnectError(Exception):
    """The order cannot be carried out as it is. str() says why."""


def endpoint(daemon: Daemon) -> Endpoint:
    """The user's order by the API."""

    async def post_disconnect(request: Request) -> DisconnectReport:
        order = request.json(DisconnectOrder)
        try:
            return await disconnect(daemon, order.client, order.from_node, request.user)
        except DisconnectError as error:
            raise HttpError(422, str(error)) from None

    return Endpoint(
        "POST",
        "/v1/disconnect",
        post_disconnect,
        changes=True,
        body=DisconnectOrder,
        reply=DisconnectReport,
        summary="End all sessions of a client, on every node that has it or on one.",
        errors={422: "not the name of one client, or of a node"},
    )


async def disconnect(
    daemon: Daemon, client: str, from_node: str | None, by: str
) -> DisconnectReport:
    """End the sessions of *client* at *from_node*, or wherever it is connected.

    *client*: a common name as `printable_name` shows it. *by*: the user, for people.

    Raises:
      DisconnectError: not the name of one client, or of a node.
    """
    name = await _exact_name(daemon, client)
    peers = await _peers_with(daemon, name) if from_node is None else []
    here = from_node in (None, daemon.node.name)
    if not here:
        peers = [_peer_called(daemon, str(from_node))]
    results: list[NodeDisconnected] = []

    async def end_here() -> None:
        results.append(node_result(daemon.node.name, await _end_here(daemon, name, by)))

    async def ask(peer: Peer) -> None:
        daemon.events.publish(_requested(name, peer.session.node or peer.session.peer, by))
        results.append(await _ask(daemon, peer, name, by))

    async with trio.open_nursery() as nursery:
        if here:
            nursery.start_soon(end_here)
        for peer in peers:
            nursery.start_soon(ask, peer)
    results.sort(key=lambda result: result.node)
    return DisconnectReport(printable_name(name), results, from_node)


class DisconnectAnswers:
    """Answers the peers' requests."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._log_limit = LogRateLimit()

    async def answer(self, peer: str, request: DisconnectRequest) -> DisconnectReply:
        """End the sessions that *peer* asks for, if that is allowed."""
        daemon = self._daemon
        if not daemon.config.allow_remote_disconnect or peer not in daemon.peers:
            self._log_refused(peer, request)
            return DisconnectReply(outcome=Outcome.REFUSED, why=NOT_ALLOWED)
        if request.client == UNDEF:
            return DisconnectReply(outcome=Outcome.REFUSED, why=_UNNAMED)
        node = daemon.peers[peer].session.node or peer
        by = f"{printable_name(request.by.encode())} at {node}"
        return await _end_here(daemon, request.client, by)

    def _log_refused(self, peer: str, request: DisconnectRequest) -> None:
        if self._log_limit.allow(peer, trio.current_time()) is not None:
            name = printable_name(request.client)
            why = f"its request to disconnect {name} was refused: allow_remote_disconnect = no"
            self._daemon.events.publish(PeerWarning(peer=peer, why=why))


_UNNAMED = "UNDEF is what OpenVPN lists for clients without a name"


async def _exact_name(daemon: Daemon, text: str) -> bytes:
    """The common name that is shown as *text*."""
    name = text.encode("utf-8", "surrogateescape")
    if not 0 < len(name) <= MAX_NAME:
        raise DisconnectError(f"a common name has 1 to {MAX_NAME} bytes, not {len(name)}")
    if name == UNDEF:
        raise DisconnectError(_UNNAMED)
    if "\\" not in text:
        return name  # unless there is an escape, it is shown as it is
    sources = [*daemon.node.rib.sources(Origin.LOCAL), *daemon.node.rib.sources(Origin.PEER)]
    shown = await _names(daemon, sources, lambda name: printable_name(name) == text)
    names = {name for _, name in shown}
    if len(names) > 1:
        raise DisconnectError(f"{len(names)} common names are shown as {text}")
    return names.pop() if names else name


async def _peers_with(daemon: Daemon, name: bytes) -> list[Peer]:
    """The peers that advertise a route of the client *name*."""
    sources = daemon.node.rib.sources(Origin.PEER)
    found = await _names(daemon, sources, lambda other: other == name)
    return [daemon.peers[source.name] for source, _ in found if source.name in daemon.peers]


async def _names(
    daemon: Daemon, sources: Iterable[Source], matches: Callable[[bytes], bool]
) -> set[tuple[Source, bytes]]:
    """The matching names of the routes of each source, also those that the policy refuses.

    Other tasks run meanwhile.
    """
    found = set()
    for source in sources:
        routes = tuple(daemon.node.rib.adj_rib_in(source).values())
        for start in range(0, len(routes), CHUNK_ROUTES):
            names = {route.advertisement.name for route in routes[start : start + CHUNK_ROUTES]}
            found |= {(source, name) for name in names if matches(name)}
            await trio.lowlevel.checkpoint()
    return found


def _peer_called(daemon: Daemon, node: str) -> Peer:
    for key, peer in daemon.peers.items():
        if node in (key, peer.session.node):
            return peer
    known = sorted({daemon.node.name, *(p.session.node or k for k, p in daemon.peers.items())})
    raise DisconnectError(f"there is no node {node}; known are: {', '.join(known)}")


async def _ask(daemon: Daemon, peer: Peer, name: bytes, by: str) -> NodeDisconnected:
    node = peer.session.node
    if node is None:
        why = f"nothing was received from it yet: {peer.session.why}"
        return NodeDisconnected(peer.session.peer, "no_answer", why=why)
    request = DisconnectRequest(client=name, by=by[:200])
    reply = await daemon.requests.ask(peer.session.peer, node, request, DisconnectReply)
    if reply is not None:
        return node_result(node, reply)
    why = "no answer; it may still end the session (see `cuberouted status` for this peer)"
    return NodeDisconnected(node, "no_answer", why=why)


def node_result(node: str, reply: DisconnectReply) -> NodeDisconnected:
    """What *reply* of *node* says, printable."""
    why = printable_name(reply.why.encode())
    return NodeDisconnected(node, reply.outcome.value, list(reply.client_ids), why)


async def _end_here(daemon: Daemon, name: bytes, by: str) -> DisconnectReply:
    """Have every OpenVPN process of this host end the sessions of *name*."""
    results: dict[str, Disconnected] = {}

    async def end(instance: str) -> None:
        results[instance] = await daemon.openvpns[instance].source.disconnect(name)

    async with trio.open_nursery() as nursery:
        for instance in daemon.openvpns:
            nursery.start_soon(partial(end, instance))
    if any(result.ended or result.problem for result in results.values()):
        daemon.events.publish(_requested(name, daemon.node.name, by))
    for instance, result in results.items():
        for client in result.ended:
            daemon.events.publish(_killed(instance, client, f"disconnect requested by {by}"))
    problems = (
        f"{f'openvpn {instance}'.rstrip()}: {result.problem}"
        for instance, result in results.items()
        if result.problem
    )
    ended = chain.from_iterable(result.ended for result in results.values())
    client_ids = tuple(client.session.cid for client in ended)[:MAX_CLIENT_IDS]
    problem = "; ".join(problems)[:1000]
    outcome = Outcome.FAILED if problem else Outcome.ENDED if client_ids else Outcome.NOT_FOUND
    return DisconnectReply(outcome=outcome, client_ids=client_ids, why=problem)


def _requested(name: bytes, node: str, by: str) -> DisconnectRequested:
    return DisconnectRequested(client=printable_name(name), at_node=node, by=by)


def _killed(instance: str, client: ListedClient, why: str) -> ClientKilled:
    address = client.prefixes[0].short if client.prefixes else ""
    name, cid = printable_name(client.name), client.session.cid
    return ClientKilled(address=address, client=name, openvpn=instance, cid=cid, why=why)
