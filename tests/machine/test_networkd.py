"""systemd-networkd is restarted, as updates do, on a machine whose network it manages."""

from __future__ import annotations

from tests.machine.server import Server
from tests.machine.site import Site


def test_a_restart_of_networkd_loses_no_packet(site: Site, server: Server) -> None:
    machine, before = server.machine, server.routes()
    with site.pings(server):
        machine.run("systemctl", "restart", "systemd-networkd")
        machine.wait_for("its interface", lambda: "configured" in networkctl(server))
        assert "tun1" in machine.run("networkctl", "--no-legend", "list")
        assert server.routes() == before


def networkctl(server: Server) -> list[str]:
    """What networkd says of the machine's interface."""
    return server.machine.run("networkctl", "--no-legend", "list", server.machine.interface).split()
