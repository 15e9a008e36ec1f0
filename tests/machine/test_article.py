"""The article's case under real systemd: what the unit shows, reloads, stops, and boots."""

from __future__ import annotations

import json

from tests.machine.server import CONFIGURATION, Server
from tests.machine.site import Site


def test_a_machine_set_up_as_the_readme_says_has_no_finding(site: Site, server: Server) -> None:
    site.wait_all_reach_all()
    found = json.loads(server.cuberouted("check", "--strict", "--peers", "--json"))
    assert {row["level"] for row in found["findings"]} == {"ok"}


def test_systemctl_status_and_the_journal_tell_what_is(site: Site, server: Server) -> None:
    shown = server.systemctl("status", "--no-pager", "--full")
    assert "Active: active (running)" in shown
    assert 'Status: "1 client, 2 routes"' in shown
    peer = site.peer(server).name
    log = server.journal()
    assert f"node {server.name}: running; cuberouted" in log
    assert f"peer {peer} " in log
    assert f"({site.client(server).data}) joined at {server.name}" in log
    assert "Traceback" not in log


def test_a_reload_applies_a_change_and_with_a_mistake_fails_and_says_why(
    site: Site, server: Server
) -> None:
    pid, before = server.property("MainPID"), server.machine.read(CONFIGURATION)
    peer = site.peer(server)
    server.set_configuration(server.configuration(peer, "log_level = debug"))
    server.systemctl("reload")
    server.machine.wait_for(
        "debug messages", lambda: f"{CONFIGURATION}: reloaded" in server.journal()
    )
    server.set_configuration(server.configuration(peer, "log_levl = debug"))
    done = server.machine.try_run("systemctl", "reload", "cuberouted")
    assert done.returncode
    mistake = f"{CONFIGURATION}:1: log_levl: "
    assert mistake in server.systemctl("status", "--no-pager", "--full")
    assert server.property("ActiveState") == "active"
    assert server.property("MainPID") == pid
    server.set_configuration(before)
    server.systemctl("reload")


def test_a_stop_withdraws_the_routes_here_and_on_the_peer(site: Site, server: Server) -> None:
    peer = site.peer(server)
    server.systemctl("stop")
    assert server.routes() == {}
    # the peer still has the route to the server itself, which its configuration names
    peer.machine.wait_for("routes", lambda: peer.routes() == {server.data: "tun1"})
    assert server.property("Result") == "success"
    server.systemctl("start")
    site.wait_well()
    site.wait_all_reach_all()


def test_killed_it_is_started_again_and_finds_its_routes(site: Site, server: Server) -> None:
    before, routes = server.property("NRestarts"), server.routes()
    server.systemctl("kill", "--signal=KILL")
    assert server.routes() == routes
    server.machine.wait_for("a restart", lambda: server.property("NRestarts") != before)
    site.wait_well()
    site.wait_all_reach_all()


def test_a_graceful_restart_loses_no_packet(site: Site, server: Server) -> None:
    pid = server.property("MainPID")
    with site.pings(server):
        server.cuberouted("graceful-restart")
        server.systemctl("restart")
        site.wait_well()
    assert server.property("MainPID") != pid


def test_after_a_reboot_it_is_as_before(site: Site, server: Server) -> None:
    client = site.client(server)
    server.machine.reboot()
    client.openvpn.restart()  # else it notices by its keepalive, after 10 s
    site.wait_well()
    site.wait_all_reach_all()
    log = server.journal()
    assert "Traceback" not in log
    # started after OpenVPN: it has not missed it
    assert "openvpn: connecting -> connected" in log


def test_after_a_power_loss_of_both_all_is_as_before(site: Site) -> None:
    for server in site.servers.values():
        server.machine.kill()
    site.each(lambda server: server.machine.boot())
    site.wait_well()
    site.wait_all_reach_all()
