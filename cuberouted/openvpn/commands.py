"""What is asked of OpenVPN's management interface, as bytes that mean only what they should.

Source: OpenVPN ``src/openvpn/manage.c`` (man_dispatch_command, man_kill) and
``options.c`` (parse_line), tags v2.3.0 to v2.7.6.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_KILL_NAME = 127
"""Longer names are cut by man_kill's ``char p1[128]``, and would hit another client."""

UNDEF = b"UNDEF"
"""What OpenVPN shows for a client that has no common name (yet): nobody's name."""

NO_CID = -1
"""The client id of a session in a listing without ids (OpenVPN 2.3)."""


class Command(NamedTuple):
    """One command. ``listing``: answered by lines up to ``END``, else by one line.

    ``drops``: it ends a session. ``fallback`` is what to ask where OpenVPN answers ``ERROR:``.
    """

    text: bytes
    listing: bool = False
    drops: bool = False
    fallback: Command | None = None


VERSION = Command(b"version", listing=True)
VERB = Command(b"verb")
STATE_ON = Command(b"state on")
LOG_ON = Command(b"log on")
COUNT = Command(b"load-stats")
LISTING = Command(b"status 3", listing=True)


def drop(name: bytes, cid: int) -> Command | None:
    """The command that ends session *cid* of common name *name*; None: there is no safe one.

    ``kill "NAME"`` acts at once, but on every session of the name: the caller knows that
    there is one. ``client-kill CID`` takes five seconds, and serves where the name cannot
    be written, or is refused.
    """
    by_cid = None if cid == NO_CID else Command(b"client-kill %d" % cid, drops=True)
    if not _killable(name):
        return by_cid
    quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return Command(b'kill "' + quoted + b'"', drops=True, fallback=by_cid)


def _killable(name: bytes) -> bool:
    """Whether ``kill`` takes *name* for a name, and whole.

    With a colon it is an address (up to 2.6 one is enough, from 2.7 it takes two), and
    ``NAME:`` would even drop a client called NAME. A control character could end the line.
    """
    return (
        0 < len(name) <= MAX_KILL_NAME
        and name != UNDEF
        and b":" not in name
        and not any(byte < 32 or byte == 127 for byte in name)
    )
