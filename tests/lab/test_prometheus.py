"""The alerts on Debian's Prometheus."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.host import PROJECT

CONF = PROJECT / "conf/prometheus"
TESTS = sorted((PROJECT / "tests/prometheus").glob("*.test.yml"))


def promtool(*argv: str | Path) -> None:
    """Runs `promtool`, which must end well."""
    done = subprocess.run(["promtool", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_example_and_the_rules() -> None:
    promtool("check", "config", CONF / "prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_alerts_begin_when_they_must_and_end(file: Path) -> None:
    promtool("test", "rules", file)
