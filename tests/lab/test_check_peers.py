"""`cuberouted check --peers` finds what is wrong between two servers, and nothing else."""

from __future__ import annotations

import json

from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.test_encryption import KEY_FILE, encrypted, keygen
from tests.lab.waiting import wait_for

Found = dict[tuple[str, str, str], str]
"""What is not right: level, id and subject -> the text."""

CONFIG = "/etc/openvpn/server.conf"


def check(server: Server, *options: str) -> Found:
    done = server.daemon.command("check", "--peers", "--json", *options)
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)["findings"]
    return {
        (row["level"], row["id"], row["subject"]): row["text"]
        for row in rows
        if row["level"] != "ok"
    }


def up(*servers: Server) -> None:
    """Wait until each has all its peers up."""

    def are_up(server: Server) -> bool:
        return all(row["state"] == "up" for row in server.daemon.ask("status")["peers"])

    for server in servers:
        wait_for(f"the peers of {server.name}", lambda: are_up(server))  # noqa: B023


def state(server: Server, peer: Server) -> str:
    rows = {row["name"]: row["state"] for row in server.daemon.ask("status")["peers"]}
    found: str = rows[peer.name]
    return found


def well(lab: Lab) -> Found:
    """What the first server finds while all is well: nothing about its peers."""
    start_daemons(lab.servers)
    up(*lab.servers)
    wait_routes(lab, {})
    found = check(lab.servers[0])
    assert not any(id_.startswith("peer-") for _, id_, _ in found), found
    return found


def new(server: Server, before: Found) -> Found:
    return {key: text for key, text in check(server).items() if key not in before}


def test_all_that_can_be_looked_at_is_right_between_servers_that_are_alike(lab3: Lab) -> None:
    a, b, c = lab3.servers
    lab3.client("host1")  # an entry in each client-config-dir
    for server in (a, b, c):
        server.host.write("/etc/openvpn/crl.pem", "a list of certificates\n")
        append(server, "crl-verify /etc/openvpn/crl.pem\n")
    well(lab3)
    done = a.daemon.command("check", "--peers", "-v")
    for peer in (b, c):
        for text in (
            f"peer {peer.name}: answers; cuberouted",
            f"peer {peer.name}: packets of 1500 bytes get through {a.device(peer)}",
            f"peer {peer.name}: receives what {a.name} advertises",
            f"peer {peer.name}: client-config-dir is the same",
            f"peer {peer.name}: crl-verify is the same",
        ):
            assert text in done.stdout


def append(server: Server, line: str) -> None:
    """Add *line* to the file that OpenVPN was started with; the process goes on as it is."""
    path = server.host.path(CONFIG)
    path.write_text(path.read_text() + line)


def test_files_that_differ_are_found(lab3: Lab) -> None:
    a, b, c = lab3.servers
    for server in (a, b, c):
        server.allow("host1", "10.100.100.50")
    before = well(lab3)
    for server in (a, b):
        server.allow("host7", "10.100.100.57")
    assert new(a, before) == {
        (
            "warning",
            "peer-files",
            f"peer {c.name}",
        ): "client-config-dir differs: missing or different there: host7"
    }
    c.allow("host7", "10.100.100.57")
    assert new(a, before) == {}
    for server, text in ((a, "one"), (b, "one"), (c, "another")):
        server.host.write("/etc/openvpn/tc.key", f"{text}\n", 0o600)
        append(server, "tls-crypt /etc/openvpn/tc.key\n")
    [(key, text)] = new(a, before).items()
    assert key == ("warning", "peer-files", f"peer {c.name}")
    assert text == "tls-crypt or tls-auth differs: another one is used there"


def test_a_stopped_peer_is_found_and_its_consequences_are_not(lab3: Lab) -> None:
    a, _, c = lab3.servers
    before = well(lab3)
    c.daemon.stop()
    wait_for("A to notice", lambda: state(a, c) == "down")
    [(key, text)] = new(a, before).items()
    assert key == ("problem", "peer-port", f"peer {c.name}")
    assert text.endswith(f"through {a.device(c)}: connection refused: nobody listens there")
    assert a.daemon.command("check", "--peers").returncode == 1


def test_a_tunnel_that_loses_large_packets_and_one_with_two_mtus_are_found(lab3: Lab) -> None:
    a, b, c = lab3.servers
    before = well(lab3)
    c.host.ip(f"link set {c.device(a)} mtu 1000")
    b.host.run("nft", "add table ip loss")
    b.host.run("nft", "add chain ip loss in { type filter hook input priority 0 ; }")
    b.host.run("nft", f"add rule ip loss in iifname {b.device(a)} meta length > 1200 drop")
    found = new(a, before)
    assert found.keys() == {
        ("problem", "peer-packets", f"peer {b.name}"),
        ("warning", "peer-packets", f"peer {c.name}"),
    }
    assert found["warning", "peer-packets", f"peer {c.name}"] == (
        f"the MTU of {a.device(c)} is 1500 here and 1000 there"
    )
    lost = found["problem", "peer-packets", f"peer {b.name}"]
    assert lost == f"packets of 1500 bytes do not get through {a.device(b)}: no answer"


def test_wrong_keys_are_found_on_either_side(lab3: Lab) -> None:
    a, b, c = lab3.servers
    keys = {server.name: keygen(server) for server in lab3.servers}
    wrong = keys | {b.name: keygen(c, KEY_FILE + "-other")}
    start_daemons(lab3.servers, lambda server: encrypted(server, wrong if server is a else keys))
    wait_for("C to be up", lambda: state(a, c) == "up")
    wait_for("A to be rejected", lambda: "no handshake" in a.daemon.command("status").stdout)
    found = check(a)
    [only] = [key for key in found if key[1].startswith("peer-") or "daemon" in key[1]]
    assert only == ("problem", "peer-keys", f"peer {b.name}")
    assert "no handshake" in found[only]
    wait_for("B to be rejected", lambda: "rejects us" in b.daemon.command("status").stdout)
    found = check(b)
    [only] = [key for key in found if key[1].startswith("peer-") or "daemon" in key[1]]
    assert only == ("problem", "peer-keys", f"peer {a.name}")
    assert "it rejects us: our public key is not one of its peers'" in found[only]


def test_a_peer_that_does_not_reach_us_is_found(lab3: Lab) -> None:
    a, b, c = lab3.servers
    a.host.run("nft", "add table ip block")
    a.host.run("nft", "add chain ip block in { type filter hook input priority 0 ; }")
    a.host.run("nft", f"add rule ip block in iifname {a.device(c)} tcp dport 5657 drop")
    start_daemons(lab3.servers)
    up(a, b)
    found = {key: text for key, text in check(a).items() if key[1].startswith("peer-")}
    [(key, text)] = found.items()
    assert key == ("problem", "peer-way-back", f"peer {c.name}")
    assert "its daemon is not connected to vpnsrvA" in text


def test_without_a_running_daemon_it_cannot_ask(lab: Lab) -> None:
    a = lab.servers[0]
    a.daemon.configure(mesh(a))
    done = a.daemon.command("check", "--peers")
    assert (done.returncode, "is not running" in done.stderr) == (3, True)
