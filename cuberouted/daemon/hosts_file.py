"""Keeps the hosts file: the names and addresses of all clients, for DNS servers on this host.

Events only cause a look at the RIB; what is written comes from the RIB.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import trio

from cuberouted.config import Config
from cuberouted.daemon.hosts_text import HEADER, Entry, HostNames, entry_of
from cuberouted.events import (
    ClientJoined,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    Emit,
    Event,
    InterfacesChanged,
    NodeProblem,
    NodeProblemEnded,
    PeerStateChanged,
    PoolConflictBegan,
    PoolConflictEnded,
    ServiceMoved,
)
from cuberouted.routing.rib import Rib
from cuberouted.util.tasks import Signal, run_in_thread

WHAT = "hosts file"
"""`NodeProblem.what`."""

SETTLE_DELAY = 0.1
"""Seconds from an event to the look: the other addresses of the same client come meanwhile."""

INTERVAL = 1.0
"""Seconds between two looks."""

LOOK_INTERVAL = 30.0
"""Seconds until a look without an event: for changes that have none, or of the file itself."""

MAX_RETRY_DELAY = 10.0
"""Seconds."""

SHARE = 10
"""A look takes at most one part in so many of the time."""

SLICE = 250
"""Prefixes that are handled before other tasks run: less than a millisecond."""

CAUSES = (
    ClientJoined,
    ClientMoved,
    ClientRenewed,
    ClientLeft,
    PoolConflictBegan,
    PoolConflictEnded,
    PeerStateChanged,
    InterfacesChanged,
    ServiceMoved,
)
"""Events after which names or addresses may be others."""

MODE = 0o644
"""The DNS server runs as another user."""

T = TypeVar("T")


class HostsFile:
    """The hosts file of the configuration. Without one it only waits for a reload.

    `put` is a listener of the `EventRing`.
    """

    def __init__(self, config: Config, rib: Rib, emit: Emit) -> None:
        self._rib = rib
        self._emit = emit
        self._wake = Signal()
        self._retry_delay = 0.0  # 0: the last look did not fail
        # what the peers advertise arrives meanwhile: the file of an earlier run is better than half
        self._settling = config.hold_time
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Apply *config*. A file that is no longer in it stays as it is."""
        self._path, self._domain = config.hosts_file, config.hosts_domain
        self._wake.set()

    def put(self, event: Event) -> None:
        """Look at the RIB after *event*, if it may have changed a name or an address."""
        if isinstance(event, CAUSES):
            self._wake.set()

    async def run(self) -> None:
        """Keep the file until cancelled. It stays then."""
        await trio.sleep(self._settling)
        while True:
            if self._retry_delay:
                await trio.sleep(self._retry_delay)
            else:
                with trio.move_on_after(LOOK_INTERVAL):
                    await self._wake.wait()
                    await trio.sleep(SETTLE_DELAY)
            began = trio.current_time()
            await self._update()
            took = trio.current_time() - began
            await trio.sleep(max(INTERVAL - SETTLE_DELAY, SHARE * took))

    async def _update(self) -> None:
        """Write the file, if its content is to be another."""
        if self._path is None:
            self._retry_delay = 0.0
            return
        path, text = self._path, await self._text()
        try:
            # a disk that hangs holds up neither the daemon nor its end
            await run_in_thread(replace_file, path, text)
        except OSError as error:
            if not self._retry_delay:
                self._emit(NodeProblem(what=WHAT, why=_problem(path, error)))
            self._retry_delay = min(max(INTERVAL, 2 * self._retry_delay), MAX_RETRY_DELAY)
        else:
            if self._retry_delay:
                self._emit(NodeProblemEnded(what=WHAT))
            self._retry_delay = 0.0

    async def _text(self) -> bytes:
        names = HostNames(self._domain)
        runs: list[list[Entry]] = []
        for prefixes in _slices(self._rib.prefixes()):
            best = ((prefix, self._rib.best(prefix)) for prefix in prefixes)
            entries = (entry_of(prefix, route) for prefix, route in best if route is not None)
            run = sorted((entry for entry in entries if entry is not None), reverse=True)
            for entry in run:
                names.add(entry)
            runs.append(run)
            await trio.lowlevel.checkpoint()
        text = [HEADER]
        for merged in _slices(heapq.merge(*map(_drain, runs))):
            text.append("".join(map(names.line, merged)).encode())
            await trio.lowlevel.checkpoint()
        return b"".join(text)


def replace_file(path: Path, text: bytes) -> None:
    """Let *path* contain *text*: a reader finds the old or the new content, never a part.

    There is no fsync: the file is made anew at each start, and is usually in a tmpfs. The name of
    the new file begins with a dot until it is complete; dnsmasq's ``hostsdir`` ignores such files,
    and notices the rename.

    Raises:
      OSError: it cannot be read or written, or is not ours.
    """
    if _content(path, len(text) + 1) == text:
        return
    temporary = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, MODE), "wb") as file:
            os.fchmod(file.fileno(), MODE)  # whatever the umask is
            file.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _content(path: Path, size: int) -> bytes | None:
    """The first *size* bytes of *path*, or None if it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(size) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b"not a file"
    if content and not content.startswith(HEADER):
        why = "exists and was not written by cuberouted: remove it, or write another path"
        raise FileExistsError(errno.EEXIST, why, str(path))
    return content


def _problem(path: Path, error: OSError) -> str:
    why = f"{path}: {error.strerror or error}"
    if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS):
        why += (
            f"; the daemon's user must be able to write in {path.parent}"
            " (docs/names.md, under systemd also ReadWritePaths=)"
        )
    return why


def _drain(run: list[Entry]) -> Iterator[Entry]:
    """Its entries, the last one first. To free 100,000 of them at once would take 10 ms."""
    while run:
        yield run.pop()


def _slices(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    return iter(lambda: list(islice(rest, SLICE)), [])
