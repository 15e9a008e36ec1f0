"""A disk that is full and a file system that is read-only: cuberouted needs neither."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.server import Server

FULL = ("/run/log", "/run/cuberouted", "/var/log")

READ_ONLY = """
for at in / /run /run/log /run/cuberouted /tmp /var /var/log /dev /dev/shm /etc/openvpn; do
    ! mountpoint -q $at || mount -o remount,bind,ro $at
done
! touch /run/written /run/cuberouted/written /var/log/written /tmp/written 2>/dev/null
"""
"""Makes every file system read-only, in a mount namespace of cuberouted's own: elsewhere the
lab's logs are written to the same."""

OWN_MOUNTS = ("unshare", "--mount")

WEB = "127.0.0.1:9657"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two servers; A has little room where programs write."""
    with Lab(start=False) as lab:
        a, _ = lab.servers
        for where in FULL:
            a.host.run("mkdir", "-p", where)
            a.host.run("mount", "-t", "tmpfs", "-o", "mode=755,size=256k", "small", where)
        lab.start()
        yield lab


def fill(server: Server) -> None:
    """Fill every one of FULL."""
    for where in FULL:
        done = server.host.try_run("dd", "if=/dev/zero", f"of={where}/full", "bs=1k")
        assert "No space left" in done.stderr


def roam_and_return(lab: Lab, where: dict[Client, Server]) -> None:
    """A client roams to the other server and back; its routes follow."""
    one, _ = where
    for server in reversed(lab.servers):
        one.roam(server)
        where[one] = server
        wait_routes(lab, where)
    assert_all_reach_all(where)


def test_a_full_disk_costs_log_lines_and_nothing_else(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers)
    wait_routes(lab, where)
    a, _ = lab.servers
    fill(a)
    roam_and_return(lab, where)
    assert a.daemon.command("status").returncode == 0
    a.daemon.crash()
    a.daemon.start()
    a.daemon.ready()
    wait_routes(lab, where)
    roam_and_return(lab, where)
    assert a.daemon.stop() == 0


@pytest.mark.parametrize("left", ["nothing", "a stale socket"])
def test_a_daemon_starts_where_every_file_system_is_read_only(lab: Lab, left: str) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    if left == "a stale socket":
        a.daemon.run(mesh(a))
        a.daemon.crash()
    script = READ_ONLY + 'exec "$@"'
    a.daemon.argv = (*OWN_MOUNTS, "sh", "-ec", script, "sh", *Daemon.argv)
    start_daemons(lab.servers, lambda server: mesh(server, f"web_listen = {WEB}"))
    problem = "Read-only file system; the commands do not work until cuberouted is restarted"
    status = json.loads(a.host.run("curl", "-sSf", f"http://{WEB}/v1/status"))
    assert [text for text in status["problems"] if text.endswith(problem)]
    history = a.host.run("curl", "-sSf", f"http://{WEB}/v1/events?after=0&follow=0")
    assert f'{problem}"' in history
    assert problem in a.daemon.process.log
    wait_routes(lab, where)
    roam_and_return(lab, where)
    assert a.daemon.stop() == 0


def test_file_systems_that_become_read_only_under_a_running_daemon_cost_nothing(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    a.daemon.argv = (*OWN_MOUNTS, *Daemon.argv)
    start_daemons(lab.servers)
    wait_routes(lab, where)
    a.host.run("nsenter", "-t", str(a.daemon.process.pid), "-m", "sh", "-ec", READ_ONLY)
    roam_and_return(lab, where)
    assert a.daemon.stop() == 0
    assert "Traceback" not in a.daemon.process.log
