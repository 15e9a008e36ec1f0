"""A real terminal of tmux(1), with a shell in it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

PROJECT = Path(__file__).parents[4]
TIMEOUT = 20.0
"""Seconds to wait for anything; machines that test are busy."""


@attrs.frozen
class Tmux:
    """A window of a tmux server of its own."""

    directory: Path

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux."""
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", str(self.directory / "tmux"), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=True,
        )
        return done.stdout

    def type(self, *keys: str) -> None:
        """Press *keys*, by the names that tmux has for them."""
        self.tmux("send-keys", *keys)

    def shell(self, command: str) -> None:
        """Type *command* to the shell."""
        self.tmux("send-keys", "-l", command)
        self.type("Enter")

    def watch(self, socket: Path, options: str = "", **environment: str) -> None:
        """Start `cuberouted watch` on *socket*."""
        settings = " ".join(f"{name}={shlex.quote(v)}" for name, v in environment.items())
        self.start(f"{settings} {sys.executable} -m cuberouted --socket {socket} watch {options}")

    def start(self, command: str) -> None:
        """Start *command*, after a look at the terminal's settings."""
        self.shell("stty -a >before")
        self.shell(command)

    def screen(self, *options: str) -> str:
        """What is shown."""
        return self.tmux("capture-pane", "-p", *options)

    def wait(self, *texts: str, absent: str = "\0") -> str:
        """Wait until all *texts* are shown, and *absent* is not. Return what is shown."""

        def shown() -> str:
            screen = self.screen()
            return screen if all(t in screen for t in texts) and absent not in screen else ""

        return self.until(shown, f"{texts}")

    def until(self, condition: Callable[[], str], what: str) -> str:
        """Wait for *condition*, and return what it returns."""
        deadline = time.monotonic() + TIMEOUT
        while not (found := condition()):
            assert time.monotonic() < deadline, f"no {what} on:\n{self.screen()}"
            time.sleep(0.02)
        return found

    def assert_restored(self, status: int) -> None:
        """The program ends, or has stopped, with *status*, and the terminal is as it was."""
        self.until(lambda: "yes" if self._is_normal() else "", "normal screen")
        # a new line each: a program that is ended by Ctrl-C ends the shell's line as well
        self.shell("echo ended $?; stty -a >after; touch done")
        self.wait(f"ended {status}\n")
        done = self.directory / "done"
        self.until(lambda: "yes" if done.exists() else "", "end")
        done.unlink()
        before, after = ((self.directory / name).read_text() for name in ("before", "after"))
        assert before == after

    def _is_normal(self) -> bool:
        return self.tmux("display", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]


@contextmanager
def terminal(width: int, height: int) -> Iterator[Tmux]:
    """A terminal of that size, with a shell whose prompt is "$ "."""
    with tempfile.TemporaryDirectory() as directory:
        found = Tmux(Path(directory))
        without = "env -u NO_COLOR -u COLUMNS -u LINES TERM=screen-256color LC_ALL=C.UTF-8"
        settings = f"PYTHONPATH={shlex.quote(str(PROJECT))} PS1='$ ' HISTFILE="
        shell = f"{without} {settings} bash --norc --noprofile -i"
        size = ("-x", str(width), "-y", str(height))
        found.tmux("new-session", "-d", *size, "-c", directory, shell)
        try:
            found.wait("$")
            yield found
        finally:
            found.tmux("kill-server")
