"""Which OpenVPN processes do not have to run on this node, because their service is not here.

The key ``service`` in an ``[openvpn NAME]`` section names the service. This is the only place that
decides; everything that reports the state of OpenVPN asks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuberouted.config import OpenVPNConfig
from cuberouted.daemon.local_service import LocalService
from cuberouted.model import Prefix
from cuberouted.openvpn.health import OpenVPNState
from cuberouted.service_claim import ServicePhase

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

_RUNS = frozenset({ServicePhase.HOLDING, ServicePhase.ADOPTED, ServicePhase.LAST_RESORT})
"""Phases in which OpenVPN has to run: `on_acquire` has started it, `on_release` has not stopped
it."""

_ABSENT = frozenset({OpenVPNState.WAITING, OpenVPNState.CONNECTING})
"""States of an OpenVPN that does not run."""


def why_standby(daemon: Daemon, config: OpenVPNConfig) -> str:
    """Why OpenVPN *config* does not run here and does not have to; empty if it runs, or has to."""
    if not config.service:
        return ""
    service = next((s for s in daemon.services.local if s.config.name == config.service), None)
    if service is None or service.claim is None or service.claim.phase in _RUNS:
        return ""
    openvpn = daemon.openvpns.get(config.name)
    if openvpn is not None and openvpn.source.status().state not in _ABSENT:
        return ""
    return _where(daemon, service)


def missing_interfaces(daemon: Daemon) -> list[str]:
    """The configured interfaces that should be there and are not."""
    standby = {o.data_interface for o in daemon.config.openvpns if why_standby(daemon, o)}
    return [name for name in daemon.node.host.missing if name not in standby]


def _where(daemon: Daemon, service: LocalService) -> str:
    """Where *service* is, in a clause."""
    name = f"service {service.config.name}"
    best = next(iter(daemon.node.rib.services(Prefix.host(service.config.address))), None)
    claim = None if best is None else best.advertisement.service
    if best is None or claim is None or not claim.phase.has_address:
        return f"no node has {name}"
    return f"{name} is being given up here" if best.is_local else f"{name} is at {best.node}"
