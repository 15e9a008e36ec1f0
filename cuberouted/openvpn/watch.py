"""Which way one OpenVPN is watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cuberouted.config import OpenVPNConfig
from cuberouted.model import SupersededSession
from cuberouted.openvpn.condition import OpenVPNStatus
from cuberouted.openvpn.connection import Dialer
from cuberouted.openvpn.outage import OnNews
from cuberouted.openvpn.pace import Pace
from cuberouted.openvpn.status_file import StatusFileWatcher
from cuberouted.openvpn.watcher import Watcher


class Watch(Protocol):
    """One OpenVPN that is being watched."""

    async def run(self) -> None:
        """Tell what its clients hold, for ever."""

    def retime(self, pace: Pace) -> None:
        """Watch at another pace from now on."""

    def superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """These sessions of its are superseded now, and no others."""

    def status(self) -> OpenVPNStatus:
        """A snapshot."""


def watch(
    openvpn: OpenVPNConfig,
    pace: Pace,
    dialer: Dialer,
    wall_clock: Callable[[], float],
    on_news: OnNews,
) -> Watch:
    """The watch that *openvpn* is configured for. *wall_clock* tells Unix seconds."""
    path = openvpn.status_file
    if path is not None:
        return StatusFileWatcher(openvpn, path, pace=pace, wall=wall_clock, on_news=on_news)
    return Watcher(openvpn, pace=pace, dialer=dialer, on_news=on_news)
