"""Which TCP and Unix sockets listen on this host, from /proc/net. Nothing is connected to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from cuberouted.config import OpenVPNConfig
from cuberouted.daemon.host import HostState
from cuberouted.model import Prefix, format_address
from cuberouted.openvpn.dial import management_hosts

SOCKETS = Path("/proc/net")
"""Where the kernel lists its sockets. tcp6 is missing on a host without IPv6."""

PROCESSES = Path("/proc")

LISTEN = "0A"
"""The state in /proc/net/tcp (include/net/tcp_states.h)."""

_ESTABLISHED = "01"

_LISTENING_UNIX = b"00010000"
"""The flags in /proc/net/unix (__SO_ACCEPTCON in include/linux/net.h)."""

_MAPPED = bytes(10) + b"\xff\xff"
"""Before an IPv4 address in an IPv6 one: RFC 4291 section 2.5.5.2."""


@attrs.frozen
class Listener:
    """A listening socket: packed address, port, owner, and the number of its inode."""

    address: bytes
    port: int
    uid: int
    inode: int

    def accepts(self, address: bytes) -> bool:
        """Whether connections to this packed *address* reach it.

        A socket of the address :: accepts IPv4 too, unless it has IPV6_V6ONLY, which is not
        shown here.
        """
        if any(self.address):
            return self.address == address
        return len(self.address) >= len(address)


@attrs.frozen
class Connection:
    """A connected socket: where it is connected to, and the number of its inode."""

    address: bytes
    port: int
    inode: int


def listeners() -> Iterator[Listener]:
    """The listening sockets of this network namespace."""
    for local, _, state, uid, inode in _tcp_sockets():
        if state == LISTEN:
            yield Listener(*_endpoint(local), uid, inode)


def connections() -> Iterator[Connection]:
    """The connected TCP sockets of this network namespace."""
    for _, remote, state, _, inode in _tcp_sockets():
        if state == _ESTABLISHED:
            yield Connection(*_endpoint(remote), inode)


def _tcp_sockets() -> Iterator[tuple[str, str, str, int, int]]:
    """Local and remote endpoint, state, owner and inode of each socket."""
    for table in ("tcp", "tcp6"):
        path = SOCKETS / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, remote, state, _, _, _, uid, _, inode, *_ = line.split()
            yield local, remote, state, int(uid), int(inode)


def _endpoint(text: str) -> tuple[bytes, int]:
    address, _, port = text.rpartition(":")
    return _packed(address), int(port, 16)


def unix_listeners() -> Iterator[tuple[bytes, int]]:
    """Paths and inodes of the listening Unix sockets of this network namespace."""
    try:
        lines = (SOCKETS / "unix").read_bytes().split(b"\n")[1:]
    except OSError:
        return
    for line in lines:
        # address, references, protocol, flags, type, state, inode, and path if it has one
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[3] == _LISTENING_UNIX:
            yield fields[7], int(fields[6])


def is_listened_on(path: Path) -> bool | None:
    """Whether a process of this network namespace listens on the Unix socket *path*.

    None if that cannot be told: a path is listed as it was given to bind, maybe relative to a
    directory or a root that we do not know.
    """
    if not (SOCKETS / "unix").exists():
        return None
    real, unclear = Path(os.path.realpath(path)), False
    for name, _ in unix_listeners():
        bound = Path(os.fsdecode(name))
        if bound.name != real.name:
            continue
        try:
            if bound.is_absolute() and bound.samefile(real):
                return True
        except OSError:
            unclear = True
        unclear |= not bound.is_absolute()
    return None if unclear else False


def _packed(text: str) -> bytes:
    """The kernel prints words of 32 bits in its own byte order."""
    data = bytes.fromhex(text)
    step = -1 if sys.byteorder == "little" else 1
    address = b"".join(data[start : start + 4][::step] for start in range(0, len(data), 4))
    return address.removeprefix(_MAPPED)


def process_of(inode: int) -> tuple[int, tuple[str, ...]] | None:
    """Id and command line of the process that has this socket open, as far as we may see that."""
    for process in PROCESSES.iterdir():
        if process.name.isdigit() and inode in sockets_of(int(process.name)):
            command = command_of(int(process.name))
            if command:
                return int(process.name), command
    return None


def command_of(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty if it has ended."""
    try:
        command = (PROCESSES / str(pid) / "cmdline").read_bytes().decode(errors="backslashreplace")
    except OSError:
        return ()
    return tuple(command.rstrip("\0").split("\0")) if command else ()


