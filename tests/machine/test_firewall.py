"""A firewall that drops by default, by Debian's nftables.service."""

from __future__ import annotations

import json

from tests.lab import addresses, ping
from tests.machine.published import block
from tests.machine.server import Server
from tests.machine.site import Site

RULES = "/etc/nftables.conf"
TABLE = """\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {{
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        {input}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        {forward}
    }}
}}
"""


def test_with_the_readmes_rules_all_reach_all_and_without_check_finds_what_is_missing(
    site: Site, server: Server
) -> None:
    client, other = site.client(server), site.client(site.peer(server))
    *of_input, of_forward = _rules(server, site.peer(server))
    _start(server, TABLE.format(input="\n".join(of_input), forward=of_forward))
    server.systemctl("restart")
    site.wait_well()
    site.wait_all_reach_all()
    server.cuberouted("check", "--strict", "--peers")

    _start(server, TABLE.format(input="\n".join(of_input), forward=""))
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


def _rules(server: Server, peer: Server) -> list[str]:
    """The README's, for a tunnel that is not WireGuard's."""
    _, _, port = addresses.tunnel(server.number, peer.number)
    lines = block("udp dport {").replace("51820", str(port)).splitlines()
    return [line.split("#")[0].strip() for line in lines]
