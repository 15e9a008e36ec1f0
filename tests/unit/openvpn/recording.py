"""The recorded management sessions in transcripts/, and a replay to a `ManagementConnection`.

What OpenVPN sent by itself is replayed at its time. An answer is replayed when its command is
sent; one to ``status 3`` or ``load-stats`` is that of the same *period*: from one change of the
clients to the next. Where a period has no recorded answer, OpenVPN answers in the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import attrs

from cuberouted.model import LocalRoute, Prefix
from cuberouted.openvpn.connection import ManagementActions, ManagementConnection
from cuberouted.openvpn.damping import KillDamping
from cuberouted.openvpn.life import LifeWatch
from cuberouted.openvpn.polling import Polling
from cuberouted.openvpn.sessions import Sessions, SessionUpdate

VERSIONS = ("2.4.12", "2.5.11", "2.6.14", "2.7.6")
LISTINGS = frozenset({b"version", b"status 1", b"status 2", b"status 3"})
"""The commands whose answers end with END."""

Cut = Callable[[bytes], Iterable[bytes]]

_CHANGE = re.compile(
    rb">CLIENT:ESTABLISHED|client-instance (?:exiting|restarting)|>STATE:\d+,(?:RECONN|CONN|EXIT)"
)
_PROMPT = b"ENTER PASSWORD:"


class Piece(NamedTuple):
    """``text`` of ``sender``, who is ``openvpn``, ``manager`` or ``lab``, ``at`` some second."""

    at: float
    sender: str
    text: bytes


@attrs.define
class Step:
    """What came after the lab did ``what`` (empty: before it did anything), until ``end``.

    ``notifications``: when, what, and in which period.
    """

    what: str
    end: float = 0.0
    notifications: list[tuple[float, bytes, int]] = attrs.field(factory=list)

    @property
    def text(self) -> bytes:
        """All notifications of the step."""
        return b"".join(text for _, text, _ in self.notifications)


@attrs.frozen
class Recording:
    """``answers``: by command, and for ``status 3`` and ``load-stats`` by period, too."""

    steps: tuple[Step, ...]
    answers: dict[tuple[bytes, int], bytes]

    def answer(self, command: bytes, period: int) -> bytes | None:
        """What OpenVPN answers to *command* in a period, if it was recorded."""
        if command not in (b"status 3", b"load-stats"):
            return self.answers[command, 0]
        found = self.answers.get((command, period))
        if found is None and command == b"load-stats":
            listing = self.answers.get((b"status 3", period))
            number = None if listing is None else listing.count(b"\nCLIENT_LIST")
            return None if number is None else b"SUCCESS: nclients=%d,bytesin=0\r\n" % number
        return found


def pieces(version: str) -> list[Piece]:
    """The recording of an OpenVPN *version*, as it is in its file."""
    path = Path(__file__).parent / f"transcripts/openvpn-{version}.jsonl"
    lines = map(json.loads, path.read_text().splitlines())
    return [Piece(line["t"], line["from"], line["text"].encode("latin-1")) for line in lines]


def read(version: str) -> Recording:
    """The recording of an OpenVPN *version*, with answers and notifications told apart."""
    steps, answers = [Step("")], dict[tuple[bytes, int], bytes]()
    pending, rest, period = [b"sesame"], b"", 0
    for at, sender, text in pieces(version):
        steps[-1].end = at
        if sender == "lab":
            steps.append(Step(text.decode(), at))
        elif sender == "manager" and text != b"sesame\n":
            pending.append(text.rstrip())
        elif sender == "openvpn":
            own = b""
            *lines, rest = (rest + text).split(b"\n")
            for line in lines:
                if line.startswith(b">"):
                    period += _CHANGE.search(line) is not None
                    own += line + b"\n"
                    continue
                command = pending[0]
                key = command, period if command in (b"status 3", b"load-stats") else 0
                answers[key] = answers.get(key, b"") * (not _is_whole(answers, key)) + line + b"\n"
                if _is_whole(answers, key):
                    pending.pop(0)
            if rest == _PROMPT:
                own, rest = own + rest, b""
            if own:
                steps[-1].notifications.append((at, own, period))
    return Recording(tuple(steps), answers)


def _is_whole(answers: dict[tuple[bytes, int], bytes], key: tuple[bytes, int]) -> bool:
    last = answers.get(key, b"").splitlines()[-1:]
    ends = (b"END",) if key[0] in LISTINGS else (b"SUCCESS:", b"ERROR:")
    return any(line.startswith((*ends, b"ERROR:")) for line in last)


class Replay:
    """A connection to a recorded OpenVPN, and what it has reported.

    *cut* divides everything that it receives. *joined*: the notifications of a step arrive at once,
    with the last of them; but for the first step, whose banner is the answer to the password.
    """

    def __init__(
        self, recording: Recording, cut: Cut = lambda data: [data], *, joined: bool = False
    ) -> None:
        self.routes: dict[Prefix, LocalRoute] = {}
        self.updates: list[SessionUpdate] = []
        self.times: list[float] = []
        """When each of ``updates`` came."""
        self.outages: list[bool] = []
        self.notes: list[str] = []
        self.sent: list[bytes] = []
        self._recording, self._cut, self._joined = recording, cut, joined
        self._period = 0
        self._unanswered: list[bytes] = []
        self.sessions = Sessions("")
        self.connection = ManagementConnection(
            self.sessions, Polling(1.0, 30.0), KillDamping(), LifeWatch(), b"sesame", 0.0
        )

    @property
    def names(self) -> dict[str, str]:
        """The name at each prefix."""
        return {str(prefix): route.name.decode() for prefix, route in self.routes.items()}

    def run(self) -> Iterator[Step]:
        """Replay step by step; each is given when it has been replayed."""
        for step in self._recording.steps:
            for at, text, period in self._bursts(step):
                self._wait(at)
                self._receive(text, at)
                self._period = period
                self._answer(at)
            self._wait(step.end)
            yield step

    def _bursts(self, step: Step) -> list[tuple[float, bytes, int]]:
        if not (self._joined and step.what and step.notifications):
            return step.notifications
        at, _, period = step.notifications[-1]
        return [(at, step.text, period)]

    def _wait(self, until: float) -> None:
        for _ in range(10_000):
            due = self.connection.deadline
            if due > until:
                return
            self._act(self.connection.timer(due), due)
            self._answer(due)
        raise AssertionError(f"the connection does not wait: {self.connection.deadline}")

    def _receive(self, data: bytes, now: float) -> None:
        for part in self._cut(data):
            self._act(self.connection.receive(part, now), now)

    def _answer(self, now: float) -> None:
        """Answer in order; what was sent while notifications were received comes after them."""
        for _ in range(1000):
            answer = None
            if self._unanswered:
                answer = self._recording.answer(self._unanswered[0], self._period)
            if answer is None:
                return
            self._unanswered.pop(0)
            self._receive(answer, now)
        raise AssertionError(f"one command after the other: {self._unanswered}")

    def _act(self, actions: ManagementActions, now: float) -> None:
        assert not actions.refused
        for update in actions.updates:
            self.updates.append(update)
            self.times.append(now)
            for prefix in update.withdrawn:
                del self.routes[prefix]
            self.routes |= {route.prefix: route for route in update.routes}
        if actions.outage is not None and self.outages[-1:] != [actions.outage]:
            self.outages.append(actions.outage)
        self.notes += actions.notes
        commands = actions.send.splitlines()
        self.sent += commands
        self._unanswered += commands
