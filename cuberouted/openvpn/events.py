"""What OpenVPN's management interface tells, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cuberouted.openvpn.commands import Command

ENOUGH_ENV = frozenset({b"common_name", b"time_unix", b"ifconfig_pool_remote_ip"})
"""With these nothing else in a client's environment is of interest."""

ESTABLISHED_ENV = ENOUGH_ENV | {b"X509_0_CN"}
"""What is kept of a client's environment, which may have hundreds of entries."""


class PasswordPrompt(NamedTuple):
    """OpenVPN wants the management password; the second time, the first was wrong."""


class Banner(NamedTuple):
    """``>INFO:``: we are in. ``text`` is what follows."""

    text: bytes


class Established(NamedTuple):
    """``>CLIENT:ESTABLISHED``: a client connected, or nearly did.

    It is sent also for a client that a script then refused. ``env`` holds what was sent
    of ESTABLISHED_ENV, up to where it was enough.
    """

    cid: int
    env: Mapping[bytes, bytes]


class ClientAuth(NamedTuple):
    """OpenVPN runs with ``management-client-auth`` and waits for its manager to answer."""


class State(NamedTuple):
    """``>STATE:``: ``name`` as ``CONNECTED``, ``detail`` as ``SIGUSR1`` or ``SUCCESS``."""

    name: bytes
    detail: bytes


class Held(NamedTuple):
    """OpenVPN waits for something that only an operator can give: ``HOLD``, a password."""

    text: bytes


class RemoteExit(NamedTuple):
    """A client said goodbye (2.6 and later); it stays listed for some five seconds."""


class LogLine(NamedTuple):
    """``>LOG:``, after ``log on``; lines on this conversation are left out."""

    text: bytes


class Fatal(NamedTuple):
    """``>FATAL:``: OpenVPN is about to end."""

    text: bytes


class Rows(NamedTuple):
    """Lines of an answer that goes up to ``END``, which is not among them."""

    command: Command
    lines: tuple[bytes, ...]


class Reply(NamedTuple):
    """The end of an answer.

    ``text`` is what follows ``SUCCESS: `` or ``ERROR: ``, or says what was wrong with a
    listing.
    """

    command: Command
    ok: bool
    text: bytes


Event = (
    PasswordPrompt
    | Banner
    | Established
    | ClientAuth
    | State
    | Held
    | RemoteExit
    | LogLine
    | Fatal
    | Rows
    | Reply
)
