"""Tells systemd how we are: READY, STATUS, WATCHDOG (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import attrs


@attrs.frozen
class Notifier:
    """Where systemd listens; without it every method does nothing."""

    address: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As systemd has set NOTIFY_SOCKET for us."""
        return cls(environment.get("NOTIFY_SOCKET") or None)

    def ready(self) -> None:
        """The start, or a reload, is done."""
        self._send("READY=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, what: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto(what.encode(), address)
            except OSError:
                # systemd is not reading; the next word will do, and the watchdog is its own alarm
                return
