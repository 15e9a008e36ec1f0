"""`cuberouted why` for people: the verdict, then what it rests on, and last what to do."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from cuberouted.api.report_why import (
    Why,
    WhyAddress,
    WhyClaim,
    WhyLookup,
    WhyPeer,
    WhyPing,
    WhyRoute,
)
from cuberouted.cli.render_status import heard
from cuberouted.cli.terminal import Terminal
from cuberouted.cli.times import format_duration

OWNERS = {
    "openvpn": "OpenVPN's, or another program's",
    "kernel": "the kernel's own",
    "foreign": "another program's",
}

TRACES = {
    "added": "added",
    "moved": "moved here",
    "adopted": "found at the start and kept",
    "refused": "refused, because a foreign route is in the way",
    "shadowed": "shadowed by a foreign route",
    "removed": "removed",
}


def why_lines(why: Why, terminal: Terminal) -> list[str]:
    """The first line is the answer."""
    if not why.addresses:
        return [*_without_addresses(why, terminal)]
    lines: list[str] = []
    for one in why.addresses:
        lines += ["", *_address(one, terminal)] if lines else _address(one, terminal)
    return lines


def _without_addresses(why: Why, terminal: Terminal) -> Iterator[str]:
    yield _verdict(why.reached, why.verdict, terminal)
    for match in why.matches:
        name = f"  {match.name}" if match.name else ""
        yield _item(f"{match.address}{name} at {match.node}", terminal, "  ")
    yield from _advice(why.advice, terminal)


def _address(one: WhyAddress, terminal: Terminal) -> Iterator[str]:
    yield _verdict(one.reached, one.verdict, terminal)
    for note in one.notes:
        yield _item(f"note: {note}", terminal, "")
    if one.claims:
        yield from _heading("claims, the best first", terminal)
    for claim in one.claims:
        yield _item(_claim(claim), terminal, _mark(claim.best))
        if claim.why:
            yield _item(claim.why, terminal, "      ")
    yield from _kernel(one, terminal)
    if one.peer is not None:
        yield ""
        yield _item(_peer(one.peer), terminal, "")
    if one.pings:
        yield from _heading("pings", terminal)
    for ping in one.pings:
        yield _item(_ping(ping), terminal)
    yield from _advice(one.advice, terminal)


def _kernel(one: WhyAddress, terminal: Terminal) -> Iterator[str]:
    yield from _heading("the kernel's routes", terminal)
    if not one.routes:
        yield _item("none", terminal)
    for route in one.routes:
        yield _item(route.text, terminal, _mark(route.used))
        yield _item(_whose(route), terminal, "      ")
    if one.rules:
        yield from _heading("policy rules, besides every host's own", terminal)
    for rule in one.rules:
        yield _item(rule, terminal)
    yield from _heading("where packets go", terminal)
    judged = any(claim.best for claim in one.claims)
    for lookup in one.lookups:
        yield _item(_lookup(lookup, judged=judged), terminal)


def _claim(claim: WhyClaim) -> str:
    words = [claim.prefix]
    if claim.kind == "server":
        words.append(f"the server {claim.node} itself")
    else:
        what = {"network": "network of ", "service": "service "}.get(claim.kind, "")
        place = "here" if claim.source in ("local", "kernel") else f"at {claim.node}"
        words.append(f"{what}{claim.name or 'a client without a name'} {place}")
    origins = {"configured": "configured here", "kernel": "found in the kernel at the start"}
    details = [origins.get(claim.source, "")]
    if claim.phase:
        details.append(f"{claim.phase.replace('_', ' ')}, priority {claim.priority}")
    if claim.since:
        details.append(f"since {claim.since}")
        details.append("" if claim.confirmed else "not listed there yet")
    return ", ".join([" ".join(words), *filter(None, details)])


def _whose(route: WhyRoute) -> str:
    if route.owner != "cuberouted":
        return OWNERS.get(route.owner, route.owner)
    words = "cuberouted's"
    if route.age is not None:
        words += f", {format_duration(route.age)} old"
    if route.trace:
        at = f" at {route.traced}" if route.traced else ""
        words += f"; {TRACES.get(route.trace, route.trace)}{at}"
    return words


def _lookup(lookup: WhyLookup, judged: bool) -> str:
    of = f"from {lookup.source}, in on {lookup.origin}" if lookup.origin else "from this host"
    mark = "" if not judged or lookup.right else "WRONG: "
    return f"{of}: {mark}{lookup.text}"


def _peer(peer: WhyPeer) -> str:
    detail = f" ({peer.detail})" if peer.detail else ""
    last = f"heard {heard(peer.last_heard)}" if peer.last_heard is not None else "never heard"
    way = f"{peer.mgmt_ip} through {peer.interface}"
    return f"peer {peer.name}: {peer.state}{detail}, {last}, at {way}"


def _ping(ping: WhyPing) -> str:
    start = f"{ping.address} through {ping.interface}, {ping.size} bytes: "
    if ping.problem:
        return start + ping.problem
    answer = f"{ping.received} of {ping.sent} answered"
    return start + answer + (f", {ping.rtt * 1000:.1f} ms" if ping.rtt is not None else "")


# -- lines --


def _verdict(reached: bool, text: str, terminal: Terminal) -> str:
    return terminal.paint(terminal.wrap(terminal.show(text)), "green" if reached else "red")


def _advice(text: str, terminal: Terminal) -> Iterator[str]:
    if text:
        yield ""
        yield _item(f"to do: {text}", terminal, "")


def _heading(text: str, terminal: Terminal) -> Iterator[str]:
    yield ""
    yield terminal.paint(text, "bold")


def _mark(marked: bool) -> str:
    return "  * " if marked else "    "


def _item(text: str, terminal: Terminal, first: str = "    ") -> str:
    """*text* behind *first*; where it is wrapped, the further lines are indented by two more."""
    width = None if terminal.width is None else terminal.width - len(first)
    lines = attrs.evolve(terminal, width=width).wrap(terminal.show(text), 2).split("\n")
    return first + f"\n{' ' * len(first)}".join(lines)
