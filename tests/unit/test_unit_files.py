"""The unit files: what systemd makes of them, and what must never be in them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from cuberouted.api.protocol import GROUP, GROUP_ADMIN
from cuberouted.check.access import PRIVATE_SOCKETS
from cuberouted.cli.context import WRONG_USAGE
from cuberouted.cli.keygen import DEFAULT_KEY
from cuberouted.config.schema import DEFAULT_STATE_DIRECTORY
from cuberouted.daemon import hooks, process, services
from tests.pages import PAGES

SYSTEMD = Path(__file__).parents[2] / "systemd"
CONF = SYSTEMD.parent / "conf"
DROP_INS = SYSTEMD / "drop-ins"
UNIT = SYSTEMD / "cuberouted.service"
INSTANCE = SYSTEMD / "cuberouted@.service"
SOCKET = DROP_INS / "openvpn-socket.conf"
STATUS_TMPFILES = SYSTEMD / "openvpn-status.tmpfiles"
EXAMPLES = [SOCKET, *PAGES, *(path for path in CONF.rglob("*") if path.is_file())]
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
    users = (SYSTEMD / "cuberouted.sysusers").read_text("utf-8")
    assert f"u {GROUP} " in users
    assert f"g {GROUP_ADMIN} " in users


def test_an_instance_is_the_same_in_a_network_namespace_and_with_its_own_paths():
    expected = settings(UNIT)
    expected["Description"][0] += " in network namespace %i"
    expected["NetworkNamespacePath"] = ["/run/netns/%i"]
    expected["After"][0] = "network.target openvpn-server@%i.service openvpn@%i.service"
    for key in ("RuntimeDirectory", "StateDirectory"):
        expected[key] = ["cuberouted@%i"]
    for key in ("ExecCondition", "ExecStart", "ExecReload"):
        expected[key] = [
            value.replace("/etc/cuberouted.conf", "/etc/cuberouted/%i.conf")
            for value in expected[key]
        ]
    assert settings(INSTANCE) == expected
    text = INSTANCE.read_text("utf-8")
    assert "\n#   control_socket = /run/cuberouted@blue/control.sock\n" in text
    assert "\n#   state_directory = /var/lib/cuberouted@blue\n" in text


@pytest.mark.parametrize(
    ("text", "state", "starts"),
    [
        ("# all\n\n  # comments\n", "starting", False),
        ("# all\n\n  # comments\n", "running", True),  # the daemon says what is missing
        (None, "starting", False),
        (None, "degraded", True),
        ("# a\n data_interface = tun0\n", "starting", True),
    ],
)
def test_a_file_without_settings_is_skipped_at_boot_only(text, state, starts, tmp_path):
    file = tmp_path / "cuberouted.conf"
    if text is not None:
        file.write_text(text)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho {state}\n")
    systemctl.chmod(0o755)
    [condition] = settings(UNIT)["ExecCondition"]
    shell = shlex.split(condition.removeprefix("+").replace("/etc/cuberouted.conf", str(file)))
    done = subprocess.run(
        shell, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=60, check=False
    )
    assert (done.returncode == 0) is starts


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


def test_systemd_waits_for_all_that_the_daemon_does_when_it_stops():
    [wait] = settings(UNIT)["TimeoutStopSec"]
    longest = services.STOP_TIMEOUT + hooks.FINISH_TIMEOUT + process.FINISH_TIME
    assert float(wait.removesuffix("s")) >= longest + 5  # routes are withdrawn as well


def test_a_host_without_password_or_key_has_no_credentials_that_systemd_would_miss():
    # systemd 257 logs a warning for each one that does not exist, at each start
    assert "LoadCredential" not in settings(UNIT)
    password, key = DROP_INS / "openvpn-password.conf", DROP_INS / "secret-key.conf"
    assert settings(password) == {"LoadCredential": ["openvpn-pass:/etc/openvpn/pass"]}
    # no path: without the key the daemon itself tells what is missing
    assert settings(key) == {"LoadCredential": ["cuberouted-key"]}
    assert str(DEFAULT_KEY) == "/etc/credstore/cuberouted-key"
    assert "\nd /etc/credstore 0700 root root" in (SYSTEMD / "cuberouted.tmpfiles").read_text(
        "utf-8"
    )


def test_the_hosts_file_has_a_directory_that_stays_and_that_others_may_read():
    reference = (CONF / "cuberouted.conf.reference").read_text("utf-8")
    (example,) = re.findall(r"^#hosts_file = (\S+)$", reference, re.MULTILINE)
    directory = str(Path(example).parent)
    unit = settings(UNIT)
    assert unit["ReadWritePaths"] == [f"-{directory}"]
    assert directory not in {f"/run/{name}" for name in unit["RuntimeDirectory"]}
    tmpfiles = (SYSTEMD / "cuberouted.tmpfiles").read_text("utf-8")
    assert f"\nd {directory} 0755 cuberouted cuberouted -\n" in tmpfiles


def test_the_state_of_maintenance_has_a_directory_that_stays():
    unit = settings(UNIT)
    assert [f"/var/lib/{name}" for name in unit["StateDirectory"]] == [str(DEFAULT_STATE_DIRECTORY)]
    reference = (CONF / "cuberouted.conf.reference").read_text("utf-8")
    assert f"\n#state_directory = {DEFAULT_STATE_DIRECTORY}\n" in reference


def test_what_a_restart_does_not_fix_is_not_tried_each_second():
    prevented = settings(UNIT)["RestartPreventExitStatus"][0].split()
    # systemd's own statuses: the user cannot execute the program, the user is missing, a
    # credential is missing
    assert prevented == [str(WRONG_USAGE), "203", "217", "243"]


def test_examples_have_the_management_socket_where_the_drop_in_restricts_access():
    directory = re.search(
        r"^#   echo 'd (\S+) 0750 root openvpn'", SOCKET.read_text("utf-8"), re.MULTILINE
    )
    assert directory
    assert directory[1] == str(PRIVATE_SOCKETS)
    assert settings(SOCKET) == {"SupplementaryGroups": ["openvpn"]}
    found = [
        path
        for file in EXAMPLES
        for path in re.findall(r"/run/\S+\.sock\b", file.read_text("utf-8"))
        if not path.startswith("/run/cuberouted/")
    ]
    assert len(found) >= 10
    assert {str(Path(path).parent) for path in found} == {directory[1]}


def test_examples_have_the_status_file_that_openvpn_may_write_and_cuberouted_may_read():
    lines = STATUS_TMPFILES.read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "d /run/openvpn-status 0750 root cuberouted -",
        "f /run/openvpn-status/server.log 0640 root cuberouted -",
    ]
    reference = (CONF / "cuberouted.conf.reference").read_text("utf-8")
    used = re.findall(r"status_file = (\S+)", reference)
    assert used == ["/run/openvpn-status/server.log", "/run/openvpn-status/office.log"]


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd is not installed")
def test_systemd_creates_the_status_file(tmp_path):
    for name, user in (
        ("passwd", f"{os.getuid()}:{os.getgid()}::/:"),
        ("group", f"{os.getgid()}:"),
    ):
        (tmp_path / "etc").mkdir(exist_ok=True)
        owners = ("root", "cuberouted")
        (tmp_path / "etc" / name).write_text("".join(f"{owner}:x:{user}\n" for owner in owners))
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(STATUS_TMPFILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    file = tmp_path / "run/openvpn-status/server.log"
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_drop_in_for_keys_names_each_credential_as_its_file():
    # shared_files looks for the name of the file that OpenVPN's configuration names
    for credential in settings(DROP_INS / "openvpn-keys.conf")["LoadCredential"]:
        name, path = credential.split(":")
        assert Path(path).name == name


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


@needs_systemd
def test_systemd_understands_an_instance(tmp_path):
    text = INSTANCE.read_text("utf-8")
    path = tmp_path / "cuberouted@blue.service"
    path.write_text(re.sub("=/usr/bin/cuberouted", "=/bin/true", text))
    result = analyze("verify", "--man=no", str(path))
    assert "cuberouted" not in result.stdout + result.stderr, result
