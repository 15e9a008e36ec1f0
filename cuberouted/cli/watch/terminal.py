"""The terminal of the live view: taken, drawn on, and given back as it was."""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

READ = 1024
"""Bytes of the keyboard that are read at once."""

_LFLAG, _CC = 3, 6  # places in what termios.tcgetattr returns


class LiveTerminal:
    """Standard input and output, if both are a terminal.

    While it is taken, keys are not echoed, and arrive one by one (cbreak mode: Ctrl-C and Ctrl-Z
    are signals all the same), and the alternate screen is shown, without a cursor.
    """

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        self._input = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._input)
        self._live: Live | None = None

    @classmethod
    def is_usable(cls) -> bool:
        """Whether standard input and output are a terminal that can do more than print lines."""
        return (
            sys.stdin is not None
            and sys.stdin.isatty()
            and sys.stdout.isatty()
            and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
        )

    @property
    def encoding(self) -> str:
        """What the terminal shows."""
        return self.console.encoding

    @property
    def input(self) -> int:
        """The file descriptor of the keyboard."""
        return self._input

    def size(self) -> tuple[int, int]:
        """Columns and lines, now. Raises OSError: the terminal is gone."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or 24  # 0 on some serial lines

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the terminal, and give it back at the end, whatever happens."""
        try:
            self.take()
            yield
        finally:
            self.give_back()

    def take(self) -> None:
        """Take the terminal, also if it is taken, but its state may have changed."""
        attributes = list(self._before)
        attributes[_LFLAG] &= ~(termios.ECHO | termios.ICANON)
        attributes[_CC] = list(attributes[_CC])
        attributes[_CC][termios.VMIN], attributes[_CC][termios.VTIME] = 1, 0
        self._set(attributes)
        self._stop()
        self._live = Live(
            console=self.console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def give_back(self) -> None:
        """Show what was there before, with its settings."""
        with suppress(OSError):  # the terminal is gone
            self._stop()
        with suppress(termios.error):
            self._set(self._before)

    def suspend(self) -> None:
        """Stop this process, as Ctrl-Z does. Returns when it is continued."""
        self.give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # not SIGSTOP: without a shell that could continue us, SIGTSTP does nothing (POSIX:
        # orphaned process group)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self.take()

    def draw(self, lines: Sequence[Text]) -> None:
        """Show *lines*. Raises OSError: the terminal is gone."""
        if self._live is None:
            return
        self.console.size = self.size()
        text = Text("\n", no_wrap=True, overflow="crop", end="").join(lines)
        text.no_wrap, text.overflow = True, "crop"
        self._live.update(text, refresh=True)

    def read(self) -> bytes:
        """What has been typed. Empty or OSError: the terminal is gone."""
        return os.read(self._input, READ)

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _set(self, attributes: list[Any]) -> None:
        # in the background, the kernel stops us here (SIGTTOU) until we are in the foreground
        while not self._try_to_set(attributes):
            pass

    def _try_to_set(self, attributes: list[Any]) -> bool:
        try:
            termios.tcsetattr(self._input, termios.TCSADRAIN, attributes)
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise
            return False
        return True
