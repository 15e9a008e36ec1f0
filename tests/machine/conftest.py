"""Machines for the tests: by systemd-nspawn, or with ``--machines qemu`` by qemu."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.network import Network
from tests.machine import root
from tests.machine.machine import Machine
from tests.machine.nspawn import Nspawn

DRIVERS: dict[str, type[Machine]] = {"nspawn": Nspawn}

NewMachine = Callable[[str, str], Machine]
"""A machine of that name with that Debian release, off; it is removed after the test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that chooses how machines are made."""
    parser.addoption("--machines", choices=sorted(DRIVERS), default="nspawn")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The timeout is for the tests alone: the first one waits for debootstrap."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(func_only=True))


@pytest.fixture(scope="session")
def roots() -> dict[str, Path]:
    """The releases' root file systems."""
    return root.roots()


@pytest.fixture
def new_machine(request: pytest.FixtureRequest, roots: dict[str, Path]) -> Iterator[NewMachine]:
    """Makes machines on a bridge of their own."""
    driver = DRIVERS[request.config.getoption("--machines")]
    with contextlib.ExitStack() as stack:
        network = Network()
        stack.callback(network.close)
        network.wait_ready()
        machines: list[Machine] = []

        def new(name: str, suite: str) -> Machine:
            machine = driver(name, suite, network, len(machines) + 1)
            stack.callback(machine.close)
            machines.append(machine)
            return machine

        yield new
