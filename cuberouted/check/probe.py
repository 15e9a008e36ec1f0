"""Collects the facts about this host that `check` needs. Only reads.

It never connects to OpenVPN's management interface, which serves one client at a time; and with
``management-signal`` in OpenVPN's configuration our disconnecting would restart OpenVPN.

Run by root, it looks at files with the rights of the user that the daemon runs as. Another user
may be kept from files that the daemon can read: those are reported as not judged.
"""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import os
import stat
from pathlib import Path

import attrs

from cuberouted.api.client import Credentials, get, is_served, server_credentials
from cuberouted.api.protocol import ControlError
from cuberouted.api.report import Status
from cuberouted.check import credentials, firewall, networkd, ports, servers, surroundings, users
from cuberouted.check.facts import HostFacts, User
from cuberouted.check.programs import is_running
from cuberouted.check.rules import sysctls_to_read
from cuberouted.check.service_rules import commands
from cuberouted.config import Config, ConfigError, OpenVPNConfig
from cuberouted.config.keypair import public_of, with_secret_key
from cuberouted.config.schema import DEFAULT_STATE_DIRECTORY
from cuberouted.daemon.host import HostState, read_host_state
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.linux.kernel import missing_capability
from cuberouted.util.packages import PROMETHEUS_CLIENT, install_command


async def probe_host(kernel: KernelApi, config: Config) -> HostFacts:
    """The facts about this host, as far as this user may read them.

    Raises:
      KernelError: the kernel does not answer.
    """
    links = await kernel.links()
    host = await read_host_state(kernel, config, links, HostState())
    daemon = _find_daemon(config.control_socket)
    unit = users.read_unit()
    view = _View.of(daemon, unit)
    _look_at_files(config, view, unit)
    _look_at_state(config, view, daemon)
    _look_for_hidden_files(config, view, unit)
    openvpn = {o.name: _why_absent(o, host, view) for o in config.openvpns}
    # one that runs has taken them itself, or reports that it cannot
    listen = () if daemon.runs else host.listen
    taken = ports.taken(listen, config.cube_routed_port, view.own_uid)
    web_busy = None if daemon.runs else _why_web_is_busy(config, host, view)
    version = networkd.running_version()
    filters = firewall.read_filters()
    return HostFacts(
        links=links,
        host=host,
        missing_capability=None if view.is_not_daemon else missing_capability(),
        sysctls={name: _sysctl(name) for name in sysctls_to_read(config, links)},
        openvpn=openvpn,
        exposed={o.name: how for o in config.openvpns if (how := _exposure(o, view))},
        busy=taken.by_others if view.is_weaker else {**taken.by_others, **taken.by_somebody},
        busy_unseen=taken.by_somebody if view.is_weaker else {},
        own_ports=taken.by_ourselves,
        daemon=daemon.runs,
        reported=daemon.status,
        daemon_hidden=daemon.hidden,
        public_key=_public_key(config, view),
        unreadable=view.unreadable,
        unjudged=view.unjudged,
        unpassed=_unpassed(config, view, unit),
        elsewhere=view.elsewhere,
        unit=_why_unit_fails(unit, view),
        filters=filters.rulesets,
        filters_unseen=filters.unseen,
        networkd=None if version is None else networkd.missing_keys(version),
        networkd_links=networkd.unprotected_links(links, version),
        servers=servers.read_servers(config, host, daemon.status),
        devices=surroundings.read_devices(),
        nexthops=await _why_no_nexthops(kernel),
        instance=surroundings.read_instance(),
        zebra=surroundings.zebra_makes_nexthops(is_running(surroundings.ZEBRA_COMMAND)),
        web_busy=web_busy,
        no_metrics=_how_to_install(PROMETHEUS_CLIENT),
    )


def _why_web_is_busy(config: Config, host: HostState, view: _View) -> str | None:
    """Why the web listener cannot be had, or None, also if this user cannot know."""
    listen = config.web_listen
    if listen is None:
        return None
    address = ipaddress.ip_address(listen.address).packed
    if not ports.is_ours(address, host):
        return None
    taken = ports.taken((address,), listen.port, view.own_uid)
    reasons = [*taken.by_others.values(), *(() if view.is_weaker else taken.by_somebody.values())]
    return next(iter(reasons), None)


def _how_to_install(package: str) -> str | None:
    """The command that installs a Python package, or None if it is there."""
    return None if importlib.util.find_spec(package) else install_command(package)


async def _why_no_nexthops(kernel: KernelApi) -> str | None:
    """Why the kernel has no nexthop objects, or None."""
    try:
        await kernel.dump()
    except KernelError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return f"Linux {os.uname().release} has no nexthop objects"
    return None


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


