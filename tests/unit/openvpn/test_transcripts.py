"""Management sessions recorded from real OpenVPN servers are replayed: transcripts/README.md."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuberouted.model import Prefix
from cuberouted.openvpn.health import OpenVPNState
from cuberouted.openvpn.protocol import (
    Command,
    Event,
    ManagementProtocol,
    Reply,
    Rows,
)
from tests.unit.openvpn.recording import LISTINGS, VERSIONS, Replay, Step, pieces, read

HOST1 = {"10.100.100.11/32": "host1", "fd00:100::11/128": "host1", "192.168.50.0/24": "host1"}
HOST2 = {"10.100.100.12/32": "host2"}
HOST3 = {"10.100.100.13/32": "host3"}
FIXED = Prefix.parse("10.100.100.12")

ROUTES = {
    "": {},
    "host1 connects (IPv6, iroute)": HOST1,
    "host2 connects from a fixed port": HOST1 | HOST2,
    "host2 vanishes (kill -9) and comes back from the same port": HOST1 | HOST2,
    "host1 says goodbye": HOST2,
    "host3 connects": HOST2 | HOST3,
    "kill by name": HOST2,
    "SIGUSR1": {},
    "SIGTERM": {},
}
"""The routes after each step."""

PAUSES = frozenset({"2.4.12", "2.5.11"})
"""These pause for five seconds after SIGUSR1, and are ended before they are back."""

REFUSED = {
    b'kill "nobody"': b"common name 'nobody' not found",
    b"client-kill 99": b"client-kill command failed",
    b"nonsense": b"unknown command",
}
"""The commands that every version refuses, and how."""

WITHOUT_EVENT = re.compile(
    # the environment's rest, what is logged of this connection, and the answer to the password
    rb">CLIENT:E|>LOG:\d+,[A-Z]*,MANAGEMENT: |SUCCESS: password is correct"
)

every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each version that was recorded."""
    return str(request.param)


def expected(version: str, what: str) -> dict[str, str]:
    """The routes after a step. They are held while OpenVPN restarts."""
    return HOST2 if version in PAUSES and what.startswith("SIG") else ROUTES[what]


def step_of(version: str, what: str) -> tuple[Replay, Step]:
    """A replay that has come to the end of a step, and the step."""
    replay = Replay(read(version))
    return replay, next(step for step in replay.run() if step.what == what)


def test_after_each_step_the_routes_are_those_of_the_clients_that_are_connected(
    version: str,
) -> None:
    replay = Replay(read(version))
    seen = {step.what: replay.names for step in replay.run()}
    assert seen == {what: expected(version, what) for what in ROUTES}
    assert replay.connection.version == version
    assert replay.notes == []
    assert b"log on" in replay.sent


def test_a_client_is_known_before_any_listing(version: str) -> None:
    replay, _ = step_of(version, "host1 connects (IPv6, iroute)")
    [announced], confirmed = (update.routes for update in replay.updates[1:])
    assert (str(announced.prefix), announced.confirmed) == ("10.100.100.11/32", False)
    assert all(route.confirmed and route.announced for route in confirmed)
    assert {str(route.prefix) for route in confirmed} == HOST1.keys()


def test_a_client_that_comes_back_from_its_port_renews_its_session(version: str) -> None:
    """OpenVPN logs another handshake and its configuration, and announces nothing."""
    replay, before = step_of(version, "host2 connects from a fixed port")
    old = replay.routes[FIXED]
    replay, step = step_of(version, "host2 vanishes (kill -9) and comes back from the same port")
    assert b">CLIENT" not in step.text
    new = replay.routes[FIXED]
    assert (old.renewed, old.session) == (0, new.session)
    *_, configured = re.findall(rb">LOG:(\d+),,host2/\S+ SENT CONTROL", step.text)
    assert new.renewed == int(configured)
    assert [at for at in replay.times if at > before.end] == [
        at for at, text, _ in step.notifications if b"PUSH_REPLY" in text
    ]


