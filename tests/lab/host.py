"""A machine of the lab: namespaces of its own for network, mounts and host name.

The namespaces have no names and no files outside: a keeper process holds them. It ends when
its standard input is closed, that is, when this process ends for whatever reason. The kernel
then removes links, routes, mounts and files; nothing is left to clean up, and two labs cannot
interfere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab.process import Process

PROJECT = Path(__file__).parents[2]

KEEPER = """
set -e
echo "$1" > /proc/sys/kernel/hostname
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 lab /run
mount -t tmpfs -o mode=755 lab /etc/openvpn
mkdir /run/log
ip link set lo up
for family in ipv4 ipv6; do
    cd /proc/sys/net/$family/conf
    for where in all default; do
        if [ $family = ipv4 ]; then
            echo 0 > $where/rp_filter; echo 0 > $where/send_redirects
        else
            echo 0 > $where/accept_dad; echo 0 > $where/disable_ipv6
        fi
    done
done
cd /
echo ready
exec cat
"""
"""Reverse path filtering is off: while routes follow a client that moves, they are asymmetric."""


class Host:
    """A machine with ``lo`` and what `Network.plug` gives it.

    /run and /etc/openvpn are its own and empty; everything else is seen as it is outside.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.processes: dict[str, Process] = {}
        self._namespace: int | None = None
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "sh", "-c", KEEPER, "sh", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_ready(self) -> None:
        """Waits until the namespaces are there.

        Raises:
          RuntimeError: they could not be made; with the output of the tool that failed.
        """
        assert self._keeper.stdout
        assert self._keeper.stderr
        if self._keeper.stdout.readline() != b"ready\n":
            why = self._keeper.stderr.read().decode(errors="backslashreplace").strip()
            raise RuntimeError(f"no namespaces for host {self.name}: {why}")
        self._namespace = _network(self.pid)

    @property
    def pid(self) -> int:
        """The keeper's process id: `nsenter -t PID -n -m -u` is a shell on this host."""
        return self._keeper.pid

    def path(self, inside: str | Path) -> Path:
        """Where a file of this host is seen from outside."""
        return Path(f"/proc/{self.pid}/root/{inside}")

    def write(self, inside: str | Path, text: str, mode: int = 0o644) -> None:
        """Writes a file on this host, making its directory."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def _argv(self, argv: tuple[str, ...]) -> list[str]:
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-u"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", *argv]

    def try_run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a program on this host to its end, whatever its exit status."""
        return subprocess.run(
            self._argv(argv),
            env=_environment({}),
            input=stdin,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=30,
            check=False,
        )

    def run(self, *argv: str, stdin: str = "") -> str:
        """What a program wrote that ended well.

        Raises:
          AssertionError: it did not end well; with its standard error.
        """
        done = self.try_run(*argv, stdin=stdin)
        if done.returncode:
            command = " ".join(argv)
            raise AssertionError(f"{self.name}: {command}: {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> Process:
        """Starts a program on this host; its output goes to /run/log/NAME.log there."""
        log = self.path(f"run/log/{name}.log")
        process = Process(f"{self.name} {name}", self._argv(argv), _environment(env or {}), log)
        self.processes[name] = process
        return process

    def ip(self, *commands: str) -> None:
        """Runs `ip` commands, written without the `ip`, in order until one fails."""
        self.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")

    def kill_all(self) -> None:
        """Kills every program on this host, as a loss of power does."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes.values():
            process.wait()

    def _pids(self) -> list[int]:
        """The processes in this host's namespace. None before it is known to be our own."""
        if self._namespace in (None, _network(os.getpid())):
            return []
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if pid != self.pid and _network(pid) == self._namespace]

    def close(self) -> None:
        """Ends everything on this host, and the host."""
        self.kill_all()
        self._keeper.kill()
        self._keeper.communicate()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(PROJECT),
        "PYTHONSAFEPATH": "1",
        **more,
    }


def _network(pid: int) -> int | None:
    """The inode that identifies a process's network namespace."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:  # it has just ended, or it is a zombie
        return None
