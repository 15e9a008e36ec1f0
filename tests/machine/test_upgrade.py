"""The package is upgraded while packets flow."""

from __future__ import annotations

from tests.machine.server import Server
from tests.machine.site import Site, package


def test_an_upgrade_loses_no_packet(site: Site, server: Server) -> None:
    pid = server.property("MainPID")
    with site.pings(server):
        server.install(package(server.machine.suite), "--reinstall")
        site.wait_well()
    assert server.property("MainPID") != pid
