"""The journal's native protocol, with a receiver that reads it as journald does."""

from __future__ import annotations

import logging
import mmap
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuberouted.config import LogFormat
from cuberouted.daemon.log import Log
from cuberouted.daemon.log.journal import Journal, encode, event_entry
from cuberouted.events import (
    AllowedNetworksChanged,
    ClientJoined,
    ClientLeft,
    ClientMoved,
    Event,
    NodeProblem,
    NodeStateChanged,
    PeerStateChanged,
    ServiceChecked,
    ServiceMoved,
)

Fields = list[tuple[str, str]]


def parse(data: bytes) -> Fields:
    """The fields of an entry. Source: systemd's journald-native.c, ``process_entry``."""
    fields = []
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, end, data = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        else:
            data = rest
        assert name.replace(b"_", b"").isalnum()
        assert name.isupper()
        assert not name.startswith(b"_")
        assert len(name) <= 64
        fields.append((name.decode(), value.decode()))
    return fields


class Receiver:
    """journald's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def entry(self) -> dict[str, str]:
        """The next entry, sent as a datagram or in a sealed file."""
        data, files, _, _ = socket.recv_fds(self.socket, 1_000_000, 1)
        if files:
            assert data == b""
            with mmap.mmap(files[0], 0, prot=mmap.PROT_READ) as content:
                data = bytes(content)
            with pytest.raises(PermissionError):  # sealed: journald accepts no other
                os.write(files[0], b"x")
            os.close(files[0])
        return dict(parse(data))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    receiver = Receiver(tmp_path / "socket")
    yield receiver
    for handler in root.handlers:
        if isinstance(handler, Log):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    receiver.socket.close()


def opened(receiver: Receiver, level: str = "info") -> Log:
    return Log(level, LogFormat.JOURNAL, clock=lambda: 0.0, journal_socket=receiver.path)


def test_an_entry_has_the_fields_of_the_event(receiver: Receiver) -> None:
    log = opened(receiver)
    log.write(
        ClientMoved(
            address="10.100.100.10", client="host1", from_node="B", to_node="C", number=7, node="A"
        )
    )
    assert receiver.entry() == {
        "MESSAGE": "host1 (10.100.100.10) moved B -> C",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "cuberouted",
        "CUBEROUTED_EVENT": "client_moved",
        "CUBEROUTED_NUMBER": "7",
        "CUBEROUTED_NODE": "A",
        "NODE": "C",
        "ADDRESS": "10.100.100.10",
        "CLIENT": "host1",
        "KIND": "client",
        "FROM_NODE": "B",
        "TO_NODE": "C",
        "SINCE": "0",
    }


@pytest.mark.parametrize(
    ("event", "node"),
    [
        (ClientJoined(address="10.9.0.50", client="host1", to_node="B", node="A"), "B"),
        (ClientLeft(address="10.9.0.50", client="host1", from_node="B", node="A"), "B"),
        (NodeProblem(what="kernel", why="x", node="A"), "A"),
        (ServiceMoved(service="db", address="10.9.0.9", from_node="B", to_node="C", node="A"), "C"),
        (ServiceMoved(service="db", address="10.9.0.9", from_node="B", to_node="", node="A"), "B"),
        (NodeStateChanged(of_node="B", old="active", new="draining", node="A"), "B"),
    ],
)
def test_node_is_where_the_client_or_the_service_is(event: Event, node: str) -> None:
    assert dict(parse(event_entry(event)))["NODE"] == node


def test_the_events_of_a_service_are_found_by_its_name() -> None:
    for event in (
        ServiceMoved(service="db", address="10.9.0.9", from_node="B", to_node="C"),
        ServiceChecked(service="db", healthy=False, why="not master"),
    ):
        assert dict(parse(event_entry(event)))["SERVICE"] == "db"


def test_several_values_are_several_fields() -> None:
    entry = parse(event_entry(AllowedNetworksChanged(networks=("10.0.0.0/8", "fd00::/8"))))
    assert [value for name, value in entry if name == "NETWORKS"] == ["10.0.0.0/8", "fd00::/8"]


def test_a_value_cannot_forge_a_field() -> None:
    why = "no\nADDRESS=10.100.100.10\nPRIORITY=0\n"
    change = PeerStateChanged(peer="B", known_as="B", old="up", new="down", why=why)
    entry = parse(event_entry(change))
    assert dict(entry)["WHY"] == why
    assert [value for name, value in entry if name == "PRIORITY"] == ["4"]
    assert "ADDRESS" not in dict(entry)


def test_any_text_can_be_sent() -> None:
    assert dict(parse(encode([("A", "\ud800 ü ="), ("B", "\n"), ("C", "")]))) == {
        "A": "\\ud800 ü =",
        "B": "\n",
        "C": "",
    }


def test_a_traceback_is_one_entry(receiver: Receiver) -> None:
    opened(receiver)
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("it fails")
    entry = receiver.entry()
    assert entry["MESSAGE"].startswith("it fails\nTraceback ")
    assert (entry["PRIORITY"], entry["LOGGER"]) == ("3", "x")


def test_an_entry_that_is_too_large_for_a_datagram_is_sent_in_a_sealed_file(
    receiver: Receiver,
) -> None:
    journal = Journal(receiver.path)
    assert journal.send(encode([("MESSAGE", "x" * 1_000_000)]))
    assert receiver.entry() == {"MESSAGE": "x" * 1_000_000}
    journal.close()


def test_a_journald_that_is_stopped_does_not_stop_us_and_is_given_the_number_of_lost_entries(
    receiver: Receiver,
) -> None:
    log = opened(receiver)
    problem = NodeProblem(what="kernel", why="x")
    for _ in range(2000):  # a socket queues net.unix.max_dgram_qlen of them
        logging.getLogger("x").error("y")
    entries = []
    while True:
        try:
            entries.append(receiver.entry())
        except BlockingIOError:
            break
    assert 0 < len(entries) < 2000
    log.write(problem)
    lost, entry = receiver.entry(), receiver.entry()
    assert lost["MESSAGE"].startswith(f"{2000 - len(entries):,} log lines lost")
    assert entry["MESSAGE"] == "kernel: x"


def test_a_journald_that_comes_back_is_found(receiver: Receiver) -> None:
    journal = Journal(receiver.path)
    receiver.socket.close()
    assert not journal.send(encode([("MESSAGE", "1")]))
    receiver.path.unlink()
    again = Receiver(receiver.path)
    assert journal.send(encode([("MESSAGE", "2")]))
    assert again.entry() == {"MESSAGE": "2"}
    again.socket.close()
    journal.close()
