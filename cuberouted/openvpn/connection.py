"""What is said on one management connection, from the first byte to the last.

Bytes and times in, `Step`s out; whoever holds the connection sends, tells and logs what a
step says. It never releases a hold and never answers for a manager that decides who may
connect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

import attrs

from cuberouted.model import SupersededSession, printable_name
from cuberouted.openvpn import protocol
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.health import Health, OpenVPNState
from cuberouted.openvpn.polling import Polling, Query
from cuberouted.openvpn.protocol import (
    Banner,
    ClientAuth,
    Command,
    Established,
    Fatal,
    HoldEvent,
    LogLine,
    ManagementProtocol,
    PasswordPrompt,
    RemoteExit,
    Reply,
    Rows,
    State,
)
from cuberouted.openvpn.sessions import Reconciliation, Sessions, SessionUpdate
from cuberouted.openvpn.status import Client, ListingReader, StatusError


@attrs.define
class Actions:
    """What is to be done now.

    ``send`` goes to OpenVPN, ``news`` to the daemon. ``drops`` have been asked for.
    ``outage`` True: OpenVPN serves nobody for now; False: a complete listing has come.
    ``notes``: what an operator should know. ``refused``: leave, and why.
    """

    send: bytes = b""
    news: list[SessionUpdate] = attrs.field(factory=list)
    drops: list[Kill] = attrs.field(factory=list)
    outage: bool | None = None
    notes: list[str] = attrs.field(factory=list)
    refused: str = ""


@attrs.frozen
class ListingResult:
    """What one listing came to. ``problem``: why it is no news, or empty."""

    news: SessionUpdate | None = None
    drops: tuple[Kill, ...] = ()
    problem: str = ""


class ListingTracker:
    """The listings of one connection, one at a time."""

    def __init__(self, sessions: Sessions, drops: KillDamping) -> None:
        self._sessions = sessions
        self._drops = drops
        self._reader = ListingReader()
        self._correction: Reconciliation | None = None  # from the first row on
        self._problem = ""
        self._listed: Mapping[bytes, Client] = {}  # by real address, in the last listing
        self._superseded: frozenset[SupersededSession] = frozenset()
        self._candidates: frozenset[SupersededSession] = frozenset()

    def supersede(self, superseded: frozenset[SupersededSession]) -> bool:
        """These sessions are superseded now, and no others; True: a new listing is needed.

        Because only one that is asked for after this can show whom to drop.
        """
        new = superseded - self._superseded
        self._superseded = superseded
        return bool(new)

    def begin(self) -> None:
        """A listing has just been asked for."""
        self._reader, self._correction, self._problem = ListingReader(), None, ""
        self._candidates = self._superseded

    def rows(self, lines: Iterable[bytes]) -> None:
        """Some of its rows have come."""
        if self._correction is None:
            self._correction = self._sessions.correction()
        try:
            for line in lines:
                self._reader.feed(line)
            self._correction.take(self._reader.take())
        except StatusError as exc:
            self._problem = str(exc)

    def end(self, reply: Reply, now: float) -> ListingResult:
        """It has ended. What is wrong with a listing never withdraws anything."""
        if not reply.ok:
            return ListingResult(problem=f"no complete listing: {printable_name(reply.text)}")
        if self._problem:
            return ListingResult(problem=self._problem)
        try:
            listing = self._reader.finish()
        except StatusError as exc:
            return ListingResult(problem=str(exc))
        drops = self._drops.due(self._candidates & self._superseded, listing, now)
        self._listed = listing.by_real
        correction = self._correction or self._sessions.correction()
        return ListingResult(news=correction.finish(), drops=drops)

    def ended(self, name: bytes, real: bytes) -> SessionUpdate | None:
        """The session of *name* from the real address *real* has ended, its log line says.

        Only what the last listing showed under both is believed to be meant; where it
        showed nothing, the next listing tells. None: no news.
        """
        client = self._listed.get(real)
        if client is None or client.name != name:
            return None
        return self._sessions.ended(client)


BANNER_TIMEOUT = 5.0
"""Seconds until an OpenVPN that says nothing at all is taken to serve somebody else."""

MAX_LOG_VERB = 4
"""With a higher ``verb``, ``log on`` would have OpenVPN write to us for every packet."""

INSTANCE_ENDED = re.compile(rb"client-instance (exiting|restarting)")

SESSION_ENDED = re.compile(
    rb"(?P<name>.+)/(?P<real>(?:[0-9a-z-]+:)?(?:[0-9.]+|\[[0-9a-f:]+\]):[0-9]+)"
    rb" SIG[A-Z0-9]+\[[^][]*\] received, client-instance (?:exiting|restarting)"
)
"""The last that OpenVPN says of a session, in the same call that forgets it (multi.c,
multi_close_instance_on_signal; sig.c, print_signal; v2.3.0 to v2.7.6). Read from its end,
because a name may hold anything; an address without a port may be several clients'."""

