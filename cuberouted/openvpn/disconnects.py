"""Ending all sessions of a client, because a user wants it. Pure.

As with superseded sessions, only a listing that is requested afterwards shows what to kill: a
client id alone does not identify a session.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cuberouted.model import printable_name
from cuberouted.openvpn.protocol import Command, Reply, kill_by_cid, kill_by_name
from cuberouted.openvpn.status import ListedClient, Listing

MAX_NAMES = 100
"""Names whose sessions are being ended at one time."""


@attrs.frozen
class Disconnected:
    """What became of the sessions of ``name``.

    ``ended``: those that OpenVPN has ended, or ends within seconds. ``problem``: why others are
    left, or may be; empty if none is known to be left. Both empty: nobody has that name.
    """

    name: bytes
    ended: tuple[ListedClient, ...] = ()
    problem: str = ""


@attrs.define
class _Ending:
    """The sessions of one name that the listing has shown. ``pending``: what was not answered yet,
    each command with the sessions that it ends.
    """

    name: bytes
    pending: list[tuple[Command, tuple[ListedClient, ...]]]
    ended: list[ListedClient] = attrs.field(factory=list)
    problem: str = ""


class Disconnects:
    """The disconnects of one connection to the management interface."""

    def __init__(self) -> None:
        self.finished: list[Disconnected] = []
        """What has come to its end; to be taken by the caller."""
        self._requested: dict[bytes, None] = {}  # no listing was requested since
        self._listing: dict[bytes, None] = {}  # the pending listing shows their sessions
        self._endings: list[_Ending] = []

    def request(self, name: bytes) -> bool:
        """End all sessions of *name*. Return whether a listing is needed."""
        if name in self._requested:
            return False
        if len(self._requested) + len(self._listing) + len(self._endings) >= MAX_NAMES:
            problem = f"{MAX_NAMES} other clients are being disconnected; try again later"
            self.finished.append(Disconnected(name, problem=problem))
            return False
        self._requested[name] = None
        return True

    def forget(self, name: bytes) -> None:
        """End no session of *name* for which no command was sent yet."""
        self._requested.pop(name, None)
        self._listing.pop(name, None)

    def begin(self) -> None:
        """A listing has just been requested. What a failed one was needed for needs this one."""
        self._listing |= self._requested
        self._requested = {}

    def end(self, listing: Listing) -> list[Command]:
        """The listing is complete: the commands to send, in this order."""
        names, self._listing = self._listing, {}
        found: dict[bytes, list[ListedClient]] = {name: [] for name in names}
        for client in listing.clients if names else ():
            if client.name in found:
                found[client.name].append(client)
        commands = []
        for name, clients in found.items():
            ending = _Ending(name, _commands(name, clients))
            if clients and not ending.pending:
                ending.problem = _NO_COMMAND
            commands += [command for command, _ in ending.pending]
            self._endings.append(ending)
            self._finish(ending)
        return commands

    def reply(self, reply: Reply) -> list[Command] | None:
        """Handle the answer to a command. Return the commands to send, None if it was not ours."""
        for ending in self._endings:
            for position, (command, clients) in enumerate(ending.pending):
                if command is reply.command:
                    del ending.pending[position]
                    return self._answered(ending, reply, clients)
        return None

    def _answered(
        self, ending: _Ending, reply: Reply, clients: tuple[ListedClient, ...]
    ) -> list[Command]:
        by_cid: list[tuple[Command, tuple[ListedClient, ...]]] = []
        if reply.ok:
            ending.ended += clients
        else:
            if reply.command.text.startswith(b"kill "):
                by_cid = _by_cid(clients)
            if not by_cid:
                ending.problem = f"OpenVPN answers: {printable_name(reply.text)}"
        ending.pending += by_cid
        self._finish(ending)
        return [command for command, _ in by_cid]

    def _finish(self, ending: _Ending) -> None:
        if not ending.pending:
            self._endings.remove(ending)
            self.finished.append(Disconnected(ending.name, tuple(ending.ended), ending.problem))


_NO_COMMAND = "OpenVPN lists no client ids (2.3), and its command kill cannot take this name"


def _commands(
    name: bytes, clients: Iterable[ListedClient]
) -> list[tuple[Command, tuple[ListedClient, ...]]]:
    clients = tuple(clients)
    by_name = kill_by_name(name)
    if not clients or by_name is None:
        return _by_cid(clients)
    return [(by_name, clients)]


def _by_cid(clients: Iterable[ListedClient]) -> list[tuple[Command, tuple[ListedClient, ...]]]:
    commands = ((kill_by_cid(client.session.cid), client) for client in clients)
    return [(command, (client,)) for command, client in commands if command is not None]
