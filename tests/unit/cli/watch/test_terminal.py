"""`cuberouted watch` in a real terminal, on the control socket of a fake daemon."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from cuberouted.api.report_why import Why
from cuberouted.events import ClientMoved, EventsLost
from tests.fakes.daemon_api import FakeDaemon
from tests.unit.cli.watch.samples import AWAY, ILL, SERVICES, STATUS, client_row
from tests.unit.cli.watch.tmux import terminal

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

SIZES = {"80x24": (80, 24), "200x50": (200, 50)}


def moved(number: int = 1, to: str = "vpnsrvC") -> ClientMoved:
    row = client_row(number)
    return ClientMoved(
        address=row.address, client=row.name, from_node=row.node, to_node=to, routed_after=0.0019
    )


@pytest.fixture
def daemon(tmp_path):
    return FakeDaemon(tmp_path / "s", STATUS, [client_row(number) for number in range(412)])


@pytest.fixture(params=SIZES)
def screen(request):
    with terminal(*SIZES[request.param]) as found:
        yield found


@pytest.fixture
def small():
    with terminal(80, 24) as found:
        yield found


def pid_of(daemon: FakeDaemon) -> int:
    """The process that watches *daemon*."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[1:3] == [b"-m", b"cuberouted"] and os.fsencode(daemon.socket) in command:
            return int(directory.name)
    raise AssertionError("nobody watches")


def test_a_roaming_client_is_shown_and_q_leaves_no_trace(daemon, screen):
    with daemon.running():
        screen.watch(daemon.socket)
        screen.wait("vpnsrvA  all is well", "412 clients", "3 of 3 nodes up", "10.100.100.2 ")
        daemon.emit(moved())
        shown = screen.wait(
            "host1 (10.100.100.2) moved vpnsrvB -> vpnsrvC, routed after 1.9 ms",
            "moved from vpnsrvB",
        )
        assert len(shown.splitlines()[0]) == screen_width(screen) - 1
        daemon.status = ILL
        screen.wait("2 problems", "down", "nothing received for 3.0 s", "a foreign route carries")
        screen.wait("10.100.100.2 ", absent="moved from")  # some seconds later
        screen.type("q")
        screen.assert_restored(0)


def test_services_and_a_node_that_is_drained(daemon, screen):
    with daemon.running():
        screen.watch(daemon.socket)
        screen.wait("3 of 3 nodes up", absent="services")
        daemon.status, daemon.services = AWAY, SERVICES
        screen.wait("services", "at vpnsrvB, vpnsrvA standby", "nobody has it", "draining")
        screen.type("q")
        screen.assert_restored(0)


def screen_width(terminal):
    return int(terminal.tmux("display", "-p", "#{pane_width}"))


def test_keys(daemon, small):
    daemon.why = {
        "10.100.100.14": Why("10.100.100.14", "vpnsrvA", True, "it is reached through tun1")
    }
    with daemon.running():
        small.watch(daemon.socket)
        small.wait("412 clients")
        small.type("/", *"host13")
        small.wait("11 of 412 (filter: host13)", "filter: host13")
        small.type("Down", "Up", "Enter")
        small.wait("q quit", "host13 ")
        small.type("Enter")
        small.wait("why 10.100.100.14", "  it is reached through tun1")
        small.type("Escape")
        small.wait("11 of 412")
        small.type("j", "Enter")
        small.wait("nothing is known of 10.100.100.131")
        small.type("q")
        small.wait("11 of 412")
        small.type("Escape")
        small.wait("clients  412, by address", absent="filter:")
        small.type("p")
        small.wait("frozen; 0 events since")
        daemon.emit(moved(), moved(2, "vpnsrvA"))
        small.wait("frozen; 2 events since", absent="moved vpnsrvB")
        small.type(" ")
        small.wait("moved vpnsrvB -> vpnsrvC", "moved vpnsrvC -> vpnsrvA")
        small.type("?")
        small.wait("this help")
        small.type("x", "q")
        small.assert_restored(0)


def test_the_screen_follows_the_size_of_the_terminal(daemon, small):
    with daemon.running():
        small.watch(daemon.socket)
        small.wait("412 clients")
        for width, height in ((200, 50), (60, 15), (20, 5), (80, 24)):
            small.tmux("resize-window", "-x", str(width), "-y", str(height))

            def fits(width=width, height=height):
                lines = small.screen().splitlines()
                size = len(lines[0]) == width - 1, len(lines) == height
                return "yes" if all(size) and "q quit" in lines[-1] else ""

            small.until(fits, f"screen of {width}x{height}")
        small.type("q")
        small.assert_restored(0)