TITLE = re.compile(rb"OpenVPN Version: OpenVPN (\S+)")
VERB = re.compile(rb"verb=([0-9]{1,3})")
COUNT = re.compile(rb"nclients=([0-9]{1,9})\b")

BUSY_DETAIL = (
    f"connected, but no greeting within {BANNER_TIMEOUT:g} s: OpenVPN serves one management client"
    " at a time, and another program seems to be it; stop that one, or set openvpn_status_file"
)
CLIENT_AUTH = (
    "it runs with management-client-auth: its manager decides who may connect, and cuberouted"
    " would let nobody in; give the interface back to that manager and set openvpn_status_file"
)


class ManagementConnection:
    """One connection; a new one is made for each.

    *sessions* and *drops* outlive it. *now* is monotonic seconds, here and below.
    """

    def __init__(
        self,
        sessions: Sessions,
        polling: Polling,
        drops: KillDamping,
        password: bytes | None,
        now: float,
    ) -> None:
        self._sessions = sessions
        self._polling = polling
        self._inventory = ListingTracker(sessions, drops)
        self._password = password
        self._started_at = now
        self._management = ManagementProtocol()
        self._step = Actions()
        self._prompted = self._greeted = self._held_elsewhere = self._silent = False
        self._problem = ""
        self._away: Health | None = None  # OpenVPN is there, but serves nobody
        self._listed = False  # the open question has brought a complete listing
        self.version = ""
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            PasswordPrompt: self._prompt,
            Banner: self._banner,
            Established: self._established,
            ClientAuth: self._client_auth,
            State: self._state,
            HoldEvent: self._held,
            RemoteExit: lambda _event, _now: self._polling.count_now(),
            LogLine: self._log_line,
            Fatal: self._fatal,
            Rows: self._rows,
            Reply: self._reply,
        }

    @property
    def condition(self) -> Health:
        """How this OpenVPN is doing."""
        if not self._greeted:
            if self._held_elsewhere:
                return Health(OpenVPNState.BUSY, BUSY_DETAIL)
            return Health(OpenVPNState.CONNECTING)
        if self._silent:
            return Health(OpenVPNState.SILENT, "it does not answer; its clients are kept")
        return self._away or Health(OpenVPNState.CONNECTED, self._problem)

    def next_wakeup(self, now: float) -> float:
        """When to call `tick`, if nothing is received until then."""
        if self._greeted:
            return self._polling.next_wakeup(now)
        return inf if self._held_elsewhere else self._started_at + BANNER_TIMEOUT

    def supersede(self, superseded: frozenset[SupersededSession]) -> None:
        """These sessions are superseded now, and no others. `tick` afterwards."""
        if self._inventory.supersede(superseded):
            self._polling.list_now()

    def receive(self, data: bytes, now: float) -> Actions:
        """What follows from these bytes.

        Raises:
          ManagementError: leave; none of these bytes counts.
        """
        self._polling.heard(now)
        self._held_elsewhere = False
        for event in self._management.receive(data):
            self._handlers[type(event)](event, now)
        return self.tick(now)

    def tick(self, now: float) -> Actions:
        """What follows from the time."""
        if self._greeted:
            self._silent = self._polling.silent(now)
            self._ask(self._polling.ask(now))
        else:
            self._held_elsewhere |= now >= self._started_at + BANNER_TIMEOUT
        step, self._step = self._step, Actions()
        return step

    def _send(self, command: Command) -> None:
        self._step.send += self._management.send(command)

    def _ask(self, question: Query | None) -> None:
        if question is None:
            return
        self._listed = False
        if question is Query.LISTING:
            self._inventory.begin()
            self._send(protocol.LISTING)
        self._send(protocol.COUNT)

    def _prompt(self, _event: PasswordPrompt, _now: float) -> None:
        if self._password is None:
            self._step.refused = "it asks for a password: set openvpn_mgmt_pass_file"
        elif self._prompted:
            self._step.refused = "it refuses the password in openvpn_mgmt_pass_file"
        else:
            self._prompted = True
            self._step.send += self._password + b"\n"

    def _banner(self, _event: Banner, _now: float) -> None:
        if not self._greeted:
            self._greeted = True
            for command in (protocol.VERSION, protocol.VERB, protocol.STATE_ON):
                self._send(command)

    def _established(self, event: Established, now: float) -> None:
        self._act(self._sessions.established(event), now)

    def _client_auth(self, _event: ClientAuth, _now: float) -> None:
        self._step.refused = CLIENT_AUTH

    def _state(self, event: State, _now: float) -> None:
        if event.name == b"CONNECTED":
            self._away = None
            self._polling.reset()
        elif event.name in (b"RECONNECTING", b"EXITING"):
            what = f"OpenVPN is {event.name.decode().lower()}: {printable_name(event.detail)}"
            self._away, self._step.outage = Health(OpenVPNState.WAITING, what), True

    def _held(self, event: HoldEvent, _now: float) -> None:
        what = f"it waits for an operator and serves nobody: {printable_name(event.text)}"
        self._away, self._step.outage = Health(OpenVPNState.HOLD, what), True

    def _log_line(self, event: LogLine, now: float) -> None:
        if INSTANCE_ENDED.search(event.text):
            ended = SESSION_ENDED.fullmatch(event.text)
            self._act(self._inventory.ended(ended["name"], ended["real"]) if ended else None, now)

    def _fatal(self, event: Fatal, _now: float) -> None:
        self._step.notes.append(f"it ends: {printable_name(event.text)}")

    def _rows(self, event: Rows, _now: float) -> None:
        if event.command is protocol.LISTING:
            self._inventory.rows(event.lines)
        else:
            for line in event.lines:
                title = TITLE.match(line)
                self.version = printable_name(title[1]) if title else self.version

    def _reply(self, event: Reply, now: float) -> None:
        command = event.command
        if command is protocol.LISTING:
            self._end_listing(event, now)
        elif command is protocol.COUNT:
            count = COUNT.search(event.text)
            self._polling.answered(now, int(count[1]) if count else None, listed=self._listed)
        elif command is protocol.VERB:
            verb = VERB.fullmatch(event.text)
            if event.ok and verb and int(verb[1]) <= MAX_LOG_VERB:
                self._send(protocol.LOG_ON)
        elif command.drops:
            self._dropped(event)

    def _end_listing(self, event: Reply, now: float) -> None:
        result = self._inventory.end(event, now)
        self._problem, self._listed = result.problem, not result.problem
        if self._listed:
            self._away, self._step.outage = None, False
        self._tell(result.news)
        for drop in result.drops:
            command = protocol.kill_command(drop.session.name, drop.session.cid)
            if command is not None:
                self._send(command)
                self._step.drops.append(drop)

    def _dropped(self, event: Reply) -> None:
        if event.ok:
            self._polling.list_now()
        elif event.command.fallback is not None:
            self._send(event.command.fallback)
        else:
            self._step.notes.append(
                f"could not drop a superseded session: {printable_name(event.text)}"
            )

    def _act(self, news: SessionUpdate | None, now: float) -> None:
        """Tell what an event told; a listing confirms it, or finds out what it was."""
        self._tell(news)
        if news is None:
            self._polling.list_now()
        else:
            self._polling.list_soon(now)

    def _tell(self, news: SessionUpdate | None) -> None:
        if news is not None:
            self._step.news.append(news)
