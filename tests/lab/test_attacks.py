"""Attacks harm at most the attacker; the tests assert what all others keep."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.lab import rogue, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, share, start_daemons, wait_routes, wanted
from tests.lab.process import Process
from tests.lab.server import Server
from tests.lab.test_encryption import KEY_FILE, encrypted, keygen, run_encrypted
from tests.lab.waiting import wait_for

pytestmark = pytest.mark.alone

UNKNOWN_ADDRESS = "10.99.0.1"
MAX_MEMORY = 80
"""MB that an attack may cost a daemon, which uses some 50 without one."""

MANY_CONNECTIONS = 100
"""Connections without traffic; no fewer than ZeroMQ's backlog holds."""

ENDLESS = """
import socket
server = socket.create_server(("127.0.0.1", 7777))
print("listening", flush=True)
sent = 0
while sent < 300_000_000:
    try:
        conn, _ = server.accept()
        while sent < 300_000_000:
            sent += conn.send(b"x" * 65536)
    except OSError:
        pass
print("done", flush=True)
server.accept()
"""

SILENT = """
import socket, time
held = []
for _ in range(10):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect("/run/cuberouted/control.sock")
    held.append(sock)
print("silent", flush=True)
time.sleep(60)
"""


def attack(attacker: Server, victim: Server, name: str, address: str | None = None) -> Process:
    """Starts an attack from *attacker*'s end of the tunnel, or from another address there."""
    ours = attacker.tunnels[victim.name].ours
    module = [sys.executable, "-m", "tests.lab.rogue"]
    theirs = victim.tunnels[attacker.name].ours
    return attacker.host.start(name, *module, name, address or ours, theirs)


def memory(server: Server) -> int:
    """MB that the daemon of *server* has in memory."""
    pages = int(Path(f"/proc/{server.daemon.process.pid}/statm").read_text().split()[1])
    return pages * 4096 >> 20


def refused(server: Server, peer: Server) -> int:
    peers = {row["name"]: row for row in server.daemon.ask("status")["peers"]}
    count: int = peers[peer.name]["refused"]
    return count


def add_unknown_address(lab: Lab) -> None:
    """Gives the second server an address that the first can answer, but does not know."""
    a, b = lab.servers[:2]
    b.host.ip(f"address add {UNKNOWN_ADDRESS}/32 dev {b.device(a)}")
    a.host.ip(f"route add {UNKNOWN_ADDRESS}/32 dev {a.device(b)}")


