from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.matrix import __main__ as matrix

PROJECT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    """The versions in a file of packages, by their names in lower case."""
    text = (PROJECT / "tests" / "matrix" / name).read_text().lower().replace("_", "-")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ \n]+)", text, re.MULTILINE))


def test_the_lower_bounds_are_what_is_tested_with_debian_12() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    bounds = [*project["dependencies"], *project["optional-dependencies"]["web"]]
    split = [bound.lower().replace("_", "-").split(">=") for bound in bounds]
    tested = pins("debian12.in")
    assert len(split) == 9
    for name, version in split:
        assert re.match(re.escape(version) + r"(\.0)*\Z", tested[name]), name


@pytest.mark.parametrize("name", ["debian12", "debian13"])
def test_what_is_installed_is_what_was_asked_for(name: str) -> None:
    asked, installed = pins(f"{name}.in"), pins(f"{name}.txt")
    assert asked.items() <= installed.items()
    assert {"pytest", "pytest-trio", "hypothesis"} <= installed.keys()


def test_an_interpreter_is_found_by_its_version_or_its_name(monkeypatch, tmp_path) -> None:
    version = "{}.{}".format(*sys.version_info)
    monkeypatch.setenv(f"PYTHON{version.replace('.', '')}", sys.executable)
    assert matrix.find_python(version) == Path(sys.executable)
    monkeypatch.setenv("PYTHON399", sys.executable)
    with pytest.raises(matrix.MatrixError, match=r"PYTHON399=.* is not a Python 3\.99"):
        matrix.find_python("3.99")
    monkeypatch.setenv("PYTHON399", str(tmp_path / "none"))
    with pytest.raises(matrix.MatrixError, match=r"is not a Python 3\.99"):
        matrix.find_python("3.99")
    monkeypatch.delenv("PYTHON399")
    with pytest.raises(matrix.MatrixError, match=r"Python 3\.99 is missing: .* PYTHON399="):
        matrix.find_python("3.99")


def test_what_failed_is_told_and_the_others_are_run(monkeypatch, capsys) -> None:
    def run_tests(name: str, python: Path) -> str:
        if name == "debian13":
            raise matrix.MatrixError("1 failed")
        return "3 passed"

    monkeypatch.setattr(matrix, "prepare", lambda _environment: Path("python"))
    monkeypatch.setattr(matrix, "run_tests", run_tests)
    assert matrix.main([]) == 1
    shown = capsys.readouterr()
    assert re.sub(r"\d+ s$", "0 s", shown.out, flags=re.MULTILINE) == (
        "debian12 (Python 3.11): 3 passed, 0 s\nnewest (Python 3.13): 3 passed, 0 s\n"
    )
    assert shown.err == "debian13: failed\n1 failed\nFailed: debian13\n"
    assert matrix.main(["newest"]) == 0
    assert matrix.main(["debian11"]) == 2
