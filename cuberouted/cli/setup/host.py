"""The host that `cuberouted setup` works on: its files, and systemd's programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import attrs

TIMEOUT = 60.0
"""Seconds for one of systemd's programs."""


class HostError(Exception):
    """Something cannot be done. str() says what and why."""


@attrs.frozen
class Host:
    """Files below ``root``. ``tell`` prints a line on each thing that is done.

    systemd's programs work on the running host only: not with another ``root``. ``dry_run``:
    nothing is done, only told.
    """

    root: Path
    dry_run: bool
    tell: Callable[[str], None]

    @property
    def is_running(self) -> bool:
        """Whether this is the running host, and systemd runs it."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()

    def read(self, path: PurePosixPath) -> str | None:
        """The text of a file; None: there is nothing. A link or directory has none."""
        place = self._place(path)
        if place.is_symlink() or place.is_dir():
            return ""
        try:
            return place.read_text("utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"{place}: {error.strerror}") from None

    def exists(self, path: PurePosixPath) -> bool:
        """Whether something is there."""
        return os.path.lexists(self._place(path))

    def write(self, path: PurePosixPath, text: str, *, new: bool) -> None:
        """Write a file that all may read; *new*: there was none."""
        place = self._place(path)
        self._tell("write" if new else "update", "wrote" if new else "updated", str(place))
        if self.dry_run:
            return
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.name}.new")
            temporary.write_text(text, "utf-8")
            temporary.chmod(0o644)
            temporary.replace(place)
        except OSError as error:
            raise HostError(f"{place}: {error.strerror}") from None

    def remove(self, path: PurePosixPath) -> None:
        """Remove a file."""
        place = self._place(path)
        self._tell("remove", "removed", str(place))
        if not self.dry_run:
            try:
                place.unlink()
            except OSError as error:
                raise HostError(f"{place}: {error.strerror}") from None

    def remove_empty(self, directories: Iterable[PurePosixPath]) -> None:
        """Remove those *directories* that are empty."""
        if not self.dry_run:
            for path in directories:
                with contextlib.suppress(OSError):  # it is not empty
                    self._place(path).rmdir()

    def instances(self) -> list[str]:
        """The units of cuberouted that are started at boot, apart from cuberouted.service."""
        wants = self._place(PurePosixPath("/etc/systemd/system"))
        return sorted({link.name for link in wants.glob("*.wants/cuberouted@?*.service")})

    def is_active(self) -> bool:
        """Whether cuberouted.service runs."""
        if not self.is_running:
            return False
        argv = ["systemctl", "--quiet", "is-active", "cuberouted.service"]
        return _run(argv).returncode == 0

    def run(self, *argv: str) -> None:
        """Run one of systemd's programs. Raises HostError if it fails."""
        self._tell("run", "ran", " ".join(argv))
        if self.dry_run:
            return
        done = _run(argv)
        if done.returncode:
            raise HostError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")

    def _tell(self, would: str, did: str, what: str) -> None:
        self.tell(f"would {would} {what}" if self.dry_run else f"{did} {what}")

    def _place(self, path: PurePosixPath) -> Path:
        return self.root / path.relative_to("/")


def _run(argv: Iterable[str]) -> subprocess.CompletedProcess[str]:
    name, *arguments = argv
    program = shutil.which(name)
    if program is None:
        raise HostError(f"{name} is not installed; cuberouted's unit needs systemd")
    try:
        return subprocess.run(  # noqa: S603 - only systemd's programs are run
            [program, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{name}: not finished after {TIMEOUT:g} s") from None
