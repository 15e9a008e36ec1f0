"""A role moves between the servers as docs/services.md says: by systemctl, allowed by polkit."""

from __future__ import annotations

import re
import time

from tests.machine.published import block
from tests.machine.server import Server
from tests.machine.site import Site

ROLE = "frontend1"
UNIT = f"openvpn-server@{ROLE}.service"
ADDRESS = "10.100.100.250"
POLKIT = "/etc/polkit-1/rules.d/50-cuberouted.rules"

ON_RELEASE_TIMEOUT = 8.0
"""Seconds after which the daemon ends without its on_release."""


def test_a_role_moves_when_its_holder_stops_and_comes_to_both(site: Site) -> None:
    for server in site.servers.values():
        set_up(site, server)
    for server in site.servers.values():
        server.systemctl("reload")
    holder = site.a
    wait_holder(site, holder)
    for _ in site.servers:
        other = site.peer(holder)
        begin = time.monotonic()
        holder.systemctl("stop")
        assert time.monotonic() - begin < ON_RELEASE_TIMEOUT / 2
        wait_holder(site, other)
        holder.systemctl("start")
        holder.wait_well()
        holder = other
    for server in site.servers.values():
        refused = server.machine.try_run(
            *("runuser", "-u", "cuberouted", "--", "systemctl", "stop", "openvpn-server@tun1")
        )
        assert refused.returncode
        site.restore(server)
        server.machine.run("systemctl", "stop", UNIT)
        server.machine.run("rm", POLKIT)
        server.machine.run("rm", "-r", f"/etc/systemd/system/{UNIT}.d")


def set_up(site: Site, server: Server) -> None:
    """The steps of docs/services.md on *server*, but for the fence, which needs hardware."""
    machine = server.machine
    # its first lines, without what needs addresses that are pushed
    lines = re.sub(r"\s*#.*", "", block("dev tun11 "))
    lines = re.sub("(?m)^(management|push) .*\n", "", lines).replace("port 1194", "port 1195")
    keys = "".join(f"{part} {part}.pem\n" for part in ("ca", "cert", "key"))
    machine.write(
        f"/etc/openvpn/server/{ROLE}.conf",
        f"dh none\n{keys}{lines}".replace("10.100.100.1 ", "10.100.102.1 "),
    )
    machine.write(POLKIT, block("polkit.addRule"))
    machine.run("sh", "-ec", block("for unit in openvpn-server@frontend1 "))
    found = re.findall(
        rf"^on_(?:acquire|release) = .*{ROLE}$", block("# a server without"), re.MULTILINE
    )
    section = "\n".join([f"[service {ROLE}]", f"address = {ADDRESS}", *found])
    server.set_configuration(f"{server.configuration(site.peer(server))}{section}\n")


def wait_holder(site: Site, holder: Server) -> None:
    """Waits until *holder* alone has the address, and runs the unit."""

    def look() -> bool:
        for server in site.servers.values():
            wanted = server is holder
            active = server.machine.try_run("systemctl", "is-active", "--quiet", UNIT)
            assert (active.returncode == 0) is wanted, f"{UNIT} on {server.name}"
            addresses = server.machine.run("ip", "address", "show", "dev", "lo")
            assert (f" {ADDRESS}/" in addresses) is wanted, f"{ADDRESS} on {server.name}"
        return True

    holder.machine.wait_for(f"holding {ROLE}", look, 20)
