"""The program's output may go anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cuberouted.cli.context import PROBLEM
from tests.unit.cli.test_cli import CLIENTS, WELL, Place, place

__all__ = ["place"]  # a fixture

PROJECT = Path(__file__).parents[3]


def run(at: Place, *arguments, stdout=subprocess.PIPE, **environment):
    return subprocess.run(
        [sys.executable, "-m", "cuberouted", "-c", str(at.config), *arguments],
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        timeout=60,
        check=False,
    )


@pytest.fixture
def named(place, monkeypatch):
    """A daemon that has a client with an umlaut in its name."""
    monkeypatch.setattr(CLIENTS.clients[0], "name", "jürg")
    with place.daemon():
        yield place


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_shows_every_name(named, encoding):
    done = run(named, "clients", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("jürg" if encoding != "ascii" else "j\\xfcrg") in done.stdout.decode(encoding)


def test_json_is_utf_8_on_every_terminal(named):
    done = run(named, "clients", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout.decode())["clients"][0]["name"] == "jürg"


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--json"],
        ["clients"],
        ["dump-routes", "--json"],
        ["check"],
        ["--help"],
        ["-V"],
    ],
)
def test_a_full_disk_is_told_in_a_sentence(place, arguments):
    with place.daemon(WELL), Path("/dev/full").open("wb") as full:
        done = run(place, *arguments, stdout=full)
    assert done.stderr == b"standard output: No space left on device\n"
    assert done.returncode == PROBLEM


@pytest.mark.parametrize("arguments", [["clients"], ["status", "--json"], ["--help"]])
def test_a_reader_that_has_gone_is_no_error_message(place, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with place.daemon(), os.fdopen(writing, "wb") as closed:
        done = run(place, *arguments, stdout=closed)
    assert done.stderr == b""


@pytest.mark.parametrize("arguments", [["clients"], ["status", "--json"], ["--help"]])
def test_a_closed_standard_output_is_no_traceback(place, arguments):
    command = [sys.executable, "-m", "cuberouted", "-c", str(place.config), *arguments]
    with place.daemon():
        done = subprocess.run(
            ["sh", "-c", '"$@" >&-', "sh", *command],
            stderr=subprocess.PIPE,
            cwd=PROJECT,
            timeout=60,
            check=False,
        )
    assert b"Traceback" not in done.stderr
