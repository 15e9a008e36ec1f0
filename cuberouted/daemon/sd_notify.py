"""Notifies systemd of the daemon's state (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import attrs


@attrs.frozen
class Notifier:
    """``address``: systemd's notification socket. If it is None, every method does nothing."""

    address: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """The notifier for the NOTIFY_SOCKET in *environment*."""
        return cls(environment.get("NOTIFY_SOCKET") or None)

    def ready(self) -> None:
        """The start, or a reload, is finished."""
        self._send("READY=1")

    def reloading(self, microseconds: int) -> None:
        """A reload begins, at *microseconds* of CLOCK_MONOTONIC. `ready` ends it.

        Type=notify-reload needs both; Type=notify ignores this.
        """
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def watchdog(self) -> None:
        """The event loop is alive."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the line in `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The daemon is stopping."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(message.encode(), address)
        except OSError:
            # systemd does not read now, or there is no file descriptor; if that lasts, its
            # watchdog notices
            return
