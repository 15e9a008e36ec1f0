"""The user that the daemon runs as, and what that user may do. Only root can act as another user.

The kernel decides: paths are tried with that user's ids, because mode bits alone say nothing of
access control lists and mounts.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from cuberouted.api.client import Credentials
from cuberouted.check.facts import User
from cuberouted.check.programs import run

UNIT = "cuberouted.service"

DEFAULT_USER = "cuberouted"
"""The user of systemd/cuberouted.service and systemd/cuberouted.sysusers."""

BOOTED = Path("/run/systemd/system")
"""Exists where systemd is the system manager: sd_booted(3)."""

_PROPERTIES = (
    "LoadState",
    "User",
    "SupplementaryGroups",
    "ExecStart",
    "ProtectHome",
    "PrivateTmp",
    "NeedDaemonReload",
)

_HIDDEN = {
    "ProtectHome": ("/home", "/root", "/run/user"),
    "PrivateTmp": ("/tmp", "/var/tmp"),  # noqa: S108 - not used
}
"""What a unit with these settings does not see of the host: systemd.exec(5)."""

_HOMES = (Path("/root"), Path("/home"))
"""Where a program is some user's own, whatever its mode."""

_MAX_LINKS = 40
"""The kernel follows no more symbolic links in one path: path_resolution(7)."""

_VERSION_TIMEOUT = 20.0
"""Seconds for `cuberouted --version`. It takes 0.2 s."""


@attrs.frozen
class Unit:
    """What systemd knows of cuberouted.service: user (empty: root), groups, and command line.

    ``hidden``: directories that it does not see, and the setting that hides them.
    ``needs_reload``: its files have changed since systemd read them.
    """

    user: str
    groups: tuple[str, ...]
    program: Path | None
    arguments: tuple[str, ...]
    hidden: Mapping[Path, str] = attrs.field(factory=dict)
    needs_reload: bool = False

    def hides(self, path: Path) -> str | None:
        """The setting that hides *path* from the daemon, or None."""
        return next((why for top, why in self.hidden.items() if _leads_through(path, [top])), None)

    @property
    def is_root(self) -> bool:
        """Whether the daemon runs as root."""
        return self.user in ("", "root", "0")


def read_unit() -> Unit | None:
    """The unit of the daemon, or None without systemd or without that unit."""
    if not BOOTED.exists():
        return None
    options = [f"--property={name}" for name in _PROPERTIES]
    output = run("systemctl", "show", *options, UNIT)
    return None if output is None else parse_unit(output)


def parse_unit(output: str) -> Unit | None:
    """The unit in the output of `systemctl show`, or None if it is not loaded."""
    pairs = (line.partition("=") for line in output.splitlines())
    properties = {key: value for key, _, value in pairs}
    if properties.get("LoadState") != "loaded":
        return None
    # ExecStart={ path=/usr/bin/cuberouted ; argv[]=/usr/bin/cuberouted FILE ; ignore_errors=...
    fields = {
        key: value
        for field in properties.get("ExecStart", "").strip("{} ").split(" ; ")
        for key, _, value in [field.partition("=")]
    }
    path = fields.get("path")
    return Unit(
        user=properties.get("User", ""),
        groups=tuple(properties.get("SupplementaryGroups", "").split()),
        program=Path(path) if path else None,
        arguments=tuple(fields.get("argv[]", "").split()[1:]),
        hidden={
            Path(path): f"{key}={properties[key]}"
            for key, paths in _HIDDEN.items()
            if properties.get(key) in ("yes", "tmpfs", "disconnected")
            for path in paths
        },
        needs_reload=properties.get("NeedDaemonReload") == "yes",
    )


def user_of_process(server: Credentials, proc: Path = Path("/proc")) -> User | None:
    """The user that a running daemon runs as. None: root."""
    if server.uid == 0:
        return None
    try:
        status = (proc / str(server.pid) / "status").read_text(errors="replace")
    except OSError:  # it has just ended, or runs in another PID namespace
        return _user(server.uid, server.gid, ())
    fields = {
        key: value.split() for key, _, value in (x.partition(":") for x in status.splitlines())
    }
    if str(server.uid) not in fields.get("Uid", ()):
        return _user(server.uid, server.gid, ())
    groups = tuple(map(int, fields.get("Groups", ())))
    return User(_name(server.uid), server.uid, server.gid, groups)


