"""Attacks on the web listener of a real daemon; all others keep what they have."""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import attrs
import pytest

from tests.bench.event_storm import STORM
from tests.bench.priority import servers_first
from tests.lab.configs import mesh
from tests.lab.daemon import CONFIG
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.mesh import Whereabouts, connect, start_daemons, wait_routes
from tests.lab.process import Process
from tests.lab.server import Server
from tests.lab.test_attacks import MAX_MEMORY, memory
from tests.lab.waiting import wait_for
from tests.lab.web_rogue import ATTACKS, PORT

pytestmark = pytest.mark.alone

WITH_STORM = (sys.executable, "-m", "tests.bench.event_storm", CONFIG)
EVENTS = 1000
"""Events a second while the streams are attacked."""

HOLD_TIME = 3.0
MAX_GAP = 1.0
"""Seconds without a heartbeat; they are sent every 0.2 s, and the lab shares two processors."""

SPARE_FILES = 20
"""File descriptors that the daemon may open besides those that it has."""

MAX_REPLY = 4.0
"""Seconds for a reply, which may be status 503 after `QUEUE_TIME`."""

LOCALHOST = "Host: localhost\r\n"
HIDDEN = f"GET /v1/clients HTTP/1.1\r\n{LOCALHOST}\r\n"
CHUNKED = f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"

