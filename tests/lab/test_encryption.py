"""Keys: routes are shared as without them, and keys are changed without an outage."""

from __future__ import annotations

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, wait_routes, wanted
from tests.lab.server import Server
from tests.lab.waiting import wait_for

KEY_FILE = "/run/key"


def keygen(server: Server, path: str = KEY_FILE) -> str:
    """Makes a key pair on *server*: the public key."""
    return server.host.run(*server.daemon.argv[:-1], "keygen", "--out", path).strip()


def encrypted(server: Server, public_keys: dict[str, str], *more: str, path: str = KEY_FILE) -> str:
    """The mesh's configuration with keys; *public_keys*: of every peer, by its name."""
    text = mesh(server, f"secret_key_file = {path}", *more)
    for name, key in public_keys.items():
        text = text.replace(f"[peer {name}]\n", f"[peer {name}]\npublic_key = {key}\n")
    return text


def run_encrypted(lab: Lab, *more: str) -> dict[str, str]:
    """Makes keys, and starts every daemon with them: the public keys."""
    keys = {server.name: keygen(server) for server in lab.servers}
    for server in lab.servers:
        server.daemon.configure(encrypted(server, keys, *more))
        server.daemon.start()
    for server in lab.servers:
        server.daemon.ready()
    return keys


def test_with_keys_routes_are_shared_and_status_says_so(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    run_encrypted(lab)
    wait_routes(lab, where)
    status = lab.servers[0].daemon.ask("status")
    assert [(peer["state"], peer["encrypted"]) for peer in status["peers"]] == [("up", True)]
    assert status["rejected_connections"] == 0


def test_encryption_on_one_side_shares_nothing_and_both_sides_say_why(lab: Lab) -> None:
    a, b = lab.servers
    keys = {server.name: keygen(server) for server in lab.servers}
    a.daemon.run(encrypted(a, keys))
    b.daemon.run(mesh(b))
    for server in (a, b):
        wait_for("the reason", lambda: "one side" in server.daemon.command("status").stdout)  # noqa: B023
    assert a.daemon.ask("status")["rejected_connections"] > 0


def test_a_key_file_that_others_can_read_is_refused(lab: Lab) -> None:
    a, b = lab.servers
    keys = {b.name: keygen(b)}
    keygen(a)
    a.host.path(KEY_FILE).chmod(0o640)
    a.daemon.configure(encrypted(a, keys))
    a.daemon.start()
    assert a.daemon.process.wait() == 2
    assert "chmod 600" in a.daemon.process.log
    checked = a.daemon.command("check")
    assert checked.returncode == 1
    assert "chmod 600" in checked.stdout


def test_a_key_is_changed_without_an_outage(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, b = lab.servers
    keys = run_encrypted(lab, "on_exit = keep")
    wait_routes(lab, where)
    deletions = routes.Deletions(b.host)
    stream = ping.Stream(one.host, two.data)
    new = keygen(a, "/run/new")
    b.daemon.reload(encrypted(b, {a.name: f"{keys[a.name]} {new}"}, "on_exit = keep"))
    b.daemon.process.wait_log("reloaded")
    wait_routes(lab, where)
    a.daemon.stop()
    a.daemon.run(encrypted(a, keys, "on_exit = keep", path="/run/new"))
    wait_for("B's peer to be up", lambda: b.daemon.command("status").returncode == 0)
    b.daemon.reload(encrypted(b, {a.name: new}, "on_exit = keep"))
    b.daemon.process.wait_log("reloaded", times=2)
    wait_for("B's peer to be up", lambda: b.daemon.command("status").returncode == 0)
    stream.end()
    assert stream.lost() == 0
    assert deletions.seen() == []


def test_a_reload_with_another_secret_key_is_refused(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    keys = run_encrypted(lab)
    a, _ = lab.servers
    keygen(a, "/run/new")
    a.daemon.reload(encrypted(a, keys, path="/run/new"))
    a.daemon.process.wait_log("secret_key_file: a change needs a restart")
    wait_routes(lab, where)


def test_a_peer_whose_key_was_exchanged_for_another_is_rejected(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    run_encrypted(lab)
    wait_routes(lab, where)
    a.daemon.reload(encrypted(a, {b.name: keygen(a, "/run/other")}))
    routes.wait_towards(a.host, {f"{b.data}/32": a.device(b)})
    wait_for("B to be rejected", lambda: "rejects us" in b.daemon.command("status").stdout)
    routes.wait_towards(b.host, {f"{a.data}/32": b.device(a)})
    assert wanted(a, where) != routes.towards(a.host)