def test_ctrl_z_gives_the_terminal_back_until_it_is_continued(daemon, small):
    with daemon.running():
        small.watch(daemon.socket)
        small.wait("412 clients")
        for key in ("/", "C-z"):  # also while the filter is typed
            small.type(key)
        small.wait("Stopped", absent="nodes ──")
        small.assert_restored(148)
        daemon.emit(moved())
        small.shell("bg; sleep 0.2; jobs; clear")
        small.wait("$", absent="Stopped")
        small.shell("fg")
        small.wait("412 clients", "moved vpnsrvB -> vpnsrvC", "filter:")
        small.type("Escape", "q")
        small.assert_restored(0)


@pytest.mark.parametrize(
    ("number", "keys"), [(signal.SIGINT, ["/", "C-c"]), (signal.SIGTERM, []), (signal.SIGQUIT, [])]
)
def test_a_signal_ends_it_and_leaves_no_trace(daemon, small, number, keys):
    with daemon.running():
        small.watch(daemon.socket)
        small.wait("412 clients")
        if keys:
            small.type(*keys)
        else:
            os.kill(pid_of(daemon), number)
        small.assert_restored(128 + number)


def test_a_crash_leaves_no_trace_but_its_traceback(daemon, small):
    crashing = (
        "from cuberouted.cli.watch.mesh import Mesh; from cuberouted.cli.main import main;"
        f" Mesh.receive = None; main(['--socket', '{daemon.socket}', 'watch'])"
    )
    with daemon.running():
        small.start(f"{sys.executable} -c {shlex.quote(crashing)}")
        small.wait("412 clients")
        daemon.emit(moved())
        small.wait("TypeError: 'NoneType' object is not callable")
        small.assert_restored(1)


def test_a_closed_terminal_ends_it(daemon, small):
    with daemon.running():
        small.watch(daemon.socket)
        small.wait("412 clients")
        watching = Path(f"/proc/{pid_of(daemon)}")
        small.tmux("new-window", "cat")
        small.tmux("kill-window", "-t", ":0")
        small.until(lambda: "" if watching.exists() else "gone", "end")


def test_a_daemon_that_stops_is_waited_for(daemon, small):
    small.watch(daemon.socket)
    small.wait("cuberouted is not running; trying again")
    with daemon.running():
        small.wait("vpnsrvA  all is well", "412 clients")
    small.wait("vpnsrvA  cuberouted is not running", "412 clients")
    daemon.clients = daemon.clients[:5]
    with daemon.running():
        small.wait("vpnsrvA  all is well", "5 clients")
        small.type("q")
        small.assert_restored(0)


def test_after_lost_events_there_is_a_new_snapshot(daemon, small):
    with daemon.running():
        small.watch(daemon.socket)
        small.wait("412 clients")
        daemon.clients = [msgspec.structs.replace(row, name="other") for row in daemon.clients]
        daemon.emit(EventsLost(count=1000))
        small.wait("1000 events lost", "10.100.100.10  other", absent="host1")
        small.type("q")
        small.assert_restored(0)


def test_a_terminal_that_knows_neither_utf_8_nor_colours(daemon, small):
    daemon.clients[0] = msgspec.structs.replace(daemon.clients[0], name="jürg")
    with daemon.running():
        small.watch(daemon.socket, PYTHONIOENCODING="ascii", NO_COLOR="1")
        small.wait("-- nodes -----", "j\\xfcrg", "412 clients")
        daemon.emit(moved())
        small.wait("moved from vpnsrvB")
        attributes = {part.split("m")[0] for part in small.screen("-e").split("\x1b[")[1:]}
        # bold, dim, reverse; 39 and 49 are the terminal's own colours
        assert {n for a in attributes for n in a.split(";")} <= {"0", "1", "2", "7", "39", "49"}
        small.type("q")
        small.assert_restored(0)


def test_where_it_is_no_terminal_events_are_printed(daemon, small):
    with daemon.running():
        small.watch(daemon.socket, "| tee lines")
        lines = small.directory / "lines"
        small.until(lambda: "yes" if lines.exists() else "", "start")

        def printed():
            daemon.emit(moved())
            return lines.read_text()

        found = small.until(printed, "line")
        time, _, text = found.splitlines()[0].partition("  ")
        assert text == "host1 (10.100.100.2) moved vpnsrvB -> vpnsrvC, routed after 1.9 ms"
        assert len(time) == len("2026-11-27 09:18:46.123")