SMUGGLED = {
    "CL.TE": ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG" + HIDDEN),
    "TE.CL": (f"Transfer-Encoding: chunked\r\nContent-Length: {len(CHUNKED)}\r\n", CHUNKED),
    "CL": (f"Content-Length: {len(HIDDEN)}\r\n", HIDDEN),
    "two CL": (f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n", HIDDEN),
    "list CL": (f"Content-Length: 0, {len(HIDDEN)}\r\n", HIDDEN),
    "signed CL": ("Content-Length: +0\r\n", HIDDEN),
    "TE": ("Transfer-Encoding: chunked\r\n", CHUNKED),
    "TE, then a request": ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE with a space": ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE with a tab": ("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE with a vertical tab": ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE xchunked": ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE identity": ("Transfer-Encoding: identity\r\n", HIDDEN),
    "two TE": ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n" + HIDDEN),
    "TE folded": ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE in a fold": ("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n" + HIDDEN),
    "TE after a bare LF": ("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + HIDDEN),
    "request after bare LFs": ("X: y\n\n" + HIDDEN, ""),
}


@attrs.frozen
class Scene:
    """*victim* has a web listener; *attacker* and *monitoring* are hosts outside the mesh."""

    lab: Lab
    where: Whereabouts
    victim: Server
    attacker: Host
    monitoring: Host


@pytest.fixture
def scene(lab: Lab) -> Scene:
    where = connect(lab, {"host1": 0, "host2": 1})
    hosts = [lab.client(name).host for name in ("attacker", "monitoring")]
    victim = lab.servers[0]
    victim.daemon.argv = WITH_STORM
    settings = "heartbeat_interval = 200ms", f"hold_time = {HOLD_TIME}s"

    def configuration(server: Server) -> str:
        web = [f"web_listen = 0.0.0.0:{PORT}"] if server is victim else []
        return mesh(server, *settings, *web)

    with servers_first():  # attackers have processors of their own
        start_daemons(lab.servers, configuration)
    wait_routes(lab, where)
    return Scene(lab, where, victim, *hosts)


# -- DNS rebinding --


def test_a_name_of_somebody_else_reads_nothing(scene: Scene) -> None:
    address, evil = scene.victim.internet, f"http://evil.example:{PORT}"
    own = f"http://{address}:{PORT}"
    path = "/v1/clients"
    for arguments in (
        ["--resolve", f"evil.example:{PORT}:{address}", evil + path],
        ["--connect-to", f"::{address}:{PORT}", f"http://localhost.evil.example{path}"],
        ["-H", "Host: evil.example", own + path],
        ["-H", f"Host: {address}.evil.example", own + path],
        ["-H", "Host: 127.0.0.2", own + path],
        ["--proxy", own, f"http://evil.example{path}"],
        ["--proxy", own, "-H", "Host: localhost", f"http://evil.example{path}"],
    ):
        status, text = _curl(scene.attacker, *arguments)
        assert status == 421, arguments
        assert "add it to web_hosts" in json.loads(text)["error"]
        assert "host1" not in text
    for arguments in (
        [own + path],
        ["-H", "Host: LOCALHOST.:80", own + path],
        ["--http1.0", "-H", "Host:", own + path],
        ["--proxy", own, f"http://{address}:{PORT}{path}"],
    ):
        status, text = _curl(scene.attacker, *arguments)
        assert status == 200, arguments
        assert "host1" in text
    assert _curl(scene.attacker, "-H", "Host:", own + path)[0] == 400
    assert _curl(scene.attacker, "-X", "POST", own + "/v1/disconnect")[0] == 405


def _curl(host: Host, *arguments: str) -> tuple[int, str]:
    """The status and the body."""
    body, _, status = host.run("curl", "-sS", "-w", "\n%{http_code}", *arguments).rpartition("\n")
    return int(status), body


# -- request smuggling --


def test_no_request_is_found_in_another(scene: Scene) -> None:
    requests = [_request(fields, body) for fields, body in SMUGGLED.values()]
    replies = _raw(scene.attacker, scene.victim.internet, PORT, requests)
    for name, (closed, received) in zip(SMUGGLED, replies, strict=True):
        assert closed, name
        assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (name, received)
        assert received.count(b"\r\nDate: ") == 1, (name, received)
        assert b"host1" not in received


HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 1s
  timeout http-keep-alive 200ms
  timeout server 2s
frontend web
  bind 127.0.0.1:8080
  default_backend daemon
backend daemon
  http-reuse always
  http-request set-header Host localhost
  server daemon {address}:{port} maxconn 1
"""


def test_behind_a_proxy_everybody_gets_the_reply_to_their_own_request(scene: Scene) -> None:
    proxy = scene.monitoring
    proxy.write("/run/haproxy.cfg", HAPROXY.format(address=scene.victim.internet, port=PORT))
    proxy.start("haproxy", "haproxy", "-db", "-f", "/run/haproxy.cfg")
    ask = _request("Connection: close\r\n", "", "/healthz")
    wait_for("haproxy", lambda: _raw(proxy, "127.0.0.1", 8080, [ask])[0][1].endswith(b"\nok\n"))
    requests = [_request(fields, body) for fields, body in SMUGGLED.values()]
    both = itertools.chain.from_iterable((request, ask, ask) for request in requests)
    replies = _raw(proxy, "127.0.0.1", 8080, list(both))
    # the attacker's own may be answered: haproxy sends some of them on as harmless requests
    for name, number in zip(SMUGGLED, range(0, len(replies), 3), strict=True):
        for _, other in replies[number + 1 : number + 3]:
            assert other.startswith(b"HTTP/1.1 200 "), (name, other)
            assert other.endswith(b"\r\n\r\nok\n"), (name, other)


def _request(fields: str, body: str, path: str = "/readyz") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{LOCALHOST}{fields}\r\n{body}".encode()


def _raw(host: Host, address: str, port: int, requests: list[bytes]) -> list[tuple[bool, bytes]]:
    """For each request, on a connection of its own: whether it was closed, and the reply."""
    lines = "".join(f"{request.hex()}\n" for request in requests)
    module = (sys.executable, "-m", "tests.lab.web_raw", address, str(port))
    printed = host.run(*module, stdin=lines).splitlines()
    return [(line[0] == "1", bytes.fromhex(line[2:])) for line in printed]


# -- using up what there is --


@attrs.frozen
class _Figures:
    """What was seen during an attack."""

    attack: str
    connections: int
    opened: int
    longest_gap: float
    replies: dict[int, int]
    slowest_reply: float
    slowest_command: float
    memory: int

    def __str__(self) -> str:
        replies = ", ".join(f"{count} x {status}" for status, count in self.replies.items())
        return (
            f"{self.attack}: {self.connections} connections at once, {self.opened} opened;"
            f" longest gap between heartbeats {self.longest_gap:.2f} s; monitoring got {replies},"
            f" the slowest in {self.slowest_reply:.2f} s; cuberouted status took"
            f" {self.slowest_command:.2f} s at most; {self.memory:+} MB"
        )


def test_attacks_on_connections_streams_and_answers_harm_nobody_else(scene: Scene) -> None:
    victim, peer = scene.lab.servers
    tunnel = peer.tunnels[victim.name]
    argv = sys.executable, "-m", "tests.bench.heartbeats", tunnel.theirs
    heartbeats = peer.host.start("heartbeats", *argv)
    poll = scene.monitoring.start(
        "poll", sys.executable, "-m", "tests.lab.web_poll", victim.internet
    )
    heartbeats.wait_for("to receive some", lambda: len(heartbeats.log.splitlines()) > 5)
    poll.wait_for("to get replies", lambda: len(poll.log.splitlines()) > 5)
    poll.end()
    files = _files(victim)
    figures = [_attack(scene, name, heartbeats) for name in ATTACKS]
    for seen in figures:
        print(seen)
    for seen in figures:
        assert seen.longest_gap < MAX_GAP, str(seen)
        assert set(seen.replies) <= {200, 503}, str(seen)
        assert seen.replies[200] > 0, str(seen)
        assert seen.slowest_reply < MAX_REPLY, str(seen)
        assert seen.memory < MAX_MEMORY, str(seen)
    wait_for("the files to be closed", lambda: _files(victim) <= files)
    own = f"http://{victim.internet}:{PORT}"
    assert _curl(scene.attacker, own + "/readyz") == (200, "ready\n")
    for server in (victim, peer):
        assert [row["state"] for row in server.daemon.ask("status")["peers"]] == ["up"]
        assert ": up -> " not in server.daemon.process.log
    assert "Traceback" not in victim.daemon.process.log
    wait_routes(scene.lab, scene.where)


def test_without_file_descriptors_the_daemon_goes_on(scene: Scene) -> None:
    victim, peer = scene.lab.servers
    pid, files = victim.daemon.process.pid, _files(victim)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files + SPARE_FILES, hard))
    module = (sys.executable, "-m", "tests.lab.web_rogue", "idle", victim.internet)
    rogue = scene.attacker.start("idle", *module)
    rogue.wait_log("begun")
    victim.daemon.process.wait_log("web_listen: cannot accept connections: Too many open files")
    own = f"http://{victim.internet}:{PORT}"
    wait_for("a reply", lambda: _curl(scene.monitoring, own + "/readyz")[0] == 200)
    assert victim.daemon.ask("status")["peers"]
    assert rogue.running
    rogue.wait()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_for("the files to be closed", lambda: _files(victim) <= files)
    log = victim.daemon.process.log
    assert log.count("web_listen: cannot accept connections") == 1
    assert "Traceback" not in log
    for server in (victim, peer):
        assert ": up -> " not in server.daemon.process.log
    wait_routes(scene.lab, scene.where)


def _files(server: Server) -> int:
    """How many file descriptors its daemon has."""
    return len(list(Path(f"/proc/{server.daemon.process.pid}/fd").iterdir()))


def _attack(scene: Scene, name: str, heartbeats: Process) -> _Figures:
    victim, python = scene.victim, (sys.executable, "-m")
    poll = scene.monitoring.start("poll", *python, "tests.lab.web_poll", victim.internet)
    poll.wait_for("to get a reply", lambda: bool(poll.log))
    before = most = memory(victim)
    slowest = 0.0
    victim.host.write(STORM, str(EVENTS))
    rogue = scene.attacker.start(name, *python, "tests.lab.web_rogue", name, victim.internet)
    rogue.wait_log("begun")
    begin = time.time()
    while rogue.running:
        asked = time.monotonic()
        assert victim.daemon.ask("status")["peers"]
        slowest = max(slowest, time.monotonic() - asked)
        most = max(most, memory(victim))
    end = time.time()
    victim.host.path(STORM).unlink()
    # the reply to a request that was sent during the attack may come after it
    poll.wait_for("to go on", lambda: _polled(poll)[-1].at > end)
    poll.end()
    polled = [one for one in _polled(poll) if begin <= one.at <= end]
    connections, opened = rogue.log.split("done ")[1].split()
    return _Figures(
        name,
        int(connections),
        int(opened),
        _longest_gap(heartbeats, begin, end),
        dict(Counter(one.status for one in polled)),
        max(one.seconds for one in polled),
        slowest,
        most - before,
    )


class _Polled(NamedTuple):
    """A line of `web_poll`."""

    at: float
    status: int
    seconds: float


def _polled(poll: Process) -> list[_Polled]:
    lines = [line.split() for line in poll.log.splitlines(keepends=True) if line.endswith("\n")]
    return [_Polled(float(at), int(status), float(seconds)) for at, status, seconds in lines]


def _longest_gap(heartbeats: Process, begin: float, end: float) -> float:
    lines = heartbeats.log.splitlines(keepends=True)
    arrivals = [float(line) for line in lines if line.endswith("\n")]
    times = [begin, *(at for at in arrivals if begin < at < end), end]
    return max(later - earlier for earlier, later in itertools.pairwise(times))
