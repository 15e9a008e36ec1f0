"""`make versions` refuses what is no OpenVPN before it runs any test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.lab.host import PROJECT
from tests.lab.versions import FILES, find, main


def test_this_machine_s_openvpn_is_one() -> None:
    path = shutil.which("openvpn", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert path
    program = find(path)
    assert (str(program.path), program.version[:2]) == (path, "2.")


@pytest.mark.parametrize("path", ["/bin/true", "/etc/passwd", "/nowhere/openvpn"])
def test_anything_else_is_refused_by_its_path(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([path]) == 2
    assert capsys.readouterr().out.startswith(f"{path}: ")


def test_without_a_path_it_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "OPENVPN=" in capsys.readouterr().out


def test_its_files_are_there() -> None:
    assert all(Path(PROJECT / f"tests/lab/{name}.py").exists() for name in FILES)
