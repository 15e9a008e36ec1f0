"""The daemon as a real process, on this host's kernel; it has nothing to do here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from cuberouted.api.client import get, is_served, lines
from cuberouted.api.report import Status
from cuberouted.daemon.hosts_text import HEADER
from cuberouted.events import NodeStarted, NodeStopping, decode
from cuberouted.routing.linux.kernel import missing_capability

needs_privilege = pytest.mark.skipif(
    missing_capability() is not None, reason="the daemon needs CAP_NET_ADMIN"
)
PATIENCE = 20.0
PROJECT = Path(__file__).parents[3]

# an unused protocol number, and no interface: there is nothing that it could change
SAMPLE = """\
node = A
data_interface = nosuch0
openvpn_mgmt_socket = {directory}/openvpn.sock
control_socket = {directory}/control.sock
route_protocol = 251
[peer B]
mgmt_interface = nosuch1
mgmt_ip = 10.200.200.5
"""


class Process:
    """A daemon, and the systemd that started it."""

    def __init__(
        self, directory: Path, *prefix: str, lines: tuple[str, ...] = (), **environment: str
    ) -> None:
        self.config = directory / "c.conf"
        self.config.write_text("\n".join((*lines, SAMPLE.format(directory=directory))))
        self.control = directory / "control.sock"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.settimeout(PATIENCE)
        self._notify.bind(str(directory / "notify"))
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "cuberouted", str(self.config)],
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), **environment},
            cwd=PROJECT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, message: str) -> None:
        """Wait until systemd is notified of this."""
        while self._notify.recv(4096).decode() != message:
            pass

    def wait_for_reloads(self, count: int = 1) -> None:
        """Wait until so many reloads have begun, and ended, since the last notification."""
        for _ in range(count):
            while not self._notify.recv(4096).decode().startswith("RELOADING=1\nMONOTONIC_USEC="):
                pass
            self.wait_for("READY=1")

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Its exit status, and what it logged; it has to end by itself."""
        _, log = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, log

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._notify.close()


@pytest.fixture
def process(tmp_path):
    process = Process(tmp_path)
    yield process
    process.close()


@needs_privilege
def test_a_stream_of_events_ends_in_an_orderly_way_when_the_daemon_stops(process):
    process.wait_for("READY=1")
    stream = lines(process.control, "/v1/events?after=0&type=node_started,node_stopping")
    started = decode(next(stream))
    assert isinstance(started, NodeStarted)
    assert started.control_socket == str(process.control)
    process.signal(signal.SIGTERM)
    assert [type(decode(line)) for line in stream] == [NodeStopping]
    assert process.ended()[0] == 0


@needs_privilege
def test_the_web_listener_is_told_at_the_start_and_answers_until_the_end(tmp_path):
    hook = "hook = /bin/sleep 1", "hook_events = node_stopping"  # which is waited for
    with closing(socket.socket()) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))  # without listening: nobody else is given this port
        where = f"127.0.0.1:{reserved.getsockname()[1]}"
        with closing(Process(tmp_path, lines=(f"web_listen = {where}", *hook))) as process:
            process.wait_for("READY=1")
            with closing(HTTPConnection(where, timeout=PATIENCE)) as web:
                assert replied(web, "/healthz") == (200, "ok\n")
                status, why = replied(web, "/readyz")
                assert status == 503
                assert "interface nosuch0 is missing or down\n" in why
                process.signal(signal.SIGTERM)
                process.wait_for("STOPPING=1")
                status, why = replied(web, "/readyz")
                assert status == 503
                assert why.startswith("cuberouted is stopping\n")
            status, log = process.ended()
    assert status == 0
    assert f"web listener {where}" in log


def replied(connection, path):
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.read().decode()


@needs_privilege
def test_a_daemon_notifies_systemd_and_stops_in_an_orderly_way(process):
    process.wait_for("READY=1")
    missing = "nosuch0, nosuch1, openvpn (waiting), peer B (down)"
    process.wait_for(f"STATUS=0 clients, 0 routes; waiting for {missing}")
    process.wait_for("WATCHDOG=1")
    assert get(process.control, "/v1/status", Status).node == "A"
    process.signal(signal.SIGTERM)
    process.wait_for("STOPPING=1")
    status, log = process.ended()
    assert status == 0, log
    assert "node A: running" in log
    assert "SIGTERM: stopping" in log
    assert not process.control.exists()


