"""One connection to OpenVPN's management interface, without the connection.

Bytes in, events out; commands in, bytes out. Commands are answered in order, by one line
or by lines up to ``END``; a line that begins with ``>`` is a notification wherever it
stands. What the events mean for the clients is not known here.

Source: OpenVPN ``doc/management-notes.txt``, and ``src/openvpn/manage.c``, tags v2.3.0 to
v2.7.6, where the two differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
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


def kill_command(name: bytes, cid: int) -> Command | None:
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


class HoldEvent(NamedTuple):
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
    | HoldEvent
    | RemoteExit
    | LogLine
    | Fatal
    | Rows
    | Reply
)


MAX_LINE = 32 * 1024
"""OpenVPN prints no line of more than 10,239 bytes (ERR_BUF_SIZE); one that is cut there
lacks its newline and runs into the next."""

MAX_DIGITS = 20
"""No client id is longer: it is an unsigned long."""

PROMPT = b"ENTER PASSWORD:"
"""The one thing that OpenVPN sends without a newline."""

OWN_ECHO = b"MANAGEMENT: "
"""Log lines on this very conversation: our commands, and notifications said again."""


class ManagementError(Exception):
    """OpenVPN (or who sits in its place) does not speak its protocol; str() says how."""


ENV = b">CLIENT:ENV,"

MAYBE_NO_ROW = (b">", b"E", b"S")
"""Notifications, END, ERROR:, ENTER PASSWORD: and SUCCESS: begin so, and hardly a row."""

CUT_SHORT = b"the listing ended without END"
NO_ANSWER = b"no listing at all"


class ManagementProtocol:
    """What was asked, what has been answered, and the bytes between."""

    def __init__(self) -> None:
        self._rest = b""
        self._asked: deque[Command] = deque()
        self._rows_seen = False
        self._in_rows = False  # the line before was a row, and nothing else is open
        self._established: Established | None = None
        self._env: dict[bytes, bytes] = {}

    def send(self, command: Command) -> bytes:
        """The bytes that ask *command*; its answer is expected from now on."""
        self._asked.append(command)
        return command.text + b"\n"

    def receive(self, data: bytes) -> list[Event]:
        """Events completed by *data*, oldest first, the same however the bytes are cut.

        Only rows of a listing come in groups that depend on the cuts.

        Raises:
          ManagementError: a line longer than OpenVPN's can be; nothing more can be trusted.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        events: list[Event] = []
        rows: list[bytes] = []
        for line in lines:
            if self._in_rows and not line.startswith(MAYBE_NO_ROW):
                rows.append(self._bounded(line).rstrip(b"\r"))
                continue
            if self._established is None and line.startswith(ENV):
                self._bounded(line)  # what is left of an environment, most of what is ever said
                continue
            self._take(rows, events)
            self._line(self._bounded(self._without_prompt(line, events)).rstrip(b"\r"), events)
        self._take(rows, events)
        self._rest = self._bounded(self._without_prompt(rest, events))
        return events

    def _take(self, rows: list[bytes], events: list[Event]) -> None:
        if rows:
            events.append(Rows(self._asked[0], tuple(rows)))
            rows.clear()

    @staticmethod
    def _bounded(line: bytes) -> bytes:
        if len(line) > MAX_LINE:
            raise ManagementError(f"a line of more than {MAX_LINE} bytes: {line[:60]!r}")
        return line

    @staticmethod
    def _without_prompt(line: bytes, events: list[Event]) -> bytes:
        while line.startswith(PROMPT):
            events.append(PasswordPrompt())
            line = line[len(PROMPT) :]
        return line

    def _line(self, line: bytes, events: list[Event]) -> None:
        if self._established is not None:
            if self._keep_env(line):
                return
            events.append(self._established)
            self._established = None
        if line.startswith(b">"):
            self._notification(line, events)
        elif self._asked:
            self._answer(line, events)

    def _keep_env(self, line: bytes) -> bool:
        """Take one line of an environment. False: no more of it is needed.

        The first lines have what is; some fifty follow. OpenVPN writes an environment in one
        go: whatever else comes ends it, also where its END ran into a line that was cut.
        """
        if not line.startswith(ENV) or line == ENV + b"END":
            return False
        key, _, value = line[len(ENV) :].partition(b"=")
        if key in ESTABLISHED_ENV:
            self._env[key] = value
        return not self._env.keys() >= ENOUGH_ENV

    def _answer(self, line: bytes, events: list[Event]) -> None:
        command = self._asked[0]
        verdict = line.startswith((b"SUCCESS:", b"ERROR:"))
        if not command.listing:
            if verdict:  # else the rest of something that nobody asked for
                self._verdict(line, events)
        elif line == b"END":
            self._done(Reply(command, ok=True, text=b""), events)
        elif not verdict:
            self._rows_seen = self._in_rows = True
            events.append(Rows(command, (line,)))
        elif line.startswith(b"ERROR:") and not self._rows_seen:
            self._verdict(line, events)
        else:
            # The answer to the next command: a row of 512 bytes silences the rest of the
            # listing, and 2.7 with DCO may not answer at all.
            text = CUT_SHORT if self._rows_seen else NO_ANSWER
            self._done(Reply(command, ok=False, text=text), events)
            self._line(line, events)

    def _verdict(self, line: bytes, events: list[Event]) -> None:
        word, _, text = line.partition(b":")
        reply = Reply(self._asked[0], ok=word == b"SUCCESS", text=text.strip())
        self._done(reply, events)

    def _done(self, reply: Reply, events: list[Event]) -> None:
        self._asked.popleft()
        self._rows_seen = self._in_rows = False
        events.append(reply)

    def _notification(self, line: bytes, events: list[Event]) -> None:
        self._in_rows = False
        kind, _, text = line[1:].partition(b":")
        if kind == b"CLIENT":
            self._client(text, events)
        elif kind == b"LOG":
            self._log(text, events)
        elif kind == b"STATE":
            name, detail = [*text.split(b",", 3), b"", b""][1:3]
            events.append(State(name, detail))
        elif kind == b"NOTIFY":
            if text.startswith(b"info,remote-exit"):
                events.append(RemoteExit())
        elif kind in SIMPLE:
            events.append(SIMPLE[kind](text))
        elif kind.startswith(b"NEED-") or (kind == b"PASSWORD" and text.startswith(b"Need ")):
            events.append(HoldEvent(line[1:]))

    def _client(self, text: bytes, events: list[Event]) -> None:
        kind, _, rest = text.partition(b",")
        if kind == b"ESTABLISHED":
            if rest.isdigit() and len(rest) <= MAX_DIGITS:
                self._env = {}
                self._established = Established(int(rest), self._env)
        elif kind in (b"CONNECT", b"REAUTH", b"CR_RESPONSE"):
            events.append(ClientAuth())

    @staticmethod
    def _log(text: bytes, events: list[Event]) -> None:
        message = text.split(b",", 2)[-1]  # after the time, and flags that may be empty
        if not message.startswith(OWN_ECHO):
            events.append(LogLine(message))


SIMPLE: Mapping[bytes, Callable[[bytes], Event]] = {
    b"INFO": Banner,
    b"HOLD": HoldEvent,
    b"FATAL": Fatal,
}
