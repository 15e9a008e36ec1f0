"""A whole machine: Debian with systemd, booted, with a network interface on a lab's bridge.

`tests.machine.nspawn` and `tests.machine.qemu` are the two ways to have one. The tests know only
what is here.
"""

from __future__ import annotations

import abc
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.lab.network import Network
from tests.lab.waiting import wait_for

T = TypeVar("T")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}
"""Of every program that the tests run on a machine."""


class Machine(abc.ABC):
    """A machine called ``name`` with the Debian release ``suite``; off until `boot`.

    ``address`` is its own in the bridge's network, which systemd-networkd gives to
    ``interface`` at every boot. Everything else that a boot forgets on a real machine (routes,
    addresses, packet filters, /run) is forgotten on this one too; files are kept.
    """

    interface: str
    """The name of its interface on the bridge."""

    slowness = 1.0
    """How many times as long the tests wait for this kind of machine."""

    def __init__(self, name: str, suite: str, network: Network, number: int) -> None:
        """A machine whose address is 192.0.2.NUMBER."""
        self.name = name
        self.suite = suite
        self.network = network
        self.number = number
        self.address = f"192.0.2.{number}"

    @abc.abstractmethod
    def boot(self) -> None:
        """Switches it on, and waits until systemd has started everything.

        Raises:
          AssertionError: it does not boot in time, or a unit has failed.
        """

    @abc.abstractmethod
    def reboot(self) -> None:
        """Reboots it in order, as `systemctl reboot` does, and waits as `boot` does."""

    @abc.abstractmethod
    def power_off(self) -> None:
        """Shuts it down in order, and waits until it is off."""

    @abc.abstractmethod
    def kill(self) -> None:
        """Takes the power away: nothing on it runs any more, and nothing was ended in order."""

    @abc.abstractmethod
    def close(self) -> None:
        """Removes the machine with everything on it, whether it is on or off."""

    @abc.abstractmethod
    def try_run(
        self, *argv: str, stdin: str = "", timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on the machine, as root, to its end, whatever its exit status."""

    @abc.abstractmethod
    def copy_in(self, source: Path, path: str) -> None:
        """Copies the file *source* of this host to *path* on the machine, with mode 0644."""

    @abc.abstractmethod
    def console(self) -> str:
        """What it has written to its console since the last `boot`."""

    def run(self, *argv: str, stdin: str = "", timeout: float = 30.0) -> str:
        """What a program wrote to its standard output that ended well.

        Raises:
          AssertionError: it did not end well; with what it wrote.
        """
        done = self.try_run(*argv, stdin=stdin, timeout=timeout)
        if done.returncode:
            wrote = f"{done.stdout}{done.stderr}".strip()
            raise AssertionError(f"{self.name}: {' '.join(argv)}: {done.returncode}: {wrote}")
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Writes a file, and makes its directory if there is none."""
        self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path, stdin=text)

    def read(self, path: str) -> str:
        """The text of a file."""
        return self.run("cat", path)

    def wait_for(self, what: str, condition: Callable[[], T], timeout: float = 10.0) -> T:
        """What *condition* returns, once that is true; a failed assertion in it is "not yet".

        Raises:
          AssertionError: it does not become true within *timeout* seconds.
        """
        return wait_for(f"{self.name}: {what}", condition, timeout)

    def wait_booted(self, timeout: float) -> None:
        """Waits until systemd has started everything, for `boot` and `reboot`.

        Raises:
          AssertionError: it does not in time, or a unit has failed.
        """

        def state() -> str:
            found = self.try_run("systemctl", "is-system-running").stdout.strip()
            return found if found in ("running", "degraded") else ""

        if self.wait_for("started by systemd", state, timeout) == "degraded":
            raise AssertionError(f"{self.name}: {self.run('systemctl', '--failed', '--plain')}")
