"""The unit files: what systemd makes of them, and what must never be in them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
DROP_INS = SYSTEMD / "drop-ins"
UNIT = SYSTEMD / "cuberouted.service"
MAX_EXPOSURE = 1.7

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings(path: Path) -> dict[str, list[str]]:
    """Every value of every key, in the file's order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *args], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_daemon_runs_as_its_own_user_with_one_capability():
    unit = settings(UNIT)
    assert unit["User"] == unit["Group"] == ["cuberouted"]
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"] == ["CAP_NET_ADMIN"]
    assert "u cuberouted " in (SYSTEMD / "cuberouted.sysusers").read_text("utf-8")


def test_openvpn_comes_first_and_its_restart_does_not_touch_us():
    unit = settings(UNIT)
    assert "openvpn-server@server.service" in unit["After"][0].split()
    for path in SYSTEMD.rglob("*.*"):
        if path.is_file():
            bound = {"Requires", "Requisite", "BindsTo", "PartOf", "Wants", "Upholds"}
            assert not bound & settings(path).keys(), path
    other_instances = SYSTEMD / "openvpn-server@.service.d" / "cuberouted.conf"
    assert settings(other_instances) == {"Before": ["cuberouted.service"]}


def test_the_daemon_tells_when_it_is_ready_and_is_watched():
    unit = settings(UNIT)
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    syntax, signal = unit["ExecReload"]
    assert syntax == unit["ExecStart"][0].replace("cuberouted ", "cuberouted check --syntax ")
    assert signal == "/bin/kill -HUP $MAINPID"
    assert unit["WatchdogSec"] == ["30s"]
    assert unit["Restart"] == ["on-failure"]


def test_a_password_or_key_that_is_not_there_does_not_keep_the_daemon_from_starting():
    # no path: passed over if missing
    assert settings(UNIT)["LoadCredential"] == ["openvpn-pass", "cuberouted-key"]
    drop_in = settings(DROP_INS / "openvpn-password.conf")
    assert drop_in == {"LoadCredential": ["openvpn-pass:/etc/openvpn/pass"]}


def test_libzmq_may_believe_that_it_sets_its_threads_scheduling():
    filters = settings(UNIT)["SystemCallFilter"]
    assert filters == ["@system-service", "~@privileged @resources", "~sched_setscheduler:0"]


@needs_systemd
def test_the_unit_exposes_little():
    result = analyze("security", "--offline=true", str(UNIT))
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert match, result
    assert float(match[1]) <= MAX_EXPOSURE, result.stdout


@needs_systemd
def test_systemd_understands_the_unit_and_its_drop_ins(tmp_path):
    text = UNIT.read_text("utf-8")
    path = tmp_path / "cuberouted.service"
    path.write_text(re.sub("=/usr/bin/cuberouted", "=/bin/true", text))
    shutil.copytree(DROP_INS, tmp_path / "cuberouted.service.d")
    result = analyze("verify", "--man=no", str(path))
    assert "cuberouted" not in result.stdout + result.stderr, result
