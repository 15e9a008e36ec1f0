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
from cuberouted.openvpn.disconnects import Disconnected
from cuberouted.openvpn.health import OpenVPNState
from cuberouted.openvpn.sessions import Sessions, SessionUpdate
from cuberouted.openvpn.status_file import StatusFileSource
from tests.fakes.openvpn_listing import Client, rows
from tests.unit.openvpn.harness import HOLD_TIME, INTERVALS, Recorder, config, settle, until

HOST = Client(1, b"Doe, John", b"10.9.0.50", 7, real=(b"192.0.2.1", 1))
OTHER = Client(2, b"host2", b"10.9.0.51", 7, real=(b"192.0.2.1", 2))
BOTH = {"10.9.0.50/32": b"Doe, John", "10.9.0.51/32": b"host2"}
START = 1_795_222_140


@attrs.frozen
class Watched:
    """A status file, and the ``source`` that reads it."""

    path: Path
    source: StatusFileSource
    recorder: Recorder

    def write(self, lines: Iterable[bytes]) -> None:
        """As OpenVPN does, and at the test's own time."""
        write(self.path, lines, trio.current_time())

    def remove(self) -> None:
        self.path.unlink()

    @property
    def state(self) -> OpenVPNState:
        return self.source.status().state


def write(path: Path, lines: Iterable[bytes], now: float = 0.0) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    nanoseconds = int((START + now) * 1e9)
    os.utime(path, ns=(nanoseconds, nanoseconds))


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Watched]:
    recorder, began = Recorder(), trio.current_time()
    source = StatusFileSource(
        config(status_file=path),
        path,
        Sessions(""),
        intervals=INTERVALS,
        wall_clock=lambda: START + trio.current_time(),
        on_update=recorder.on_update,
        emit=recorder.events.append,
    )
    assert began < 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        await trio.sleep(0.5)
        yield Watched(path, source, recorder)
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
        assert w.recorder.names == BOTH
        assert w.recorder.complete
        assert w.state is OpenVPNState.CONNECTED
        assert w.source.status().clients == 2
        w.write(rows("2.6", [OTHER], separator))
        await trio.sleep(1.2)
        assert set(w.recorder.names) == {"10.9.0.51/32"}


async def test_a_file_without_end_is_not_believed(autojump_clock: MockClock, path: Path) -> None:
    write(path, rows("2.6", [HOST, OTHER]))
    async with watched(path) as w:
        w.write(rows("2.6", [OTHER])[:-1])
        await trio.sleep(10)
        assert w.recorder.names == BOTH
        assert "no END" in w.source.status().detail
        w.write(rows("2.6", [OTHER]))
        await trio.sleep(1.2)
        assert set(w.recorder.names) == {"10.9.0.51/32"}
        assert w.source.status().detail == ""


async def test_what_stands_behind_the_end_is_the_old_files(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, [*rows("2.6", [OTHER]), *rows("2.6", [HOST, OTHER])[2:]])
    async with watched(path) as w:
        assert set(w.recorder.names) == {"10.9.0.51/32"}


async def test_a_file_that_is_being_written_is_read_when_that_has_ended(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        for _ in range(300):
            await trio.sleep(0.02)  # new rows over old ones, and the old END behind them
            w.write(rows("2.6", [OTHER]))
        assert len(w.recorder.updates) == 1
        await until(lambda: set(w.recorder.names) == {"10.9.0.51/32"})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([b"OpenVPN CLIENT LIST", b"END"], "status-version 3"),
        ([], "still empty"),
        ([b"\xff\xfe"], "not a status file"),
    ],
)
async def test_another_file_is_refused_and_is_one_event(
    autojump_clock: MockClock,
    path: Path,
    lines: list[bytes],
    why: str,
) -> None:
    write(path, lines)
    async with watched(path) as w:
        await trio.sleep(100)
        assert why in w.source.status().detail
        assert not w.recorder.updates
        assert len(w.recorder.events) == 1


