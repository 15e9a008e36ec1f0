"""Chromium, on this machine or on a host of the lab, for as long as a test needs it.

    with chromium(driver, tmp_path, a.host) as browser:
        with browser.tab("http://127.0.0.1:9657/") as page:
            page.get_by_role("searchbox").fill("host1")

A tab fails the test if the page reports an error: an exception, an error on the console, or
something that the Content-Security-Policy forbids, which Chromium reports on the console.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import attrs
from playwright.sync_api import Browser, Page, Playwright

from tests.lab.host import Host

PROGRAM = "/usr/bin/chromium"

ARGUMENTS = [
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ENTER = """#!/bin/sh
exec nsenter -t {pid} -n -m -u -- setpriv --pdeathsig KILL {program} "$@"
"""
"""Chromium on a host. It has no sandbox, so the pipes of its driver go through as they are."""

SCREENSHOTS = "CUBEROUTED_SCREENSHOTS"
"""The environment variable that names the directory of screenshots, where they shall be kept."""

TIMEOUT = 10_000.0
"""Milliseconds to wait for anything in a page."""


@attrs.frozen
class Chromium:
    """A running Chromium. Screenshots go to ``directory``."""

    browser: Browser
    directory: Path

    @contextmanager
    def tab(
        self,
        url: str = "about:blank",
        *,
        width: int = 1440,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
        expected: Sequence[str] = (),
    ) -> Iterator[Page]:
        """A tab with storage of its own. *expected*: patterns of errors that belong to the test.

        Raises:
          AssertionError: the page reported another error.
        """
        errors: list[str] = []
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(f"exception: {error}"))
        page.on(
            "console",
            lambda message: (
                errors.append(f"console: {message.text} ({message.location['url']})")
                if message.type == "error"
                else None
            ),
        )
        try:
            page.goto(url)
            yield page
        except BaseException:
            if not page.is_closed():
                self.screenshot(page, "failed")
            raise
        finally:
            context.close()
        unexpected = [e for e in errors if not any(re.search(one, e) for one in expected)]
        assert not unexpected, "\n".join(unexpected)

    def screenshot(self, page: Page, name: str) -> None:
        """Take a screenshot of the whole page."""
        test = re.sub(r"\W+", "-", os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1])
        path = self.directory / f"{test.removesuffix('-call-')}-{name}.png"
        page.screenshot(path=path, full_page=True)


@contextmanager
def chromium(driver: Playwright, directory: Path, host: Host | None = None) -> Iterator[Chromium]:
    """Chromium with a new profile, in the namespaces of *host*; *directory* is for its files.

    It ends with the driver's process, and that with this one, however it ends.
    """
    program = Path(PROGRAM)
    if host is not None:
        program = directory / f"chromium-{host.name}"
        program.write_text(ENTER.format(pid=host.pid, program=PROGRAM))
        program.chmod(0o755)
    screenshots = Path(os.environ.get(SCREENSHOTS, directory))
    screenshots.mkdir(parents=True, exist_ok=True)
    browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
    try:
        yield Chromium(browser, screenshots)
    finally:
        browser.close()
