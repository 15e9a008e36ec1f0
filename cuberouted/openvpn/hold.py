"""Keeps the sessions of an OpenVPN process that has gone for the hold time. Pure."""

from __future__ import annotations

from math import inf

from cuberouted.openvpn.sessions import Sessions, SessionUpdate


class SessionHold:
    """The hold timer of *sessions*. ``hold_time`` is in seconds, and may be changed."""

    def __init__(self, sessions: Sessions, hold_time: float) -> None:
        self.hold_time = hold_time
        self._sessions = sessions
        self._deadline = inf

    @property
    def deadline(self) -> float:
        """When the sessions are withdrawn; ``inf`` while OpenVPN serves clients."""
        return self._deadline

    def start(self, now: float) -> None:
        """OpenVPN serves no clients from *now* on, if it did before."""
        self._deadline = min(self._deadline, now + self.hold_time)

    def stop(self) -> None:
        """A complete listing has come."""
        self._deadline = inf

    def timer(self, now: float) -> SessionUpdate | None:
        """Withdraw everything if the hold time is over. None: nothing to withdraw."""
        if now < self._deadline:
            return None
        self._deadline = inf
        return self._sessions.withdraw_all()
