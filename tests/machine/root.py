"""Root file systems of Debian releases for the machines, made by debootstrap.

Each is made once and kept in build/machines/SUITE; machines are overlays on it, so it does not
change. It has the Debian packages that the package cuberouted depends on, because a machine has
no way to a mirror. The mirror is the one of this host's apt.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOTS = PROJECT / "build/machines"
SUITES = ("bookworm", "trixie")
"""Debian 12 and 13."""

PACKAGES = (
    # a machine, and what its tests run
    *("systemd", "systemd-sysv", "dbus", "procps", "iproute2", "iputils-ping", "nftables"),
    *("openvpn", "wireguard-tools", "polkitd"),
    # the tutorial; wg-quick takes wireguard-go where the kernel has no WireGuard
    *("easy-rsa", "wireguard-go"),
    # debootstrap does not find what provides the virtual packages that these depend on
    *("libpam-systemd", "python3-cffi-backend"),
    # what the package cuberouted depends on, or recommends
    *("python3-attr", "python3-click", "python3-h11", "python3-pyroute2", "python3-rich"),
    *("python3-trio", "python3-zmq", "python3-prometheus-client"),
)
PACKAGES_OF = {"bookworm": (), "trixie": ("python3-msgspec", "python3-venv")}
"""More packages, of one release."""

MIRROR = re.compile(r"^(?:URIs:|deb(?: *\[.*?\])?) +(\S+/debian)/?(?: |$)", re.MULTILINE)
"""In a file of apt sources, of either format."""

TIMEOUT = 900.0
"""Seconds for debootstrap, which takes some 90 s for both releases together on an idle host."""


class RootError(Exception):
    """A root file system cannot be made; the message says why."""


def root(suite: str) -> Path:
    """The root file system of *suite*, made now unless it is there.

    Raises:
      RootError: it cannot be made.
    """
    ROOTS.mkdir(parents=True, exist_ok=True)
    packages = ",".join((*PACKAGES, *PACKAGES_OF[suite]))
    made, made_of = ROOTS / suite, ROOTS / f"{suite}.packages"
    with locked(ROOTS / f"{suite}.lock"):
        if not (made_of.exists() and made_of.read_text() == packages and made.is_dir()):
            # the list is written last: without it an interrupted one is made anew
            made_of.unlink(missing_ok=True)
            _debootstrap(suite, packages, made)
            made_of.write_text(packages)
    return made


def roots() -> dict[str, Path]:
    """Every suite's root file system; what is missing is made at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(SUITES, pool.map(root, SUITES), strict=True))


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """The mirror of Debian in the apt sources of this host (not the one of security updates).

    Raises:
      RootError: they name none.
    """
    for file in (*sources.glob("sources.list"), *sorted(sources.glob("sources.list.d/*"))):
        if file.suffix in (".list", ".sources") and (found := MIRROR.search(file.read_text())):
            return found[1]
    raise RootError(f"no mirror of Debian in {sources}/sources.list and sources.list.d")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# In namespaces of its own, so that what debootstrap mounts goes when this process ends. Nothing is
# synced to disk (`volatile`): dpkg does that for each file, which takes longer than all the rest.
_MAKE = """
set -e
suite=$1 packages=$2 made=$3 mirror=$4
rm -rf "$made" "$made.new"
mkdir -p "$made.new/none" "$made.new/work" "$made.new/upper" "$made.new/root"
cd "$made.new"
mount -t overlay -o volatile,lowerdir=none,upperdir=upper,workdir=work overlay root
debootstrap --variant=minbase --include="$packages" "$suite" root "$mirror" >&2
rm -rf root/var/cache/apt/archives/*.deb root/var/lib/apt/lists/* root/etc/hostname
: >root/etc/machine-id
umount root
mv upper "$made"
rm -rf "$made.new"
"""


def _debootstrap(suite: str, packages: str, made: Path) -> None:
    if not shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        raise RootError("debootstrap is not installed (Debian package debootstrap)")
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    argv = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        *unshare,
        "sh",
        "-c",
        _MAKE,
        "sh",
        suite,
        packages,
        str(made),
        mirror(),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    if process.returncode:
        end = "\n".join(output.decode(errors="backslashreplace").splitlines()[-20:])
        raise RootError(f"debootstrap of {suite} ended with {process.returncode}:\n{end}")


def main() -> None:
    """Makes what is missing: `python -m tests.machine.root`."""
    try:
        for suite, path in roots().items():
            print(f"{suite}: {path.relative_to(PROJECT)}")
    except RootError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
