"""What a wheel and an sdist contain."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path, PurePosixPath

import pytest

from cuberouted import __version__

ROOT = Path(__file__).parents[2]
NAME = f"cuberouted-{__version__}"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return directory


@pytest.fixture(scope="module")
def wheel(dist: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(dist: Path) -> set[str]:
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        names = [PurePosixPath(name) for name in archive.getnames()]
    assert {name.parts[0] for name in names} == {NAME}
    return {str(name.relative_to(NAME)) for name in names}


def files(*patterns: str) -> set[str]:
    """Files of the checkout, by their path in it, without what Python has compiled."""
    return {
        str(path.relative_to(ROOT))
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_the_package_and_what_setup_installs(wheel):
    inside = {name for name in wheel if not name.startswith(f"{NAME}.dist-info/")}
    share = {name for name in inside if name.startswith("cuberouted/share/")}
    assert inside - share == files("cuberouted/**/*")
    assert "cuberouted/web/page/index.html" in inside
    assert share == {
        "cuberouted/share/cuberouted.conf",
        "cuberouted/share/cuberouted.conf.reference",
        *(f"cuberouted/share/{name}" for name in files("systemd/**/*")),
    }
    unit = (ROOT / "systemd" / "cuberouted.service").read_bytes()
    assert wheel["cuberouted/share/systemd/cuberouted.service"] == unit


def test_the_wheel_says_what_it_is(wheel):
    metadata = message_from_string(wheel[f"{NAME}.dist-info/METADATA"].decode("utf-8"))
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    requirements = metadata.get_all("Requires-Dist") or []
    needed = {line.split(">")[0] for line in requirements if ";" not in line}
    assert needed == {
        *("attrs", "click", "h11", "msgspec", "pyroute2", "pyzmq", "rich", "trio"),
    }
    entry_points = wheel[f"{NAME}.dist-info/entry_points.txt"].decode("utf-8")
    assert "cuberouted = cuberouted.__main__:main" in entry_points


def test_the_sdist_has_all_that_is_needed_to_build_and_test(sdist):
    assert files("cuberouted/**/*", "tests/**/*", "docs/**/*", "conf/**/*", "systemd/**/*") <= sdist
    assert {"pyproject.toml", "Makefile", "requirements-dev.lock", "README.md", "LICENSE"} <= sdist


def test_the_sdist_has_nothing_else(sdist):
    top = {PurePosixPath(name).parts[0] for name in sdist}
    assert top == {
        *(".gitignore", "PKG-INFO"),  # by the build backend
        *("CHANGELOG.md", "Containerfile", "LICENSE", "Makefile", "README.md", "SECURITY.md"),
        *("pyproject.toml", "requirements-dev.lock"),
        *("conf", "cuberouted", "debian", "docs", "systemd", "tests"),
    }
    assert not [name for name in sdist if "__pycache__" in name or ".mypy_cache" in name]
