"""The demo runs to its end, and leaves nothing behind when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab.cleanup_check import namespaces_under, processes_in
from tests.lab.host import PROJECT
from tests.lab.waiting import wait_for

DEMO = [sys.executable, "-m", "tests.lab.demo"]


def test_the_demo_runs_all_its_scenes() -> None:
    done = subprocess.run(
        DEMO, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    scenes = [line for line in done.stdout.splitlines() if line[:2] in {f"{n}." for n in range(9)}]
    assert len(scenes) == 5


def test_the_demo_cleans_up_when_it_is_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["env", "--default-signal=INT", *DEMO],  # a shell's background jobs ignore it
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout
        assert demo.stderr
        assert any("dump-routes" in line for line in demo.stdout)
        namespaces = namespaces_under(demo.pid)
        assert len(namespaces) == 8
        demo.send_signal(signal.SIGINT)
        assert "Interrupted" in demo.stderr.read()
    assert demo.returncode == 130
    wait_for("the demo's processes to end", lambda: not processes_in(namespaces))
    assert list(tmp_path.iterdir()) == []
