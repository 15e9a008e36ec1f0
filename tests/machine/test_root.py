"""Root file systems are made once, completely, and from the mirror of this host's apt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine import root

DEBOOTSTRAP = """#!/bin/sh
mkdir -p root/etc
echo "$*" >root/etc/arguments
[ ! -e {broken} ]
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file exists, debootstrap fails half-way."""
    programs, broken = tmp_path / "bin", tmp_path / "broken"
    programs.mkdir()
    program = programs / "debootstrap"
    program.write_text(DEBOOTSTRAP.format(broken=broken))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setattr(root, "ROOTS", tmp_path / "machines")
    monkeypatch.setattr(root, "mirror", lambda: "http://mirror.example.org/debian")
    return broken


def test_one_that_was_interrupted_is_made_anew_and_a_whole_one_is_kept(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.touch()
    with pytest.raises(root.RootError, match="debootstrap of trixie ended with 1"):
        root.root("trixie")
    broken.unlink()
    made = root.root("trixie")
    arguments = (made / "etc/arguments").read_text()
    assert "python3-msgspec" in arguments
    assert arguments.split()[-3:] == ["trixie", "root", "http://mirror.example.org/debian"]
    broken.touch()
    assert root.root("trixie") == made
    # other packages than it was made of
    monkeypatch.setitem(root.PACKAGES_OF, "trixie", ("python3-msgspec", "less"))
    with pytest.raises(root.RootError):
        root.root("trixie")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "sources.list",
            "deb [signed-by=/x a=b] http://m.example.org/debian bookworm main\n",
        ),
        ("sources.list", "deb http://m.example.org/debian/ bookworm main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://m.example.org/debian\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://m.example.org/debian/\n"),
    ],
)
def test_the_mirror_is_that_of_apt(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    security = "deb http://m.example.org/debian-security bookworm-security main\n"
    (tmp_path / "sources.list.d/a.list").write_text(security)
    (tmp_path / file).write_text(text)
    assert root.mirror(tmp_path) == "http://m.example.org/debian"


def test_without_a_mirror_the_error_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(root.RootError, match=r"no mirror of Debian in .*sources\.list"):
        root.mirror(tmp_path)
