"""cuberouted on a host of the lab."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import Any

from tests.lab.host import Host
from tests.lab.process import Process

COMMAND = (sys.executable, "-m", "cuberouted")
CONFIG = "/run/cuberouted.conf"
NOTIFY = "/run/notify"


class Daemon:
    """The daemon of one host; it can be started again after it has ended.

    Its sd_notify messages are received here in place of systemd; `ready` waits for READY=1.
    """

    argv: tuple[str, ...] = (*COMMAND, CONFIG)

    def __init__(self, host: Host) -> None:
        self.host = host
        self._process: Process | None = None
        self._notified: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(host.path(NOTIFY)))

    def configure(self, text: str) -> None:
        """Writes its configuration."""
        self.host.write(CONFIG, text)

    def start(self) -> None:
        """Starts it, without waiting."""
        self._drain()
        self._notified.clear()
        env = {"NOTIFY_SOCKET": NOTIFY}
        self._process = self.host.start("cuberouted", *self.argv, env=env)

    def ready(self) -> None:
        """Waits for READY=1.

        Raises:
          AssertionError: it did not.
          EndedError: it ended first.
        """

        def look() -> bool:
            self._drain()
            return "READY=1" in self._notified

        self.process.wait_for("to notify that it is ready", look)

    def run(self, text: str) -> None:
        """Configures it, starts it and waits until it is ready."""
        self.configure(text)
        self.start()
        self.ready()

    @property
    def process(self) -> Process:
        """The running process, or the last that ran."""
        assert self._process, f"{self.host.name}: cuberouted was never started"
        return self._process

    @property
    def running(self) -> bool:
        """Whether it has been started, and has not ended."""
        return self._process is not None and self._process.running

    def stop(self) -> int:
        """Ends it by SIGTERM: its exit status."""
        return self.process.end(signal.SIGTERM)

    def crash(self) -> None:
        """Ends it by SIGKILL."""
        self.process.end(signal.SIGKILL)

    def reload(self, text: str) -> None:
        """Writes another configuration and sends SIGHUP, without waiting."""
        self.configure(text)
        self.process.send(signal.SIGHUP)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command such as ``status``, whatever its exit status."""
        return self.host.try_run(*COMMAND, "-c", CONFIG, *arguments)

    def ask(self, command: str) -> dict[str, Any]:
        """The JSON output of ``status``, ``clients`` or ``dump-routes``."""
        done = self.command(command, "--json")
        assert done.stdout, f"{self.host.name}: {command}: {done.returncode}: {done.stderr}"
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def close(self) -> None:
        """Closes the notify socket."""
        self._socket.close()

    def _drain(self) -> None:
        while True:
            try:
                self._notified += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return