async def test_a_file_that_is_not_there_is_waited_for(
    autojump_clock: MockClock, path: Path
) -> None:
    async with watched(path) as w:
        await trio.sleep(100)
        assert w.state is OpenVPNState.WAITING
        assert w.source.status().detail == f"{path}: No such file or directory"
        assert len(w.recorder.events) == 1
        w.write(rows("2.6", [HOST]))
        await trio.sleep(1.2)
        assert set(w.recorder.names) == {"10.9.0.50/32"}


async def test_a_file_that_goes_away_withdraws_after_the_hold_time(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        w.remove()
        await trio.sleep(HOLD_TIME)
        assert w.recorder.names
        await trio.sleep(1.2)
        assert not w.recorder.names
        assert not w.recorder.complete


async def test_an_old_file_is_not_used(autojump_clock: MockClock, path: Path) -> None:
    write(path, rows("2.6", [HOST]), now=-86400)
    async with watched(path) as w:
        await trio.sleep(10)
        assert not w.recorder.updates
        assert w.source.status().detail == f"{path} is old: is OpenVPN running?"


async def test_a_file_that_is_no_longer_rewritten_is_not_believed_for_ever(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        for _ in range(10):
            await trio.sleep(60)
            w.write(rows("2.6", [HOST]))
        written = trio.current_time()
        await until(lambda: not w.recorder.names)
        assert 180 <= w.recorder.at - written <= 180 + HOLD_TIME + 2
        w.write(rows("2.6", [HOST]))
        await trio.sleep(1.2)
        assert w.recorder.names


async def test_a_long_period_is_learned_before_anything_is_withdrawn(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        for _ in range(20):
            await trio.sleep(600)
            w.write(rows("2.6", [HOST]))
        assert w.recorder.names
        assert len(w.recorder.updates) == 1


async def test_it_emits_once_that_superseded_sessions_cannot_be_killed(
    autojump_clock: MockClock, path: Path
) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        w.recorder.events.clear()
        (route,) = w.recorder.routes.values()
        lost = SupersededSession(route.prefix, route.name, SessionId(1, 7), "vpnsrvB")
        w.source.set_superseded(frozenset())
        assert not w.recorder.events
        w.source.set_superseded(frozenset({lost}))
        w.source.set_superseded(frozenset({lost}))
        await settle()
        (sentence,) = w.recorder.sentences
        assert "only the management interface can kill sessions" in sentence


async def test_it_tells_that_it_cannot_end_a_session(autojump_clock: MockClock, path: Path) -> None:
    write(path, rows("2.6", [HOST]))
    async with watched(path) as w:
        (route,) = w.recorder.routes.values()
        result = await w.source.disconnect(route.name)
        assert result.ended == ()
        assert "only the management interface" in result.problem
        assert await w.source.disconnect(b"nobody") == Disconnected(b"nobody")
        assert not w.source.send_on(route.session)


async def test_an_error_of_the_receiver_is_not_taken_for_one_of_the_file(
    autojump_clock: MockClock, path: Path
) -> None:
    async def fail(_update: SessionUpdate) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("the receiver's own")

    write(path, rows("2.6", [HOST]))
    source = StatusFileSource(
        config(status_file=path),
        path,
        Sessions(""),
        intervals=INTERVALS,
        wall_clock=lambda: START + trio.current_time(),
        on_update=fail,
        emit=lambda _event: None,
    )
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="the receiver's own")):
        await source.run()


async def test_what_the_file_lists_and_is_not_shared_is_shown(
    autojump_clock: MockClock, path: Path
) -> None:
    ethernet = attrs.evolve(HOST, cid=9, real=(b"192.0.2.7", 7), networks=(b"02:00:00:00:00:05",))
    write(path, rows("2.6", [HOST, attrs.evolve(ethernet, address=b"", address6=b"")]))
    async with watched(path) as w:
        await until(lambda: bool(w.source.status().omissions))
        assert "dev tun" in w.source.status().omissions[0]
        assert w.source.status().omitted == 1
        assert w.source.status().last_listing is not None
        assert w.source.listing_durations.cumulative()[-1] == 1
        assert w.source.status().counted == 1
