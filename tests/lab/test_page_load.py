"""The page with 20,000 clients, and in a storm of events. The figures are printed: `pytest -s`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cuberouted.events import ClientMoved
from tests.browser.chromium import Chromium
from tests.browser.page import row, rows, search, wait_at, wait_live
from tests.fakes.web import WebMesh

pytestmark = pytest.mark.alone

CLIENTS = 20_000

RATE, STORM_TIME = 1000, 5
"""Events a second, and seconds."""

KEYSTROKE = """
() => {
  globalThis.keystrokes = [];
  document.addEventListener("input", () => {
    const began = performance.now();
    requestAnimationFrame(() => setTimeout(() => keystrokes.push(performance.now() - began)));
  }, {capture: true});
}
"""
"""Measures from the input's event to after the next frame, in milliseconds."""

LONG_TASKS = """
() => {
  globalThis.longTasks = [];
  new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((e) => e.duration)))
    .observe({type: "longtask"});
}
"""
"""A long task holds the page for 50 ms or more."""


def address(number: int) -> str:
    return f"10.100.{number >> 8}.{number & 255}"


@pytest.fixture(scope="module")
def mesh() -> Iterator[WebMesh]:
    """All clients are at B."""
    with WebMesh(of_all=["allowed_networks = 10.100.0.0/16"], names="AB") as mesh:

        def connect() -> None:
            for number in range(CLIENTS):
                mesh["B"].connect(f"host{number}", address(number))

        mesh.call(connect)
        fib = mesh["A"].daemon.node.kernel_sync.fib
        mesh.until(lambda: len(fib.installed) >= CLIENTS, within=90)
        yield mesh


def test_loading_and_searching(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab() as page:
        began = time.monotonic()
        page.goto(mesh.url)
        expect(page.locator("#count")).to_have_text("20,000 addresses", timeout=30_000)
        loaded = time.monotonic() - began
        print(f"usable {loaded:.2f} s after the address was entered")

        page.evaluate(KEYSTROKE)
        page.keyboard.press("/")
        for key in "host1999":
            page.keyboard.press(key)
        page.wait_for_function("(length) => keystrokes.length === length", arg=len("host1999"))
        assert len(rows(page)) == 11
        search(page, "10.100.7.0/28")
        assert len(rows(page)) == 16
        search(page, "")
        page.wait_for_function("(length) => keystrokes.length === length", arg=10)
        keystrokes: list[float] = page.evaluate("() => keystrokes")
        print("ms from a keystroke to its result:", ", ".join(f"{ms:.0f}" for ms in keystrokes))

        shown = len(rows(page))
        page.locator("#more").click()
        assert len(rows(page)) == shown + 500
    assert loaded < 15
    assert sorted(keystrokes)[len(keystrokes) // 2] < 100
    assert max(keystrokes) < 500


def test_a_storm_of_events(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        expect(page.locator("#count")).to_have_text("20,000 addresses", timeout=30_000)
        page.evaluate(LONG_TASKS)
        page.evaluate(KEYSTROKE)
        before = heap(page)
        began = time.monotonic()
        sent = 0
        while (passed := time.monotonic() - began) < STORM_TIME:
            due = int(passed * RATE)
            mesh.call(publish, mesh, sent, due)
            sent = due
            page.wait_for_timeout(50)
            if sent > RATE and not page.evaluate("() => keystrokes.length"):
                search(page, "host1")
        publish_last(mesh)
        search(page, "")
        wait_at(page, address(0), "B", timeout=15_000)
        took = time.monotonic() - began
        page.wait_for_function("() => keystrokes.length >= 2")
        keystrokes: list[float] = page.evaluate("() => keystrokes")
        long_tasks: list[float] = page.evaluate("() => longTasks")
        print(
            f"{sent:,} events in {STORM_TIME} s, the last shown {took - STORM_TIME:.1f} s later;"
            f" {len(long_tasks)} long tasks, the longest {max(long_tasks, default=0):.0f} ms,"
            f" together {sum(long_tasks):.0f} ms; a search takes {max(keystrokes):.0f} ms;"
            f" heap {before:.0f} MB before, {heap(page):.0f} MB after"
        )
        wait_live(page)
        row(page, address(1)).wait_for()
        assert sent >= RATE * (STORM_TIME - 1)
        assert max(long_tasks, default=0) < 1000
        assert sum(long_tasks) < 1000 * STORM_TIME * 0.7
        assert max(keystrokes) < 1000
        assert page.locator("#event-list li").count() <= 200


def publish(mesh: WebMesh, begin: int, end: int) -> None:
    """The clients with these numbers move to A and back, in turn."""
    for number in range(begin, end):
        way = ("B", "A") if number // CLIENTS % 2 == 0 else ("A", "B")
        move(mesh, number % CLIENTS, *way)


def publish_last(mesh: WebMesh) -> None:
    """An event that is looked for: client 0, which was the first to move to A, moves back."""
    mesh.call(move, mesh, 0, "A", "B")


def move(mesh: WebMesh, number: int, old: str, new: str) -> None:
    """Client *number* moves, as far as the page is told."""
    name, where = f"host{number}", address(number)
    event = ClientMoved(address=where, client=name, from_node=old, to_node=new)
    mesh["A"].daemon.events.publish(event)


def heap(page: Page) -> float:
    """Megabytes of JavaScript's objects, after a collection."""
    session: Any = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    size: float = session.send("Runtime.getHeapUsage")["usedSize"]
    return size / 1e6
