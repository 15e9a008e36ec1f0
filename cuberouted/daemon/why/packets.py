"""What happens to packets, by the kernel's answer; where it is wrong, because of what. Pure."""

from __future__ import annotations

import errno

from cuberouted.daemon.why.case import Case
from cuberouted.daemon.why.facts import KernelFacts, Probe
from cuberouted.routing.conflict_text import cure, describe_route
from cuberouted.routing.conflicts import Conflict
from cuberouted.routing.types import (
    RTN_BLACKHOLE,
    RTN_PROHIBIT,
    RTN_UNREACHABLE,
    ForeignRoute,
    Rule,
)

_ERRORS = {
    errno.ENETUNREACH: "have no route",
    errno.EHOSTUNREACH: "are rejected as unreachable",
    errno.EACCES: "are rejected as prohibited",
    errno.EINVAL: "are dropped",
    errno.EXDEV: "are dropped by reverse path filtering (rp_filter)",
}
"""What happens to packets when a lookup fails with this error."""

_TYPES = {
    errno.EINVAL: RTN_BLACKHOLE,
    errno.EHOSTUNREACH: RTN_UNREACHABLE,
    errno.EACCES: RTN_PROHIBIT,
}
_ACTIONS = {
    errno.EINVAL: "blackhole",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "prohibit",
}
"""Of a rule. One that says unreachable is not told apart from no route at all."""

REGULAR_PRIORITIES = frozenset({0, 32766, 32767})
"""Rules that every Linux host has."""


def failure(error: int) -> str:
    """What happens to packets when a lookup fails with *error*."""
    return _ERRORS.get(error, f"get error {error}")


def outcome(probe: Probe, kernel: KernelFacts) -> str:
    """What happens to the packets of *probe*."""
    route = probe.result.route
    if route is None:
        return failure(probe.result.errno)
    return f"follow {describe_route(route, kernel.devices)}"


def explain_wrong(case: Case, probe: Probe) -> tuple[str, str]:
    """What happens to packets of *probe*, which do not go where they should, and what to do."""
    route = probe.result.route or _rejecting(case, probe)
    rule = _rule_of(case, probe, route)
    happens = outcome(probe, case.kernel)
    if rule is not None:
        what = f"rule {rule.priority} ({rule.text or f'table {rule.table}'})"
        advice = (
            f"remove rule {rule.priority} where it was configured, or by"
            f" `ip{' -6' if len(case.kernel.prefix.address) == 16 else ''} rule del priority"
            f" {rule.priority}`"
        )
        return f"{happens}, because of {what}", advice
    if route is None:
        return happens, _repair(case, probe)
    if case.is_ours(route):
        return f"{happens}, an older route of ours", "`cuberouted status` shows what is wrong"
    if probe.result.route is None:
        happens = f"{happens} by {describe_route(route, case.kernel.devices)}"
    claimed = case.best.advertisement.prefix
    wider = (
        case.best.leads_here
        and route.prefix != claimed
        and not any(
            other.device in case.kernel.data_devices and other.prefix.contains(claimed)
            for other in case.kernel.foreign
        )
    )
    kernel = case.kernel
    advice = cure(
        Conflict(route, case.best, 1, wider), kernel.devices, kernel.data_devices, kernel.table
    )
    return happens, advice


def _rejecting(case: Case, probe: Probe) -> ForeignRoute | None:
    """The foreign route that rejects or drops, which a failed lookup does not name."""
    wanted = _TYPES.get(probe.result.errno)
    return next((route for route in case.kernel.foreign if route.type == wanted), None)


def _rule_of(case: Case, probe: Probe, route: ForeignRoute | None) -> Rule | None:
    """The rule for some packets only that led there instead of on to our table."""
    rules = case.kernel.rules
    if route is None:
        action = _ACTIONS.get(probe.result.errno)
        return next((r for r in rules if action and r.text.endswith(action)), None)
    for rule in rules:
        if rule.table == route.table and not case.is_ours(route):
            return rule if rule.conditional else None
    return None


def _repair(case: Case, probe: Probe) -> str:
    device = case.kernel.name(probe.device) if probe.device else None
    if probe.result.errno == errno.EXDEV:
        return f"`sysctl -w net.ipv4.conf.{device}.rp_filter=2`"
    if probe.result.errno == errno.EHOSTUNREACH and device:
        return "turn forwarding on: `sysctl -w net.ipv4.ip_forward=1`; `cuberouted check` has more"
    return "`cuberouted status` shows what is wrong"


def is_regular(rule: Rule) -> bool:
    """Whether every Linux host has this rule."""
    return rule.priority in REGULAR_PRIORITIES and not rule.conditional