def test_a_client_that_leaves_is_withdrawn_with_the_log_line_of_its_end(version: str) -> None:
    replay, step = step_of(version, "host1 says goodbye")
    [ended] = [at for at, text, _ in step.notifications if b"client-instance exiting" in text]
    assert replay.times[-1] == ended
    assert {str(prefix) for prefix in replay.updates[-1].withdrawn} == HOST1.keys()
    told = b">NOTIFY:info,remote-exit" in step.text
    assert told is (version not in PAUSES)


def test_openvpn_serves_nobody_from_its_restart_to_the_next_complete_listing(version: str) -> None:
    replay, step = step_of(version, "SIGUSR1")
    state = replay.connection.health.state
    if version in PAUSES:
        assert (replay.outages, state) == ([False, True], OpenVPNState.WAITING)
        assert b"CONNECTED,SUCCESS" not in step.text
    else:
        assert (replay.outages, state) == ([False, True, False], OpenVPNState.CONNECTED)
    replay, _ = step_of(version, "SIGTERM")
    assert replay.outages[-1]
    assert replay.connection.health.state is OpenVPNState.WAITING
    assert "exiting" in replay.connection.health.detail


# -- the protocol alone, with the commands that were sent --


def conversation(version: str, *, by_line: bool = False) -> Iterator[tuple[bytes, list[Event]]]:
    """What was received, and the events of it; in whole lines if *by_line*."""
    protocol = ManagementProtocol()
    for _, sender, text in pieces(version):
        if sender == "manager" and text != b"sesame\n":
            command = text.rstrip()
            assert protocol.send(Command(command, listing=command in LISTINGS)) == text
        elif sender == "openvpn":
            lines = text.splitlines(keepends=True) if by_line else [text]
            yield from ((line, protocol.receive(line)) for line in lines)
    assert protocol.buffered == 0


def test_every_line_is_an_event_or_known_to_be_none(version: str) -> None:
    seen = list(conversation(version, by_line=True))
    unknown = [line for line, events in seen if not (events or WITHOUT_EVENT.match(line))]
    assert unknown == []
    assert len(seen) > 300


def test_every_command_has_its_answer(version: str) -> None:
    replies = [e for _, events in conversation(version) for e in events if isinstance(e, Reply)]
    sent = [text.rstrip() for _, sender, text in pieces(version) if sender == "manager"]
    assert [reply.command.text for reply in replies] == [c for c in sent if c != b"sesame"]
    for reply in replies:
        if reply.command.text in REFUSED:
            assert not reply.ok
            assert reply.text.startswith(REFUSED[reply.command.text])
        elif not reply.ok:
            assert version in PAUSES
            assert b"not supported by the current daemon mode" in reply.text
    [killed] = [reply for reply in replies if reply.command.text == b'kill "host3"']
    assert killed.text == b"common name 'host3' found, 1 client(s) killed"


def test_rows_are_received_whole(version: str) -> None:
    lines = [
        line
        for _, events in conversation(version)
        for event in events
        if isinstance(event, Rows) and event.command.text == b"status 3"
        for line in event.lines
    ]
    assert {line.count(b"\t") for line in lines if line.startswith(b"CLIENT_LIST")} == {
        11 if version == "2.4.12" else 12
    }


# -- however the bytes are cut --


@every_version
@given(
    sizes=st.lists(st.integers(1, 40) | st.integers(1, 4000), min_size=1, max_size=9),
    joined=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_the_updates_do_not_depend_on_how_the_bytes_are_cut(
    version: str, sizes: list[int], joined: bool
) -> None:
    rotation = itertools.cycle(sizes)

    def cut(data: bytes) -> Iterator[bytes]:
        begin = 0
        while begin < len(data):
            begin, part = (end := begin + next(rotation)), data[begin:end]
            yield part

    recording = read(version)
    whole, parts = Replay(recording), Replay(recording, cut, joined=joined)
    for step, other in zip(whole.run(), parts.run(), strict=True):
        assert (whole.names, whole.connection.health) == (parts.names, parts.connection.health)
        assert step is other
    assert parts.updates == whole.updates
    assert parts.outages == whole.outages
