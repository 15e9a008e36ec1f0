"""The log in systemd's journal: a real journald, whose entries journalctl finds by their fields."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.lab.configs import mesh
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.waiting import wait_for

JOURNALD = Path("/usr/lib/systemd/systemd-journald")

pytestmark = pytest.mark.skipif(
    not (JOURNALD.exists() and shutil.which("journalctl")), reason="needs the package systemd"
)


class Journald:
    """journald on *host*, with a journal in its own /run."""

    def __init__(self, host: Host) -> None:
        self.host = host
        settings = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n"
        host.write("/run/systemd/journald.conf.d/lab.conf", settings)
        # it does not start without; the host's own /sys has none
        host.try_run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
        host.path("/run/systemd/journal/socket").unlink(missing_ok=True)
        self.process = host.start("journald", str(JOURNALD))
        socket = host.path("/run/systemd/journal/socket")
        self.process.wait_for("to listen", socket.exists)

    def entries(self, *matches: str) -> list[dict[str, str]]:
        """What journalctl finds, oldest first."""
        command = ("journalctl", "-q", "-D", "/run/log/journal", "-t", "cuberouted", "-o", "json")
        done = self.host.try_run(*command, "--all", *matches)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def texts(self, *matches: str) -> list[str]:
        """The messages that journalctl finds."""
        return [entry["MESSAGE"] for entry in self.entries(*matches)]


@pytest.fixture
def journald(lab: Lab) -> Journald:
    return Journald(lab.servers[0].host)


def test_journalctl_answers_who_had_an_address(lab: Lab, journald: Journald) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, lambda server: mesh(server, "log_format = journal"))
    wait_routes(lab, where)
    a, b = lab.servers
    one, _ = where
    one.roam(b)
    where[one] = b
    wait_routes(lab, where)
    address = f"ADDRESS={one.data}"
    moves = (address, "CUBEROUTED_EVENT=client_moved")
    wait_for("the journal to have the move", lambda: len(journald.entries(*moves)) == 1)
    (move,) = journald.entries(*moves)
    assert (move["CLIENT"], move["NODE"], move["PRIORITY"]) == ("host1", b.name, "6")
    assert move["MESSAGE"].startswith(f"host1 ({one.data}) moved {a.name} -> {b.name}")
    assert f" at {a.name}" in journald.texts(address, "CUBEROUTED_EVENT=client_joined")[0]
    (peer,) = {entry["PEER"] for entry in journald.entries("CUBEROUTED_EVENT=peer_state_changed")}
    assert peer == b.name
    assert a.daemon.process.log == ""
    # the server without a journald logs text
    (warning,) = [line for line in b.daemon.process.log.splitlines() if "log_format" in line]
    assert "the log is text instead" in warning
    assert f"moved {a.name} -> {b.name}" in b.daemon.process.log


def test_a_journald_that_is_stopped_or_restarted_holds_nothing_up(
    lab: Lab, journald: Journald
) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, lambda server: mesh(server, "log_format = journal"))
    wait_routes(lab, where)
    a, b = lab.servers
    one, _ = where
    journald.process.send(signal.SIGSTOP)
    for server in (b, a):
        one.roam(server)
        where[one] = server
        wait_routes(lab, where)
    journald.process.end(signal.SIGKILL)
    again = Journald(a.host)
    one.roam(b)
    where[one] = b
    wait_routes(lab, where)
    wait_for("the journal to have the last move", lambda: bool(again.entries(f"NODE={b.name}")))


def test_a_large_entry_arrives(lab: Lab, journald: Journald) -> None:
    script = (
        "from cuberouted.daemon.log.journal import Journal, encode;"
        "assert Journal().send(encode([('MESSAGE', 'x' * 700_000),"
        " ('SYSLOG_IDENTIFIER', 'cuberouted'), ('CUBEROUTED_EVENT', 'large')]))"
    )
    python, *_ = lab.servers[0].daemon.argv
    lab.servers[0].host.run(python, "-c", script)
    large = "CUBEROUTED_EVENT=large"
    wait_for("the entry", lambda: journald.texts(large) == ["x" * 700_000])
