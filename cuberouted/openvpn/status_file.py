"""The same news from OpenVPN's status file, where the management interface is somebody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trio

from cuberouted.config import OpenVPNConfig
from cuberouted.model import SupersededSession
from cuberouted.openvpn.health import Health, OpenVPNState, OpenVPNStatus, log_transition
from cuberouted.openvpn.hold import OnUpdate, SessionHold
from cuberouted.openvpn.polling import PollIntervals
from cuberouted.openvpn.sessions import Reconciliation, Sessions
from cuberouted.openvpn.status import ListingReader, StatusError

log = logging.getLogger(__name__)

SETTLE = 0.1
"""Seconds in which the file must not have changed: OpenVPN writes over the old content row
by row, and an END may be the old one's."""

CHUNK_ROWS = 2000
"""Rows that are read without a pause: some five milliseconds of work."""

DEFAULT_PERIOD = 300.0
"""Seconds between two rewritings until we have seen one; OpenVPN's own default is 60."""

MISSED = 3
"""So many rewritings that do not come mean that OpenVPN has gone."""

MAX_SIZE = 64 * 1024 * 1024
"""A listing of 20,000 clients has 5 MB."""


class Stamp(NamedTuple):
    """What tells one writing of the file from another. ``written``: Unix nanoseconds."""

    written: int
    size: int
    inode: int


class StatusFileSource:
    """Watches one OpenVPN by its status file. It cannot drop sessions.

    *on_news* is awaited before the file is
    looked at again. *wall* tells Unix seconds, for the age of the file alone.
    """

    def __init__(
        self,
        config: OpenVPNConfig,
        path: Path,
        *,
        pace: PollIntervals,
        wall: Callable[[], float],
        on_news: OnUpdate,
    ) -> None:
        self._name = config.name or "openvpn"
        self._label = f"openvpn {config.name}".rstrip()
        self._path = path
        self._pace = pace
        self._wall = wall
        self._sessions = Sessions(config.name)
        self._outage = SessionHold(self._sessions, pace.hold_time, on_news)
        self._said_superseded = False
        self._condition = Health(OpenVPNState.CONNECTING)
        self._seen: Stamp | None = None  # the last writing that we read to its end
        self._problem = ""
        self._period = DEFAULT_PERIOD

    def reconfigure(self, pace: PollIntervals) -> None:
        """Watch at another pace from now on."""
        self._pace = pace
        self._outage.hold_time = pace.hold_time

    def superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """These sessions are superseded; said once that they cannot be dropped from here."""
        if sessions and not self._said_superseded:
            self._said_superseded = True
            log.warning(
                "%s: clients that have moved to another server stay connected here until"
                " OpenVPN's own timeout: a status file drops nobody, the management interface does",
                self._label,
            )

    def status(self) -> OpenVPNStatus:
        """A snapshot."""
        state, detail = self._condition
        return OpenVPNStatus(self._name, state, "", self._sessions.count, detail)

    async def run(self) -> None:
        """Read the file whenever it was rewritten, for ever; what goes wrong is shown."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outage.run)
            while True:
                condition = await self._look()
                self._condition = log_transition(log, self._label, self._condition, condition)
                await trio.sleep(self._pace.poll_interval)

    async def _look(self) -> Health:
        try:
            stamp = _stamp(self._path)
            age = self._wall() - stamp.written / 1e9
            if age > MISSED * self._period:
                self._outage.begin()
                return Health(OpenVPNState.WAITING, f"{self._path} is old: does OpenVPN run?")
            if stamp != self._seen:
                await self._read(stamp)
        except OSError as exc:
            self._outage.begin()
            return Health(OpenVPNState.WAITING, f"{self._path}: {exc.strerror}")
        return Health(OpenVPNState.CONNECTED, self._problem)

    async def _read(self, stamp: Stamp) -> None:
        """Take in the file, unless it is being written: then it is looked at again soon."""
        content = _content(self._path)
        await trio.sleep(SETTLE)
        if _stamp(self._path) != stamp:
            return
        if self._seen is not None:
            elapsed = (stamp.written - self._seen.written) / 1e9
            self._period = max(elapsed, self._period / 2)
        self._seen, self._problem = stamp, ""
        correction = self._sessions.correction()
        try:
            await _take(content, correction)
        except StatusError as exc:
            self._problem = f"{self._path}: {exc}"
            return
        news = correction.finish()
        self._outage.end()
        if news is not None:
            await self._outage.tell(news)


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SIZE)


async def _take(content: bytes, correction: Reconciliation) -> None:
    """Have *correction* take the listing that *content* holds.

    Raises:
      StatusError: it is none, or has no END.
    """
    reader = ListingReader(separator=None)
    for number, line in enumerate(content.split(b"\n")):
        if line == b"END":
            reader.finish()
            correction.take(reader.take())
            return
        reader.feed(line)
        if number % CHUNK_ROWS == 0:
            correction.take(reader.take())
            await trio.lowlevel.checkpoint()
    raise StatusError("it has no END; OpenVPN writes none after a row of 512 bytes or more")
