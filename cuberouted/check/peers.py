"""The rules of `check --peers`: does each peer work together with this node?

Pure: what the daemon found out about the peers, and how pings were answered, go in. Of each peer
only the first cause is found: where its port cannot be reached, nothing else is said of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from cuberouted.api.report_peers import PeerAnswer, PeerCheck, PeersReport, SharedFile
from cuberouted.check.finding import Finding, Level, interface, peer

MAX_CLOCK_OFFSET = 5.0
"""Seconds between two clocks that are not worth a warning."""

IPV4_HEADERS, IPV6_HEADERS = 28, 48
"""Bytes of the IP and ICMP headers of a ping."""

_FILES: Final = MappingProxyType(
    {
        "ccd": "client-config-dir",
        "crl": "crl-verify",
        "tls_key": "tls-crypt or tls-auth",
        "token_secret": "auth-gen-token-secret",
    }
)


@attrs.frozen
class PeerPings:
    """Pings through the tunnel: a small one, and one as large as the MTU that must not be
    fragmented. Empty: answered; else why not.
    """

    small: str = ""
    full: str = ""


def check_peers(
    report: PeersReport, pings: Mapping[str, PeerPings], why_no_pings: str = ""
) -> list[Finding]:
    """All findings. *pings*: by peer; *why_no_pings*: why there are none, or empty."""
    return [
        finding
        for one in report.peers
        for finding in _check(report, one, pings.get(one.name), why_no_pings)
    ]


def _check(
    report: PeersReport, one: PeerCheck, pings: PeerPings | None, why_no_pings: str
) -> Iterator[Finding]:
    cause = _connection(report, one)
    if cause is not None:
        yield cause
        return
    packets = _packets(one, pings, why_no_pings)
    if one.answer is None:
        # a tunnel that loses large packets explains it
        text = f"is connected, but did not answer; `cuberouted status` here shows: {_state(one)}"
        silent = _finding(one, Level.WARNING, "peer-silent", text)
        yield packets if packets.level is Level.PROBLEM else silent
        return
    yield _finding(one, Level.OK, "peer-port", f"answers; cuberouted {one.answer.cuberouted} there")
    yield packets
    yield _way_back(report, one, one.answer)
    yield _clock(one, one.answer)
    yield from _files(one, one.answer.files)


def _connection(report: PeersReport, one: PeerCheck) -> Finding | None:
    """Why there is no connection, if there is none."""
    where = f"port {one.tcp_port} of {one.address} through {one.interface}"
    if one.port:
        advice = "start cuberouted there; allow the port on the tunnel; compare mgmt_ip and port"
        # as bad as a missing interface itself, which then is the cause
        level = Level.PROBLEM if one.mtu else Level.WARNING
        return _finding(one, level, "peer-port", f"{where}: {one.port}", advice)
    if one.state == "incompatible":
        advice = "install the same version of cuberouted on all servers"
        return _finding(one, Level.PROBLEM, "peer-version", one.detail, advice)
    if one.connection:
        advice = "compare public_key and mgmt_ip on both sides with `cuberouted check -v` and `ip`"
        return _finding(one, Level.PROBLEM, "peer-keys", f"{where}: {one.connection}", advice)
    if not one.subscribed:
        text = f"it is reached from here, but its daemon is not connected to {report.node}"
        advice = (
            f"look at `cuberouted status` there: it shows why; {report.node} has to be one of its"
            " peers, with this address, port and key"
        )
        return _finding(one, Level.PROBLEM, "peer-way-back", text, advice)
    return None


def _packets(one: PeerCheck, pings: PeerPings | None, why_no_pings: str) -> Finding:
    """Whether packets as large as the MTU get through the tunnel."""
    id_, mtu = "peer-packets", one.mtu
    there = one.answer.mtu if one.answer else 0
    advice = "set the MTU of both ends of the tunnel to what the way between them carries"
    differs = f"the MTU of {one.interface} is {mtu} here and {there} there"
    if pings is not None and pings.full and not pings.small:
        text = f"packets of {mtu} bytes do not get through {one.interface}: {pings.full}"
        if there not in (0, mtu):
            text += f"; {differs}"
        return _finding(one, Level.PROBLEM, id_, text, advice)
    if there not in (0, mtu) and mtu:
        return _finding(one, Level.WARNING, id_, differs, advice)
    if pings is None or pings.small:
        why = why_no_pings if pings is None else f"pings are not answered ({pings.small})"
        text = f"whether packets of {mtu} bytes get through {one.interface} is not known: {why}"
        return _finding(one, Level.UNSEEN, id_, text)
    return _finding(one, Level.OK, id_, f"packets of {mtu} bytes get through {one.interface}")


def _way_back(report: PeersReport, one: PeerCheck, answer: PeerAnswer) -> Finding:
    if answer.state == "up":
        return _finding(one, Level.OK, "peer-way-back", f"receives what {report.node} advertises")
    detail = f": {answer.detail}" if answer.detail else ""
    text = f"sees {report.node} as {answer.state}{detail}"
    return _finding(one, Level.WARNING, "peer-way-back", text, "look at the log there")


def _clock(one: PeerCheck, answer: PeerAnswer) -> Finding:
    offset = answer.clock_offset
    where = f"is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the clock here"
    if abs(offset) - answer.clock_error <= MAX_CLOCK_OFFSET:
        return _finding(one, Level.OK, "peer-clock", f"its clock {where}")
    advice = "let NTP set both: chrony or systemd-timesyncd"
    return _finding(one, Level.WARNING, "peer-clock", f"its clock {where}", advice)


def _files(one: PeerCheck, files: Iterable[SharedFile]) -> Iterator[Finding]:
    unknown: dict[tuple[str, str], list[SharedFile]] = {}
    for file in files:
        if file.verdict == "unknown":
            unknown.setdefault((file.openvpn, file.text), []).append(file)
        else:
            yield _file(one, file)
    for (_, why), same in unknown.items():
        names = ", ".join(_FILES.get(file.kind, file.kind) for file in same)
        text = f"{names}{_of(same[0])} could not be compared: {why}"
        yield _finding(one, Level.UNSEEN, "peer-files", text)


def _of(file: SharedFile) -> str:
    return f" of openvpn {file.openvpn}" if file.openvpn else ""


def _file(one: PeerCheck, file: SharedFile) -> Finding:
    name = f"{_FILES.get(file.kind, file.kind)}{_of(file)}"
    if file.verdict == "same":
        return _finding(one, Level.OK, "peer-files", f"{name} is the same")
    advice = "copy it from the server that is right"
    return _finding(one, Level.WARNING, "peer-files", f"{name} differs: {file.text}", advice)


def _state(one: PeerCheck) -> str:
    return f"{one.state}{f', {one.detail}' if one.detail else ''}"


def _finding(one: PeerCheck, level: Level, id_: str, text: str, advice: str = "") -> Finding:
    subject = peer(one.name)
    about = frozenset({subject, interface(one.interface)})
    return Finding(level, id_, subject, text, advice=advice, about=about)
