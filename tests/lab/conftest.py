"""The labs that most tests use; and the last words of every program when one fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.lab.lab import Lab

LAST_WORDS = {"cuberouted": 60, "server": 20}
"""Lines of each log that are shown with a failure; of other programs OTHER_WORDS."""

OTHER_WORDS = 5


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
                words = process.log.splitlines()[-LAST_WORDS.get(name, OTHER_WORDS) :]
                report.sections.append((process.name, "\n".join(words)))
    return report
