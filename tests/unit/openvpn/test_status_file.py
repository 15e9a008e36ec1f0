from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from cuberouted.model import SessionId, SupersededSession
from cuberouted.openvpn.health import OpenVPNState
from cuberouted.openvpn.status_file import StatusFileSource
from tests.fakes.openvpn_listing import Client, rows
from tests.unit.openvpn.watched import HOLD_TIME, INTERVALS, Told, config, settle, until

HOST = Client(1, b"Doe, John", b"10.9.0.50", 7, real=(b"192.0.2.1", 1))
OTHER = Client(2, b"host2", b"10.9.0.51", 7, real=(b"192.0.2.1", 2))
BOTH = {"10.9.0.50/32": b"Doe, John", "10.9.0.51/32": b"host2"}
START = 1_795_222_140


@attrs.frozen
class Watched:
    """A status file, and the ``watcher`` on it."""

    path: Path
    watcher: StatusFileSource
    told: Told

    def write(self, lines: Iterable[bytes]) -> None:
        """As OpenVPN does, and at the test's own time."""
        write(self.path, lines, trio.current_time())

    def remove(self) -> None:
        self.path.unlink()

    @property
    def state(self) -> OpenVPNState:
        return self.watcher.status().state


def write(path: Path, lines: Iterable[bytes], now: float = 0.0) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    nanoseconds = int((START + now) * 1e9)
    os.utime(path, ns=(nanoseconds, nanoseconds))


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Watched]:
    told, began = Told(), trio.current_time()
    watcher = StatusFileSource(
        config(status_file=path),
        path,
        pace=INTERVALS,
        wall=lambda: START + trio.current_time(),
        on_news=told.on_news,
    )
    assert began < 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        await trio.sleep(0.5)
        yield Watched(path, watcher, told)
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status"


@pytest.mark.parametrize("separator", [b"\t", b","])
async def test_the_file_is_read_and_read_again_when_it_was_rewritten(
    autojump_clock: MockClock, path: Path, separator: bytes
) -> None:
    write(path, rows("2.6", [HOST, OTHER], separator))
    async with watched(path) as w:
        assert w.told.names == BOTH
        assert w.told.complete
        assert w.state is OpenVPNState.CONNECTED
        assert w.watcher.status().clients == 2
        w.write(rows("2.6", [OTHER], separator))
        await trio.sleep(1.2)
        assert set(w.told.names) == {"10.9.0.51/32"}


async def test_a_file_without_end_is_not_believed(autojump_clock: MockClock, path: Path) -> None:
    write(path, rows("2.6", [HOST, OTHER]))
    async with watched(path) as w:
        w.write(rows("2.6", [OTHER])[:-1])
        await trio.sleep(10)
        assert w.told.names == BOTH
        assert "no END" in w.watcher.status().detail
        w.write(rows("2.6", [OTHER]))
        await trio.sleep(1.2)
        assert set(w.told.names) == {"10.9.0.51/32"}
        assert w.watcher.status().detail == ""


async def test_what_stands_behind_the_end_is_the_old_files(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, [*rows("2.6", [OTHER]), *rows("2.6", [HOST, OTHER])[2:]])
    async with watched(path) as w:
        assert set(w.told.names) == {"10.9.0.51/32"}


async def test_a_file_that_is_being_written_is_read_when_that_has_ended(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        for _ in range(300):
            await trio.sleep(0.02)  # new rows over old ones, and the old END behind them
            w.write(rows("2.6", [OTHER]))
        assert len(w.told.news) == 1
        await until(lambda: set(w.told.names) == {"10.9.0.51/32"})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([b"OpenVPN CLIENT LIST", b"END"], "status-version 3"),
        ([], "empty so far"),
        ([b"\xff\xfe"], "not a status file"),
    ],
)
async def test_another_file_is_refused_in_plain_words_and_told_once(
    autojump_clock: MockClock,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    lines: list[bytes],
    why: str,
) -> None:
    write(path, lines)
    async with watched(path) as w:
        await trio.sleep(100)
        assert why in w.watcher.status().detail
        assert not w.told.news
        assert len(caplog.records) == 1


async def test_a_file_that_is_not_there_is_waited_for(
    autojump_clock: MockClock, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(path) as w:
        await trio.sleep(100)
        assert w.state is OpenVPNState.WAITING
        assert w.watcher.status().detail == f"{path}: No such file or directory"
        assert len(caplog.records) == 1
        w.write(rows("2.6", [HOST]))
        await trio.sleep(1.2)
        assert set(w.told.names) == {"10.9.0.50/32"}


async def test_a_file_that_goes_away_withdraws_after_the_hold_time(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        w.remove()
        await trio.sleep(HOLD_TIME)
        assert w.told.names
        await trio.sleep(1.2)
        assert not w.told.names
        assert not w.told.complete


async def test_an_old_file_is_not_believed(autojump_clock: MockClock, path: Path) -> None:
    write(path, rows("2.6", [HOST]), now=-86400)
    async with watched(path) as w:
        await trio.sleep(10)
        assert not w.told.news
        assert w.watcher.status().detail == f"{path} is old: does OpenVPN run?"


async def test_a_file_that_is_no_longer_rewritten_is_not_believed_for_ever(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        for _ in range(10):
            await trio.sleep(60)
            w.write(rows("2.6", [HOST]))
        written = trio.current_time()
        await until(lambda: not w.told.names)
        assert 180 <= w.told.at - written <= 180 + HOLD_TIME + 2
        w.write(rows("2.6", [HOST]))
        await trio.sleep(1.2)
        assert w.told.names


async def test_a_long_period_is_learned_before_anything_is_withdrawn(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        for _ in range(20):
            await trio.sleep(600)
            w.write(rows("2.6", [HOST]))
        assert w.told.names
        assert len(w.told.news) == 1


async def test_superseded_sessions_cannot_be_dropped_and_that_is_said_once(
    autojump_clock: MockClock, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        caplog.clear()
        (claim,) = w.told.claims.values()
        lost = SupersededSession(claim.prefix, claim.name, SessionId(1, 7), "vpnsrvB")
        w.watcher.superseded(frozenset())
        assert not caplog.records
        w.watcher.superseded(frozenset({lost}))
        w.watcher.superseded(frozenset({lost}))
        await settle()
        assert len(caplog.records) == 1
        assert "a status file drops nobody" in caplog.text