def user_of_unit(unit: Unit | None) -> User | None:
    """The user that a daemon would run as that systemd starts. None: root, or no such user.

    Without a unit it is the user cuberouted, if that exists.
    """
    if unit is not None and unit.is_root:
        return None
    name = DEFAULT_USER if unit is None else unit.user
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        return None
    return _user(entry.pw_uid, entry.pw_gid, unit.groups if unit else ())


def _user(uid: int, gid: int, more: Iterable[str]) -> User:
    name = _name(uid)
    groups = set(os.getgrouplist(name, gid))
    for group in more:
        try:
            groups.add(int(group) if group.isdigit() else grp.getgrnam(group).gr_gid)
        except KeyError:
            continue
    return User(name, uid, gid, tuple(sorted(groups)))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextmanager
def acting_as(user: User | None) -> Iterator[None]:
    """Files are accessed with the rights of *user* meanwhile; None: with our own.

    Raises:
      OSError: this process may not change its user.
    """
    if user is None:
        yield
        return
    groups, gid, uid = os.getgroups(), os.getegid(), os.geteuid()
    try:
        os.setgroups(user.groups)
        os.setegid(user.gid)
        os.seteuid(user.uid)  # the kernel clears the effective capabilities
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def blocked_at(path: Path, user: User | None, mode: int = os.R_OK) -> str | None:
    """What keeps *user* from *path*: the first directory that it may not search, or the file
    itself; None if nothing does. *user* None: the current user.
    """
    directories, real = list(_directories(path)), Path(os.path.realpath(path))
    with acting_as(user):
        for directory in directories:
            exists = os.path.exists(directory)  # noqa: PTH110 - Path's raises PermissionError
            if exists and not os.access(directory, os.X_OK, effective_ids=True):
                return _described(directory)
        return None if os.access(real, mode, effective_ids=True) else _described(real)


def _directories(path: Path) -> Iterator[Path]:
    """The directories that the kernel searches for *path*, symbolic links followed."""
    here, links = Path("/"), 0
    names = list(reversed(path.absolute().parts[1:]))
    yield here
    while names:
        name = names.pop()
        try:
            target = (here / name).readlink()
        except OSError:  # no link, or it cannot be told
            here = here.parent if name == ".." else here / name
            if names:
                yield here
            continue
        links += 1
        if links > _MAX_LINKS:
            return
        names += reversed([part for part in target.parts if part != "/"])
        if target.is_absolute():
            here = Path("/")


def _leads_through(path: Path, tops: Iterable[Path]) -> bool:
    """Whether *path*, or what it is a link to, is below one of these directories."""
    needed = (path.absolute(), *_directories(path), Path(os.path.realpath(path)))
    return any(one.is_relative_to(top) for top in tops for one in needed)


def _described(path: Path) -> str:
    what = mode_and_owner(path)
    return f"{path} has {what}" if what else str(path)


def mode_and_owner(path: Path) -> str | None:
    """``mode 0640, root:openvpn``, or None if that cannot be told."""
    try:
        status = path.stat()
    except OSError:
        return None
    owner = f"{_name(status.st_uid)}:{_group(status.st_gid)}"
    return f"mode {stat.S_IMODE(status.st_mode):04o}, {owner}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def why_not_executable(program: Path, user: User) -> str | None:
    """Why *user* cannot run cuberouted's *program*, or None if it can. Tries `--version`."""
    environment: Mapping[str, str] = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - the program that systemd runs, as the same user
            [program, "--version"],
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{program} --version does not answer within {_VERSION_TIMEOUT:g} s"
    except OSError as error:
        where = blocked_at(program, user, os.X_OK) or _blocked_interpreter(program, user)
        advice = _advice(program) if isinstance(error, PermissionError) else ""
        return f"{program}: {error.strerror}{f' ({where})' if where else ''}{advice}"
    if done.returncode:
        last = done.stderr.decode(errors="backslashreplace").strip().rpartition("\n")[2]
        return f"{program}: {last or f'exit status {done.returncode}'}"
    return None


def _advice(program: Path) -> str:
    needed = filter(None, (program, interpreter_of(program)))
    if any(_leads_through(path, _HOMES) for path in needed):
        return "; install it for all users, outside of /root and /home"
    return "; if that was installed under umask 077, install it again under umask 022"


def _blocked_interpreter(program: Path, user: User) -> str | None:
    interpreter = interpreter_of(program)
    return blocked_at(interpreter, user, os.X_OK) if interpreter else None


def interpreter_of(program: Path) -> Path | None:
    """The interpreter in a script's first line, or None."""
    try:
        with program.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return None
    words = line.removeprefix(b"#!").split()
    return Path(os.fsdecode(words[0])) if line.startswith(b"#!") and words else None
