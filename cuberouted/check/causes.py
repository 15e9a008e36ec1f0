"""Which findings are only the consequence of another one. Pure.

Who reads that an interface is missing need not read as well that its peer is down.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from cuberouted.check.finding import Finding, Level

EXPLAINS: Final = MappingProxyType(
    {
        "openvpn-absent": frozenset(
            {
                "interface-missing",
                "networks-unknown",
                "openvpn-not-connected",
                "openvpn-config-unread",
                "daemon-reports",
            }
        ),
        "interface-missing": frozenset(
            {
                "networks-unknown",
                "peer-off-link",
                "peer-not-up",
                "peer-port",
                "tunnel-mtu-small",
                "networkd-manages-tunnel",
                "daemon-reports",
                "openvpn-not-connected",
            }
        ),
        "openvpn-unusable": frozenset({"openvpn-not-connected"}),
        "password-unreadable": frozenset({"openvpn-not-connected"}),
        "daemon-unreachable": frozenset({"management-taken"}),  # maybe by the daemon
        "management-taken": frozenset({"openvpn-not-connected"}),
        "client-auth-foreign": frozenset({"openvpn-not-connected"}),
        "dco-ghosts": frozenset({"daemon-reports"}),
        "tunnel-mtu-small": frozenset({"peer-packets"}),
        "tunnel-shared": frozenset({"peer-not-up", "daemon-reports", "peer-port"}),
        "peer-is-self": frozenset({"peer-not-up", "peer-port", "peer-keys"}),
        "peer-off-link": frozenset({"peer-not-up", "peer-port"}),
        **{
            id_: frozenset({"peer-not-up", "daemon-reports"})
            for id_ in ("peer-port", "peer-keys", "peer-version", "peer-way-back", "peer-packets")
        },
    }
)
"""Ids of findings that a finding explains, where both are about the same thing."""


def without_consequences(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that no other one explains.

    None is explained by a milder one, so what is left is as bad as the whole.
    """
    bad = [finding for finding in findings if finding.level is not Level.OK]
    return [f for f in findings if f.level is Level.OK or not any(_explains(c, f) for c in bad)]


def _explains(cause: Finding, consequence: Finding) -> bool:
    return (
        consequence.id in EXPLAINS.get(cause.id, ())
        and not cause.about.isdisjoint(consequence.about)
        and cause.level.severity >= consequence.level.severity
    )