@attrs.frozen
class _Daemon:
    """Whether a daemon runs, which process it is, and its status, or why there is none.
    ``hidden``: why we may not know.
    """

    runs: bool = False
    server: Credentials | None = None
    status: Status | str | None = None
    hidden: str | None = None


def _find_daemon(control_socket: Path) -> _Daemon:
    try:
        if not is_served(control_socket):
            return _Daemon()
        server = server_credentials(control_socket)
    except ControlError as error:
        return _Daemon(hidden=str(error))
    try:
        return _Daemon(True, server, get(control_socket, "/v1/status", Status))
    except ControlError as error:
        if os.geteuid() == 0:
            return _Daemon(True, server, str(error))
        return _Daemon(True, server, hidden=str(error))


@attrs.define
class _View:
    """Whose rights the files are looked at with, and what was found.

    ``user``: who we act as, None for ourselves. ``is_weaker``: the daemon runs as another user
    than we are, and we cannot act as that one. ``is_not_daemon``: what this process is allowed
    says nothing of the daemon. ``own_uid``: the daemon's, unless it is root or not known.
    ``elsewhere``: OpenVPN processes that are on another host, and where.
    """

    user: User | None
    is_weaker: bool
    is_not_daemon: bool
    own_uid: int | None
    unreadable: dict[Path, str] = attrs.field(factory=dict)
    unjudged: dict[Path, str] = attrs.field(factory=dict)
    elsewhere: dict[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, daemon: _Daemon, unit: users.Unit | None) -> _View:
        if daemon.server is not None:
            user = users.user_of_process(daemon.server)
        else:
            user = users.user_of_unit(unit)
        is_known = daemon.server is not None or unit is not None or user is not None
        own_uid = user.uid if user else None
        if os.geteuid() != 0:
            if daemon.hidden and daemon.server is None:  # it may run as anybody
                return cls(None, is_weaker=True, is_not_daemon=True, own_uid=own_uid)
            is_weaker = is_known and os.geteuid() != (own_uid or 0)
            return cls(None, is_weaker, is_not_daemon=is_known, own_uid=own_uid)
        try:
            with users.acting_as(user):
                return cls(user, False, is_not_daemon=daemon.runs, own_uid=own_uid)
        except OSError:  # root of a container, for example
            return cls(None, True, is_not_daemon=daemon.runs, own_uid=own_uid)

    def refuse(self, path: Path, what: str, error: OSError, mode: int = os.R_OK) -> None:
        """*what*, such as "read", failed. That counts only if the daemon would fail as well."""
        denied = isinstance(error, PermissionError)
        if denied and self.is_weaker:
            self.unjudged[path] = "this user may not look at it"
            return
        by = f" by the user {self.user.name}" if self.user and denied else ""
        where = users.blocked_at(path, self.user, mode) if denied else None
        self.unreadable[path] = (
            f"cannot be {what}{by}: {error.strerror}{f' ({where})' if where else ''}"
        )

    def can_read(self, path: Path) -> bool:
        """Whether *path* can be read; if not, this is kept."""
        try:
            with users.acting_as(self.user):
                _open_and_close(path)
        except OSError as error:
            self.refuse(path, "read", error)
            return False
        return True

    def test(self, path: Path, what: str, mode: int) -> None:
        """Keep why the daemon's user has not the right *mode* (`os.access`) on *path*, if so."""
        try:
            with users.acting_as(self.user):
                path.stat()
                allowed = os.access(path, mode, effective_ids=True)
            if not allowed:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            self.refuse(path, what, error, mode)


