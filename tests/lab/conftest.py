"""The labs that most tests use; a failed test shows the end of every program's log."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from tests.browser.chromium import TIMEOUT, Chromium, chromium
from tests.lab.lab import Lab

LOG_TAIL = {"cuberouted": 60, "server": 20}
"""Lines of these programs' logs that a failure shows; OTHER_LOG_TAIL of all other programs."""

OTHER_LOG_TAIL = 5


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The article's two servers, OpenVPN running, no clients and no cuberouted yet."""
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab3() -> Iterator[Lab]:
    """Three servers."""
    with Lab(("vpnsrvA", "vpnsrvB", "vpnsrvC")) as lab:
        yield lab


@pytest.fixture(scope="module")
def driver() -> Iterator[Playwright]:
    """What starts Chromium. One at a time in a process."""
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(driver: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Chromium on this machine."""
    with chromium(driver, tmp_path_factory.mktemp("screenshots")) as browser:
        yield browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs of a test's labs to the report of its failure."""
    report = yield
    if report.failed and report.when == "call":
        labs = [value for value in item.funcargs.values() if isinstance(value, Lab)]
        for host in [host for lab in labs for host in lab.hosts]:
            for name, process in host.processes.items():
                tail = process.log.splitlines()[-LOG_TAIL.get(name, OTHER_LOG_TAIL) :]
                report.sections.append((process.name, "\n".join(tail)))
    return report
