"""Builds what the tests look at, into build/ as `make docs` and `make man` do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cuberouted_docs.html_links import Page

PROJECT = Path(__file__).parents[2]


def build(builder: str, directory: str) -> Path:
    """Run Sphinx as the Makefile does. Every warning is an error."""
    options = ("-q", "-E", "-n", "-W", "--keep-going", "-b", builder)
    command = [sys.executable, "-m", "sphinx", *options, "docs", directory]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return PROJECT / directory


@pytest.fixture(scope="session")
def html() -> dict[str, Page]:
    """The HTML pages by their names."""
    root = build("html", "build/docs")
    pages = [path.relative_to(root).with_suffix("") for path in root.rglob("*.html")]
    return {str(page): Page((root / f"{page}.html").read_text("utf-8")) for page in pages}


@pytest.fixture(scope="session")
def man() -> list[Path]:
    """The man pages."""
    return sorted(build("man", "build/man").glob("*.[0-9]"))
