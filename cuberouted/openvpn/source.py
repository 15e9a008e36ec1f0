"""Which way one OpenVPN is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cuberouted.config import OpenVPNConfig
from cuberouted.model import SupersededSession
from cuberouted.openvpn.dial import Dialer
from cuberouted.openvpn.health import OpenVPNStatus
from cuberouted.openvpn.hold import OnUpdate
from cuberouted.openvpn.management_source import ManagementSource
from cuberouted.openvpn.polling import PollIntervals
from cuberouted.openvpn.status_file import StatusFileSource


class SessionSource(Protocol):
    """One OpenVPN that is being watched."""

    async def run(self) -> None:
        """Tell what its clients hold, for ever."""

    def reconfigure(self, pace: PollIntervals) -> None:
        """Watch at another pace from now on."""

    def superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """These sessions of its are superseded now, and no others."""

    def status(self) -> OpenVPNStatus:
        """A snapshot."""


def open_source(
    openvpn: OpenVPNConfig,
    pace: PollIntervals,
    dialer: Dialer,
    wall_clock: Callable[[], float],
    on_news: OnUpdate,
) -> SessionSource:
    """The watch that *openvpn* is configured for. *wall_clock* tells Unix seconds."""
    path = openvpn.status_file
    if path is not None:
        return StatusFileSource(openvpn, path, pace=pace, wall=wall_clock, on_news=on_news)
    return ManagementSource(openvpn, pace=pace, dialer=dialer, on_news=on_news)
