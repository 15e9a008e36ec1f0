from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.fakes.mesh import Mesh

# its limits are of time by the clock, which says nothing while the machine is busy
hypothesis_settings.register_profile(
    "without limits of time", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("without limits of time")


@pytest.fixture
def mesh(nursery):
    """A mesh without servers yet; such a test has to ask for `autojump_clock` itself."""
    return Mesh(nursery)


@pytest.fixture
def unused_port() -> Iterator[Callable[..., int]]:
    """Makes ports of an address of this host that no other program is given during the test."""
    with ExitStack() as stack:

        def reserve(address: str = "127.0.0.1") -> int:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = stack.enter_context(socket.socket(family))
            # who sets this option as well may listen there, because this socket does not
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, 0))
            port: int = sock.getsockname()[1]
            return port

        yield reserve


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests that have the mock clock through a fixture only: pytest-trio ignores it there.

    Such a test would run by the real clock, and fail when the machine is busy.
    """
    for item in items:
        if isinstance(item, pytest.Function) and "autojump_clock" in (
            set(item.fixturenames) - inspect.signature(item.function).parameters.keys()
        ):
            raise pytest.UsageError(f"{item.nodeid}: it has to ask for autojump_clock itself")
