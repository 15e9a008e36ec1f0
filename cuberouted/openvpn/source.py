"""Sources of sessions: the two ways to follow an OpenVPN process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cuberouted.config import OpenVPNConfig
from cuberouted.events import Emit
from cuberouted.model import SessionId, SupersededSession
from cuberouted.openvpn.dial import Dialer
from cuberouted.openvpn.disconnects import Disconnected
from cuberouted.openvpn.health import OpenVPNStatus
from cuberouted.openvpn.management_source import ManagementSource
from cuberouted.openvpn.polling import PollIntervals
from cuberouted.openvpn.sessions import Sessions
from cuberouted.openvpn.status_file import StatusFileSource
from cuberouted.openvpn.updates import OnUpdate
from cuberouted.util.histogram import Histogram


class SessionSource(Protocol):
    """Follows one OpenVPN process. ``sessions`` outlive it: a source that takes its place goes on
    with them. ``listing_durations``: seconds, of complete listings.
    """

    sessions: Sessions
    listing_durations: Histogram

    async def run(self) -> None:
        """Pass updates of the sessions on, until cancelled."""

    def reconfigure(self, intervals: PollIntervals) -> None:
        """Use other intervals from now on."""

    def set_superseded(self, sessions: frozenset[SupersededSession]) -> None:
        """These of its sessions are superseded now, and no others."""

    async def disconnect(self, name: bytes) -> Disconnected:
        """End all its sessions of common name *name*, which is not `protocol.UNDEF`.

        Returns within some `management_source.DISCONNECT_TIMEOUT` seconds.
        """

    def send_on(self, session: SessionId) -> bool:
        """Send the client of *session* on to the next server of its list.

        Return whether OpenVPN will be told to. The session stays listed for some five seconds.
        """

    def status(self) -> OpenVPNStatus:
        """A snapshot for `status`."""


def open_source(
    config: OpenVPNConfig,
    sessions: Sessions,
    intervals: PollIntervals,
    dialer: Dialer,
    wall_clock: Callable[[], float],
    on_update: OnUpdate,
    *,
    emit: Emit,
) -> SessionSource:
    """The source that *config* asks for. *wall_clock* returns Unix seconds."""
    path = config.status_file
    if path is not None:
        return StatusFileSource(
            config,
            path,
            sessions,
            intervals=intervals,
            wall_clock=wall_clock,
            on_update=on_update,
            emit=emit,
        )
    return ManagementSource(
        config, sessions, intervals=intervals, dialer=dialer, on_update=on_update, emit=emit
    )
