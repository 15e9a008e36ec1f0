"""Long listings on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from cuberouted.api.report import ClientRow
from cuberouted.cli.pager import LESS, needs_pager, pager
from cuberouted.cli.terminal import Terminal
from tests.unit.cli.test_cli import CLIENTS, Place, place

__all__ = ["place"]  # a fixture

PROJECT = Path(__file__).parents[3]
TIMEOUT = 30.0

less = pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")


class Screen:
    """A program on a pseudo-terminal of 80x24; ``text``: what it has printed."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._fd, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        unset = {"NO_COLOR", "COLUMNS", "LINES", "PAGER", "LESS", "LC_ALL"}
        inherited = {key: value for key, value in os.environ.items() if key not in unset}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=inherited | {"TERM": "xterm", "LANG": "C.UTF-8"} | environment,
            cwd=PROJECT,
        )
        os.close(terminal)
        self.text = ""

    def wait_for(self, text: str) -> None:
        """Wait until *text* has been printed."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.text!r}"
            assert select.select([self._fd], [], [], left)[0], self.text
            assert self._read(), self.text

    def type(self, keys: bytes) -> None:
        """Press *keys*."""
        os.write(self._fd, keys)

    def leave(self, key: bytes) -> int:
        """Press *key* until the program ends: its exit status.

        Less handles an interrupt that comes between its prompt and its read at the next key.
        """
        while self.process.poll() is None:
            self.type(key)
            if select.select([self._fd], [], [], 0.5)[0]:
                self._read()
        return self.end()

    def end(self) -> int:
        """Read until the end: the exit status."""
        while self._read():
            pass
        os.close(self._fd)
        return self.process.wait(TIMEOUT)

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: the last process has closed the terminal
            data = b""
        self.text += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def many(place, monkeypatch):
    """A daemon with more clients than a screen has lines."""
    rows = [
        ClientRow(f"10.9.0.{n}", "B", f"host{n}", "client", "2026-11-21T12:00:00Z", n == 1)
        for n in range(1, 101)
    ]
    monkeypatch.setattr(CLIENTS, "clients", rows)
    with place.daemon():
        yield place


def listing(at: Place, *arguments: str, **environment: str) -> Screen:
    command = [sys.executable, "-m", "cuberouted", "-c", str(at.config), *arguments]
    return Screen(*command, **environment)


@less
@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_long_listing_is_shown_page_by_page_and_left_quietly(many, key):
    screen = listing(many, "clients")
    screen.wait_for("host20")
    screen.wait_for("lines 1-23")  # less' prompt
    assert screen.leave(key) == 0
    assert "\x1b[1m10.9.0.1\x1b[0m" in screen.text  # colours are kept
    assert "host100" not in screen.text
    assert "Traceback" not in screen.text
    assert "Abort" not in screen.text


@less
def test_the_end_can_be_reached(many):
    screen = listing(many, "clients")
    screen.wait_for("lines 1-23")
    screen.type(b"G")
    screen.wait_for("host100")
    assert screen.leave(b"q") == 0


def test_pager_is_run_by_the_shell(many):
    screen = listing(many, "clients", PAGER="sed s/host7./HOST/ | tac")
    assert screen.end() == 0
    assert "HOST" in screen.text
    assert screen.text.index("host99") < screen.text.index("host11")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["clients", "--no-pager"], {}),
        (["clients", "--json"], {}),
        (["clients"], {"LINES": "200"}),
        (["clients"], {"TERM": "dumb"}),
        (["status"], {"LINES": "5"}),
    ],
    ids=["--no-pager", "--json", "a high screen", "a dumb terminal", "status"],
)
def test_no_pager(many, arguments, environment):
    screen = listing(many, *arguments, PAGER="false", **environment)
    assert screen.end() == 0
    assert screen.text.count("\n") >= 7


def test_a_pager_that_does_not_exist_is_no_obstacle(many):
    screen = listing(many, "clients", PAGER="/nosuch/pager")
    assert screen.end() == 0
    assert "host100" in screen.text


def test_less_gives_nobody_a_shell(many):
    screen = listing(many, "clients", PAGER="env | grep ^LESS", LESSSECURE="0")
    assert screen.end() == 0
    shown = dict(line.split("=") for line in screen.text.split())
    assert shown == {"LESS": LESS, "LESSSECURE": "1", "LESSCHARSET": "utf-8"}


def test_which_pager():
    assert pager({"PAGER": "more -s"}) == "more -s"
    assert pager({"PAGER": "cat"}) == pager({"PAGER": ""}) == ""
    assert pager({}) == ("less" if shutil.which("less") else "")


def test_the_prompt_of_the_shell_needs_a_line_too(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert not needs_pager(["x"] * 23, Terminal(80, 24))
    assert needs_pager(["x"] * 24, Terminal(80, 24))
    assert not needs_pager(["x"] * 99, Terminal())