def is_cuberouted(command: Iterable[str]) -> bool:
    """Whether this is the command line of our daemon: `cuberouted FILE`, or `python -m ...`."""
    return "cuberouted" in [Path(word).name for word in list(command)[:3]]


def sockets_of(pid: int) -> frozenset[int]:
    """The inodes of the sockets that a process has open, as far as we may see them."""
    found = set()
    with suppress(OSError):  # it has just ended, or belongs to somebody else
        for file in (PROCESSES / str(pid) / "fd").iterdir():
            with suppress(OSError):  # just closed
                name = str(file.readlink())
                if name.startswith("socket:["):
                    found.add(int(name[8:-1]))
    return frozenset(found)


@attrs.frozen
class Management:
    """Why a management interface is not there; or where it is, if that is another host."""

    why_absent: str | None = None
    elsewhere: str | None = None


def find_management(openvpn: OpenVPNConfig, host: HostState) -> Management:
    """Whether a socket listens where the daemon connects to for *openvpn*'s management."""
    port = openvpn.mgmt_port
    hosts = management_hosts(openvpn, host.data_addresses.get(openvpn.data_interface))
    try:
        addresses = management_addresses(openvpn, host)
    except OSError as error:
        return Management(f"{error.filename} cannot be resolved: {error.strerror}")
    there = [listener for listener in listeners() if listener.port == port]
    if any(listener.accepts(address) for listener in there for address in addresses):
        return Management()
    if not any(is_ours(address, host) for address in addresses):
        return Management(
            elsewhere=f"its management interface at {hosts[0]} port {port} is not on this host"
        )
    why = f"no process listens on {' or '.join(hosts)} port {port}"
    if there:
        other = format_address(there[0].address)
        return Management(
            f"{why}, but one on {other}: if that is OpenVPN, set"
            f" {'mgmt_host' if openvpn.name else 'openvpn_mgmt_host'} = {other}"
        )
    return Management(f"{why}: is OpenVPN running, with `management {hosts[0]} {port}`?")


def management_addresses(openvpn: OpenVPNConfig, host: HostState) -> list[bytes]:
    """Packed addresses to which the daemon connects for *openvpn*'s management.

    Raises:
      OSError: a name cannot be resolved; the name is its filename.
    """
    addresses: list[bytes] = []
    for name in management_hosts(openvpn, host.data_addresses.get(openvpn.data_interface)):
        try:
            addresses += _resolved(name, openvpn.mgmt_port)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from error
        except UnicodeError:  # a label is empty, or has more than 63 characters
            raise OSError(0, "it is no host name", name) from None
    return addresses


def _resolved(name: str, port: int) -> list[bytes]:
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [Prefix.parse(str(address[0]).partition("%")[0]).address for *_, address in found]


def is_ours(address: bytes, host: HostState) -> bool:
    """Whether a program on this host can listen on *address*; 0.0.0.0 and :: included."""
    loopback = address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\x01"
    return loopback or not any(address) or address in host.policy.own_addresses


@attrs.frozen
class Taken:
    """Addresses whose port cannot be had, and why; by cuberouted itself, by other programs, and
    by programs that this user may not see.
    """

    by_ourselves: Mapping[str, str]
    by_others: Mapping[str, str]
    by_somebody: Mapping[str, str]


def taken(addresses: Iterable[bytes], port: int, own_uid: int | None) -> Taken:
    """Which of these listen addresses are taken. *own_uid*: a user that runs only cuberouted."""
    ourselves, others, somebody = {}, {}, {}
    for address in addresses:
        why = _why_not_bound(address, port)
        if why is None:
            continue
        text = f"{format_address(address)} port {port}"
        found = next((x for x in listeners() if x.port == port and x.accepts(address)), None)
        process = process_of(found.inode) if found else None
        if process is not None and is_cuberouted(process[1]):
            ourselves[text] = f"process {process[0]}"
        elif found is not None and found.uid == own_uid:
            ourselves[text] = f"user id {own_uid}"
        elif process is None:
            somebody[text] = why
        else:
            others[text] = f"{why} by {Path(process[1][0]).name} (process {process[0]})"
    return Taken(ourselves, others, somebody)


def _why_not_bound(address: bytes, port: int) -> str | None:
    with socket.socket(Prefix.host(address).family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((format_address(address), port))
        except OSError as error:
            return str(error.strerror)
    return None
