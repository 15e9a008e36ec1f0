"""The protocol of OpenVPN's management interface, without the connection.

Bytes in, events out; commands in, bytes out. OpenVPN answers commands in order, each by one line
or by lines up to ``END``; a line that begins with ``>`` is a notification wherever it stands.

Source: OpenVPN ``doc/management-notes.txt``, and where that differs from the code,
``src/openvpn/manage.c`` and ``options.c``, tags v2.3.0 to v2.7.6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

# -- commands --

MAX_KILL_NAME = 127
"""Bytes. ``man_kill`` cuts longer names (``char p1[128]``), and would kill another client."""

UNDEF = b"UNDEF"
"""What OpenVPN lists for a client without a common name, or before it is known."""

NO_CID = -1
"""The client id of a session in a listing without client ids (OpenVPN 2.3)."""


class Command(NamedTuple):
    """One command.

    ``listing``: it is answered by lines up to ``END``, not by one line. ``kills``: it ends a
    session. ``fallback``: the command to send if OpenVPN answers ``ERROR:``. ``sends_on``: see
    `send_on_command`.
    """

    text: bytes
    listing: bool = False
    kills: bool = False
    fallback: Command | None = None
    sends_on: bool = False


VERSION = Command(b"version", listing=True)
VERB = Command(b"verb")
STATE_ON = Command(b"state on")
STATE_OFF = Command(b"state off")
LOG_ON = Command(b"log on")
LOG_OFF = Command(b"log off")
LOAD_STATS = Command(b"load-stats")
STATUS = Command(b"status 3", listing=True)


def kill_command(name: bytes, cid: int) -> Command | None:
    """The command that ends session *cid* of common name *name*, or None if none is safe.

    It ends every session with that name: the caller makes sure that there is only one.
    ``client-kill`` is used where the name cannot be sent, or where OpenVPN refuses it.
    """
    by_name, by_cid = kill_by_name(name), kill_by_cid(cid)
    return by_cid if by_name is None else by_name._replace(fallback=by_cid)


def kill_by_name(name: bytes) -> Command | None:
    """``kill "NAME"``, which acts at once on every session with that name. None: it is not safe."""
    if not _can_kill_by_name(name):
        return None
    quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return Command(b'kill "' + quoted + b'"', kills=True)


def kill_by_cid(cid: int) -> Command | None:
    """``client-kill CID``, which takes five seconds. None: the client id is unknown."""
    return None if cid == NO_CID else Command(b"client-kill %d" % cid, kills=True)


def send_on_command(cid: int) -> Command | None:
    """The command that sends the client *cid* on. None: the client id is unknown.

    ``[N]`` makes the client try the next server of its list, not this one again. OpenVPN itself
    sends the same message with ``explicit-exit-notify 2`` (multi.c, multi_push_restart). The
    session stays listed for five seconds. Source: manage.c and push.c, v2.3.0 to v2.7.6; clients
    before 2.3.9 ignore ``[N]``, and connect here again.
    """
    return None if cid == NO_CID else Command(b"client-kill %d RESTART,[N]" % cid, sends_on=True)


def _can_kill_by_name(name: bytes) -> bool:
    return (
        0 < len(name) <= MAX_KILL_NAME
        and name != UNDEF
        # man_kill takes a name with a colon for an address (up to 2.6 one colon, from 2.7 two),
        # and ``NAME:`` would kill the client called NAME
        and b":" not in name
        # a control character could end the line
        and not any(byte < 32 or byte == 127 for byte in name)
    )


# -- events --

REQUIRED_ENV = frozenset({b"common_name", b"time_unix", b"ifconfig_pool_remote_ip"})
"""The variables of a client's environment that describe its session completely."""

KEPT_ENV = REQUIRED_ENV | {b"X509_0_CN"}
"""The variables that are kept of an environment, which may have hundreds."""


class PasswordPrompt(NamedTuple):
    """OpenVPN asks for the management password. The second time, the first was wrong."""


