"""Machines under qemu: each has a kernel of its own, Debian's, and boots like a real machine.

A new machine goes on from one that has booted already (`tests.machine.images`) and gets a name, an
address, the time and random numbers of its own. Every other boot is a whole one. In software
emulation everything takes some ten times as long as elsewhere.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path

from tests.lab.network import Network
from tests.machine.images import BOOT_TIMEOUT, attach, image
from tests.machine.machine import ENVIRONMENT, Machine
from tests.machine.vm import Vm

SLOWNESS = 10.0
"""How much longer than elsewhere tests wait."""

NETWORK = """\
[Match]
Name=eth0

[Link]
MACAddress=02:00:00:00:00:{number:02x}

[Network]
Address={address}/24
LinkLocalAddressing=no
IPv6AcceptRA=no
"""

# RNDRESEEDCRNG: two machines that go on from the same one would make the same keys.
BECOME = """
set -e
date -s "@$1" >/dev/null
hostname "$2"
echo "$2" >/etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$2" >/etc/hosts
printf %s "$3" >/dev/urandom
python3 -I -c 'import fcntl; fcntl.ioctl(open("/dev/urandom"), 0x5207)'
cat >/etc/systemd/network/10-bridge.network
networkctl reload
systemctl restart systemd-journald
"""
"""Arguments: the time, the name, random bytes. Standard input: networkd's file."""


class Qemu(Machine):
    """A virtual machine."""

    interface = "eth0"
    slowness = SLOWNESS

    def __init__(self, name: str, suite: str, network: Network, number: int) -> None:
        super().__init__(name, suite, network, number)
        self._image = image(suite)
        self._tap = f"vb-{name}"
        attach(network, self._tap)
        self._disk = self._image.new_disk()
        self._hardware = self._image.hardware(self._disk, self._tap, network)
        self._vm: Vm | None = None
        self._is_new = True
        self._last_console = ""

    def boot(self) -> None:
        """Switches it on, and waits until systemd has started everything."""
        assert self._vm is None, f"{self.name} is on"
        if self._is_new:
            self._is_new = False
            self._vm = Vm(self._hardware, saved=self._image.memory)
            moment, seed = str(time.time()), secrets.token_hex(32)
            link = NETWORK.format(address=self.address, number=self.number)
            self.run("sh", "-c", BECOME, "sh", moment, self.name, seed, stdin=link)
        else:
            self._vm = Vm(self._hardware)
            self._vm.wait_shell(BOOT_TIMEOUT)
        self.wait_booted(BOOT_TIMEOUT / SLOWNESS)

    def reboot(self) -> None:
        """Reboots it in order, and waits until systemd has started everything."""
        self._shut_down("reboot")
        self.boot()

    def power_off(self) -> None:
        """Shuts it down in order, and waits until it is off."""
        self._shut_down("poweroff")

    def _shut_down(self, command: str) -> None:
        machine = self._running()
        machine.send("systemctl", command)
        machine.wait(BOOT_TIMEOUT)
        self._off()

    def kill(self) -> None:
        """Takes the power away, with everything written to the disk: files are kept."""
        self.run("sync")
        self._running().end()
        self._off()

    def _off(self) -> None:
        machine = self._running()
        self._last_console = machine.console()
        machine.end()
        self._vm = None

    def close(self) -> None:
        """Ends the machine, and its disk with it."""
        if self._vm:
            self._off()
        os.close(self._disk)

    def try_run(
        self, *argv: str, stdin: str = "", timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on the machine, as root, to its end, whatever its exit status."""
        wait = timeout * self.slowness
        return self._running().execute(argv, ENVIRONMENT, stdin.encode(), wait)

    def copy_in(self, source: Path, path: str) -> None:
        """Copies the file *source* of this host to *path* on the machine."""
        argv = ("install", "-D", "-m", "644", "/dev/stdin", path)
        wait = 30.0 * self.slowness
        done = self._running().execute(argv, ENVIRONMENT, source.read_bytes(), wait)
        assert done.returncode == 0, f"{self.name}: {path}: {done.stderr}"

    def console(self) -> str:
        """What it has written to its console since the last `boot`."""
        return self._vm.console() if self._vm else self._last_console

    def _running(self) -> Vm:
        assert self._vm, f"{self.name} is off; its console: {self._last_console[-2000:]}"
        return self._vm
