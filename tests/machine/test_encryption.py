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
    for server in site.servers.values():
        assert server.machine.run("stat", "-c", "%U %a", KEY).split() == ["root", "600"]
        peer = site.peer(server)
        server.machine.write(DROP_IN, drop_in("secret-key"))
        theirs = f"remote_public_key = {keys[peer.name]}"
        server.set_configuration(server.configuration(peer, CREDENTIAL, theirs))
        server.machine.run("systemctl", "daemon-reload")
    for server in site.servers.values():
        server.systemctl("restart")
    site.wait_well()
    assert [encrypted(server) for server in site.servers.values()] == [[True], [True]]
    site.wait_all_reach_all()
    for server in site.servers.values():
        assert keys[server.name] not in server.journal()
        server.machine.run("rm", KEY, DROP_IN)
        server.machine.run("systemctl", "daemon-reload")
        site.restore(server)
    site.wait_well()
    assert [encrypted(server) for server in site.servers.values()] == [[False], [False]]


def encrypted(server: Server) -> list[bool]:
    """Of each peer, what `status` says."""
    peers = json.loads(server.cuberouted("status", "--json"))["peers"]
    return [row["encrypted"] for row in peers]
