"""One connection to OpenVPN's management interface, from its first byte to its last. Sans-IO.

It never releases a hold, and never answers for a manager that decides who may connect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import attrs

from cuberouted.model import SessionId, SupersededSession, printable_name
from cuberouted.openvpn import protocol
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.disconnects import Disconnected, Disconnects
from cuberouted.openvpn.health import Health, OpenVPNState
from cuberouted.openvpn.life import LifeWatch
from cuberouted.openvpn.listings import ListingTracker
from cuberouted.openvpn.omissions import has_ghosts
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
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.openvpn.status import Listing
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

BANNER_TIMEOUT = 5.0
"""Seconds. An OpenVPN that has not sent its banner until then serves another client."""

MAX_LOG_VERB = 4
"""With a higher ``verb``, OpenVPN would log every packet to us after ``log on``."""

MAX_TO_SEND_ON = 1000
"""Clients to send on that OpenVPN was not told of yet."""

_INSTANCE_ENDED = re.compile(rb"client-instance (exiting|restarting)")
_SESSION_ENDED = re.compile(
    # OpenVPN's last log line of a session, in the call that removes it (multi.c,
    # multi_close_instance_on_signal; sig.c, print_signal; v2.3.0 to v2.7.6). It is matched from
    # its end, because a name may contain anything. An address without a port is not accepted: it
    # may be that of several clients.
    rb"(?P<name>.+)/(?P<real>(?:[0-9a-z-]+:)?(?:[0-9.]+|\[[0-9a-f:]+\]):[0-9]+)"
    rb" SIG[A-Z0-9]+\[[^][]*\] received, client-instance (?:exiting|restarting)"
)
_RENEWAL = re.compile(
    rb" (?:TLS: (?:Initial packet|new session incoming connection) from |SENT CONTROL \[)"
)
_PEER = re.compile(
    rb"/(?:(?:[0-9a-z-]+:)?(?:[0-9.]+|\[[0-9a-f:.]+\]):[0-9]+"
    rb"|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*) "  # IPv6 before 2.7, without a port
)
_CLIENT_RETURNS = re.compile(
    # The client of a session that is still listed has begun a new handshake; at its end OpenVPN
    # sends it its configuration (ssl.c, tls_pre_decrypt; forward.c; v2.3.0 to v2.7.6). Up to 2.5
    # the second handshake of a session is logged as "new session incoming connection". A name that
    # contains anything like _PEER could forge these lines, so they may contain it once only.
    rb"(?P<name>.+)/(?P<real>[^ /]+) "
    rb"(?:(?P<begun>TLS: (?:Initial packet|new session incoming connection) from )"
    rb"|SENT CONTROL \[(?P=name)\]: 'PUSH_REPLY,).*"
)
_TITLE = re.compile(rb"OpenVPN Version: OpenVPN (\S+)")
_VERB = re.compile(rb"verb=([0-9]{1,3})")
_COUNT = re.compile(rb"nclients=([0-9]{1,9})\b")

_BUSY_DETAIL = (
    f"connected, but no banner within {BANNER_TIMEOUT:g} s: OpenVPN serves one management client"
    " at a time, and another program seems to be connected; stop it, or set openvpn_status_file"
)
_CLIENT_AUTH_DETAIL = (
    "OpenVPN runs with management-client-auth: its manager decides who may connect, and with"
    " cuberouted in its place nobody could; leave the interface to that manager and set"
    " openvpn_status_file, or connect to the manager's pass-through and set"
    " openvpn_mgmt_shared = yes"
)


@attrs.define
class ManagementActions:
    """What the task of a connection has to do.

    ``updates`` go to the node. ``outage``: True: OpenVPN serves no clients now; False: it has
    been listed completely; None: neither. ``kills`` were requested (for the events). ``notes``:
    what the administrator has to know. ``listing``: the last complete one; it took
    ``listing_duration`` seconds. ``disconnected``:
    disconnects that have come to their end. ``refused``: close the connection, for this reason.
    ``send``: bytes for OpenVPN.
    """

    updates: list[SessionUpdate] = attrs.field(factory=list)
    outage: bool | None = None
    kills: list[Kill] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    listing: Listing | None = None
    listing_duration: float = 0.0
    disconnected: list[Disconnected] = attrs.field(factory=list)
    refused: str = ""
    send: bytes = b""


class ManagementConnection:
    """The state of one connection; a new object is made for each.

    *sessions*, *damping* and *life* outlive it. *shared*: another program, which passes this
    connection through, decides who may connect. *quiet*: switch no notifications on, because they
    could reach that program too. *now*: monotonic seconds, here and below.
    """

    def __init__(
        self,
        sessions: Sessions,
        polling: Polling,
        damping: KillDamping,
        life: LifeWatch,
        password: bytes | None,
        now: float,
        *,
        shared: bool = False,
        quiet: bool = False,
    ) -> None:
        self.version = ""
        """OpenVPN's version, or empty while unknown."""
        self.client_auth_seen = False
        """Whether OpenVPN runs with management-client-auth."""
        self._shared = shared
        self._quiet = quiet or shared
        self._switched_on: list[Command] = []
        self._sessions = sessions
        self._polling = polling
        self._listings = ListingTracker(sessions, damping, life)
        self._disconnects = Disconnects()
        self._to_send_on: list[Command] = []
        self._note_limit = LogRateLimit()
        self._password = password
        self._started_at = now
        self._protocol = ManagementProtocol()
        self._actions = ManagementActions()
        self._password_sent = self._banner_received = self._busy = False
        self._problem = ""
        self._out_of_service: Health | None = None  # connected, but OpenVPN serves no clients
        self._ethernet = False  # a listing had clients of a tap device
        self._listed = False  # the pending query has brought a complete listing
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            PasswordPrompt: self._on_prompt,
            Banner: self._on_banner,
            Established: self._on_established,
            ClientAuth: self._on_client_auth,
            State: self._on_state,
            HoldEvent: self._on_hold,
            RemoteExit: self._on_remote_exit,
            LogLine: self._on_log_line,
            Fatal: self._on_fatal,
            Rows: self._on_rows,
            Reply: self._on_reply,
        }

    @property
    def health(self) -> Health:
        """The state of this connection."""
        if not self._banner_received:
            if self._busy:
                return Health(OpenVPNState.BUSY, _BUSY_DETAIL)
            return Health(OpenVPNState.CONNECTING)
        if self._polling.silent:
            return Health(OpenVPNState.SILENT, "OpenVPN does not answer; its sessions are kept")
        return self._out_of_service or Health(OpenVPNState.CONNECTED, self._problem)

    @property
    def deadline(self) -> float:
        """When `timer` is due, if nothing is received before."""
        if self._banner_received:
            return self._polling.deadline
        return inf if self._busy else self._started_at + BANNER_TIMEOUT

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete line are held."""
        return self._protocol.buffered

    def set_superseded(self, superseded: frozenset[SupersededSession]) -> None:
        """These sessions are superseded now, and no others. Call `timer` afterwards."""
        if self._listings.set_superseded(superseded):
            self._polling.list_now()

    def disconnect(self, name: bytes) -> None:
        """End all sessions of common name *name*. Call `timer` afterwards.

        One of the next `ManagementActions.disconnected` tells what became of them, unless the
        connection ends before.
        """
        if self._disconnects.request(name):
            self._polling.list_now()

    def forget_disconnect(self, name: bytes) -> None:
        """Send nothing more to end the sessions of *name*."""
        self._disconnects.forget(name)

    def send_on(self, session: SessionId) -> bool:
        """Send the client of *session* on to its next server. Call `timer` afterwards.

        Return whether it is possible: listings of OpenVPN 2.3 have no client ids.
        """
        command = protocol.send_on_command(session.cid)
        if command is None or len(self._to_send_on) >= MAX_TO_SEND_ON:
            return False
        self._to_send_on.append(command)
        return True

    def receive(self, data: bytes, now: float) -> ManagementActions:
        """Handle bytes from OpenVPN.

        Raises:
          ManagementError: close the connection; *data* has no effect.
        """
        self._polling.received(now)
        self._busy = False
        for event in self._protocol.receive(data):
            self._handlers[type(event)](event, now)
        return self.timer(now)

    def timer(self, now: float) -> ManagementActions:
        """Handle what is due at *now*."""
        if self._banner_received:
            self._send_all(self._to_send_on)
            self._to_send_on.clear()
            self._send_query(self._polling.timer(now))
        else:
            self._busy |= now >= self._started_at + BANNER_TIMEOUT
        actions, self._actions = self._actions, ManagementActions()
        actions.disconnected, self._disconnects.finished = self._disconnects.finished, []
        return actions

    def leave(self) -> bytes:
        """What to send before the connection is closed: what was switched on is switched off.

        OpenVPN does so itself when a connection ends; a program that passes ours through on a
        connection of its own does not.
        """
        off = {protocol.STATE_ON: protocol.STATE_OFF, protocol.LOG_ON: protocol.LOG_OFF}
        commands, self._switched_on = self._switched_on, []
        return b"".join(self._protocol.send(off[command]) for command in reversed(commands))

    def _send(self, command: Command) -> None:
        self._actions.send += self._protocol.send(command)

    def _send_all(self, commands: Iterable[Command]) -> None:
        for command in commands:
            self._send(command)

    def _switch_on(self, command: Command) -> None:
        if not self._quiet:
            self._switched_on.append(command)
            self._send(command)

    def _send_query(self, query: Query | None) -> None:
        if query is None:
            return
        self._listed = False
        if query is Query.LISTING:
            self._listings.begin(self._polling.sent_at)
            self._disconnects.begin()
            self._send(protocol.STATUS)
        self._send(protocol.LOAD_STATS)

    def _on_prompt(self, _event: PasswordPrompt, _now: float) -> None:
        if self._password is None:
            self._actions.refused = "OpenVPN asks for a password: set openvpn_mgmt_pass_file"
        elif self._password_sent:
            self._actions.refused = "OpenVPN refuses the password in openvpn_mgmt_pass_file"
        else:
            self._password_sent = True
            self._actions.send += self._password + b"\n"

    def _on_banner(self, _event: Banner, _now: float) -> None:
        if not self._banner_received:
            self._banner_received = True
            self._send(protocol.VERSION)
            self._send(protocol.VERB)
            self._switch_on(protocol.STATE_ON)

    def _on_established(self, event: Established, now: float) -> None:
        if not self._ethernet:  # else it would be withdrawn by the listing that follows
            self._apply(self._sessions.established(event), now)

    def _on_client_auth(self, _event: ClientAuth, _now: float) -> None:
        self.client_auth_seen = True
        if not self._shared:
            self._actions.refused = _CLIENT_AUTH_DETAIL

    def _on_state(self, event: State, _now: float) -> None:
        if event.name == b"CONNECTED":
            self._out_of_service, self._ethernet = None, False
            self._polling.reset()
        elif event.name in (b"RECONNECTING", b"EXITING"):
            detail = f"OpenVPN is {event.name.decode().lower()}: {printable_name(event.detail)}"
            self._out_of_service = Health(OpenVPNState.WAITING, detail)
            self._actions.outage = True

    def _on_hold(self, event: HoldEvent, _now: float) -> None:
        detail = f"OpenVPN waits for an operator: {printable_name(event.text)}"
        self._out_of_service = Health(OpenVPNState.HOLD, detail)
        self._actions.outage = True

    def _on_remote_exit(self, _event: RemoteExit, _now: float) -> None:
        self._polling.count_now()

    def _on_log_line(self, event: LogLine, now: float) -> None:
        if _INSTANCE_ENDED.search(event.text):
            ended = _SESSION_ENDED.fullmatch(event.text)
            update = self._listings.session_ended(ended["name"], ended["real"]) if ended else None
            self._apply(update, now)
        elif _RENEWAL.search(event.text) and len(_PEER.findall(event.text)) == 1:
            back = _CLIENT_RETURNS.fullmatch(event.text)
            if back is not None and back["begun"]:
                self._listings.handshake_begun(back["name"], back["real"])
            elif back is not None:
                update = self._listings.configured(back["name"], back["real"], event.at, now)
                if update is not None:
                    self._apply(update, now)

    def _on_fatal(self, event: Fatal, _now: float) -> None:
        self._actions.notes.append(f"OpenVPN ends: {printable_name(event.text)}")

    def _on_rows(self, event: Rows, _now: float) -> None:
        if event.command is protocol.STATUS:
            self._listings.rows(event.lines)
        else:
            for line in event.lines:
                title = _TITLE.match(line)
                self.version = printable_name(title[1]) if title else self.version

    def _on_reply(self, event: Reply, now: float) -> None:
        command = event.command
        if command is protocol.STATUS:
            self._end_listing(event, now)
        elif command is protocol.LOAD_STATS:
            count = _COUNT.search(event.text)
            self._polling.answered(now, int(count[1]) if count else None, listed=self._listed)
        elif command is protocol.VERB:
            verb = _VERB.fullmatch(event.text)
            if event.ok and verb and int(verb[1]) <= MAX_LOG_VERB:
                self._switch_on(protocol.LOG_ON)
        elif command.kills:
            self._on_kill_reply(event)
        elif command.sends_on and not event.ok:
            self._note_not_sent_on(event, now)

    def _end_listing(self, event: Reply, now: float) -> None:
        result = self._listings.end(event, now)
        self._problem, self._listed = result.problem, not result.problem
        if result.listing is not None:
            self._out_of_service, self._actions.outage = None, False
            self._actions.listing = result.listing
            self._ethernet |= result.listing.ignored.mac > 0
            self._actions.listing_duration = now - self._polling.sent_at
            self._send_all(self._disconnects.end(result.listing))
            self._polling.leaves_ghosts = has_ghosts(result.listing)
        for update in result.updates:
            self._add_update(update)
        self._polling.list_at(result.again_at)
        for kill in result.kills:
            command = protocol.kill_command(kill.client.name, kill.client.session.cid)
            if command is not None:
                self._send(command)
                self._actions.kills.append(kill)

    def _on_kill_reply(self, event: Reply) -> None:
        more = self._disconnects.reply(event)
        if event.ok:
            self._polling.list_now()
        elif more is not None:
            self._send_all(more)
        elif event.command.fallback is not None:
            self._send(event.command.fallback)
        else:
            why = printable_name(event.text)
            self._actions.notes.append(f"cannot kill a superseded session: {why}")

    def _note_not_sent_on(self, event: Reply, now: float) -> None:
        """Usually the client has just gone, and no listing has shown it yet."""
        self._polling.list_now()
        suppressed = self._note_limit.allow("send on", now)
        if suppressed is not None:
            why = f"a client was not sent on: {printable_name(event.text)}"
            self._actions.notes.append(why + suppressed_note(suppressed))

    def _apply(self, update: SessionUpdate | None, now: float) -> None:
        """Pass the effect of an event on. A listing confirms it, or finds what was missed."""
        self._add_update(update)
        if update is None:
            self._polling.list_now()
        else:
            self._polling.list_soon(now)

    def _add_update(self, update: SessionUpdate | None) -> None:
        if update is not None:
            self._actions.updates.append(update)
