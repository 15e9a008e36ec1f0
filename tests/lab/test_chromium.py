"""What drives Chromium: errors fail a test, and nothing is left when a test is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium
from tests.fakes.web import WebMesh
from tests.lab.cleanup_check import namespaces_under, processes_in
from tests.lab.host import PROJECT
from tests.lab.waiting import wait_for


@pytest.fixture(scope="module")
def mesh() -> Iterator[WebMesh]:
    with WebMesh(names="AB") as mesh:
        yield mesh


SCRIPT = """
() => {
  const run = async () => { %s };
  setTimeout(() => run().finally(() => setTimeout(() => console.log("done"), 100)));
}
"""


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("throw new Error('a bug')", "exception: a bug"),
        ("return Promise.reject(new Error('late'))", "exception: late"),
        ("console.error('wrong')", "console: wrong"),
        # what the page's Content-Security-Policy forbids
        ("document.body.setAttribute('style', 'color: red')", "Content Security Policy"),
        ("document.body.innerHTML = '<p>'", "TrustedHTML"),
        ("setTimeout('0')", "TrustedScript"),
        ("return fetch('http://127.0.0.1:9/').catch(() => 0)", "Content Security Policy"),
        ("return import('data:text/javascript,0').catch(() => 0)", "Content Security Policy"),
        ("return fetch('nothing')", "status of 404"),
    ],
)
def test_an_error_fails_the_test(browser: Chromium, mesh: WebMesh, script: str, error: str) -> None:
    def run() -> None:
        with (
            browser.tab(mesh.url) as page,
            page.expect_console_message(lambda message: message.text == "done"),
        ):
            page.evaluate(SCRIPT % script)

    with pytest.raises(AssertionError, match=re.escape(error)):
        run()


def test_an_expected_error_does_not(browser: Chromium) -> None:
    with browser.tab(expected=["wro.g"]) as page:
        page.evaluate("() => console.error('wrong')")


RUNNING = """
import sys
from pathlib import Path
from playwright.sync_api import sync_playwright
from tests.browser.chromium import chromium
from tests.lab.host import Host
host = Host("somewhere")
host.wait_ready()
with sync_playwright() as driver, chromium(driver, Path(sys.argv[1]), host) as browser:
    with browser.tab() as page:
        print("running", flush=True)
        page.wait_for_timeout(60_000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNING, str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        namespaces = namespaces_under(process.pid)
        assert len(namespaces) == 1
        assert len(processes_in(namespaces)) > 2
        process.send_signal(number)
    wait_for("Chromium to end", lambda: not processes_in(namespaces))
