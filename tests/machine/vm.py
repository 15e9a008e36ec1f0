"""One run of qemu: a virtual machine from its start to its end, with a shell into it.

Nothing of it is outside: its disk is an open file without a name, its shell and monitor are
pairs of sockets. A keeper ends qemu when its standard input is closed, that is, when this process
ends for whatever reason.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.machine import agent

QEMU = "qemu-system-x86_64"
MEMORY = 512
"""MiB."""

PANIC_TIMEOUT = 15.0
"""Seconds for a kernel without a disk to come to its end, with KVM; it takes two of them."""

APPEND = "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off audit=0"
"""The kernel's command line. The serial line is slow, hence ``quiet``."""


DEVICES = (
    "virtio-blk-pci,drive=disk",
    "virtio-serial-pci",
    f"virtserialport,chardev=shell,name={agent.PORT}",
    "virtio-net-pci,netdev=net",
    "virtio-rng-pci,rng=rng",
)
"""What the machine sees."""


KEEPER = """
exec 3<&0
"$@" </dev/null &
qemu=$!
{ read -r never <&3; kill -KILL $qemu; } 2>/dev/null &
wait $qemu
status=$?
kill $!
exit $status
"""


class VmError(Exception):
    """The virtual machine does not start, or has ended; with the end of its console."""


@attrs.frozen
class Hardware:
    """What a machine is made of: its kernel and initrd, its disk (a descriptor of a qcow2 file),
    and its network interface (a tap device in the network namespace of process ``namespace``)."""

    kernel: Path
    initrd: Path
    disk: int
    tap: str
    namespace: int


def missing() -> list[str]:
    """The programs that this host lacks for virtual machines, with their Debian packages."""
    needed = {QEMU: "qemu-system-x86", "qemu-img": "qemu-utils", "mke2fs": "e2fsprogs"}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [f"{what} ({of})" for what, of in needed.items() if not shutil.which(what, path=path)]


def version() -> str:
    """The version of qemu, which can only resume what the same one has saved."""
    done = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


