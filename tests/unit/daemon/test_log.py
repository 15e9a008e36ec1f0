"""The log: formats, levels, storms, and readers that are too slow."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from cuberouted.config import LogFormat
from cuberouted.daemon.log import Log
from cuberouted.daemon.log.formats import Stderr
from cuberouted.event_ring import EventRing
from cuberouted.events import ClientJoined, NodeProblem, ReloadRefused, RouteChanged, RouteTrace
from tests.fakes.mesh import Mesh
from tests.unit.daemon.meshes import started

JOINED = ClientJoined(address="10.100.100.10", client="host1", to_node="A")
ROUTE = RouteChanged(address="10.100.100.10", trace=RouteTrace.ADDED, via="B")
NOW = dt.datetime(2026, 11, 27, 10, 0, 0, 123456, dt.UTC)


class Pipe:
    """Standard error: what was written to it is read only by `text`."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.stderr = Stderr(self.writer)

    def text(self) -> str:
        """What was written since the last call."""
        data = io.BytesIO()
        while True:
            try:
                data.write(os.read(self.reader, 65536))
            except BlockingIOError:
                return data.getvalue().decode()

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    pipe = Pipe()
    yield pipe
    root.handlers[:] = handlers
    root.setLevel(level)
    pipe.close()
    monkeypatch.undo()
    time.tzset()


def opened(pipe: Pipe, level: str = "info", form: LogFormat = LogFormat.TEXT) -> Log:
    return Log(level, form, stderr=pipe.stderr, clock=lambda: 0.0)


def at(event: ClientJoined) -> ClientJoined:
    ring = EventRing("A", 10, lambda: NOW.timestamp())
    ring.publish(event)
    (published,) = ring.after(0)
    assert isinstance(published, ClientJoined)
    return published


def test_text_has_time_and_level(pipe: Pipe) -> None:
    log = opened(pipe)
    log.write(at(JOINED))
    assert pipe.text() == "2026-11-27 10:00:00,123 INFO host1 (10.100.100.10) joined at A\n"
    logging.getLogger("x").warning("%d things", 3)
    assert pipe.text().endswith(" WARNING 3 things\n")


def test_under_systemd_every_line_has_its_priority(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    log = opened(pipe, "debug")
    for event in (ROUTE, JOINED, NodeProblem(what="kernel", why="x"), ReloadRefused(why="x")):
        log.write(event)
    assert [line[:3] for line in pipe.lines()] == ["<7>", "<6>", "<4>", "<3>"]
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("it fails")
    lines = pipe.lines()
    assert lines[0] == "<3>it fails"
    assert len(lines) > 3
    assert {line[:3] for line in lines} == {"<3>"}


def test_json_is_one_object_a_line_for_events_and_for_everything_else(pipe: Pipe) -> None:
    log = opened(pipe, form=LogFormat.JSON)
    log.write(at(JOINED))
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("it fails")
    event, record = map(json.loads, pipe.lines())
    assert event["type"] == "client_joined"
    assert event["address"] == "10.100.100.10"
    assert event["text"] == "host1 (10.100.100.10) joined at A"
    assert dt.datetime.fromisoformat(event["time"]) == NOW
    assert record.keys() == {"time", "level", "text"}
    assert record["level"] == "error"
    assert record["text"].startswith("it fails\nTraceback ")


@pytest.mark.parametrize(
    ("level", "logged"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_events_below_the_level_are_not_logged(pipe: Pipe, level: str, logged: int) -> None:
    log = opened(pipe, level)
    for event in (ROUTE, JOINED, NodeProblem(what="kernel", why="x"), ReloadRefused(why="x")):
        log.write(event)
    assert len(pipe.lines()) == logged


def test_a_reload_changes_level_and_format(pipe: Pipe) -> None:
    log = opened(pipe)
    log.configure("debug", LogFormat.JSON)
    log.write(ROUTE)
    logging.getLogger("x").debug("y")
    assert [json.loads(line)["level"] for line in pipe.lines()] == ["debug", "debug"]
    log.configure("info", LogFormat.TEXT)
    log.write(ROUTE)
    log.write(JOINED)
    assert [line.split()[2] for line in pipe.lines()] == ["INFO"]


def test_without_a_journal_the_log_is_text_with_one_warning(pipe: Pipe, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    log = Log("info", LogFormat.JOURNAL, stderr=pipe.stderr, clock=lambda: 0, journal_socket=path)
    log.write(JOINED)
    warning, line = pipe.lines()
    assert warning.endswith(
        f" WARNING log_format: {path}: No such file or directory; the log is text instead"
    )
    assert line.endswith(" INFO host1 (10.100.100.10) joined at A")


async def test_a_storm_is_a_few_lines_and_a_count(
    pipe: Pipe, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Log("info", LogFormat.TEXT, stderr=pipe.stderr)
    nursery.start_soon(log.run)
    for number in range(20_000):
        log.write(ClientJoined(address=f"{number}", client=f"host{number}", to_node="A"))
    await trio.sleep(11)
    *lines, last = pipe.lines()
    assert len(lines) == 50
    assert last.endswith(" INFO 19,950 more events client_joined in 10 s; see `cuberouted history`")
    for _ in range(60):
        log.write(JOINED)
    nursery.cancel_scope.cancel()
    await trio.sleep_forever()


async def test_what_was_not_logged_is_counted_at_the_end_of_the_daemon_too(
    pipe: Pipe, autojump_clock: MockClock
) -> None:
    log = Log("info", LogFormat.TEXT, stderr=pipe.stderr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for _ in range(60):
            log.write(JOINED)
        nursery.cancel_scope.cancel()
    assert "55 more events client_joined" in pipe.lines()[-1]


async def test_nothing_is_logged_in_an_idle_hour(
    pipe: Pipe, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    mesh = Mesh(nursery)
    a, b, _ = await started(mesh)
    b.connect("host2", "10.100.100.14")
    log = Log("info", LogFormat.TEXT, stderr=pipe.stderr)
    a.daemon.events.listeners.append(log.write)
    nursery.start_soon(log.run)
    await trio.sleep(60)
    assert any("host2" in line for line in pipe.lines())
    await trio.sleep(3600)
    assert pipe.lines() == []


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_a_reader_that_is_stopped_does_not_stop_us_and_is_given_the_number_of_lost_lines(
    pipe: Pipe, form: LogFormat
) -> None:
    log = opened(pipe, "debug", form)
    for _ in range(20_000):  # the pipe has room for 64 KiB
        log.write(ROUTE)
    written = len(pipe.lines())
    assert 0 < written < 19_000
    log.write(ROUTE)
    lost, line = pipe.lines()
    assert f"{20_000 - written:,} log lines lost: the reader of the log was too slow" in lost
    assert "route 10.100.100.10 added to B" in line


def test_a_line_that_was_cut_off_has_an_end(pipe: Pipe) -> None:
    opened(pipe)
    long = "x" * 100_000  # longer than the pipe
    logging.getLogger("x").error("%s", long)
    pipe.text()
    logging.getLogger("x").error("next")
    begin, lost, line = pipe.lines()
    assert begin == ""
    assert "1 log line lost" in lost
    assert line.endswith(" ERROR next")


def test_a_reader_that_has_gone_does_not_matter(pipe: Pipe) -> None:
    log = opened(pipe)
    os.close(pipe.reader)
    log.write(JOINED)
    log.write(JOINED)
    pipe.reader = os.dup(pipe.writer)  # for `close`
