"""The page in Chromium: services, and nodes that are drained, with real daemons on fakes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from cuberouted.api.report_drain import DrainOrder
from tests.browser.chromium import Chromium
from tests.browser.page import box, node_state, service, wait_live
from tests.fakes.commands import Behaviour
from tests.fakes.web import WebMesh

DB, CHECK = "10.100.100.200", "/bin/check"
LINES = (f"address = {DB}", f"check = {CHECK}", "check_interval = 200ms")
SERVICES = {
    "db": {
        "A": (*LINES, "priority = 200"),
        "B": (*LINES, "priority = 150"),
        "C": (*LINES, "priority = 100"),
    }
}


@pytest.fixture
def mesh() -> Iterator[WebMesh]:
    """Three servers and a service, which A has."""
    with WebMesh(services=SERVICES) as mesh:
        mesh.until(lambda: mesh["A"].has(DB))
        yield mesh


def fail(mesh: WebMesh, name: str, line: bytes) -> None:
    """The check fails on a server."""
    mesh[name].commands.behaviours[CHECK] = Behaviour(1, stderr=line)


def test_a_service_is_shown_and_moves_as_it_happens(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_live(page)
        row = service(page, "db")
        expect(row.locator("th")).to_contain_text(DB)
        expect(row.locator("td").nth(0)).to_have_text("A")
        expect(row.locator("time")).to_have_attribute("datetime", re.compile("^2026-"))
        phases = row.locator("li .state")
        expect(phases).to_have_text(["has the address", "standby", "standby"])
        expect(row.locator("li").nth(1)).to_contain_text("priority 150")
        fail(mesh, "A", b"not <b>master</b>\n")
        expect(row.locator("td").nth(0)).to_have_text("B")
        expect(phases).to_have_text(["has the address", "standby", "unfit"])
        expect(row.locator("li").nth(2)).to_contain_text("not <b>master</b>")
        expect(page.locator("#announcer")).to_contain_text("service db")
        expect(page.locator("#event-list")).to_contain_text("moved A -> B")


def test_nobody_else_can_have_it(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_live(page)
        phases = service(page, "db").locator("li .state")
        for name in "BC":
            fail(mesh, name, b"no disk\n")
        expect(phases).to_have_text(["has the address", "unfit", "unfit"])
        fail(mesh, "A", b"no disk\n")
        expect(phases).to_have_text(["has the address, as nobody else can", "unfit", "unfit"])


def test_without_services_there_is_no_table_of_them(browser: Chromium) -> None:
    with WebMesh(names="AB") as mesh, browser.tab(mesh.url) as page:
        wait_live(page)
        expect(page.get_by_role("table", name="Nodes")).to_be_visible()
        expect(page.get_by_role("table", name="Services")).to_be_hidden()


async def _drain(mesh: WebMesh, name: str, order: DrainOrder) -> None:
    await mesh[name].daemon.maintenance.drain(order, "anna")


async def _resume(mesh: WebMesh, name: str) -> None:
    await mesh[name].daemon.maintenance.resume("anna")


def test_nodes_that_are_drained(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_live(page)
        now = time.time()  # as the browser has it
        mesh["C"].skew = now - mesh.call(mesh["C"].wall_clock)
        until = int(now) + 7000
        order = DrainOrder(reason="a <i>new</i> kernel", until=until)
        mesh.run(_drain, mesh, "C", order)
        expect(node_state(page, "C")).to_have_text("maintenance")
        cell = page.locator('#nodes tr[data-node="C"] td').first
        expect(cell).to_contain_text(re.compile(r"for \d+ s \(11\d min left\), by anna: a <i>new"))
        expect(box(page, "C")).to_contain_text("maintenance")
        expect(page.locator("#findings")).to_contain_text("peer C is in maintenance")
        expect(page.locator("#announcer")).to_contain_text("C")
        mesh.run(_drain, mesh, "A", DrainOrder())
        expect(node_state(page, "A")).to_have_text("maintenance")
        expect(box(page, "A")).to_contain_text("maintenance")
        expect(service(page, "db").locator("td").nth(0)).to_have_text("B")
        mesh.run(_resume, mesh, "C")
        expect(node_state(page, "C")).to_have_text("up")
        expect(cell).not_to_contain_text("anna")


def test_with_web_names_no_neither_who_nor_why_is_shown(browser: Chromium) -> None:
    refused = ["403"]  # of the clients
    with (
        WebMesh("web_names = no", services=SERVICES) as mesh,
        browser.tab(mesh.url, expected=refused) as page,
    ):
        mesh.until(lambda: mesh["A"].has(DB))
        wait_live(page)
        mesh.run(_drain, mesh, "C", DrainOrder(reason="secret"))
        fail(mesh, "A", b"secret\n")
        expect(node_state(page, "C")).to_have_text("maintenance")
        expect(service(page, "db").locator("td").nth(0)).to_have_text("B")
        expect(page.locator("body")).not_to_contain_text("secret")
        expect(page.locator("#nodes")).not_to_contain_text("anna")
