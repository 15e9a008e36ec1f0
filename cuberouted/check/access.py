"""Rules of `check` on what the daemon may do, on its files, and on what it reports. Pure."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from cuberouted.api.report import OpenVPNRow, PeerRow, Status
from cuberouted.check.facts import CREDENTIALS, HostFacts
from cuberouted.check.finding import Finding, Level, interface, openvpn, peer, reported_name
from cuberouted.config import Config, OpenVPNConfig

PRIVATE_SOCKETS = Path("/run/openvpn-management")
"""The directory of systemd/drop-ins/openvpn-socket.conf, which restricts access."""

DENIED = os.strerror(errno.EACCES)

AS_ROOT = "run `check` as root"

_STILL_WAITING = frozenset({"waiting", "connecting"})

_WAITING_FOR = "waiting for interface "
"""How the daemon reports interfaces that are missing, separated by commas."""


def check_privileges(facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon could change routes, and systemd could start it."""
    if facts.missing_capability:
        yield Finding(
            Level.PROBLEM,
            "privilege-missing",
            "privileges",
            f"{facts.missing_capability} is missing",
            advice="run as root, or by the systemd unit",
        )
    if facts.unit:
        yield Finding(Level.PROBLEM, "unit-broken", "cuberouted.service", facts.unit)


