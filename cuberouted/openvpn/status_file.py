"""The task that follows one OpenVPN process by its status file, for hosts where the management
interface belongs to another program.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import attrs
import trio

from cuberouted.config import OpenVPNConfig
from cuberouted.events import Emit, OpenVPNWarning
from cuberouted.model import SessionId, SupersededSession
from cuberouted.openvpn.disconnects import Disconnected
from cuberouted.openvpn.health import Health, OpenVPNState, OpenVPNStatus, emit_transition
from cuberouted.openvpn.omissions import OmissionEvents, Omissions
from cuberouted.openvpn.polling import LISTING_DURATIONS, PollIntervals
from cuberouted.openvpn.sessions import Reconciliation, Sessions
from cuberouted.openvpn.status import Listing, ListingReader, StatusError
from cuberouted.openvpn.updates import OnUpdate, UpdateTask
from cuberouted.util.histogram import Histogram

SETTLE_TIME = 0.1
"""Seconds for which the file must be unchanged: OpenVPN overwrites the old content row by row, so
that an END may belong to the old one."""

CHUNK_ROWS = 2000
"""Rows that are read before other tasks run: some five milliseconds of work."""

DEFAULT_PERIOD = 300.0
"""Seconds between two writes, until two have been seen. OpenVPN's own default is 60."""

MAX_MISSED_WRITES = 3
"""After so many periods without a write OpenVPN has gone."""

MAX_SIZE = 64 * 1024 * 1024
"""Bytes. A listing of 20,000 clients has 5 MB."""


class FileVersion(NamedTuple):
    """Tells one write of the file from another. ``written``: Unix nanoseconds."""

    written: int
    size: int
    inode: int


class StatusFileSource:
    """Implements `source.SessionSource`. It cannot kill sessions.

    *on_update* is awaited before the file is looked at again. *wall_clock* returns Unix seconds;
    it is used for the age of the file only.
    """

    def __init__(
        self,
        config: OpenVPNConfig,
        path: Path,
        sessions: Sessions,
        *,
        intervals: PollIntervals,
        wall_clock: Callable[[], float],
        on_update: OnUpdate,
        emit: Emit,
    ) -> None:
        self.sessions = sessions
        self.listing_durations = Histogram(LISTING_DURATIONS)
        self._name = config.name
        self._emit = emit
        self._path = path
        self._intervals = intervals
        self._wall_clock = wall_clock
        self._updates = UpdateTask(sessions, intervals.hold_time, on_update)
        self._superseded_emitted = False
        self._health = Health(OpenVPNState.CONNECTING)
        self._last_read: FileVersion | None = None
        self._problem = ""
        self._period = DEFAULT_PERIOD
        self._connected: int | None = None
        self._last_listing: float | None = None
        self._omissions = Omissions()
        self._omission_events = OmissionEvents(emit, config.name)

    def reconfigure(self, intervals: PollIntervals) -> None:
        """See `SessionSource`."""
        self._intervals = intervals
        self._updates.set_hold_time(intervals.hold_time)

    def set_superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """See `SessionSource`. Emit once that sessions cannot be killed this way."""
        if sessions and not self._superseded_emitted:
            self._superseded_emitted = True
            why = (
                "clients that have moved to another server stay connected here until OpenVPN's"
                " own timeout: only the management interface can kill sessions, a status file"
                " cannot"
            )
            self._emit(OpenVPNWarning(openvpn=self._name, why=why))

    async def disconnect(self, name: bytes) -> Disconnected:
        """See `SessionSource`."""
        await trio.lowlevel.checkpoint()
        if not self.sessions.has(name):
            return Disconnected(name)
        problem = "only the management interface can end sessions, openvpn_status_file cannot"
        return Disconnected(name, problem=problem)

    def send_on(self, session: SessionId) -> bool:  # noqa: ARG002 - as in the protocol
        """See `SessionSource`. Only the management interface can do that."""
        return False

    def status(self) -> OpenVPNStatus:
        """See `SessionSource`."""
        state, detail = self._health
        status = OpenVPNStatus(
            self._name or "openvpn",
            state,
            "",
            self.sessions.count,
            detail,
            last_listing=self._last_listing,
        )
        if state is OpenVPNState.CONNECTED and not detail:
            return attrs.evolve(
                status,
                counted=self._connected,
                omissions=self._omissions.problems,
                omitted=self._omissions.count,
                warnings=self._omissions.warnings,
            )
        return status

    async def run(self) -> None:
        """Read the file after each write, until cancelled. Failures are events, and shown."""
        self._updates.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._updates.run)
            while True:
                health = await self._poll()
                self._health = emit_transition(self._emit, self._name, self._health, health)
                await trio.sleep(self._intervals.poll_interval)

    async def _poll(self) -> Health:
        """Read the file if it has been written. Return the health after it."""
        try:
            version = _version(self._path)
            content = _content(self._path) if version != self._last_read else None
        except OSError as exc:
            return self._unreadable(exc)
        if self._wall_clock() - version.written / 1e9 > MAX_MISSED_WRITES * self._period:
            self._updates.hold()
            return Health(OpenVPNState.WAITING, f"{self._path} is old: is OpenVPN running?")
        if content is not None:
            await trio.sleep(SETTLE_TIME)
            try:
                settled = _version(self._path) == version
            except OSError as exc:
                return self._unreadable(exc)
            if settled:
                await self._read(version, content)
        return Health(OpenVPNState.CONNECTED, self._problem)

    def _unreadable(self, exc: OSError) -> Health:
        self._updates.hold()
        return Health(OpenVPNState.WAITING, f"{self._path}: {exc.strerror}")

    async def _read(self, version: FileVersion, content: bytes) -> None:
        if self._last_read is not None:
            elapsed = (version.written - self._last_read.written) / 1e9
            self._period = max(elapsed, self._period / 2)
        self._last_read, self._problem = version, ""
        began = trio.current_time()
        reconciliation = self.sessions.reconciliation()
        try:
            listing = await _read_listing(content, reconciliation)
        except StatusError as exc:
            self._problem = f"{self._path}: {exc}"
            return
        update = reconciliation.finish()
        self._connected = listing.connected
        now = self._last_listing = trio.current_time()
        self.listing_durations.observe(now - began)
        self._omissions.update(listing, now)
        self._omission_events.update(self._omissions.sentences, now)
        self._updates.release()
        if update is not None:
            await self._updates.send(update)


def _version(path: Path) -> FileVersion:
    stat = path.stat()
    return FileVersion(stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SIZE)


async def _read_listing(content: bytes, reconciliation: Reconciliation) -> Listing:
    """Add the listing in *content* to *reconciliation*, and return it.

    Raises:
      StatusError: it is not a listing, or has no END.
    """
    reader = ListingReader(separator=None)
    for number, line in enumerate(content.split(b"\n")):
        if line == b"END":
            listing = reader.finish()
            reconciliation.add(reader.drain())
            return listing
        reader.feed(line)
        if number % CHUNK_ROWS == 0:
            reconciliation.add(reader.drain())
            await trio.lowlevel.checkpoint()
    raise StatusError("it has no END; OpenVPN writes none after a row of 512 bytes or more")
