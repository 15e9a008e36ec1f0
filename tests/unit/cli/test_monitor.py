"""`monitor` and `history`, on the control socket of a fake daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from cuberouted import events
from cuberouted.cli.context import NOT_RUNNING, PROBLEM, WRONG_USAGE
from cuberouted.cli.event_lines import Selection
from cuberouted.cli.history import select
from cuberouted.cli.main import main
from cuberouted.daemon import event_stream
from cuberouted.events import (
    ClientJoined,
    ClientMoved,
    PeerWarning,
    ReloadRefused,
    RouteChanged,
    RouteTrace,
)
from tests.fakes.cli import cli_runner
from tests.fakes.daemon_api import FakeDaemon
from tests.unit.cli.watch.samples import STATUS
from tests.unit.cli.watch.tmux import PROJECT, terminal

MOVED = ClientMoved(
    address="10.9.0.14", client="host2", from_node="B", to_node="C", routed_after=0.0019
)
ROUTE = RouteChanged(address="10.9.0.14/32", trace=RouteTrace.MOVED, via="C")
JOINED = ClientJoined(address="10.9.0.15", client="hóst3\x1b[2J", to_node="B")
WARNING = PeerWarning(peer="C", why="a prefix was refused")
ALL = (MOVED, ROUTE, JOINED, WARNING)

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ")
SENTENCES = {
    MOVED: "host2 (10.9.0.14) moved B -> C, routed after 1.9 ms",
    ROUTE: "route 10.9.0.14/32 moved to C",
    JOINED: "hóst3\\x1b[2J (10.9.0.15) joined at B",
    WARNING: "peer C: a prefix was refused",
}


@pytest.fixture
def daemon(tmp_path):
    return FakeDaemon(tmp_path / "s", STATUS)


def run(daemon, *arguments):
    return cli_runner().invoke(main, ["--socket", str(daemon.socket), *arguments])


def start(daemon, *arguments, stdout=subprocess.PIPE):
    return subprocess.Popen(
        [sys.executable, "-m", "cuberouted", "--socket", str(daemon.socket), *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def monitor(daemon, *arguments, happened=ALL):
    """What a monitor prints of what happens while it runs, until the daemon stops."""
    with daemon.running():

        def publish():
            while daemon.readers == 0:
                time.sleep(0.01)
            daemon.emit(*happened)
            daemon.stop()

        thread = threading.Thread(target=publish)
        thread.start()
        done = run(daemon, "monitor", *arguments)
        thread.join()
    assert done.exit_code == NOT_RUNNING
    assert done.stderr == f"{daemon.socket}: cuberouted has stopped\n"
    return done.stdout.splitlines()


def sentences(lines):
    assert all(TIME.match(line) for line in lines)
    return [TIME.sub("", line) for line in lines]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], [MOVED, JOINED, WARNING]),
        (["-v"], ALL),
        (["10.9.0.14"], [MOVED]),
        (["-v", "10.9.0.14"], [MOVED, ROUTE]),
        (["C"], [MOVED, WARNING]),
    ],
)
def test_monitor_shows_what_happens_until_the_daemon_stops(daemon, arguments, shown):
    assert sentences(monitor(daemon, *arguments)) == [SENTENCES[event] for event in shown]


@pytest.mark.parametrize(("arguments", "shown"), [([], ALL), (["10.9.0.14"], [MOVED, ROUTE])])
def test_monitor_prints_the_lines_of_the_daemon_as_json(daemon, arguments, shown):
    lines = monitor(daemon, "--json", *arguments)
    found = [events.decode(line.encode()) for line in lines]
    assert [msgspec.structs.replace(e, number=0, time=events.EPOCH, node="") for e in found] == [
        *shown
    ]
    assert json.loads(lines[0])["text"] == SENTENCES[MOVED]


def test_what_happened_before_is_not_shown_by_monitor(daemon):
    with daemon.running():
        daemon.emit(MOVED)
        process = start(daemon, "monitor")
        try:
            while daemon.readers == 0:
                time.sleep(0.01)
            daemon.emit(WARNING)
            assert process.stdout is not None
            line = process.stdout.readline().decode()  # without waiting for more lines
            assert line.endswith(f"  {SENTENCES[WARNING]}\n")
        finally:
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (-signal.SIGINT, b"")  # as `ip monitor` ends


def test_monitor_ends_quietly_when_nobody_reads_any_more(daemon):
    with daemon.running():
        process = start(daemon, "monitor")
        assert process.stdout is not None
        while daemon.readers == 0:
            time.sleep(0.01)
        process.stdout.close()
        while process.poll() is None:
            daemon.emit(MOVED)
            time.sleep(0.02)
        assert process.stderr is not None
        assert (process.stderr.read(), process.returncode) == (b"", PROBLEM)
        process.stderr.close()


def test_events_of_another_version_are_an_error(daemon, monkeypatch):
    monkeypatch.setattr(event_stream, "encode", lambda _: b'{"type":"eclipse"}\n')
    with daemon.running():
        daemon.emit(MOVED)
        done = run(daemon, "history")
    assert done.exit_code == PROBLEM
    assert done.stderr.startswith("malformed event (another version of cuberouted?): ")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], [MOVED, JOINED, WARNING]),
        (["-v"], ALL),
        (["host2"], [MOVED]),
        (["-n", "1"], [WARNING]),
        (["-n", "2", "C"], [MOVED, WARNING]),
        (["-n", "0"], []),
        (["--since", "1h"], [MOVED, JOINED, WARNING]),
        (["--since", "2100-01-01"], []),
    ],
)
def test_history_shows_what_has_happened(daemon, arguments, shown):
    with daemon.running():
        daemon.emit(*ALL)
        done = run(daemon, "history", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert sentences(done.stdout.splitlines()) == [SENTENCES[event] for event in shown]


def test_history_prints_the_lines_of_the_daemon_as_json(daemon):
    with daemon.running():
        daemon.emit(*ALL)
        done = run(daemon, "history", "--json", "-n", "3")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["type"] for event in found] == ["route_changed", "client_joined", "peer_warning"]


def test_a_time_that_is_none_is_wrong_usage(daemon):
    done = run(daemon, "history", "--since", "soon")
    assert done.exit_code == WRONG_USAGE
    assert "'soon' is not a time (examples: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], True), (["-n", "2"], False), (["-n", "9"], True), (["--since", "1h"], True)],
)
def test_history_says_if_there_was_more(daemon, arguments, told):
    daemon.kept = 3
    with daemon.running():
        daemon.emit(*[MOVED] * 10)
        done = run(daemon, "history", *arguments)
    note = "7 events before these are not kept any more\n"
    assert done.stderr == (note if told else "")
    assert len(done.stdout.splitlines()) == (2 if "2" in arguments else 3)


def test_events_that_are_not_kept_are_of_no_interest_before_the_asked_for_time():
    def at(minute):
        return events.EPOCH.replace(minute=minute)

    kept = [
        (msgspec.structs.replace(MOVED, number=8, time=at(10)), b"1"),
        (msgspec.structs.replace(MOVED, number=9, time=at(20)), b"2"),
    ]
    found = select(kept, Selection(), None, at(15))
    assert ([line for _, line in found.events], found.forgotten) == ([b"2"], 0)
    found = select(kept, Selection(), None, at(5))
    assert ([line for _, line in found.events], found.forgotten) == ([b"1", b"2"], 7)


def test_on_a_terminal_levels_have_colours_and_long_histories_a_pager(daemon):
    refused = ReloadRefused(why="hold_time: '3 seconds' is not a valid duration")
    program = f"{sys.executable} -m cuberouted --socket {daemon.socket}"
    with terminal(100, 20) as screen, daemon.running():
        daemon.emit(refused, WARNING, MOVED)
        screen.shell(f"{program} history")
        screen.wait("reload refused", "host2 (10.9.0.14) moved")
        shown = screen.screen("-e")
        assert "\x1b[31mreload refused" in shown
        assert "\x1b[33mpeer C: a prefix was refused" in shown
        screen.shell(f"clear; NO_COLOR=1 {program} history")
        screen.wait("host2 (10.9.0.14) moved", absent="history")
        assert "\x1b[31m" not in screen.screen("-e")
        daemon.emit(*[MOVED] * 30)
        screen.shell(f"clear; PAGER=less {program} history")
        assert "reload refused" in screen.wait("host2 (10.9.0.14) moved", ":")
        screen.type("q")
        screen.wait("$")