class Banner(NamedTuple):
    """``>INFO:``: OpenVPN serves this connection. ``text`` is what follows."""

    text: bytes


class Established(NamedTuple):
    """``>CLIENT:ESTABLISHED``: a client has connected, or a script is about to refuse it.

    ``env`` has the variables of KEPT_ENV that were received before REQUIRED_ENV was complete.
    """

    cid: int
    env: Mapping[bytes, bytes]


class ClientAuth(NamedTuple):
    """OpenVPN runs with ``management-client-auth``, and waits for its manager to decide."""


class State(NamedTuple):
    """``>STATE:``. ``name`` is such as ``CONNECTED``, ``detail`` such as ``SIGUSR1``."""

    name: bytes
    detail: bytes


class HoldEvent(NamedTuple):
    """OpenVPN waits for an operator: a ``>HOLD:``, or a password or file that it needs."""

    text: bytes


class RemoteExit(NamedTuple):
    """A client has disconnected by itself (2.6 and later). It stays listed for some 5 s."""


class LogLine(NamedTuple):
    """``>LOG:``, after ``log on``. Log lines about this connection are left out.

    ``at``: OpenVPN's time, in Unix seconds.
    """

    text: bytes
    at: int


class Fatal(NamedTuple):
    """``>FATAL:``: OpenVPN is about to end."""

    text: bytes


class Rows(NamedTuple):
    """Lines of an answer that ends with ``END``; ``END`` is not among them."""

    command: Command
    lines: tuple[bytes, ...]