def check_files(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon can use the configuration and the secret key."""
    why = facts.unreadable.get(config.path)
    if why:
        yield Finding(
            Level.PROBLEM,
            "config-unreadable",
            str(config.path),
            why,
            command=f"chmod 644 {shlex.quote(str(config.path))}" if DENIED in why else "",
        )
    path = config.secret_key_file
    if path is not None:
        yield from check_file("key-unusable", "secret_key_file", path, facts)
    if facts.public_key is not None:
        text = f"is on; our public key is {facts.public_key}"
        yield Finding(Level.OK, "key-unusable", "encryption", text)


def check_programs(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the hook can be run, and the hosts file be written: routing works without them."""
    if config.hook:
        program = config.hook[0]
        yield from check_file(
            "hook-unusable", f"hook {program}", Path(program), facts, level=Level.WARNING
        )
    if config.hosts_file is not None:
        yield from check_file(
            "hosts-file-unwritable",
            f"hosts_file, directory {config.hosts_file.parent}",
            config.hosts_file.parent,
            facts,
            level=Level.WARNING,
        )


def check_openvpn(config: OpenVPNConfig, facts: HostFacts) -> Iterator[Finding]:
    """Whether OpenVPN's management interface or status file is there, for us and nobody else."""
    subject = openvpn(config.name)
    about = frozenset({subject, interface(config.data_interface)})
    used = config.status_file or config.mgmt_socket
    why, elsewhere = facts.openvpn.get(config.name), facts.elsewhere.get(config.name)
    standby = facts.standby(config)
    if why and standby:
        text = f"does not have to run here: {standby}"
        yield Finding(Level.OK, "openvpn-absent", subject, text, about=about)
    elif why:
        yield Finding(Level.WARNING, "openvpn-absent", subject, why, about=about)
    elif elsewhere:
        yield Finding(Level.UNSEEN, "openvpn-absent", subject, elsewhere, about=about)
    elif used not in facts.unreadable and used not in facts.unjudged:
        what = "status file" if config.status_file else "management interface"
        yield Finding(Level.OK, "openvpn-absent", subject, f"{what} found", about=about)
    for id_, path in (
        ("password-unreadable", config.mgmt_pass_file),
        ("openvpn-unusable", config.status_file),
        ("openvpn-unusable", config.mgmt_socket),
    ):
        if path is not None:
            yield from check_file(id_, str(path), path, facts, _advice(config, path), about)
    how = facts.exposed.get(config.name)
    if how:
        yield Finding(
            Level.WARNING,
            "management-exposed",
            subject,
            how,
            advice=f"{'' if config.mgmt_socket else 'set a password, or '}use a Unix socket in"
            f" {PRIVATE_SOCKETS} (systemd/drop-ins/openvpn-socket.conf)",
            about=about,
        )


def check_file(
    id_: str,
    subject: str,
    path: Path,
    facts: HostFacts,
    advice: str = "",
    about: frozenset[str] = frozenset(),
    level: Level = Level.PROBLEM,
) -> Iterator[Finding]:
    """What is wrong with a file, if anything. *advice*: for one that the daemon may not use."""
    why, unseen = facts.unreadable.get(path), facts.unjudged.get(path)
    if path in facts.unpassed:
        why, advice = facts.unpassed[path]
        yield Finding(level, id_, subject, why, advice=advice, about=about)
    elif why and path.is_relative_to(CREDENTIALS) and not facts.daemon:
        text = "does not exist until systemd starts the unit"
        yield Finding(Level.UNSEEN, id_, subject, text, about=about)
    elif why:
        made = "systemd makes it when it starts the unit: `systemctl restart cuberouted`"
        late = path.is_relative_to(CREDENTIALS) and DENIED not in why
        advice = made if late else advice if DENIED in why else ""
        yield Finding(level, id_, subject, why, advice=advice, about=about)
    elif unseen:
        yield Finding(Level.UNSEEN, id_, subject, unseen, advice=AS_ROOT, about=about)


def _advice(config: OpenVPNConfig, path: Path) -> str:
    if path == config.mgmt_socket:
        return "see systemd/drop-ins/openvpn-socket.conf"
    if path == config.status_file:
        return (
            "have OpenVPN write to /run/openvpn-status/server.log (systemd/openvpn-status.tmpfiles)"
        )
    if path.is_relative_to(CREDENTIALS):
        return ""
    return (
        "install systemd/drop-ins/openvpn-password.conf"
        f" (LoadCredential=openvpn-pass:{path}),"
        f" and set {_key(config, 'mgmt_pass_file')}"
        f" = {CREDENTIALS}/cuberouted.service/openvpn-pass"
    )


def _key(config: OpenVPNConfig, key: str) -> str:
    return key if config.name else f"openvpn_{key}"


def check_daemon(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon runs, and what it reports."""
    about = frozenset(openvpn(one.name) for one in config.openvpns)
    for level, why in (
        (Level.UNSEEN, facts.daemon_hidden),
        (Level.WARNING, facts.reported if facts.daemon else None),
    ):
        if isinstance(why, str):
            yield Finding(level, "daemon-unreachable", "cuberouted", why, about=about)
    if not facts.daemon or not isinstance(facts.reported, Status):
        return
    text = "is running with this control socket"
    yield Finding(Level.OK, "daemon-unreachable", "cuberouted", text)
    for openvpn_row in facts.reported.openvpn:
        yield from _reported_openvpn(config, openvpn_row)
    for peer_row in facts.reported.peers:
        yield from _reported_peer(config, peer_row)
    for problem in facts.reported.problems:
        # that it still waits is as bad as a missing interface itself
        waits = problem.startswith(_WAITING_FOR)
        yield Finding(
            Level.WARNING if waits else Level.PROBLEM,
            "daemon-reports",
            "cuberouted",
            f"reports: {problem}",
            about=frozenset(_mentioned(config, problem)),
        )
    for warning in facts.reported.warnings:
        about = frozenset(_mentioned(config, warning))
        text = f"reports: {warning}"
        yield Finding(Level.WARNING, "daemon-reports", "cuberouted", text, about=about)


def _mentioned(config: Config, sentence: str) -> Iterator[str]:
    """What a sentence of the daemon is about."""
    if sentence.startswith(_WAITING_FOR):
        yield from map(interface, sentence.removeprefix(_WAITING_FOR).split(", "))
    subject = sentence.partition(": ")[0]
    known = [openvpn(o.name) for o in config.openvpns] + [peer(p.label) for p in config.peers]
    yield from (one for one in known if one == subject)


def _reported_openvpn(config: Config, row: OpenVPNRow) -> Iterator[Finding]:
    if row.well:
        level = Level.OK
    elif row.state != "connected":
        level = Level.WARNING if row.state in _STILL_WAITING else Level.PROBLEM
    else:
        level = Level.WARNING
    names = (one.name for one in config.openvpns if reported_name(one.name) == row.name)
    subject = openvpn(next(names, row.name))
    text = _reports(subject, row.state, row.detail)
    about = frozenset({subject})
    yield Finding(level, "openvpn-not-connected", "cuberouted", text, about=about)


def _reported_peer(config: Config, row: PeerRow) -> Iterator[Finding]:
    if row.state == "incompatible":
        level = Level.PROBLEM
    else:
        level = Level.OK if row.state == "up" and not row.detail else Level.WARNING
    # a peer without a name has the name that it announces
    ours = [p for p in config.peers if row.name == p.label or (len(config.peers) == 1)]
    about = {peer(p.label) for p in ours} | {interface(p.mgmt_interface) for p in ours}
    text = _reports(peer(row.name), row.state, row.detail)
    advice = "`cuberouted check --peers` looks why" if level is not Level.OK else ""
    yield Finding(level, "peer-not-up", "cuberouted", text, advice=advice, about=frozenset(about))


def _reports(what: str, state: str, detail: str) -> str:
    return f"reports: {what} is {state}{f': {detail}' if detail else ''}"


def check_listen_addresses(facts: HostFacts) -> Iterator[Finding]:
    """Whether the daemon can listen for its peers."""
    for address, owner in facts.own_ports.items():
        text = f"is in use by cuberouted itself ({owner})"
        yield Finding(Level.OK, "port-taken", address, text)
    for address, why in facts.busy.items():
        yield Finding(
            Level.PROBLEM,
            "port-taken",
            address,
            f"cannot listen: {why}",
            advice="stop the other program, or set cube_routed_port",
        )
    for address, why in facts.busy_unseen.items():
        text = f"{why}; root can see by which program"
        yield Finding(Level.UNSEEN, "port-taken", address, text, advice=AS_ROOT)
