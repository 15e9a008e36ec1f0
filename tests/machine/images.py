"""Disks for machines under qemu, with Debian's own kernels, and machines that have booted.

For each release build/machines/SUITE.qemu has a disk: `tests.machine.root`'s file system, and in
it the kernel (linux-image-cloud-amd64), WireGuard's and OpenVPN's modules (openvpn-dco-dkms, built
by Debian's dkms), udev, and the shell of the tests. A machine has been booted from it once, and
what was in its memory is kept too: a new machine goes on from there, which takes two seconds
instead of the minute that a boot takes in software emulation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from tests.lab.network import Network
from tests.machine import agent, vm
from tests.machine.machine import ENVIRONMENT
from tests.machine.root import ROOTS, SUITES, RootError, locked, root
from tests.machine.vm import Hardware, Vm, VmError

PACKAGES = (
    *("linux-image-cloud-amd64", "linux-headers-cloud-amd64", "openvpn-dco-dkms"),
    # the packages of a real machine, which a root file system for nspawn can do without
    *("udev", "kmod", "busybox-static"),
    # the tests of the kernel run on the machine
    "python3-pytest",
)

FILES = {
    "etc/systemd/system/machine-shell.service": f"""\
[Unit]
Description=Shell of the tests

[Service]
ExecStart=/usr/bin/python3 -I /usr/local/lib/machine/{Path(agent.__file__).name}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
""",
    # without it OpenVPN would offload data wherever it can; test_dco.py loads the module itself
    "etc/modprobe.d/machine.conf": "blacklist ovpn-dco-v2\n",
    # udev loads what else is needed
    "etc/modules-load.d/machine.conf": "virtio_pci\nvirtio_console\nvirtio_net\n",
    # a start that takes a second elsewhere takes half a minute here, if the host is busy too
    "etc/systemd/system/cuberouted.service.d/slow-machine.conf": """\
[Service]
TimeoutStartSec=300s
TimeoutStopSec=200s
WatchdogSec=300s
""",
    "etc/fstab": "/dev/vda / ext4 defaults 0 0\n",
}
ENABLED = ("machine-shell.service", "systemd-networkd.service")
MASKED = (
    *("getty.target", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("fstrim.timer", "e2scrub_all.timer", "e2scrub_reap.service", "systemd-timesyncd.service"),
    "systemd-networkd-wait-online.service",
)
"""Units that a test has no use for, or that work at a time of their own."""

MODULES = ("virtio_pci", "virtio_blk")
"""What the kernel needs to find its disk."""

INIT = """\
#!/bin/busybox sh
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""

SIZE = "3G"
"""Of a disk; the file has holes."""

MAKE_TIMEOUT = 1200.0
BOOT_TIMEOUT = 600.0
"""Seconds; a boot takes 20 s of processor time in software emulation."""

# As in `tests.machine.root`: mounts are of this script alone, and nothing is synced to disk.
_MAKE = """
set -e
lower=$1 modules=$2 enabled=$3 masked=$4
shift 4
mkdir upper work root
mount -t overlay -o "volatile,lowerdir=$lower,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
cp -L /etc/resolv.conf root/etc/resolv.conf
printf '#!/bin/sh\\nexit 101\\n' >root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d
export INITRD=No
chroot root apt-get update
chroot root apt-get install --yes --no-install-recommends "$@"
kernel=$(ls root/lib/modules)
ls root/lib/modules/$kernel/updates/dkms/ovpn-dco*

mkdir -p initrd/bin initrd/dev initrd/root initrd/modules
cp root/bin/busybox initrd/bin/
install -m 755 files/init initrd/init
number=10
for module in $modules; do
    chroot root modprobe -S "$kernel" --show-depends $module |
        sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' >depends
    while read -r file; do
        name=$(basename "${file%.xz}")
        [ ! -e initrd/modules/*-$name ] || continue
        number=$((number + 1))
        case $file in
            *.xz) xz -dc root/$file ;;
            *) cat root/$file ;;
        esac >initrd/modules/$number-$name
    done <depends
done
mount --bind initrd root/mnt
chroot root sh -c 'cd /mnt && find . | cpio --quiet -o -H newc' >initrd.cpio
umount root/mnt
cp root/boot/vmlinuz-$kernel vmlinuz

umount root/proc
rm -rf root/usr/sbin/policy-rc.d root/etc/resolv.conf root/usr/src root/boot/* \
    root/var/cache/apt root/var/lib/apt/lists root/usr/lib/gcc root/usr/libexec/gcc
cp -r files/root/. root/
for unit in $enabled; do
    from=/lib/systemd/system
    [ ! -e files/root/etc/systemd/system/$unit ] || from=/etc/systemd/system
    ln -sf $from/$unit root/etc/systemd/system/multi-user.target.wants/
done
for unit in $masked; do ln -sf /dev/null root/etc/systemd/system/$unit; done
: >root/etc/machine-id
truncate -s SIZE disk.ext4
mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -d root disk.ext4
umount root
rm -rf upper work root initrd depends files
""".replace("SIZE", SIZE)


