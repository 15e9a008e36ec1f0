"""The image's root file system, made step by step, and the daemon in it with one capability."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.containerfile import Stage, Step, parse
from tests.lab.host import PROJECT
from tests.machine.root import root

BASES = {"debian:13-slim": "trixie"}
STEP_TIMEOUT = 300.0
START_TIMEOUT = 30.0
"""Seconds."""

NET_ADMIN = 1 << 12

CONFIGURATION = """\
mgmt_interface = tun1
data_interface = tun0
remote_mgmt_ip = 10.200.200.5
remote_data_ip = 10.100.100.101
openvpn_mgmt_socket = /run/openvpn-management/server.sock
"""

KEEPER = """
set -e
mount -t tmpfs -o mode=755 stages /mnt
echo ready
cat
"""

STAGE = """
set -e
mkdir -p "/mnt/$1/upper" "/mnt/$1/work" "/mnt/$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=/mnt/$1/upper,workdir=/mnt/$1/work" overlay "/mnt/$1/root"
cp -L /etc/resolv.conf "/mnt/$1/root/etc/resolv.conf"
[ ! -d /etc/apt/apt.conf.d ] || cp -r /etc/apt/apt.conf.d/. "/mnt/$1/root/etc/apt/apt.conf.d"
mount -t proc proc "/mnt/$1/root/proc"
mount --bind /dev "/mnt/$1/root/dev"
"""

RUN = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
cd "$1"
mount -t tmpfs -o mode=750 tmpfs "$1/run/cuberouted"
mount -t tmpfs tmpfs "$1/var/lib/cuberouted"
mount -t proc proc "$1/proc"
ip link set lo up
shift
exec chroot . setpriv --bounding-set=-all,+net_admin --no-new-privs "$@"
"""


class Builder:
    """Builds stages in a mount namespace that ends with this process."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--fork", "--kill-child=KILL", "sh", "-c", KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout
        assert self._keeper.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children")
        self._namespace = children.read_text().split()[0]

    def argv(self, *argv: str) -> list[str]:
        """A program in the namespace."""
        return ["nsenter", "-t", self._namespace, "-m", *argv]

    def run(self, *argv: str) -> str:
        """What a program in the namespace wrote. It has to end well."""
        done = subprocess.run(
            self.argv(*argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def build(self, stage: Stage) -> None:
        self.run("sh", "-c", STAGE, "sh", stage.name, str(root(BASES[stage.image])))
        for step in stage.steps:
            self._do(stage, step)

    def place(self, stage: str, path: str = "/") -> str:
        """A path of a stage's root."""
        return f"/mnt/{stage}/root{path}"

    def _do(self, stage: Stage, step: Step) -> None:
        if step.name == "RUN":
            command = f"mkdir -p {step.directory}; cd {step.directory}; {step.arguments[0]}"
            env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
            env += ["HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LANG=C.UTF-8"]
            self.run(
                *("chroot", self.place(stage.name), "env", "-i", *env, "sh", "-ec", command),
            )
            return
        *sources, target = step.arguments
        place = self.place(stage.name, target)
        self.run("mkdir", "-p", place if target.endswith("/") else str(Path(place).parent))
        for source in sources:
            origin = self.place(step.stage, source) if step.stage else str(PROJECT / source)
            self.run("cp", "-rT" if not target.endswith("/") else "-r", origin, place)

    def close(self) -> None:
        self._keeper.communicate()


@pytest.fixture
def builder() -> Iterator[Builder]:
    with contextlib.closing(Builder()) as builder:
        yield builder


@pytest.mark.timeout(900)
def test_the_image_runs_the_daemon_with_one_capability_on_a_read_only_root(builder):
    stages = parse((PROJECT / "Containerfile").read_text("utf-8"))
    for number, stage in enumerate(stages):
        stage.name = stage.name or f"stage{number}"
        builder.build(stage)
    image = stages[-1]
    place = builder.place(image.name)
    directory = place + "/etc/cuberouted"
    builder.run("mkdir", "-p", directory)
    builder.run("sh", "-c", f'printf %s "$1" >{directory}/cuberouted.conf', "sh", CONFIGURATION)
    daemon = subprocess.Popen(
        builder.argv("unshare", "--net", "--mount", "sh", "-c", RUN, "sh", place, *image.command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        status = wait_for_status(daemon)
        assert [openvpn["state"] for openvpn in status["openvpn"]] == ["waiting"]
        assert capabilities(daemon.pid) == NET_ADMIN
        refused = inside(daemon.pid, "touch", "/opt/written")
        assert "Read-only file system" in refused.stderr
    finally:
        daemon.terminate()
        output, _ = daemon.communicate(timeout=30)
    assert daemon.returncode == 0, output


def inside(pid: int, *argv: str) -> subprocess.CompletedProcess[str]:
    """A program beside the daemon, as `podman exec`."""
    return subprocess.run(
        ["nsenter", "-t", str(pid), "-a", "-r", "-w", *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def wait_for_status(daemon: subprocess.Popen[str]) -> dict[str, list[dict[str, str]]]:
    give_up_at = time.monotonic() + START_TIMEOUT
    config = "/etc/cuberouted/cuberouted.conf"
    while True:
        done = inside(daemon.pid, "cuberouted", "--config", config, "status", "--json")
        if done.stdout.startswith("{"):
            status: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
            return status
        assert daemon.poll() is None, daemon.communicate()[0]
        assert time.monotonic() < give_up_at, done.stderr
        time.sleep(0.1)


def capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    [effective] = [line.split()[1] for line in lines if line.startswith("CapEff:")]
    return int(effective, 16)
