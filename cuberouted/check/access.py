"""Rules of `check` on what the daemon may do, on its files, and on what it reports. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from cuberouted.api.report import OpenVPNRow, PeerRow, Status
from cuberouted.check.facts import CREDENTIALS, Finding, HostFacts, Level
from cuberouted.config import Config, OpenVPNConfig

PRIVATE_SOCKETS = Path("/run/openvpn-management")
"""The directory of systemd/drop-ins/openvpn-socket.conf, which restricts access."""

DENIED = os.strerror(errno.EACCES)

_STILL_WAITING = frozenset({"waiting", "connecting"})


def check_privileges(facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon could change routes, and systemd could start it."""
    if facts.missing_capability:
        yield Finding(
            Level.PROBLEM,
            "privileges",
            f"{facts.missing_capability} is missing: run as root, or by the systemd unit",
        )
    if facts.unit:
        yield Finding(Level.PROBLEM, "cuberouted.service", facts.unit)


def check_files(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon can use the configuration and the secret key."""
    if config.path in facts.unreadable:
        why = facts.unreadable[config.path]
        advice = f"; chmod 644 {config.path}" if DENIED in why else ""
        yield Finding(Level.PROBLEM, str(config.path), why + advice)
    path = config.secret_key_file
    if path is not None and path in facts.unreadable:
        yield _unreadable("secret_key_file", path, facts)
    if facts.public_key is not None:
        yield Finding(Level.OK, "encryption", f"is on; our public key is {facts.public_key}")
    for subject, why in facts.unjudged.items():
        yield Finding(Level.NOTE, subject, why)


def check_openvpn(openvpn: OpenVPNConfig, facts: HostFacts) -> Iterator[Finding]:
    """Whether OpenVPN's management interface or status file is there, for us and nobody else."""
    subject = _subject(openvpn)
    used = openvpn.status_file or openvpn.mgmt_socket
    why = facts.openvpn.get(openvpn.name)
    if why:
        yield Finding(Level.WAIT, subject, why)
    elif used not in facts.unreadable and not facts.unjudged.keys() & {subject, str(used)}:
        what = "status file" if openvpn.status_file else "management interface"
        yield Finding(Level.OK, subject, f"{what} found")
    for path in (openvpn.mgmt_pass_file, openvpn.status_file, openvpn.mgmt_socket):
        if path is not None and path in facts.unreadable:
            yield _unreadable(str(path), path, facts, _advice(openvpn, path))
    how = facts.exposed.get(openvpn.name)
    if how:
        yield Finding(
            Level.WARNING,
            subject,
            f"{how}, and can end sessions and stop OpenVPN:"
            f" {'' if openvpn.mgmt_socket else 'set a password, or '}use a Unix socket in"
            f" {PRIVATE_SOCKETS} (systemd/drop-ins/openvpn-socket.conf)",
        )


def _subject(openvpn: OpenVPNConfig) -> str:
    return f"openvpn {openvpn.name}".rstrip()


def _unreadable(subject: str, path: Path, facts: HostFacts, advice: str = "") -> Finding:
    if path.is_relative_to(CREDENTIALS) and not facts.daemon:
        return Finding(Level.WAIT, subject, "does not exist until systemd starts the unit")
    why = facts.unreadable[path]
    return Finding(Level.PROBLEM, subject, why + (advice if DENIED in why else ""))


def _advice(openvpn: OpenVPNConfig, path: Path) -> str:
    if path == openvpn.mgmt_socket:
        return "; see systemd/drop-ins/openvpn-socket.conf"
    if path == openvpn.status_file:
        return (
            "; have OpenVPN write to /run/openvpn-status/server.log"
            " (systemd/openvpn-status.tmpfiles)"
        )
    if path == openvpn.mgmt_pass_file and not path.is_relative_to(CREDENTIALS):
        return (
            "; install systemd/drop-ins/openvpn-password.conf"
            f" (LoadCredential=openvpn-pass:{path}),"
            " and set"
            f" {_key(openvpn, 'mgmt_pass_file')} = {CREDENTIALS}/cuberouted.service/openvpn-pass"
        )
    return ""


def _key(openvpn: OpenVPNConfig, key: str) -> str:
    return key if openvpn.name else f"openvpn_{key}"


def check_daemon(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon runs, and what it reports."""
    if not facts.daemon:
        return
    yield Finding(Level.OK, "cuberouted", "is running with this control socket")
    if not isinstance(facts.reported, Status):
        if facts.reported:
            yield Finding(Level.WARNING, "cuberouted", facts.reported)
        return
    waited_for = {_subject(o) for o in config.openvpns if facts.openvpn.get(o.name)}
    for row in facts.reported.openvpn:
        if row.name not in waited_for:  # else it is told already
            yield from _reported_openvpn(row)
    for peer in facts.reported.peers:
        yield from _reported_peer(peer)
    for problem in facts.reported.problems:
        if not problem.startswith("waiting for interface"):  # told already
            yield Finding(Level.PROBLEM, "cuberouted", f"reports: {problem}")
    for warning in facts.reported.warnings:
        yield Finding(Level.WARNING, "cuberouted", f"reports: {warning}")


def _reported_openvpn(row: OpenVPNRow) -> Iterator[Finding]:
    if row.state != "connected":
        level = Level.WAIT if row.state in _STILL_WAITING else Level.PROBLEM
    elif row.detail:
        level = Level.WARNING
    else:
        return
    yield Finding(level, "cuberouted", _reports(row.name, row.state, row.detail))


def _reported_peer(row: PeerRow) -> Iterator[Finding]:
    if row.state == "incompatible":
        level = Level.PROBLEM
    elif row.state != "up" or row.detail:
        level = Level.WARNING
    else:
        return
    yield Finding(level, "cuberouted", _reports(f"peer {row.name}", row.state, row.detail))


def _reports(what: str, state: str, detail: str) -> str:
    return f"reports: {what} is {state}{f': {detail}' if detail else ''}"


def check_listen_addresses(facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon can listen for its peers."""
    for address, owner in facts.own_ports.items():
        yield Finding(Level.OK, address, f"is in use by cuberouted itself ({owner})")
    for address, why in facts.busy.items():
        yield Finding(
            Level.PROBLEM,
            address,
            f"cannot listen: {why}; stop the other program, or set cube_routed_port",
        )
