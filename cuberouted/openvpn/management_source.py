"""The task that follows one OpenVPN process by its management interface."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import attrs
import trio

from cuberouted.config import OpenVPNConfig
from cuberouted.events import ClientKilled, Emit, OpenVPNWarning
from cuberouted.model import Kind, SessionId, SupersededSession, printable_name
from cuberouted.openvpn.connection import ManagementActions, ManagementConnection
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.dial import Dialer, DialError, read_password
from cuberouted.openvpn.disconnects import Disconnected
from cuberouted.openvpn.health import Health, OpenVPNState, OpenVPNStatus, emit_transition
from cuberouted.openvpn.life import LifeWatch
from cuberouted.openvpn.omissions import OmissionEvents, Omissions
from cuberouted.openvpn.polling import LISTING_DURATIONS, Polling, PollIntervals
from cuberouted.openvpn.protocol import ManagementError
from cuberouted.openvpn.sessions import Sessions
from cuberouted.openvpn.updates import OnUpdate, UpdateTask
from cuberouted.util.histogram import Histogram

MIN_BACKOFF = 0.1
"""Seconds until the next attempt to connect. They double with each failure."""

MAX_BACKOFF = 1.0
"""Short, so that the sessions of an OpenVPN that comes back are known soon."""

MAX_BACKOFF_AFTER_ACCEPT = 5.0
"""Longest back-off if OpenVPN accepts and then closes; each attempt is logged on both sides."""

REFUSED_BACKOFF = 60.0
"""Seconds until the next attempt where we may not, or must not, be connected."""

LEAVE_TIMEOUT = 0.2
"""Seconds that OpenVPN has, before we close the connection, to switch off what we switched on."""

DISCONNECT_TIMEOUT = 10.0
"""Seconds until a disconnect has failed. OpenVPN has to list its clients before, and then to answer
the command."""

RECEIVE_SIZE = 65536


class RefusedError(Exception):
    """We may not, or must not, use this management interface. str() says why."""


@attrs.frozen
class _Disconnect:
    """A disconnect that callers wait for, and its result once ``done`` is set."""

    done: trio.Event = attrs.field(factory=trio.Event)
    result: list[Disconnected] = attrs.field(factory=list)

    def finish(self, result: Disconnected) -> None:
        self.result.append(result)
        self.done.set()


class ManagementSource:
    """Implements `source.SessionSource`.

    *on_update* is awaited before more is received, one call at a time. The routes in *sessions*
    are held for the hold time at the start, and whenever OpenVPN has gone.
    """

    def __init__(
        self,
        config: OpenVPNConfig,
        sessions: Sessions,
        *,
        intervals: PollIntervals,
        dialer: Dialer,
        on_update: OnUpdate,
        emit: Emit,
    ) -> None:
        self.sessions = sessions
        self.listing_durations = Histogram(LISTING_DURATIONS)
        self._config = config
        self._emit = emit
        self._dialer = dialer
        self._intervals = intervals
        self._polling = Polling(intervals.poll_interval, intervals.status_interval)
        self._updates = UpdateTask(sessions, intervals.hold_time, on_update)
        self._damping = KillDamping()
        self._life = LifeWatch()
        self._last_listing: float | None = None
        self._omissions = Omissions()
        self._omission_events = OmissionEvents(emit, config.name)
        self._superseded: frozenset[SupersededSession] = frozenset()
        self._woken = False  # there is something to do before more is received
        self._wait_scope = trio.CancelScope()
        self._connection: ManagementConnection | None = None
        self._disconnects: dict[bytes, _Disconnect] = {}
        self._health = Health(OpenVPNState.CONNECTING)
        self._version = ""
        self._password: bytes | None = None
        self._accepted = False  # the last attempt has opened a connection
        self._client_auth_seen = False

    def reconfigure(self, intervals: PollIntervals) -> None:
        """See `SessionSource`."""
        self._intervals = intervals
        now = trio.current_time()
        self._polling.reconfigure(intervals.poll_interval, intervals.status_interval, now)
        self._updates.set_hold_time(intervals.hold_time)
        self._wake()

    def set_superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """See `SessionSource`."""
        self._superseded = sessions
        self._wake()

    async def disconnect(self, name: bytes) -> Disconnected:
        """See `SessionSource`."""
        connection, (state, detail) = self._connection, self._health
        if connection is None or state is not OpenVPNState.CONNECTED:
            if not self.sessions.has(name):
                return Disconnected(name)
            why = "; ".join(filter(None, (f"OpenVPN is not connected ({state})", detail)))
            return Disconnected(name, problem=why)
        waiting = self._disconnects.get(name)
        if waiting is None:
            waiting = self._disconnects[name] = _Disconnect()
            connection.disconnect(name)
            self._wake()
        with trio.move_on_after(DISCONNECT_TIMEOUT):
            await waiting.done.wait()
        if not waiting.done.is_set():
            connection.forget_disconnect(name)
            del self._disconnects[name]
            problem = f"no answer from OpenVPN in {DISCONNECT_TIMEOUT:g} s"
            waiting.finish(Disconnected(name, problem=problem))
        return waiting.result[0]

    def send_on(self, session: SessionId) -> bool:
        """See `SessionSource`."""
        connection = self._connection
        if connection is None or self._health.state is not OpenVPNState.CONNECTED:
            return False
        if not connection.send_on(session):
            return False
        self._wake()
        return True

    def _wake(self) -> None:
        self._woken = True
        self._wait_scope.cancel()

    def status(self) -> OpenVPNStatus:
        """See `SessionSource`."""
        state, detail = self._health
        name = self._config.name or "openvpn"
        status = OpenVPNStatus(
            name,
            state,
            self._version,
            self.sessions.count,
            detail,
            last_listing=self._last_listing,
        )
        if state is OpenVPNState.CONNECTED and not detail:
            return attrs.evolve(
                status,
                counted=self._polling.count,
                omissions=self._omissions.problems,
                omitted=self._omissions.count,
                warnings=self._omissions.warnings,
            )
        return status

    async def run(self) -> None:
        """Connect, again and again, until cancelled. Failures are events, and shown."""
        self._updates.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._updates.run)
            backoff = MIN_BACKOFF
            while True:
                started_at = trio.current_time()
                health = await self._connect()
                self._set_health(health)
                self._updates.hold()
                if health.state is OpenVPNState.REFUSED:
                    await self._back_off_refused()
                elif trio.current_time() - started_at > MAX_BACKOFF_AFTER_ACCEPT:
                    backoff = MIN_BACKOFF
                await trio.sleep(backoff)
                limit = MAX_BACKOFF_AFTER_ACCEPT if self._accepted else MAX_BACKOFF
                backoff = min(2 * backoff, limit)

    async def _back_off_refused(self) -> None:
        """Wait for REFUSED_BACKOFF, or until the password file has changed."""
        for _ in range(round(REFUSED_BACKOFF / MAX_BACKOFF)):
            await trio.sleep(MAX_BACKOFF)
            try:
                password = read_password(self._config.mgmt_pass_file)
            except DialError:
                continue
            if password not in (None, self._password):
                break

    async def _connect(self) -> Health:
        """Open one connection and use it to its end. Return the health after it."""
        self._accepted = False
        try:
            self._password = read_password(self._config.mgmt_pass_file)
            stream = await self._dialer.dial(self._config)
            self._accepted = True
            async with stream:
                await self._use(stream, self._password)
        except RefusedError as exc:
            return Health(OpenVPNState.REFUSED, str(exc))
        except (DialError, ManagementError) as exc:
            return Health(OpenVPNState.WAITING, str(exc))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return Health(OpenVPNState.WAITING, "OpenVPN closed the connection")

    async def _use(self, stream: trio.abc.HalfCloseableStream, password: bytes | None) -> None:
        """Until the other side closes the connection."""
        self._polling = Polling(self._intervals.poll_interval, self._intervals.status_interval)
        connection = ManagementConnection(
            self.sessions,
            self._polling,
            self._damping,
            self._life,
            password,
            trio.current_time(),
            shared=self._config.mgmt_shared,
            quiet=self._client_auth_seen,
        )
        self._connection = connection
        data: bytes | None = None
        try:
            while data != b"":
                now = trio.current_time()
                connection.set_superseded(self._superseded)
                actions = connection.receive(data, now) if data else connection.timer(now)
                await self._act(actions, stream)  # before anything else: a client may wait for it
                self._version = connection.version or self._version
                self._set_health(connection.health)
                data = await self._receive(stream, connection.deadline)
        finally:
            self._connection = None
            self._end_disconnects()
            if connection.version:  # OpenVPN has served us, so it would have shown it
                self._client_auth_seen = connection.client_auth_seen
            await self._leave(stream, connection.leave())

    async def _leave(self, stream: trio.abc.HalfCloseableStream, last: bytes) -> None:
        """Send *last*, and wait until it was received: closing at once could discard it."""
        with (
            trio.CancelScope(deadline=trio.current_time() + LEAVE_TIMEOUT, shield=True),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            if last:
                await stream.send_all(last)
                await stream.send_eof()
                while await stream.receive_some(RECEIVE_SIZE):
                    pass

    async def _receive(self, stream: trio.abc.HalfCloseableStream, deadline: float) -> bytes | None:
        """The next bytes. None: *deadline*, or there is something else to do."""
        data: bytes | None = None
        with trio.CancelScope(deadline=deadline) as self._wait_scope:
            if not self._woken:
                data = bytes(await stream.receive_some(RECEIVE_SIZE))
        self._woken = False
        return data

    def _finish_disconnects(self, results: Iterable[Disconnected]) -> None:
        for result in results:
            waiting = self._disconnects.pop(result.name, None)
            if waiting is not None:  # else it has taken too long
                waiting.finish(result)

    def _end_disconnects(self) -> None:
        """Those that were not finished may have been done or not."""
        waiting, self._disconnects = self._disconnects, {}
        for name, disconnect in waiting.items():
            problem = "the connection to OpenVPN ended before it had answered"
            disconnect.finish(Disconnected(name, problem=problem))

    async def _act(self, actions: ManagementActions, stream: trio.abc.HalfCloseableStream) -> None:
        for update in actions.updates:
            await self._updates.send(update)
        if actions.outage is True:
            self._updates.hold()
        elif actions.outage is False:
            self._updates.release()
        if actions.listing is not None:
            now = trio.current_time()
            self._last_listing = now
            self.listing_durations.observe(actions.listing_duration)
            self._omissions.update(actions.listing, now)
            self._omission_events.update(self._omissions.sentences, now)
        for kill in actions.kills:
            self._emit_kill(kill)
        self._finish_disconnects(actions.disconnected)
        for note in actions.notes:
            self._emit(OpenVPNWarning(openvpn=self._config.name, why=note))
        if actions.refused:
            raise RefusedError(actions.refused)
        if actions.send:
            await stream.send_all(actions.send)

    def _emit_kill(self, kill: Kill) -> None:
        client, prefix = kill.client, kill.superseded.prefix
        self._emit(
            ClientKilled(
                address=prefix.short,
                client=printable_name(client.name),
                kind=Kind.CLIENT if prefix.is_host else Kind.NETWORK,
                openvpn=self._config.name,
                cid=client.session.cid,
                why=f"superseded by one on {kill.superseded.node}",
            )
        )

    def _set_health(self, health: Health) -> None:
        self._health = emit_transition(self._emit, self._config.name, self._health, health)
