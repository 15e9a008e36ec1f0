"""What the stand-in for OpenVPN answers to which command, and says of a new client."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tests.fakes.openvpn_listing import TITLES, Client, rows

if TYPE_CHECKING:
    from tests.fakes.openvpn import FakeOpenVPN


def answer(openvpn: FakeOpenVPN, line: bytes) -> list[bytes]:
    """The lines that answer a command line."""
    word, *rest = words(line)
    return ANSWERS.get(word, _unknown)(openvpn, *rest)


def _version(openvpn: FakeOpenVPN) -> list[bytes]:
    title = TITLES[openvpn.version]
    return [b"OpenVPN Version: " + title, b"Management Version: 5", b"END"]


def _verb(openvpn: FakeOpenVPN) -> list[bytes]:
    return [b"SUCCESS: verb=%d" % openvpn.verb]


def _state(openvpn: FakeOpenVPN, what: bytes = b"on") -> list[bytes]:
    openvpn.state_on = what == b"on"
    return [b"SUCCESS: real-time state notification set to " + what.upper()]


def _log(openvpn: FakeOpenVPN, what: bytes = b"on") -> list[bytes]:
    openvpn.log_on = what == b"on"
    return [b"SUCCESS: real-time log notification set to " + what.upper()]


def _load_stats(openvpn: FakeOpenVPN) -> list[bytes]:
    return [b"SUCCESS: nclients=%d,bytesin=0,bytesout=0" % len(openvpn.clients)]


def _status(openvpn: FakeOpenVPN, version: bytes = b"1") -> list[bytes]:
    if openvpn.hold:
        return [b"ERROR: The 'status' command is not supported by the current daemon mode"]
    assert version == b"3"
    if openvpn.hang_up_in_listing:
        openvpn.hang_up_in_listing = False
        openvpn.hang_up()
    return rows(openvpn.version, openvpn.clients.values())[: openvpn.cut_after]


def _kill(openvpn: FakeOpenVPN, victim: bytes = b"") -> list[bytes]:
    name, colon, rest = victim.partition(b":")
    if openvpn.refuse_kill:
        return [b"ERROR: common name '%s' not found" % name]
    if colon and rest:
        return [b"ERROR: error parsing IP address: " + name]
    found = [cid for cid, client in openvpn.clients.items() if client.name == name]
    for cid in found:
        openvpn.drop(cid)
    if not found:
        return [b"ERROR: common name '%s' not found" % name]
    return [b"SUCCESS: common name '%s' found, %d client(s) killed" % (name, len(found))]


def _client_kill(openvpn: FakeOpenVPN, cid: bytes = b"", message: bytes = b"") -> list[bytes]:
    if int(cid) not in openvpn.clients:
        return [b"ERROR: client-kill command failed"]
    if message.startswith(b"RESTART"):
        openvpn.send_on(int(cid))
    else:
        openvpn.end_later(int(cid))
    return [b"SUCCESS: client-kill command succeeded"]


ANSWERS: dict[bytes, Callable[..., list[bytes]]] = {
    b"version": _version,
    b"verb": _verb,
    b"state": _state,
    b"log": _log,
    b"load-stats": _load_stats,
    b"status": _status,
    b"kill": _kill,
    b"client-kill": _client_kill,
}


def _unknown(_openvpn: FakeOpenVPN, *_rest: bytes) -> list[bytes]:
    return [b"ERROR: unknown command, enter 'help' for more options"]


def words(line: bytes) -> list[bytes]:
    """A command line as OpenVPN's parse_line splits it: quotes, and backslashes in them."""
    words = re.findall(rb'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    return [re.sub(rb"\\(.)", rb"\1", quoted) or plain for quoted, plain in words] or [b""]


def established(client: Client) -> Iterator[bytes]:
    yield b">CLIENT:ESTABLISHED,%d" % client.cid
    yield b">CLIENT:ENV,n_clients=1"
    yield b">CLIENT:ENV,time_unix=%d" % client.since
    if client.address6:
        yield b">CLIENT:ENV,ifconfig_pool_remote_ip6=" + client.address6
    if client.address:
        yield b">CLIENT:ENV,ifconfig_pool_remote_ip=" + client.address
    yield b">CLIENT:ENV,trusted_ip=" + client.real[0]
    yield b">CLIENT:ENV,common_name=" + client.name
    yield b">CLIENT:ENV,X509_0_CN=" + client.name
    yield b">CLIENT:ENV,END"
