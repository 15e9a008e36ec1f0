"""The unit's sandbox, credentials, memory and commands, as the running systemd has them."""

from __future__ import annotations

import json

from tests.machine.server import Server
from tests.machine.site import Site

EXPOSURE = 2.0
"""What `systemd-analyze security` may give at most, of 10; below 2 is its best class."""

MEMORY = 80 << 20
"""Bytes that the daemon may have in memory, Python and its modules included."""


def test_systemd_finds_little_exposure(server: Server) -> None:
    shown = server.machine.run("systemd-analyze", "security", "--no-pager", "cuberouted")
    overall = shown.splitlines()[-1]
    assert float(overall.split(":")[1].split()[0]) < EXPOSURE, overall


def test_it_runs_as_its_user_with_one_capability(server: Server) -> None:
    pid = server.property("MainPID")
    status = dict(
        line.split(":\t", 1)
        for line in server.machine.read(f"/proc/{pid}/status").splitlines()
        if ":\t" in line
    )
    user = server.machine.run("id", "-u", "cuberouted").strip()
    assert status["Uid"].split() == [user] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 12
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    resident = int(status["VmRSS"].split()[0]) << 10
    assert resident < MEMORY, resident


def test_the_password_is_for_the_daemon_alone(server: Server) -> None:
    path = "/run/credentials/cuberouted.service/openvpn-pass"
    assert server.machine.read(path) == server.machine.read("/etc/openvpn/pass")
    for argv in (("cat", path), ("cat", "/etc/openvpn/pass")):
        assert server.machine.try_run("runuser", "-u", "nobody", "--", *argv).returncode
    status = json.loads(server.cuberouted("status", "--json"))
    assert [row["state"] for row in status["openvpn"]] == ["connected"]


def test_a_hook_that_runs_when_it_is_stopped_comes_to_its_end(site: Site, server: Server) -> None:
    begun, ended = (f"/var/lib/cuberouted/{what}" for what in ("begun", "ended"))
    hook = f"hook = /bin/sh -c 'touch {begun}; sleep 1; touch {ended}'"
    events = "hook_events = reloaded"
    server.set_configuration(server.configuration(site.peer(server), hook, events))
    server.systemctl("restart")
    server.systemctl("reload")
    server.machine.wait_for("the hook", lambda: server.machine.run("ls", begun))
    server.systemctl("stop")
    server.machine.run("rm", begun, ended)
    site.restore(server)