def test_a_connection_from_an_unknown_address_is_rejected(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    add_unknown_address(lab)
    attacker = attack(b, a, "subscribe_to_all", UNKNOWN_ADDRESS)
    attacker.wait_log("received 0")
    assert a.daemon.ask("status")["rejected_connections"] > 0
    assert f"rejected a connection from {UNKNOWN_ADDRESS}" in a.daemon.process.log
    wait_routes(lab, where)


def test_with_keys_a_subscriber_at_a_peers_address_receives_nothing(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    run_encrypted(lab)
    wait_routes(lab, where)
    attack(b, a, "subscribe_to_all").wait_log("received 0")
    assert a.daemon.ask("status")["rejected_connections"] > 0
    wait_routes(lab, where)


def test_with_keys_an_impersonator_without_keys_is_not_accepted(lab: Lab) -> None:
    a, b = lab.servers
    keys = {server.name: keygen(server) for server in lab.servers}
    impersonate_publisher = attack(b, a, "impersonate_publisher")
    impersonate_publisher.wait_log("listening")
    a.daemon.run(encrypted(a, keys))
    impersonate_publisher.wait_log("done")
    assert routes.towards(a.host) == {f"{b.data}/32": a.device(b)}
    assert impersonate_publisher.wait() == 0
    b.daemon.run(encrypted(b, keys))
    wait_routes(lab, {})


def test_with_keys_an_impersonator_with_other_keys_is_not_accepted(lab: Lab) -> None:
    a, b = lab.servers
    keys = {server.name: keygen(server) for server in lab.servers}
    impersonate_publisher = attack(b, a, "impersonate_publisher")
    impersonate_publisher.wait_log("listening")
    other = encrypted(a, keys).replace("public_key", f"port = {rogue.PORT + 1}\npublic_key")
    a.daemon.run(other)
    impersonate_publisher.wait_log("done")
    assert routes.towards(a.host) == {f"{b.data}/32": a.device(b)}


def test_forbidden_prefixes_are_refused_counted_and_logged_once(lab3: Lab) -> None:
    where = connect(lab3, {"host1": 0, "host3": 2})
    a, b, c = lab3.servers
    start_daemons([a, c])
    attack(b, a, "forbidden_prefixes").wait_log("done")
    legitimate = wanted(a, where, silent=[b]) | {f"{rogue.GOOD}/32": a.device(b)}
    routes.wait_towards(a.host, legitimate)
    wait_for("all to be refused", lambda: refused(a, b) >= 2 * len(rogue.FORBIDDEN) - 2)
    log = a.daemon.process.log
    assert log.count("peer vpnsrvB: ") <= 8, log
    assert " refused: " in log
    assert "dropped a message" in log
    routes.wait_towards(c.host, wanted(c, where, silent=[b]))


def test_a_repeated_and_reordered_stream_changes_nothing(lab: Lab) -> None:
    a, b = lab.servers
    a.daemon.run(mesh(a))
    attack(b, a, "replay").wait_log("done")
    good = {f"{b.data}/32": a.device(b), f"{rogue.GOOD}/32": a.device(b)}
    routes.wait_towards(a.host, good)
    wait_for("B to be up", lambda: a.daemon.ask("status")["peers"][0]["state"] == "up")
    assert routes.towards(a.host) == good


def test_a_million_prefixes_are_refused_and_other_routes_stay(lab3: Lab) -> None:
    where = connect(lab3, {"host1": 0, "host3": 2})
    a, b, c = lab3.servers
    start_daemons([a, c])
    both = wanted(a, where, silent=[b])
    routes.wait_towards(a.host, both)
    before = memory(a)
    deletions = routes.Deletions(a.host)
    attack(b, a, "million_prefixes").wait_log("done", timeout=60)
    wait_for("A to refuse it", lambda: refused(a, b) > 0)
    assert "over limit" in a.daemon.process.log
    assert memory(a) - before < MAX_MEMORY
    routes.wait_towards(a.host, both)
    assert deletions.seen() == []


def test_a_subscription_flood_is_disconnected_and_other_routes_stay(lab3: Lab) -> None:
    where = connect(lab3, {"host1": 0, "host3": 2})
    a, b, c = lab3.servers
    start_daemons([a, c])
    routes.wait_towards(a.host, wanted(a, where, silent=[b]))
    before = memory(a)
    deletions = routes.Deletions(c.host)
    attack(b, a, "subscription_flood").wait_log("done", timeout=30)
    assert "subscribed to more than" in a.daemon.process.log
    assert memory(a) - before < MAX_MEMORY
    assert a.daemon.command("clients").returncode == 0
    assert deletions.seen() == []
    routes.wait_towards(c.host, wanted(c, where, silent=[b]))


def test_many_silent_connections_do_not_stop_the_daemon(lab3: Lab) -> None:
    where = connect(lab3, {"host1": 0, "host3": 2})
    a, b, c = lab3.servers
    start_daemons([a, c])
    deletions = routes.Deletions(c.host)
    routes.wait_towards(c.host, wanted(c, where, silent=[b]))
    connection_flood = attack(b, a, "connection_flood")
    connection_flood.wait_log("done with", timeout=30)
    [held] = re.findall(r"done with (\d+)", connection_flood.log)
    assert int(held) >= MANY_CONNECTIONS
    assert a.daemon.ask("status")["peers"]
    connection_flood.wait()
    assert deletions.seen() == []
    routes.wait_towards(a.host, wanted(a, where, silent=[b]))


def test_an_endless_management_line_closes_the_connection(lab: Lab) -> None:
    a, b = lab.servers
    endless = a.host.start("endless", sys.executable, "-c", ENDLESS)
    endless.wait_log("listening")
    lines = [line for line in mesh(a).splitlines() if not line.startswith("openvpn_mgmt")]
    own = ["openvpn_mgmt_host = 127.0.0.1", "openvpn_mgmt_port = 7777"]
    a.daemon.run("\n".join([*own, *lines]) + "\n")
    before = memory(a)
    a.daemon.process.wait_log("a line of more than")
    assert memory(a) - before < MAX_MEMORY
    assert a.daemon.ask("status")["openvpn"][0]["state"] != "connected"
    b.daemon.run(mesh(b))
    wait_routes(lab, {})


def test_silent_control_clients_do_not_block_others(lab: Lab) -> None:
    share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    silent = a.host.start("silent", sys.executable, "-c", SILENT)
    silent.wait_log("silent")
    assert a.daemon.command("status").returncode == 0


def test_no_secret_key_is_ever_shown(lab: Lab) -> None:
    a, b = lab.servers
    run_encrypted(lab, "log_level = debug")
    wait_for("B to be up", lambda: a.daemon.command("status").returncode == 0)
    secret = a.host.path(KEY_FILE).read_text().strip()
    updates = a.daemon.process.log + b.daemon.process.log + a.daemon.command("check").stdout
    assert secret not in updates
