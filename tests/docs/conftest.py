"""Builds what the tests look at, into build/ as `make docs` and `make man` do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cuberouted_docs.html_links import Page

PROJECT = Path(__file__).parents[2]


SPHINX = (sys.executable, "-m", "sphinx", "-q", "-E", "-n", "-W", "--keep-going")
DIRECTORIES = {"html": PROJECT / "build/docs", "man": PROJECT / "build/man"}


@pytest.fixture(scope="session")
def built() -> dict[str, Path]:
    """Where the pages are that Sphinx has made, by its builders. Every warning is an error."""
    running = [
        subprocess.Popen(
            [*SPHINX, "-b", builder, "docs", str(directory)],
            cwd=PROJECT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for builder, directory in DIRECTORIES.items()
    ]
    said = [process.communicate()[1] for process in running]
    assert said == ["", ""]
    assert [process.returncode for process in running] == [0, 0]
    return DIRECTORIES


@pytest.fixture(scope="session")
def html(built) -> dict[str, Page]:
    """The HTML pages by their names."""
    root = built["html"]
    pages = [path.relative_to(root).with_suffix("") for path in root.rglob("*.html")]
    return {str(page): Page((root / f"{page}.html").read_text("utf-8")) for page in pages}


@pytest.fixture(scope="session")
def man(built) -> list[Path]:
    """The man pages."""
    return sorted(built["man"].glob("*.[0-9]"))
