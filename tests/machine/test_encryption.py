"""Keys between the servers, by `keygen` and the drop-in for the credential."""

from __future__ import annotations

import json

from tests.machine.published import drop_in
from tests.machine.server import DROP_INS, Server
from tests.machine.site import Site

KEY = "/etc/credstore/cuberouted-key"
DROP_IN = f"{DROP_INS}/secret-key.conf"
CREDENTIAL = "secret_key_file = /run/credentials/cuberouted.service/cuberouted-key"


def test_with_keys_the_servers_talk_encrypted_and_without_again_as_before(site: Site) -> None:
    keys = {name: server.cuberouted("keygen").strip() for name, server in site.servers.items()}
    site.each(lambda server: set_up(site, server, keys))
    site.wait_well()
    assert [encrypted(server) for server in site.servers.values()] == [[True], [True]]
    site.wait_all_reach_all()
    for server in site.servers.values():
        assert keys[server.name] not in server.journal()
    site.each(lambda server: remove(site, server))
    site.wait_well()
    assert [encrypted(server) for server in site.servers.values()] == [[False], [False]]


def set_up(site: Site, server: Server, keys: dict[str, str]) -> None:
    """Does the documented steps; *keys* are the public ones."""
    assert server.machine.run("stat", "-c", "%U %a", KEY).split() == ["root", "600"]
    peer = site.peer(server)
    server.machine.write(DROP_IN, drop_in("secret-key"))
    theirs = f"remote_public_key = {keys[peer.name]}"
    server.set_configuration(server.configuration(peer, CREDENTIAL, theirs))
    server.machine.run("systemctl", "daemon-reload")
    server.systemctl("restart")


def remove(site: Site, server: Server) -> None:
    """Undoes `set_up`."""
    server.machine.run("rm", KEY, DROP_IN)
    server.machine.run("systemctl", "daemon-reload")
    site.restore(server)


def encrypted(server: Server) -> list[bool]:
    """Of each peer, what `status` says."""
    peers = json.loads(server.cuberouted("status", "--json"))["peers"]
    return [row["encrypted"] for row in peers]
