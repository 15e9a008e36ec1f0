"""The lab shows the problem that cuberouted solves, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import lab as lab_module
from tests.lab import ping, routes
from tests.lab.cleanup_check import namespaces_under, processes_in
from tests.lab.host import PROJECT
from tests.lab.lab import Lab, LabError
from tests.lab.openvpn import Options
from tests.lab.waiting import wait_for

RUNNING_LAB = """
import time
from tests.lab import ping
from tests.lab.lab import Lab
with Lab() as lab:
    one = lab.client("host1")
    one.connect(lab.servers[0])
    ping.Stream(one.host, lab.servers[0].data)
    print("running", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("topology", ["subnet", "net30"])
def test_a_client_reaches_another_server_s_client_by_host_routes_alone(topology: str) -> None:
    with Lab(options=Options(topology=topology)) as lab:
        a, b = lab.servers
        one, two = lab.client("host1"), lab.client("host2")
        one.connect(a)
        two.connect(b)
        assert ping.reaches(one.host, a.data)
        assert not ping.reaches(one.host, two.data)
        a.host.ip(f"route add {two.data}/32 dev tun1", f"route add {two.data6}/128 dev tun1")
        b.host.ip(f"route add {one.data}/32 dev tun1", f"route add {one.data6}/128 dev tun1")
        assert ping.reaches(one.host, two.data)
        assert ping.reaches(two.host, one.data6)


def test_a_client_keeps_its_address_and_the_old_server_lists_it_after_it_vanished(lab: Lab) -> None:
    a, b = lab.servers
    one = lab.client("host1")
    one.connect(a)
    one.roam(b)
    assert ping.reaches(b.host, one.data)
    assert "client-instance" not in a.openvpn.process.log


def test_two_labs_do_not_reach_each_other(lab: Lab) -> None:
    with Lab() as other:
        ours, theirs = lab.client("host1"), other.client("host1")
        ours.connect(lab.servers[0])
        assert not ping.reaches(theirs.host, theirs.data)
        theirs.connect(other.servers[1])
        assert ping.reaches(theirs.host, other.servers[1].data)
        assert ping.reaches(ours.host, lab.servers[0].data)


def test_a_deleted_route_is_monitored(lab: Lab) -> None:
    host = lab.servers[0].host
    deletions = routes.Deletions(host)
    host.ip("route add 10.100.100.77/32 dev tun1 proto 201 metric 50")
    assert routes.towards(host) == {"10.100.100.77/32": "tun1"}
    assert deletions.seen() == []
    host.ip("route del 10.100.100.77/32")
    assert [line.split()[:2] for line in deletions.seen()] == [["Deleted", "10.100.100.77"]]


def test_the_error_names_what_the_lab_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lab_module.PROGRAMS, "no-such-program", "some-package")
    with pytest.raises(LabError, match=r"no-such-program \(Debian package some-package\)"):
        Lab().__enter__()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_lab_that_is_ended_by_a_signal_leaves_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNING_LAB],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        namespaces = namespaces_under(process.pid)
        assert len(namespaces) == 4
        process.send_signal(number)
    wait_for("the lab's processes to end", lambda: not processes_in(namespaces))
    assert list(tmp_path.iterdir()) == []