@functools.cache
def accelerator(kernel: Path) -> str:
    """``kvm`` where it works: not every host that has /dev/kvm runs a kernel with it.

    The proof is a kernel without a disk, which has to panic, and so end qemu, within
    PANIC_TIMEOUT.
    """
    if not Path("/dev/kvm").exists():
        return "tcg"
    argv = [*_base("kvm"), "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PANIC_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if done.returncode == 0 and b"panic" in done.stdout else "tcg"


def _base(accel: str) -> list[str]:
    """qemu's command line without devices but for the console. It runs at a low priority."""
    cpu = {"kvm": ("kvm", "host"), "tcg": ("tcg,thread=multi", "max")}[accel]
    quiet = ("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot")
    machine = ("-machine", "q35", "-accel", cpu[0], "-cpu", cpu[1], "-m", str(MEMORY))
    return ["nice", "-n", "5", QEMU, *machine, *quiet]


class Vm:
    """A virtual machine that runs until it is ended, from outside or by its own shutdown."""

    def __init__(self, hardware: Hardware, saved: Path | None = None) -> None:
        """Starts it: it boots, or with *saved* it goes on where `save` has ended another."""
        self._console = tempfile.TemporaryFile()  # noqa: SIM115, closed by `end`
        self._shell, shell = socket.socketpair()
        self._monitor, monitor = socket.socketpair()
        self._numbers = itertools.count(1)
        self._received = b""
        read_only = os.open(f"/proc/self/fd/{hardware.disk}", os.O_RDONLY)  # qemu looks first
        descriptors = (hardware.disk, read_only, shell.fileno(), monitor.fileno())
        argv = _argv(hardware, *descriptors)
        if saved:
            argv += ["-incoming", f"exec:cat {shlex.quote(str(saved))}"]
        self._qemu = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", "nsenter", "-t", str(hardware.namespace), "-n", *argv],
            stdin=subprocess.PIPE,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            start_new_session=True,
        )
        os.close(read_only)
        shell.close()
        monitor.close()

    def console(self) -> str:
        """What it has written to its console."""
        size = os.fstat(self._console.fileno()).st_size
        return os.pread(self._console.fileno(), size, 0).decode(errors="backslashreplace")

    def wait_shell(self, timeout: float) -> None:
        """Waits after its start until its shell is there.

        Raises:
          VmError: it has ended, or the shell is not there in time.
        """
        self._receive("boot", time.monotonic() + timeout)

    def send(self, *argv: str) -> None:
        """Starts a program on it, and leaves it alone."""
        self._request(argv, {}, b"", 60.0)

    def execute(
        self, argv: tuple[str, ...], env: Mapping[str, str], stdin: bytes, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on it, as root, to its end.

        Raises:
          subprocess.TimeoutExpired: it did not end in time, and was killed.
          VmError: the machine has ended, or its shell does not reply.
        """
        number = self._request(argv, env, stdin, timeout)
        deadline = time.monotonic() + 2 * timeout + 10
        while (reply := self._receive("id", deadline))["id"] != number:
            pass  # the reply to what was only sent
        out, err = (
            base64.b64decode(reply[stream]).decode(errors="backslashreplace")
            for stream in ("stdout", "stderr")
        )
        if reply["status"] is None:
            raise subprocess.TimeoutExpired(argv, timeout, out, err)
        return subprocess.CompletedProcess(argv, reply["status"], out, err)

    def _request(
        self, argv: tuple[str, ...], env: Mapping[str, str], stdin: bytes, timeout: float
    ) -> int:
        number = next(self._numbers)
        text = base64.b64encode(stdin).decode()
        request = {"id": number, "argv": argv, "env": env, "input": text, "timeout": timeout}
        self._shell.settimeout(timeout + 10)
        try:
            self._shell.sendall(json.dumps(request).encode() + b"\n")
        except OSError as gone:
            raise self._ended("cannot be reached") from gone
        return number

    def _receive(self, key: str, deadline: float) -> dict[str, Any]:
        """The next line with that key."""
        while True:
            while b"\n" not in self._received:
                self._shell.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    data = self._shell.recv(1 << 16)
                except TimeoutError:
                    raise self._ended("does not reply in time") from None
                if not data:
                    raise self._ended("has ended")
                self._received += data
            line, self._received = self._received.split(b"\n", 1)
            message: dict[str, Any] = json.loads(line)
            if key in message:
                return message

    def _ended(self, what: str) -> VmError:
        return VmError(f"{what}; its console: {self.console()[-2000:]}")

    def save(self, path: Path, timeout: float = 120.0) -> None:
        """Writes its memory and the state of its devices to a file while it runs, and ends it.

        Raises:
          VmError: qemu cannot.
        """
        with self._monitor.makefile("rwb") as monitor:

            def command(name: str, **arguments: str) -> Any:
                monitor.write(json.dumps({"execute": name, "arguments": arguments}).encode())
                monitor.flush()
                for line in monitor:  # events come between
                    reply = json.loads(line)
                    if "error" in reply:
                        raise VmError(f"{name}: {reply['error']['desc']}")
                    if "return" in reply:
                        return reply["return"]
                raise self._ended("has ended")

            command("qmp_capabilities")
            command("migrate", uri=f"exec:cat > {shlex.quote(str(path))}")
            deadline = time.monotonic() + timeout
            while (state := command("query-migrate")["status"]) != "completed":
                if state == "failed" or time.monotonic() > deadline:
                    raise VmError(f"its memory cannot be saved: {state}")
                time.sleep(0.1)
            command("quit")
        self.wait(timeout)

    def wait(self, timeout: float) -> None:
        """Waits for its end.

        Raises:
          VmError: it does not end in time.
        """
        try:
            self._qemu.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._ended("does not end") from None

    def end(self) -> None:
        """Takes its power away, if it still runs."""
        self._qemu.communicate()
        with contextlib.ExitStack() as stack:
            for file in (self._console, self._shell, self._monitor):
                stack.callback(file.close)


def _argv(hardware: Hardware, disk: int, read_only: int, shell: int, monitor: int) -> list[str]:
    behind = {
        "-add-fd": (f"fd={disk},set=1", f"fd={read_only},set=1"),
        "-drive": ("file=/dev/fdset/1,id=disk,format=qcow2,if=none,cache=unsafe,discard=unmap",),
        "-chardev": (f"socket,id=shell,fd={shell}", f"socket,id=monitor,fd={monitor}"),
        "-mon": ("monitor,mode=control",),
        "-netdev": (f"tap,id=net,ifname={hardware.tap},script=no,downscript=no",),
        "-object": ("rng-random,id=rng,filename=/dev/urandom",),
        "-device": DEVICES,
    }
    boot = ["-kernel", str(hardware.kernel), "-initrd", str(hardware.initrd), "-append", APPEND]
    options = [
        part for name, values in behind.items() for value in values for part in (name, value)
    ]
    return [*_base(accelerator(hardware.kernel)), *boot, *options]
