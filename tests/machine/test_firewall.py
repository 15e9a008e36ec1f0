"""A firewall that drops by default, by Debian's nftables.service."""

from __future__ import annotations

import json
import re

from tests.lab import addresses, ping
from tests.machine.published import block
from tests.machine.server import Server
from tests.machine.site import Site

RULES = "/etc/nftables.conf"


def test_with_the_documented_rules_all_reach_all_and_without_check_finds_what_is_missing(
    site: Site, server: Server
) -> None:
    client, other = site.client(server), site.client(site.peer(server))
    rules = _rules(server, site.peer(server))
    _start(server, rules)
    server.systemctl("restart")
    site.wait_well()
    site.wait_all_reach_all()
    server.cuberouted("check", "--strict", "--peers")

    without, number = re.subn(r"\n *iifname .* oifname .* accept", "", rules)
    assert number == 1
    _start(server, without)
    assert not ping.reaches(client.host, other.data)
    done = server.machine.try_run("cuberouted", "check", "--json")
    found = [row for row in json.loads(done.stdout)["findings"] if row["level"] == "warning"]
    assert [row["subject"] for row in found] == ["firewall"], found
    server.machine.run("systemctl", "stop", "nftables")
    server.machine.run("rm", RULES)
    site.wait_all_reach_all()


def _start(server: Server, rules: str) -> None:
    server.machine.write(RULES, rules)
    server.machine.run("systemctl", "restart", "nftables")


def _rules(server: Server, peer: Server) -> str:
    """The documented ones, for a tunnel that is not WireGuard's."""
    _, _, port = addresses.tunnel(server.number, peer.number)
    return block(f"# {RULES}").replace("51820", str(port))
