"""The command that installs a missing package."""

from __future__ import annotations

import sys

import pytest

from cuberouted.util.packages import install_command


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/usr", "apt install python3-foo-bar"),
        ("/opt/cuberouted", "/opt/cuberouted/bin/pip install foo_bar"),
    ],
)
def test_the_command_suits_the_python_that_runs(prefix, command, monkeypatch):
    monkeypatch.setattr(sys, "prefix", prefix)
    assert install_command("foo_bar") == command
