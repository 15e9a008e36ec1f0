"""The task that keeps the list of one OpenVPN's clients, by its management interface."""

from __future__ import annotations

import logging

import trio

from cuberouted.config import OpenVPNConfig
from cuberouted.model import SupersededSession, printable_name
from cuberouted.openvpn.connection import Actions, ManagementConnection
from cuberouted.openvpn.damping import Kill, KillDamping
from cuberouted.openvpn.dial import Dialer, DialError, read_password
from cuberouted.openvpn.health import Health, OpenVPNState, OpenVPNStatus, log_transition
from cuberouted.openvpn.hold import OnUpdate, SessionHold
from cuberouted.openvpn.polling import Polling, PollIntervals
from cuberouted.openvpn.protocol import ManagementError
from cuberouted.openvpn.sessions import Sessions

log = logging.getLogger(__name__)

MIN_BACKOFF = 0.1
"""Seconds until the next try to connect; each failure doubles them."""

MAX_BACKOFF = 1.0
"""So that an OpenVPN that comes back is heard of soon; nobody notices a try on this host."""

MAX_BACKOFF_AFTER_ACCEPT = 5.0
"""The same where OpenVPN ends what it took on, for these tries are in its log and in ours."""

REFUSED_BACKOFF = 60.0
"""Seconds until the next try where we may not, or must not, be: OpenVPN logs every one."""

RECEIVE = 65536


class RefusedError(Exception):
    """This management interface is not for us; str() says why."""


class ManagementSource:
    """Watches one OpenVPN.

    *on_news* is awaited before more is read, one call at a time. Sessions are kept for the
    hold time after OpenVPN has gone.
    """

    def __init__(
        self,
        config: OpenVPNConfig,
        *,
        pace: PollIntervals,
        dialer: Dialer,
        on_news: OnUpdate,
    ) -> None:
        self._config = config
        self._label = f"openvpn {config.name}".rstrip()
        self._dialer = dialer
        self._sessions = Sessions(config.name)
        self._pace = pace
        self._polling = Polling(pace.poll_interval, pace.status_interval)
        self._outage = SessionHold(self._sessions, pace.hold_time, on_news)
        self._drops = KillDamping()
        self._superseded: frozenset[SupersededSession] = frozenset()
        self._stirred = False
        self._nap = trio.CancelScope()
        self._condition = Health(OpenVPNState.CONNECTING)
        self._version = ""
        self._password: bytes | None = None
        self._taken_on = False  # the last try found somebody

    def reconfigure(self, pace: PollIntervals) -> None:
        """Watch at another pace from now on."""
        self._pace = pace
        self._polling.poll_interval = pace.poll_interval
        self._polling.status_interval = pace.status_interval
        self._outage.hold_time = pace.hold_time

    def superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """These sessions of ours are superseded now, and no others."""
        self._superseded = sessions
        self._stirred = True
        self._nap.cancel()

    def status(self) -> OpenVPNStatus:
        """A snapshot."""
        state, detail = self._condition
        name = self._config.name or "openvpn"
        return OpenVPNStatus(name, state, self._version, self._sessions.count, detail)

    async def run(self) -> None:
        """Connect, and connect again, for ever. What goes wrong is logged and shown."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outage.run)
            pause = MIN_BACKOFF
            while True:
                began = trio.current_time()
                condition = await self._connection()
                self._show(condition)
                self._outage.begin()
                lived = trio.current_time() - began
                if condition.state is OpenVPNState.REFUSED:
                    await self._stay_away()
                elif lived > MAX_BACKOFF_AFTER_ACCEPT:
                    pause = MIN_BACKOFF
                await trio.sleep(pause)
                pause = min(2 * pause, MAX_BACKOFF_AFTER_ACCEPT if self._taken_on else MAX_BACKOFF)

    async def _stay_away(self) -> None:
        """REFUSED_PAUSE, or until the password file has changed: that may be the cure."""
        for _ in range(round(REFUSED_BACKOFF / MAX_BACKOFF)):
            await trio.sleep(MAX_BACKOFF)
            if self._written_password() not in (None, self._password):
                break

    def _written_password(self) -> bytes | None:
        try:
            return read_password(self._config.mgmt_pass_file)
        except DialError:
            return None

    async def _connection(self) -> Health:
        """One connection from dialing to its end, and how it ended."""
        self._taken_on = False
        try:
            self._password = read_password(self._config.mgmt_pass_file)
            stream = await self._dialer.dial(self._config)
            self._taken_on = True
            async with stream:
                await self._converse(stream, self._password)
        except RefusedError as exc:
            return Health(OpenVPNState.REFUSED, str(exc))
        except (DialError, ManagementError) as exc:
            return Health(OpenVPNState.WAITING, str(exc))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return Health(OpenVPNState.WAITING, "OpenVPN closed the connection")

    async def _converse(self, stream: trio.abc.Stream, password: bytes | None) -> None:
        """Until the other end closes."""
        self._polling = Polling(self._pace.poll_interval, self._pace.status_interval)
        started = trio.current_time()
        dialogue = ManagementConnection(
            self._sessions, self._polling, self._drops, password, started
        )
        data: bytes | None = None
        while data != b"":
            now = trio.current_time()
            dialogue.supersede(self._superseded)
            step = dialogue.receive(data, now) if data else dialogue.tick(now)
            await self._take(step, stream)  # first of all: a client may wait for its news
            self._version = dialogue.version or self._version
            self._show(dialogue.condition)
            data = await self._receive(stream, dialogue.next_wakeup(now))

    async def _receive(self, stream: trio.abc.Stream, deadline: float) -> bytes | None:
        """What OpenVPN says next; None: it is time for something else."""
        data: bytes | None = None
        with trio.CancelScope(deadline=deadline) as self._nap:
            if not self._stirred:
                data = bytes(await stream.receive_some(RECEIVE))
        self._stirred = False
        return data

    async def _take(self, step: Actions, stream: trio.abc.Stream) -> None:
        for news in step.news:
            await self._outage.tell(news)
        if step.outage is True:
            self._outage.begin()
        elif step.outage is False:
            self._outage.end()
        for drop in step.drops:
            self._log_drop(drop)
        for note in step.notes:
            log.warning("%s: %s", self._label, note)
        if step.refused:
            raise RefusedError(step.refused)
        if step.send:
            await stream.send_all(step.send)

    def _log_drop(self, drop: Kill) -> None:
        log.info(
            "%s: dropping %s, client %d, from %s: it is on %s now",
            self._label,
            printable_name(drop.session.name),
            drop.session.cid,
            drop.superseded.prefix,
            drop.superseded.node,
        )

    def _show(self, condition: Health) -> None:
        self._condition = log_transition(log, self._label, self._condition, condition)
