"""Carries out what `maintenance.drain` decides: looks at sessions, sends clients on, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cuberouted.api.report_drain import DrainClientRow
from cuberouted.events import ClientSentOn
from cuberouted.maintenance.client import DrainedClient, LocalSession, Outcome
from cuberouted.maintenance.drain import Drain
from cuberouted.maintenance.guards import OtherNode
from cuberouted.model import Prefix, SessionId, printable_name
from cuberouted.openvpn.protocol import NO_CID
from cuberouted.peering.session import UP
from cuberouted.routing.rib import ADOPTED_VERSION, Origin

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

LOOK_INTERVAL = 1.0
"""Seconds between two looks at all sessions."""

SEARCH_INTERVAL = 5.0
"""Seconds between two searches in all routes for clients that have got another address."""

CHUNK_ROUTES = 500
"""Routes that are examined before other tasks run: one millisecond of work, or three for new ones.
"""

TOLD = frozenset({Outcome.CAME_BACK, Outcome.LEFT, Outcome.KEPT})
"""The outcomes of clients that a short report has."""


class Drainer:
    """Sends the clients of this node on, for as long as it exists."""

    def __init__(self, daemon: Daemon, interval: float, *, paced: bool) -> None:
        self.drain = Drain(interval, trio.current_time(), lambda: random_share(daemon), paced=paced)
        self._daemon = daemon
        self._search_at = 0.0

    async def look(self) -> None:
        """Look at all sessions of this host."""
        drain, now = self.drain, trio.current_time()
        drain.begin_look()
        for instance, openvpn in tuple(self._daemon.openvpns.items()):
            routes = openvpn.source.sessions.routes()
            for start in range(0, len(routes), CHUNK_ROUTES):
                drain.see(instance, routes[start : start + CHUNK_ROUTES], now)
                await trio.lowlevel.checkpoint()
        for _ in drain.end_look(now, self._elsewhere):
            await trio.lowlevel.checkpoint()
        if now >= self._search_at:
            self._search_at = now + SEARCH_INTERVAL
            await self._search(now)

    def send_due(self, why: str) -> None:
        """Send on who is due."""
        now = trio.current_time()
        for client in self.drain.due(now):
            problem = send_on(self._daemon, client.session, why_of(client, why))
            if problem:
                self.drain.kept(client, problem, now)
            else:
                self.drain.sent(client, now)

    async def rows(self, *, every: bool) -> list[DrainClientRow]:
        """The clients: all, or those that did not go elsewhere and are not on their way."""
        now, clients = trio.current_time(), self.drain.clients
        rows: list[DrainClientRow] = []
        for start in range(0, len(clients), CHUNK_ROUTES):
            for client in clients[start : start + CHUNK_ROUTES]:
                outcome = client.outcome(now)
                if every or outcome in TOLD:
                    rows.append(_row(client, outcome))
            await trio.lowlevel.checkpoint()
        return rows

    def _elsewhere(self, session: LocalSession) -> str:
        return elsewhere(self._daemon, session.prefix, session.name)

    async def _search(self, now: float) -> None:
        """Find clients by their names at the peers."""
        wanted = self.drain.unfound(now)
        rib = self._daemon.node.rib
        for source in rib.sources(Origin.PEER) if wanted else ():
            routes = tuple(rib.adj_rib_in(source).values())
            for start in range(0, len(routes), CHUNK_ROUTES):
                for route in routes[start : start + CHUNK_ROUTES]:
                    advertisement = route.advertisement
                    client = wanted.get(advertisement.name)
                    if client is not None and advertisement.version != ADOPTED_VERSION:
                        client.moved_to = route.node
                await trio.lowlevel.checkpoint()


def send_on(daemon: Daemon, session: LocalSession, why: str) -> str:
    """Have OpenVPN send the client of *session* on. Return why that is impossible, or nothing."""
    openvpn = daemon.openvpns.get(session.instance)
    if openvpn is None or not openvpn.source.send_on(session.session):
        return _why_kept(daemon, session.instance, session.session)
    daemon.events.publish(
        ClientSentOn(
            client=printable_name(session.name),
            address=session.prefix.short,
            openvpn=session.instance,
            cid=session.session.cid,
            why=why,
        )
    )
    return ""


def elsewhere(daemon: Daemon, prefix: Prefix, name: bytes) -> str:
    """The other node at which the client *name* has *prefix* now, or nothing."""
    best = daemon.node.rib.best(prefix)
    if best is None or best.leads_here or best.advertisement.name != name:
        return ""
    return "" if best.advertisement.version == ADOPTED_VERSION else best.node


def is_listed(daemon: Daemon, session: LocalSession) -> bool:
    """Whether OpenVPN still has *session*."""
    openvpn = daemon.openvpns.get(session.instance)
    route = openvpn and openvpn.source.sessions.get(session.prefix)
    return bool(route and route.session == session.session)


def clients_here(daemon: Daemon) -> int:
    """The sessions of all OpenVPN processes of this host that have a route."""
    return sum(openvpn.source.sessions.count for openvpn in daemon.openvpns.values())


def other_nodes(daemon: Daemon) -> list[OtherNode]:
    """The peers, with what they say of themselves."""
    found = []
    for label, peer in daemon.peers.items():
        session = peer.session
        found.append(OtherNode(session.node or label, session.state is UP, session.info))
    return found


def random_share(daemon: Daemon) -> float:
    """A random number from 0 to 1."""
    return int.from_bytes(daemon.environment.random_bytes(4)) / 2**32


def why_of(client: DrainedClient, why: str) -> str:
    """Why *client* is sent on, in the event: *why* the node does not want it."""
    if not client.returns:
        return why
    return f"{why}; it has come back {'once' if client.returns == 1 else f'{client.returns} times'}"


def _why_kept(daemon: Daemon, instance: str, session: SessionId) -> str:
    openvpn = daemon.openvpns.get(instance)
    if openvpn is None:
        return "its OpenVPN process is no longer configured"
    if openvpn.config.status_file is not None:
        return (
            "only the management interface can send clients on, and openvpn_status_file is set;"
            " stopping this OpenVPN ends its session"
        )
    if session.cid == NO_CID:
        return "OpenVPN lists no client ids (2.3); stopping this OpenVPN ends its session"
    status = openvpn.source.status()
    return "; ".join(filter(None, (f"OpenVPN is {status.state.value}", status.detail)))


def _row(client: DrainedClient, outcome: Outcome) -> DrainClientRow:
    session = client.session
    return DrainClientRow(
        name=printable_name(session.name),
        address=session.prefix.short,
        outcome=outcome.value,
        node=client.moved_to,
        returns=client.returns,
        why=client.why_kept if outcome is Outcome.KEPT else "",
    )
