"""For all tests."""

from __future__ import annotations

import signal

import pytest

from cuberouted.util.tasks import run_trio

# A shell starts background jobs with SIGINT ignored, and programs that the tests start and end
# by it would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after pytest-trio has marked what is async
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nurseries raise exception groups in tests as they do in the daemon, with any trio."""
    for item in items:
        if item.get_closest_marker("trio") is not None:
            item.add_marker(pytest.mark.trio(run=run_trio), append=False)