@attrs.frozen
class Image:
    """The files of a release: its disk, its kernel, and a machine that has booted from them."""

    directory: Path

    @property
    def booted(self) -> Path:
        """The disk of the machine that has booted; ``memory`` belongs to it."""
        return self.directory / "booted.qcow2"

    @property
    def memory(self) -> Path:
        """What `Vm.save` has written."""
        return self.directory / "memory"

    def hardware(self, disk: int, tap: str, network: Network) -> Hardware:
        """A machine of this release."""
        files = self.directory / "vmlinuz", self.directory / "initrd.cpio"
        return Hardware(*files, disk, tap, network.bridge.pid)

    def new_disk(self) -> int:
        """A disk like that of the machine that has booted: a file that ends with its descriptor."""
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            return _overlay(self.booted, Path(directory) / "disk.qcow2")


def image(suite: str) -> Image:
    """The image of a release, made now unless it is there.

    Raises:
      RootError, VmError: it cannot be made.
    """
    if lacks := vm.missing():
        raise RootError(f"machines under qemu need {', '.join(lacks)}")
    lower = root(suite)
    made = Image(ROOTS / f"{suite}.qemu")
    parts = (_MAKE, INIT, FILES, PACKAGES, ENABLED, MASKED, MODULES, _text(Path(agent.__file__)))
    base_of = f"{_text(ROOTS / f'{suite}.packages')}\n{parts}"
    with locked(ROOTS / f"{suite}.qemu.lock"):
        with _unless_made_of(made.directory / "base", base_of) as missing:
            if missing:
                _make(lower, made.directory)
        accelerator = vm.accelerator(made.directory / "vmlinuz")
        booted_of = f"{base_of}\n{vm.APPEND} {vm.MEMORY} {vm.DEVICES} {vm.version()} {accelerator}"
        with _unless_made_of(made.directory / "booted", booted_of) as missing:
            if missing:
                _boot(made)
    return made


def images() -> dict[str, Image]:
    """Every release's image; what is missing is made at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(SUITES, pool.map(image, SUITES), strict=True))


def attach(network: Network, tap: str) -> None:
    """Makes a tap device on the network's bridge, for one machine."""
    network.bridge.ip(
        f"tuntap add dev {tap} mode tap", f"link set {tap} master br0", f"link set {tap} up"
    )


@contextlib.contextmanager
def _unless_made_of(stamp: Path, parts: str) -> Iterator[bool]:
    """Whether what *stamp* stands for is to be made; notes afterwards that it is."""
    missing = not stamp.exists() or stamp.read_text() != parts
    if missing:
        stamp.unlink(missing_ok=True)
    yield missing
    stamp.write_text(parts)


def _text(path: Path) -> str:
    return path.read_text()


def _make(lower: Path, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    files = {f"root/{path}": text for path, text in FILES.items()}
    files |= {
        f"root/usr/local/lib/machine/{Path(agent.__file__).name}": _text(Path(agent.__file__)),
        "init": INIT,
    }
    for path, text in files.items():
        file = directory / "files" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    words = [" ".join(words) for words in (MODULES, ENABLED, MASKED)]
    end_with_us = ["setpriv", "--pdeathsig", "KILL"]
    argv = [*end_with_us, "nice", *unshare, "sh", "-c", _MAKE, "sh", str(lower), *words, *PACKAGES]
    done = subprocess.run(
        argv,
        cwd=directory,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=MAKE_TIMEOUT,
        check=False,
    )
    if done.returncode:
        end = "\n".join(done.stdout.decode(errors="backslashreplace").splitlines()[-20:])
        raise RootError(f"the disk in {directory} cannot be made, {done.returncode}:\n{end}")


def _boot(made: Image) -> None:
    """Boots a machine without a name from the disk, and saves it."""
    made.booted.unlink(missing_ok=True)
    disk = _overlay(made.directory / "disk.ext4", made.booted, keep=True)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, disk)
        network = Network()
        stack.callback(network.close)
        network.wait_ready()
        attach(network, "port1")
        machine = Vm(made.hardware(disk, "port1", network))
        stack.callback(machine.end)
        machine.wait_shell(BOOT_TIMEOUT)
        wait = ("systemctl", "is-system-running", "--wait")
        state = machine.execute(wait, ENVIRONMENT, b"", BOOT_TIMEOUT)
        if state.returncode:
            failed = machine.execute(("systemctl", "--failed"), ENVIRONMENT, b"", BOOT_TIMEOUT)
            raise VmError(f"{made.directory.name} is {state.stdout}{failed.stdout}")
        machine.save(made.memory)


def _overlay(lower: Path, path: Path, *, keep: bool = False) -> int:
    """A qcow2 file on *lower*, open for reading and writing; without *keep* it has no name."""
    form = {".ext4": "raw", ".qcow2": "qcow2"}[lower.suffix]
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(lower), str(path)]
    subprocess.run(argv, check=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if not keep:
        path.unlink()
    return descriptor


def main() -> None:
    """Makes what is missing: `python -m tests.machine.images`."""
    try:
        for suite, made in images().items():
            print(f"{suite}: {made.directory.relative_to(ROOTS.parents[1])}")
    except (RootError, VmError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
