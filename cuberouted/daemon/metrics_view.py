"""What a metric is, and what it is read from. Every metric is in one of the tables of `metrics`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

import attrs
import trio

from cuberouted.daemon.daemon import Daemon, OpenVPN, Peer
from cuberouted.openvpn.health import OpenVPNStatus
from cuberouted.peering.events import PeerCounters, PeerStatus
from cuberouted.util.histogram import Histogram


class MetricType(enum.StrEnum):
    """As Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


COUNTER, GAUGE, HISTOGRAM = MetricType


@attrs.frozen
class PeerView:
    """A peer at the time of the scrape. ``label``: the name of its series, which `status` shows."""

    label: str
    peer: Peer
    status: PeerStatus
    counters: PeerCounters


@attrs.frozen
class OpenVPNView:
    """An OpenVPN process at the time of the scrape. ``label``: the name of its series."""

    label: str
    openvpn: OpenVPN
    status: OpenVPNStatus


@attrs.frozen
class View:
    """A daemon at the time of the scrape. ``unix_now``, ``now``: Unix and monotonic seconds."""

    daemon: Daemon
    unix_now: float
    now: float
    peers: tuple[PeerView, ...]
    openvpns: tuple[OpenVPNView, ...]

    @classmethod
    def of(cls, daemon: Daemon) -> View:
        """*daemon* now."""
        return cls(
            daemon,
            daemon.environment.wall_clock(),
            trio.current_time(),
            tuple(_peer_view(peer) for peer in daemon.peers.values()),
            tuple(_openvpn_view(openvpn) for openvpn in daemon.openvpns.values()),
        )

    def unix(self, at: float | None) -> float:
        """Unix seconds of the monotonic time *at*; 0 for None, which means never."""
        return 0.0 if at is None else round(self.unix_now - (self.now - at), 3)


def _peer_view(peer: Peer) -> PeerView:
    config, session = peer.config, peer.session
    # what it announces counts only once it was accepted
    label = config.name or session.last_accepted_name or config.label
    return PeerView(label, peer, session.status(), session.counters())


def _openvpn_view(openvpn: OpenVPN) -> OpenVPNView:
    status = openvpn.source.status()
    return OpenVPNView(status.name, openvpn, status)


Series = Iterable[tuple[tuple[str, ...], float | Histogram]]
"""The values of the labels of one series, and its value."""


@attrs.frozen
class Metric:
    """One metric. ``read`` returns its series; the counter ones are there from the start, with 0.

    ``name`` has its unit, and ``_total`` if it is a counter. No label has a value that a client
    could choose.
    """

    name: str
    type: MetricType
    labels: tuple[str, ...]
    meaning: str
    read: Callable[[View], Series]


def node_metric(
    name: str, type_: MetricType, meaning: str, read: Callable[[View], float | Histogram]
) -> Metric:
    """A metric with one series."""
    return Metric(name, type_, (), meaning, lambda view: [((), read(view))])


def peer_metric(
    name: str, type_: MetricType, meaning: str, read: Callable[[View, PeerView], float]
) -> Metric:
    """A metric with one series a peer."""

    def series(view: View) -> Series:
        return [((peer.label,), read(view, peer)) for peer in view.peers]

    return Metric(name, type_, ("peer",), meaning, series)


def openvpn_metric(
    name: str,
    type_: MetricType,
    meaning: str,
    read: Callable[[View, OpenVPNView], float | Histogram | None],
) -> Metric:
    """A metric with one series an OpenVPN process, where its value is known."""

    def series(view: View) -> Series:
        values = ((openvpn.label, read(view, openvpn)) for openvpn in view.openvpns)
        return [((label,), value) for label, value in values if value is not None]

    return Metric(name, type_, ("openvpn",), meaning, series)
