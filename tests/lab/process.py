"""A program that runs on a host of the lab until it is ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab.waiting import wait_for


class EndedError(Exception):
    """A program has ended unexpectedly; with the end of its log."""


class Process:
    """A started program; what it writes is in ``log``, a file inside its host's namespace."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us alone, and we end it in order
            )

    @property
    def pid(self) -> int:
        """Its process id, the same inside and outside the namespace."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """All that it has written."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode(errors="backslashreplace")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Its exit status (negative: the signal that ended it), once it has ended.

        Raises:
          AssertionError: it is still running after *timeout* seconds.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {timeout:g} s; end of its log:\n{self.log[-2000:]}"
            ) from None

    def end(self, number: signal.Signals = signal.SIGTERM, timeout: float = 15.0) -> int:
        """Sends a signal and waits: its exit status."""
        self.send(number)
        return self.wait(timeout)

    def wait_log(self, text: str, times: int = 1, timeout: float = 10.0) -> None:
        """Waits until its log holds *text* (*times* times).

        Raises:
          AssertionError: it did not.
          EndedError: it ended first.
        """

        def look() -> bool:
            return self.log.count(text) >= times

        self.wait_for(f"to log {text!r}", look, timeout)

    def wait_for(self, what: str, look: Callable[[], bool], timeout: float = 10.0) -> None:
        """Waits until *look* is true, but not longer than it runs.

        Raises:
          AssertionError: it runs, but *look* did not become true.
          EndedError: it ended first.
        """

        def look_while_running() -> bool:
            ended = not self.running  # checked first: its last output may make *look* true
            done = look()
            if ended and not done:
                raise EndedError(f"{self.name} has ended; the end of its log:\n{self.log[-2000:]}")
            return done

        wait_for(f"{self.name} {what}", look_while_running, timeout)