@needs_privilege
def test_the_hook_is_run_from_the_start_to_the_end_and_the_hosts_file_stays(tmp_path):
    hook, told, hosts = tmp_path / "hook", tmp_path / "told", tmp_path / "hosts"
    hook.write_text(f"#!/bin/sh\necho $CUBEROUTED_TYPE >>{told}\n")
    hook.chmod(0o755)
    types = "node_started node_stopping"
    lines = f"hook = {hook}", f"hook_events = {types}", f"hosts_file = {hosts}", "hold_time = 1.5s"
    process = Process(tmp_path, lines=lines)
    try:
        process.wait_for("READY=1")
        began = time.monotonic()
        while not hosts.exists():
            assert time.monotonic() - began < PATIENCE
            time.sleep(0.05)
        process.signal(signal.SIGTERM)
        status, log = process.ended()
        assert status == 0, log
    finally:
        process.close()
    assert told.read_text().split() == types.split()
    assert hosts.read_bytes() == HEADER


@needs_privilege
def test_a_reload_applies_what_is_right_and_refuses_what_is_not(process):
    process.wait_for("READY=1")
    right = process.config.read_text()
    for text in (right.replace("251", "252"), "nonsense\n" + right, right + "[peer C]\n"):
        process.config.write_text(text)
        process.signal(signal.SIGHUP)
        process.wait_for_reloads()
        (problem, *_) = get(process.control, "/v1/status", Status).problems
        assert problem.startswith("the last reload was refused, and the configuration before it is")
    more = "[peer C]\nmgmt_interface = nosuch2\nmgmt_ip = 10.200.201.5\n"
    process.config.write_text(f"log_level = debug\n{right}{more}")
    process.signal(signal.SIGHUP)
    process.wait_for_reloads()
    status = get(process.control, "/v1/status", Status)
    assert [peer.name for peer in status.peers] == ["B", "C"]
    assert not [problem for problem in status.problems if "reload" in problem]
    process.signal(signal.SIGINT)
    status, log = process.ended()
    assert status == 0, log
    assert "reload refused: route_protocol: a change needs a restart" in log
    assert f"reload refused: {process.config}:1: " in log
    assert "c.conf: reloaded" in log


@needs_privilege
def test_a_sighup_during_the_start_is_a_reload_once_the_daemon_is_up(process):
    # it is blocked by the first line of the program, before its imports
    status = Path(f"/proc/{process.pid}/status")
    while not _blocks_sighup(status.read_text()):
        time.sleep(0.001)
    assert not process.control.exists()
    process.signal(signal.SIGHUP)
    process.wait_for("READY=1")  # of the start, and of the reload
    process.wait_for("READY=1")
    process.signal(signal.SIGTERM)
    ended, log = process.ended()
    assert ended == 0, log
    assert "c.conf: reloaded" in log


def _blocks_sighup(status: str) -> bool:
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) >> (signal.SIGHUP - 1) & 1)


@needs_privilege
def test_a_second_daemon_on_one_control_socket_is_refused(process):
    process.wait_for("READY=1")
    command = [sys.executable, "-m", "cuberouted", str(process.config)]
    done = subprocess.run(
        command, capture_output=True, cwd=PROJECT, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        f"{process.control}: another cuberouted is running with this control socket; stop it, or"
        " give this one another control_socket"
    )
    assert is_served(process.control)


def may_mount() -> bool:
    """Whether a process of ours can have mounts of its own."""
    command = ["unshare", "--mount", "true"]
    return (
        shutil.which("unshare") is not None and subprocess.run(command, check=False).returncode == 0
    )


@needs_privilege
@pytest.mark.skipif(not may_mount(), reason="it needs CAP_SYS_ADMIN")
def test_without_a_control_socket_it_runs_and_that_is_an_event(tmp_path):
    told = tmp_path / "told"
    told.mkdir()
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$CUBEROUTED_TEXT" >>{told}/problems\n')
    hook.chmod(0o755)
    read_only = f"mount --bind {tmp_path} {tmp_path}; mount --bind {told} {told}"
    script = f'{read_only}; mount -o remount,bind,ro {tmp_path}; exec "$@"'
    lines = f"hook = {hook}", "hook_events = node_problem"
    process = Process(tmp_path, "unshare", "--mount", "sh", "-ec", script, "sh", lines=lines)
    try:
        process.wait_for("READY=1")
        process.signal(signal.SIGTERM)
        status, log = process.ended()
    finally:
        process.close()
    problem = (
        f"control socket: {process.control}: cannot create the control socket: Read-only file"
        " system; the commands do not work until cuberouted is restarted"
    )
    assert status == 0, log
    assert problem in log
    assert problem in (told / "problems").read_text()


UNPRIVILEGED = ("setpriv", "--bounding-set=-net_admin") if os.geteuid() == 0 else ()


@pytest.mark.skipif(
    UNPRIVILEGED != () and shutil.which("setpriv") is None, reason="setpriv is not installed"
)
def test_without_the_privilege_it_ends_with_the_reason(tmp_path):
    process = Process(tmp_path, *UNPRIVILEGED, JOURNAL_STREAM="8:1")
    try:
        status, log = process.ended()
    finally:
        process.close()
    assert status == 1
    assert log == "<3>CAP_NET_ADMIN is missing: run as root, or by the systemd unit\n"
    assert not process.control.exists()