class Reply(NamedTuple):
    """The end of an answer.

    ``text`` is what follows ``SUCCESS: `` or ``ERROR: ``, or says what is wrong with a listing.
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

# -- bytes to events --

MAX_LINE = 32 * 1024
"""Bytes. OpenVPN prints no line of more than 10,239 (ERR_BUF_SIZE); a line that is cut there
lacks its newline, so that the next line is appended to it."""

MAX_CID_DIGITS = 20
"""A client id is an unsigned long."""

MAX_TIME_DIGITS = 12
"""A longer number is no time in seconds."""

_PROMPT = b"ENTER PASSWORD:"  # the only text that OpenVPN sends without a newline
_OWN_LOG = b"MANAGEMENT: "  # log lines about this connection: our commands, and notifications
_ENV = b">CLIENT:ENV,"
_MAYBE_NOT_ROW = (b">", b"E", b"S")  # notifications, END, ERROR:, ENTER PASSWORD: and SUCCESS:
_CUT_SHORT = b"the listing ended without END"
_NO_ANSWER = b"no listing at all"


class ManagementError(Exception):
    """The other side does not speak the management protocol. str() says what is wrong."""


class ManagementProtocol:
    """Parses what OpenVPN sends, and matches answers with the commands sent."""

    def __init__(self) -> None:
        self._rest = b""
        self._pending: deque[Command] = deque()
        self._rows_received = False
        self._in_rows = False  # the previous line was a row
        self._established: Established | None = None
        self._env: dict[bytes, bytes] = {}

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete line are held."""
        return len(self._rest)

    def send(self, command: Command) -> bytes:
        """The bytes to send for *command*. Its answer is expected from now on."""
        self._pending.append(command)
        return command.text + b"\n"

    def receive(self, data: bytes) -> list[Event]:
        """The events that *data* completes, oldest first, independent of how bytes are cut.

        Only the grouping of rows into `Rows` depends on the cuts.

        Raises:
          ManagementError: a line is longer than OpenVPN's can be.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        events: list[Event] = []
        rows: list[bytes] = []
        for line in lines:
            if self._in_rows and not line.startswith(_MAYBE_NOT_ROW):
                rows.append(self._bounded(line).rstrip(b"\r"))
                continue
            if self._established is None and line.startswith(_ENV):
                self._bounded(line)  # the rest of an environment, which nothing needs
                continue
            self._add_rows(rows, events)
            self._line(self._bounded(self._without_prompt(line, events)).rstrip(b"\r"), events)
        self._add_rows(rows, events)
        self._rest = self._bounded(self._without_prompt(rest, events))
        return events

    def _add_rows(self, rows: list[bytes], events: list[Event]) -> None:
        if rows:
            events.append(Rows(self._pending[0], tuple(rows)))
            rows.clear()

    @staticmethod
    def _bounded(line: bytes) -> bytes:
        if len(line) > MAX_LINE:
            raise ManagementError(f"a line of more than {MAX_LINE} bytes: {line[:60]!r}")
        return line

    @staticmethod
    def _without_prompt(line: bytes, events: list[Event]) -> bytes:
        while line.startswith(_PROMPT):
            events.append(PasswordPrompt())
            line = line[len(_PROMPT) :]
        return line

    def _line(self, line: bytes, events: list[Event]) -> None:
        if self._established is not None:
            if self._keep_env(line):
                return
            events.append(self._established)
            self._established = None
        if line.startswith(b">"):
            self._notification(line, events)
        elif self._pending:
            self._answer(line, events)

    def _keep_env(self, line: bytes) -> bool:
        """Keep one line of an environment. Return whether more of it is needed."""
        # OpenVPN sends an environment at once: any other line ends it, also where its END was
        # appended to a line that was cut
        if not line.startswith(_ENV) or line == _ENV + b"END":
            return False
        key, _, value = line[len(_ENV) :].partition(b"=")
        if key in KEPT_ENV:
            self._env[key] = value
        # what is needed comes first, and some fifty variables follow
        return not self._env.keys() >= REQUIRED_ENV

    def _answer(self, line: bytes, events: list[Event]) -> None:
        command = self._pending[0]
        is_result = line.startswith((b"SUCCESS:", b"ERROR:"))
        if not command.listing:
            if is_result:
                self._result(line, events)
        elif line == b"END":
            self._finish(Reply(command, ok=True, text=b""), events)
        elif not is_result:
            self._rows_received = self._in_rows = True
            events.append(Rows(command, (line,)))
        elif line.startswith(b"ERROR:") and not self._rows_received:
            self._result(line, events)
        else:
            # this answers the next command: OpenVPN sends nothing more of a listing after a row
            # of 512 bytes, and 2.7 with DCO may send no listing at all
            text = _CUT_SHORT if self._rows_received else _NO_ANSWER
            self._finish(Reply(command, ok=False, text=text), events)
            self._line(line, events)

    def _result(self, line: bytes, events: list[Event]) -> None:
        word, _, text = line.partition(b":")
        reply = Reply(self._pending[0], ok=word == b"SUCCESS", text=text.strip())
        self._finish(reply, events)

    def _finish(self, reply: Reply, events: list[Event]) -> None:
        self._pending.popleft()
        self._rows_received = self._in_rows = False
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
        elif kind in _TEXT_EVENTS:
            events.append(_TEXT_EVENTS[kind](text))
        elif kind.startswith(b"NEED-") or (kind == b"PASSWORD" and text.startswith(b"Need ")):
            events.append(HoldEvent(line[1:]))

    def _client(self, text: bytes, events: list[Event]) -> None:
        kind, _, rest = text.partition(b",")
        if kind == b"ESTABLISHED":
            if rest.isdigit() and len(rest) <= MAX_CID_DIGITS:
                self._env = {}
                self._established = Established(int(rest), self._env)
        elif kind in (b"CONNECT", b"REAUTH", b"CR_RESPONSE"):
            events.append(ClientAuth())

    @staticmethod
    def _log(text: bytes, events: list[Event]) -> None:
        time, _, rest = text.partition(b",")
        message = rest.partition(b",")[2]  # behind flags that may be empty
        if not message.startswith(_OWN_LOG):
            at = int(time) if time.isdigit() and len(time) <= MAX_TIME_DIGITS else 0
            events.append(LogLine(message, at))


_TEXT_EVENTS: Mapping[bytes, Callable[[bytes], Event]] = {
    b"INFO": Banner,
    b"HOLD": HoldEvent,
    b"FATAL": Fatal,
}
