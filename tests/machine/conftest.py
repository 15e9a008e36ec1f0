"""Machines for the tests: by systemd-nspawn, or with ``--machines qemu`` by qemu."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.lab import waiting
from tests.lab.network import Network
from tests.machine import images, root
from tests.machine.machine import Machine
from tests.machine.nspawn import Nspawn
from tests.machine.qemu import Qemu
from tests.machine.server import Server
from tests.machine.site import SUITES, Site
from tests.machine.vm import VmError

UNWELL = (AssertionError, subprocess.TimeoutExpired, VmError)
"""What a machine raises that has ended or does not do what it is told."""

LOG_TAIL = 60
"""Lines of each machine's log that a failure shows."""

DRIVERS: dict[str, type[Machine]] = {"nspawn": Nspawn, "qemu": Qemu}

OWN_KERNEL = ("test_dco.py", "test_kernels.py", "test_wireguard.py")
"""Tests of what only machines with a kernel of their own have: they are only collected for qemu."""

NewMachine = Callable[[str, str], Machine]
"""A machine of that name with that Debian release, off; it is removed after the test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that chooses how machines are made."""
    parser.addoption("--machines", choices=sorted(DRIVERS), default="nspawn")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out what the machines cannot do; None lets other rules decide."""
    return (collection_path.name in OWN_KERNEL and _driver(config) is not Qemu) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The timeout is for the tests alone: the first one waits for debootstrap."""
    seconds = float(config.getini("timeout")) * _driver(config).slowness
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(seconds, func_only=True))


def _driver(config: pytest.Config) -> type[Machine]:
    return DRIVERS[config.getoption("--machines", default="nspawn")]


@pytest.fixture(scope="session")
def driver(request: pytest.FixtureRequest) -> type[Machine]:
    """How machines are made."""
    root.roots()
    chosen = _driver(request.config)
    if chosen is Qemu:
        images.images()
    waiting.set_patience(chosen.slowness)
    return chosen


@pytest.fixture
def new_machine(driver: type[Machine]) -> Iterator[NewMachine]:
    """Makes machines on a bridge of their own."""
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


@pytest.fixture(scope="session")
def sites(driver: type[Machine]) -> Iterator[Sites]:
    """The site that tests share."""
    sites = Sites(driver)
    yield sites
    sites.close()


@pytest.fixture
def site(sites: Sites) -> Site:
    """The article's two servers and their clients, all well. A test leaves it as it was."""
    return sites.well()


@pytest.fixture(params=SUITES)
def server(request: pytest.FixtureRequest, site: Site) -> Server:
    """Each of the site's servers."""
    return site.servers[request.param]


class Sites:
    """One site for all tests, or a new one after a test that has left it unwell."""

    def __init__(self, driver: type[Machine]) -> None:
        self._driver = driver
        self._site: Site | None = None
        self.spoiled = False
        """Whether a test has failed on it, and so may have left anything there."""

    def well(self) -> Site:
        """The site, if it is well."""
        if self.spoiled:
            self.close()
        if self._site:
            try:
                self._site.each(self._site.wait_routes)
                self._site.wait_all_reach_all()
            except UNWELL:
                self.close()
        if not self._site:
            self._site = Site(self._driver).__enter__()
        return self._site

    def close(self) -> None:
        """Removes the site."""
        if self._site:
            self._site.__exit__()
            self._site = None
        self.spoiled = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the servers' logs to the report of a test that failed."""
    report = yield
    site = item.funcargs.get("site")
    if report.failed and report.when == "call" and isinstance(site, Site):
        for server in site.servers.values():
            report.sections.append((server.name, _log(server.machine)))
    if report.failed and isinstance(sites := item.funcargs.get("sites"), Sites):
        sites.spoiled = True
    return report


def _log(machine: Machine) -> str:
    """The end of its log, or what it wrote to its console if it is off."""
    try:
        return machine.run("journalctl", "--no-pager", "-b", "-n", str(LOG_TAIL))
    except UNWELL as error:
        return f"{error}\n{machine.console()}"