def _open_and_close(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    finally:
        os.close(descriptor)


def _look_at_files(config: Config, view: _View, unit: users.Unit | None) -> None:
    if view.user is not None and _is_used_by(unit, config.path):
        view.can_read(config.path)
    for openvpn in config.openvpns:
        if openvpn.mgmt_pass_file is not None:
            view.can_read(openvpn.mgmt_pass_file)
    if config.hook:
        view.test(Path(config.hook[0]), "executed", os.X_OK)
    if config.hosts_file is not None:
        view.test(config.hosts_file.parent, "written to", os.W_OK | os.X_OK)
    for program in _service_programs(config):
        view.test(program, "executed", os.X_OK)


def _service_programs(config: Config) -> list[Path]:
    programs = (path for one in config.services for path in commands(one).values())
    return list(dict.fromkeys(programs))


def _look_at_state(config: Config, view: _View, daemon: _Daemon) -> None:
    """Keep why the daemon cannot write its state. systemd makes the directory at the start."""
    directory = config.state_directory
    if daemon.runs or directory != DEFAULT_STATE_DIRECTORY or directory.exists():
        view.test(directory, "written to", os.W_OK | os.X_OK)
        view.unjudged.pop(directory, None)  # a daemon that cannot write there tells it by itself


def _look_for_hidden_files(config: Config, view: _View, unit: users.Unit | None) -> None:
    """Keep what the unit hides from the daemon, whatever its user may do."""
    if unit is None or not _is_used_by(unit, config.path):
        return
    paths = [config.path, config.secret_key_file, *map(Path, config.hook[:1])]
    paths += _service_programs(config)
    if config.hosts_file is not None:
        paths.append(config.hosts_file.parent)
    for openvpn in config.openvpns:
        paths += [openvpn.mgmt_pass_file, openvpn.mgmt_socket, openvpn.status_file]
    for path in filter(None, paths):
        setting = unit.hides(path)
        if setting:
            view.unreadable[path] = f"is hidden from the daemon by {setting}: move it elsewhere"


def _unpassed(config: Config, view: _View, unit: users.Unit | None) -> dict[Path, tuple[str, str]]:
    """What the daemon cannot read because systemd does not make it."""
    if unit is None or not _is_used_by(unit, config.path):
        return {}
    paths = [config.secret_key_file, *(one.mgmt_pass_file for one in config.openvpns)]
    return {
        path: why
        for path in paths
        if path in view.unreadable and (why := credentials.why_not_passed(unit, path))
    }


def _is_used_by(unit: users.Unit | None, path: Path) -> bool:
    """Whether the unit's daemon is to read this configuration; without a unit it may be any."""
    return unit is None or str(path.absolute()) in unit.arguments


def _public_key(config: Config, view: _View) -> str | None:
    """Our public key. If the secret key cannot be used, that is kept."""
    path = config.secret_key_file
    if path is None or not view.can_read(path):
        return None
    try:
        with users.acting_as(view.user):
            secret = with_secret_key(config).secret_key
    except ConfigError as error:
        view.unreadable[path] = ", ".join(problem.what for problem in error.problems)
        return None
    return public_of(secret).decode() if secret else None


def _why_absent(openvpn: OpenVPNConfig, host: HostState, view: _View) -> str | None:
    path = openvpn.status_file or openvpn.mgmt_socket
    if path is None:
        found = ports.find_management(openvpn, host)
        if found.elsewhere:
            view.elsewhere[openvpn.name] = found.elsewhere
        return found.why_absent
    try:
        with users.acting_as(view.user):
            mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} does not exist: is OpenVPN running, and configured to create it?"
    except OSError as error:
        view.refuse(path, "used", error)
        return None
    if path == openvpn.status_file:
        view.can_read(path)
        return None
    if not stat.S_ISSOCK(mode):
        view.unreadable[path] = "is not a socket"
        return None
    with users.acting_as(view.user):
        allowed = os.access(path, os.W_OK, effective_ids=True)
    if not allowed:
        view.refuse(path, "used", PermissionError(errno.EACCES, "Permission denied"), os.W_OK)
    elif ports.is_listened_on(path) is False:
        return (
            f"no process in this network namespace listens on {path}: is OpenVPN running, with"
            f" `management {path} unix`?"
        )
    return None


def _exposure(openvpn: OpenVPNConfig, view: _View) -> str | None:
    """How other users reach the management interface, or None if they cannot."""
    if openvpn.status_file is not None or openvpn.name in view.elsewhere:
        return None
    path = openvpn.mgmt_socket
    if path is None:
        return None if openvpn.mgmt_pass_file else "has no password: every local user can connect"
    if openvpn.mgmt_pass_file is None and _is_open_to_all(path):
        return f"every local user can connect to {path} ({users.mode_and_owner(path)})"
    return None


def _is_open_to_all(path: Path) -> bool:
    """Whether every user may write to *path*, and search all its directories."""
    real = Path(os.path.realpath(path))
    try:
        modes = [directory.stat().st_mode for directory in real.parents]
        return bool(real.stat().st_mode & stat.S_IWOTH) and all(m & stat.S_IXOTH for m in modes)
    except OSError:
        return False


def _why_unit_fails(unit: users.Unit | None, view: _View) -> str | None:
    """Why systemd cannot start the daemon, or None, also if we may not know."""
    if unit is None:
        return None
    if not unit.is_root and users.user_of_unit(unit) is None:
        return f"the user {unit.user} does not exist: run systemd-sysusers"
    if unit.program is None:
        return None
    setting = unit.hides(unit.program)
    if setting:
        return f"{unit.program} is hidden by {setting}: install cuberouted elsewhere"
    interpreter = users.interpreter_of(unit.program)
    setting = unit.hides(interpreter) if interpreter else None
    if setting:
        return (
            f"{unit.program} needs {interpreter}, which is hidden by {setting} or leads to what is"
            " hidden: install cuberouted with another Python, such as /usr/bin/python3"
        )
    if view.user is None:
        return None
    why = users.why_not_executable(unit.program, view.user)
    return why and f"cannot be started by the user {view.user.name}: {why}"
