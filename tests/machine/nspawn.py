"""Machines by systemd-nspawn: they share this host's kernel, and boot in half a second.

A keeper process holds the machine: a mount namespace with an overlay on the release's root file
system, whose upper layer is in memory, and a process namespace that everything on the machine
runs in. The keeper ends when its standard input is closed, that is, when this process ends for
whatever reason, and the kernel removes the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.lab.network import Network
from tests.machine.machine import ENVIRONMENT, Machine
from tests.machine.root import root

BOOT_TIMEOUT = 30.0
"""Seconds; half a second on an idle machine."""

REBOOT_STATUS = 133
"""nspawn's exit status when the machine is to be booted again."""

KEEPER = """
set -e
lower=$1 cgroup=$2
mount -t tmpfs -o mode=755 machine /run
cd /run
mkdir lower upper work root
mount --bind "$lower" lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
# nspawn makes cgroups below its own, of version 2 at the path of the one that systemd uses, which
# on old hosts is of version 1. A machine has one for itself in both.
awk '$3 == "cgroup2" || ($3 == "cgroup" && $4 ~ /name=systemd/) { print $2 }' /proc/mounts >groups
[ -s groups ] || { mkdir cgroup; mount -t cgroup2 cgroup2 cgroup; echo /run/cgroup >groups; }
sed -i "s,$,/$cgroup," groups
xargs mkdir -p <groups
echo ready
cat
kill -KILL -1
# the kernel lets them go some time after their last process
for attempt in $(seq 100); do
    find $(cat groups) -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.05
done
"""

NSPAWN = """
cd /run
for group in $(cat groups); do
    mkdir -p "$group/machine"
    echo 0 >"$group/machine/cgroup.procs"
done
exec systemd-nspawn --quiet --boot --directory=root --machine="$1" --network-bridge=br0 \
    --register=no --keep-unit --settings=no --link-journal=no --resolv-conf=off --timezone=off \
    --console=pipe
"""

NETWORK = """\
[Match]
Name=host0

[Network]
Address={address}/24
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


class Nspawn(Machine):
    """A machine in namespaces of this host's kernel."""

    interface = "host0"

    def __init__(self, name: str, suite: str, network: Network, number: int) -> None:
        super().__init__(name, suite, network, number)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._console = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        keep = ["sh", "-c", KEEPER, "sh", str(root(suite)), f"cuberouted-{os.getpid()}-{name}"]
        self._keeper = subprocess.Popen(
            ["nsenter", "-t", str(network.bridge.pid), "-n", *namespaces, *keep],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout
        assert self._keeper.stderr
        if self._keeper.stdout.readline() != b"ready\n":
            why = self._keeper.stderr.read().decode(errors="backslashreplace").strip()
            raise RuntimeError(f"no namespaces for machine {name}: {why}")
        [self._init] = _children(self._keeper.pid)
        self._write_outside("etc/hostname", f"{name}\n")
        self._write_outside("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
        link = NETWORK.format(address=self.address)
        self._write_outside("etc/systemd/network/10-bridge.network", link)
        wants = "etc/systemd/system/multi-user.target.wants"
        self._outside(wants).mkdir(parents=True, exist_ok=True)
        unit = self._outside(f"{wants}/systemd-networkd.service")
        unit.symlink_to("/lib/systemd/system/systemd-networkd.service")

    def _outside(self, inside: str) -> Path:
        """Where a file of the machine is seen from outside, also when it is off."""
        return Path(f"/proc/{self._init}/root/run/root/{inside}")

    def _write_outside(self, inside: str, text: str) -> None:
        path = self._outside(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def boot(self) -> None:
        """Switches it on, and waits until systemd has started everything."""
        assert self._nspawn is None, f"{self.name} is on"
        self._console.truncate(0)
        enter = ["nsenter", "-t", str(self._init), "-m", "-p", "-n"]
        self._nspawn = subprocess.Popen(
            [*enter, "sh", "-ec", NSPAWN, "sh", self.name],
            env={**ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.wait_booted(BOOT_TIMEOUT)

    def reboot(self) -> None:
        """Reboots it in order, and waits until systemd has started everything."""
        # nspawn with --keep-unit leaves the second half to a service manager
        status = self._shut_down("reboot")
        assert status == REBOOT_STATUS, f"{self.name}: nspawn ended with {status}"
        self.boot()

    def power_off(self) -> None:
        """Shuts it down in order, and waits until it is off."""
        self._shut_down("poweroff")

    def _shut_down(self, command: str) -> int:
        """nspawn's exit status."""
        assert self._nspawn, f"{self.name} is off"
        self.try_run("systemctl", command)
        status = self._nspawn.wait(BOOT_TIMEOUT)
        self._off()
        return status

    def kill(self) -> None:
        """Kills everything on it."""
        assert self._nspawn, f"{self.name} is off"
        leader = self.pid
        for pid in [leader, *_children(self._nspawn.pid)]:
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
        self._nspawn.wait(BOOT_TIMEOUT)
        self._off()

    def _off(self) -> None:
        self._nspawn = None
        # a network namespace lives as long as its TCP connections, which may be minutes
        self.network.bridge.try_run("ip", "link", "delete", f"vb-{self.name}")

    def close(self) -> None:
        """Ends everything on the machine, and the machine."""
        self._keeper.communicate()
        if self._nspawn:
            self._nspawn.wait(BOOT_TIMEOUT)
            self._nspawn = None
        self._console.close()

    def try_run(
        self, *argv: str, stdin: str = "", timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on the machine, as root, to its end, whatever its exit status."""
        return subprocess.run(
            self._argv(argv),
            env=ENVIRONMENT,
            input=stdin,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout,
            check=False,
        )

    def copy_in(self, source: Path, path: str) -> None:
        """Copies the file *source* of this host to *path* on the machine."""
        argv = self._argv(("install", "-D", "-m", "644", "/dev/stdin", path))
        with source.open("rb") as file:
            subprocess.run(argv, env=ENVIRONMENT, stdin=file, timeout=30, check=True)

    def console(self) -> str:
        """What it has written to its console since the last `boot`."""
        size = os.fstat(self._console.fileno()).st_size
        return os.pread(self._console.fileno(), size, 0).decode(errors="backslashreplace")

    def _argv(self, argv: tuple[str, ...]) -> list[str]:
        leader = self.pid
        if leader is None:
            raise AssertionError(f"{self.name} is off; its console: {self.console()[-2000:]}")
        # a program of a machine that is rebooted, or of a test that has timed out, ends as well
        return ["nsenter", "-t", str(leader), "-a", "setpriv", "--pdeathsig", "KILL", *argv]

    @property
    def pid(self) -> int | None:
        """Its process 1, as this host numbers it; None while it is off.

        `nsenter -t PID -a` is a shell on it.
        """
        if self._nspawn is None:
            return None
        for nspawn in _children(self._nspawn.pid):
            for pid in _children(nspawn):
                if _is_init(pid):
                    return pid
        return None


def _children(pid: int) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended
        return []


def _is_init(pid: int) -> bool:
    """Whether it is process 1 of the machine: the third namespace after ours and the keeper's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    [ids] = [line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")]
    return len(ids) >= 3 and ids[-1] == "1"
