"""What people do with the page, in Chromium, with real daemons on fakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from playwright.sync_api import Page, Route, expect

from cuberouted.events import ClientMoved, NodeProblem
from cuberouted.peering.events import PeerState
from tests.browser import colours
from tests.browser.chromium import Chromium
from tests.browser.page import (
    box,
    focused,
    node_state,
    row,
    rows,
    search,
    wait_at,
    wait_live,
)
from tests.browser.tabs import Tabs
from tests.fakes.web import WebMesh
from tests.lab.waiting import wait_for

HOST1, HOST2, OFFICE, NETWORK = "10.100.100.11", "10.100.100.12", "10.100.100.13", "192.168.7.0/24"
LONG, LONG_NAME = "10.100.100.14", "a-very-long-common-name-of-64-characters." + "x" * 23

ALLOWED = "allowed_networks = 10.100.100.0/24, 192.168.0.0/16, fd00:100::/64"

Scheme = Literal["light", "dark"]


@pytest.fixture
def mesh() -> Iterator[WebMesh]:
    """Three servers, four clients and a network."""
    with populated() as mesh:
        yield mesh


@contextmanager
def populated(*settings: str) -> Iterator[WebMesh]:
    """The same, with further lines in the configuration."""
    with WebMesh(*settings, of_all=[ALLOWED]) as mesh:
        mesh.call(mesh["A"].connect, "host1", HOST1)
        mesh.call(mesh["B"].connect, "host2", HOST2)
        mesh.call(mesh["C"].connect, "office", OFFICE, NETWORK)
        mesh.call(mesh["B"].connect, LONG_NAME, LONG)
        mesh.until(lambda: {HOST2, OFFICE, NETWORK, LONG} <= set(mesh["A"].routes), 10)
        yield mesh


def roam(mesh: WebMesh, name: str, address: str, to: str) -> None:
    """A client connects to another server; the old one still lists it."""
    mesh.call(mesh[to].connect, name, address)


def test_who_is_where(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_live(page)
        wait_at(page, NETWORK, "C")
        assert rows(page) == {
            HOST1: ("host1", "A"),
            HOST2: ("host2", "B"),
            OFFICE: ("office", "C"),
            NETWORK: ("office", "C"),
            LONG: (LONG_NAME, "B"),
        }
        expect(page.get_by_role("heading", level=1)).to_have_text("A")
        expect(page).to_have_title("A: all is well")
        expect(page.locator("#verdict")).to_have_text("all is well")
        expect(box(page, "B")).to_contain_text("2 clients")
        expect(node_state(page, "C")).to_have_text("up")


def test_events_move_clients_and_are_listed(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_live(page)
        roam(mesh, "host2", HOST2, "C")
        wait_at(page, HOST2, "C")
        newest = page.locator("#event-list li").first
        expect(newest).to_contain_text(f"host2 ({HOST2}) moved B -> C")
        expect(box(page, "B")).to_contain_text("1 client")
        mesh.call(mesh["B"].connect, "late", "10.100.100.20")
        wait_at(page, "10.100.100.20", "B")
        page.get_by_role("combobox", name="Level").select_option("warnings and errors")
        expect(page.locator("#event-list li")).to_have_count(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host2", {HOST2}),
        ("OFFICE", {OFFICE, NETWORK}),
        (HOST1, {HOST1}),
        ("192.168.7.9", {NETWORK}),
        ("10.100.100.12/31", {HOST2, OFFICE}),
        ("c 192", {NETWORK}),
        ("nobody", set()),
    ],
)
def test_search(browser: Chromium, mesh: WebMesh, text: str, expected: set[str]) -> None:
    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        search(page, text)
        assert set(rows(page)) == expected
        search(page, "")
        assert len(rows(page)) == 5


def test_a_click_on_a_node_shows_its_clients_alone(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        box(page, "B").click()
        assert set(rows(page)) == {HOST2, LONG}
        page.get_by_role("button", name="C", exact=True).click()
        assert set(rows(page)) == {OFFICE, NETWORK}
        roam(mesh, "host1", HOST1, "C")
        wait_at(page, HOST1, "C")
        page.get_by_role("button", name="Show all nodes").click()
        assert len(rows(page)) == 5


def test_rows_are_sorted_by_a_column(browser: Chromium, mesh: WebMesh) -> None:
    def order() -> list[str]:
        return [name for name, _ in rows(page).values()]

    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        header = page.get_by_role("columnheader", name="Name")
        header.get_by_role("button").click()
        assert order() == sorted(order())
        expect(header).to_have_attribute("aria-sort", "ascending")
        header.get_by_role("button").click()
        assert order() == sorted(order(), reverse=True)


def test_keyboard_alone(browser: Chromium, mesh: WebMesh) -> None:
    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        press("Tab")
        assert focused(page)["text"] == "Skip to the clients"
        press("Enter", "Tab")
        assert focused(page)["id"] == "search"
        press(*"host2", "ArrowDown")
        assert focused(page)["address"] == HOST2
        press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("#why-verdict")).to_contain_text("host2")
        assert focused(page)["dialog"]
        press("Escape")
        expect(dialog).to_be_hidden()
        assert focused(page)["address"] == HOST2
        press("/")
        assert focused(page)["id"] == "search"
        press("Escape")
        assert len(rows(page)) == 5
        press("ArrowDown", "ArrowDown")
        assert focused(page)["address"] == HOST2


def test_the_tab_key_reaches_everything(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        reached = []
        for _ in range(25):
            page.keyboard.press("Tab")
            reached.append(focused(page))
        ids = {one["id"] for one in reached}
        assert {"search", "level"} <= ids
        assert {"A", "B", "C", "Name", "Address", "host1"} <= {one["text"] for one in reached}
        # one row of the table, however long it is: the arrow keys go on from there
        assert {one["address"] for one in reached if one["address"]} == {HOST1}


def test_a_row_keeps_the_focus_while_clients_move(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        row(page, HOST2).focus()
        roam(mesh, "host1", HOST1, "B")
        wait_at(page, HOST1, "B")
        roam(mesh, "host2", HOST2, "C")
        wait_at(page, HOST2, "C")
        assert focused(page)["address"] == HOST2


def test_why(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        row(page, HOST2).click()
        dialog = page.get_by_role("dialog", name=f"Where packets to {HOST2} go")
        verdict = dialog.locator("#why-verdict")
        expect(verdict).to_contain_text(f"{HOST2} is reached through to-B by B: host2 connected")
        dialog.get_by_role("button", name="Ask again").click()
        expect(verdict).to_contain_text("host2")
        browser.screenshot(page, "why")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()
        search(page, "10.99.0.1")
        page.keyboard.press("Enter")
        expect(page.locator("#why-verdict")).to_contain_text("10.99.0.1")


NAMES = [
    '<img src=x onerror="document.body.remove()">',
    "<script>document.body.remove()</script>",
    "</script><h1>x</h1>",
    '"><svg onload=alert(1)>',
    "{{constructor}}`b`&amp;",
]


def test_names_that_are_html_are_shown_as_text(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        wait_live(page)
        for number, name in enumerate(NAMES):
            address = f"10.100.100.{30 + number}"
            mesh.call(mesh["B"].connect, name, address)
            wait_at(page, address, "B")
            assert rows(page)[address] == (name, "B")
            expect(page.locator("#event-list li").first).to_contain_text(f"{name} ({address})")
            search(page, name)
            assert set(rows(page)) == {address}
            row(page, address).click()
            verdict = page.locator("#why-verdict")
            expect(verdict).to_contain_text(address)
            page.keyboard.press("Escape")
            search(page, "")
        assert page.locator("img, #clients script, #events script, h1").count() == 1
        page.reload()
        wait_at(page, "10.100.100.34", "B")
        assert {name for name, _ in rows(page).values()} >= set(NAMES)


def test_a_peer_that_is_down(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_live(page)
        mesh.crash("C")
        expect(node_state(page, "C")).to_have_text("down")
        expect(box(page, "C")).to_contain_text("down")
        expect(page.locator("#findings")).to_contain_text("peer C: nothing received")
        expect(page).to_have_title(re.compile(r"^A: \d problem"))
        wait_at(page, OFFICE, "")
        browser.screenshot(page, "down")


def test_a_peer_that_goes_down_while_the_clients_are_loaded(
    browser: Chromium, mesh: WebMesh
) -> None:
    held: list[Route] = []
    with browser.tab() as page:
        page.route("**/v1/clients", lambda route: held.append(route))
        page.goto(mesh.url)
        expect(node_state(page, "C")).to_have_text("up")
        mesh.crash("C")
        mesh.until(lambda: mesh["A"].session("C").state is PeerState.DOWN)
        page.wait_for_timeout(100)  # its event is there
        held[0].continue_()
        expect(node_state(page, "C")).to_have_text("down", timeout=5000)  # not at the next poll


GONE = ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING"]


def test_the_daemon_is_stopped_and_started(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url, expected=GONE) as page:
        wait_live(page)
        wait_at(page, NETWORK, "C")
        mesh.stop()
        trouble = page.locator("#trouble")
        expect(trouble).to_contain_text("Connection lost, trying again")
        expect(page.locator("#connection")).to_have_text("not live")
        expect(page).to_have_title("A: not live")
        browser.screenshot(page, "lost")
        assert len(rows(page)) == 5  # what was known is still there
        roam(mesh, "host2", HOST2, "C")
        mesh.call(mesh["B"].connect, "new", "10.100.100.21")
        mesh.start()
        wait_live(page)
        expect(trouble).to_be_hidden()
        wait_at(page, HOST2, "C")
        wait_at(page, "10.100.100.21", "B")
        roam(mesh, "host2", HOST2, "B")
        wait_at(page, HOST2, "B")


def test_try_now_does_not_wait(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url, expected=GONE) as page:
        wait_live(page)
        mesh.stop()
        expect(page.locator("#trouble")).to_be_visible()
        mesh.start()
        page.get_by_role("button", name="Try now").click()
        wait_live(page)


def test_a_hidden_tab_has_no_stream(browser: Chromium, mesh: WebMesh) -> None:
    tabs = Tabs(browser)
    page = tabs.open(mesh.url)
    tabs.wait_title(page, "A: all is well")
    assert mesh.streams == 1
    other = tabs.open("about:blank")
    wait_for("the stream to be closed", lambda: mesh.streams == 0)
    mesh.crash("C")
    tabs.show(page)
    wait_for("the stream to be open again", lambda: mesh.streams == 1)
    tabs.wait_title(page, "problem")
    tabs.close(page)
    wait_for("the stream to be closed with its tab", lambda: mesh.streams == 0)
    tabs.close(other)


def test_lost_events_lead_to_another_snapshot(browser: Chromium) -> None:
    wrong = ClientMoved(address=HOST2, client="host2", from_node="B", to_node="C")
    problem = NodeProblem(what="kernel", why="out of memory")
    with populated("events_kept = 100") as mesh, browser.tab(mesh.url) as page:
        wait_live(page)
        publish = mesh["A"].daemon.events.publish
        mesh.call(publish, wrong)  # as if the move back to B were among those that are lost
        wait_at(page, HOST2, "C")
        mesh.call(lambda: [publish(problem) for _ in range(1000)])
        wait_at(page, HOST2, "B")
        expect(page.locator("#event-list")).to_contain_text("events lost: the reader was too slow")


# -- how it looks --


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 800, 1440])
def test_no_width_needs_scrolling_to_the_side(
    browser: Chromium, mesh: WebMesh, width: int, scheme: Scheme
) -> None:
    mesh.call(mesh["C"].connect, "y" * 64, "10.100.100.15")
    with browser.tab(mesh.url, width=width, height=844, scheme=scheme) as page:
        wait_at(page, "10.100.100.15", "C")
        assert _overflow(page) == []
        browser.screenshot(page, "page")
        row(page, LONG).click()
        expect(page.locator("#why-verdict")).to_contain_text(LONG)
        assert _overflow(page) == []
        browser.screenshot(page, "why")


def _overflow(page: Page) -> list[str]:
    """What is wider than the window."""
    found: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.body.querySelectorAll("*")]
            .filter((element) => element.getBoundingClientRect().right > width)
            .map((element) => element.outerHTML.slice(0, 100));
        }"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Chromium, mesh: WebMesh, scheme: Scheme) -> None:
    with browser.tab(mesh.url, scheme=scheme, expected=GONE) as page:
        wait_live(page)
        mesh.crash("C")
        expect(page.locator("#findings")).to_contain_text("problem")
        row(page, HOST1).focus()
        box(page, "B").click()
        _assert_readable(page, {"A", "B", "down", "up", "problem:", "Clients"})
        row(page, HOST2).click()
        expect(page.locator("#why-verdict")).to_contain_text("host2")
        _assert_readable(page, {"Close", "Ask again"})
        page.keyboard.press("Escape")
        mesh.stop()
        expect(page.locator("#trouble")).to_be_visible()
        _assert_readable(page, {"Try now"})


def _assert_readable(page: Page, least: set[str]) -> None:
    found = colours.texts(page)
    assert least <= {text.text for text in found}
    assert not [text for text in found if not text.is_readable]


def test_roles_and_names(browser: Chromium, mesh: WebMesh) -> None:
    with browser.tab(mesh.url) as page:
        wait_at(page, NETWORK, "C")
        expect(page.locator("body")).to_match_aria_snapshot(ARIA)
        row(page, HOST2).click()
        expect(page.locator("#why-verdict")).to_contain_text("host2")
        expect(page.get_by_role("dialog")).to_match_aria_snapshot(ARIA_WHY)
        assert page.locator("html").get_attribute("lang") == "en"


ARIA = f"""
- link "Skip to the clients"
- banner:
  - heading "A" [level=1]
- main:
  - region "Mesh":
    - heading [level=2]
    - 'img "A and its tunnels to 2 peers: B up, C up"'
    - table "Nodes":
      - rowgroup:
        - row "Node State Clients Last heard Tunnel"
      - rowgroup:
        - row:
          - rowheader:
            - button "A"
        - row:
          - rowheader:
            - button "B"
          - cell "up"
  - region "Clients":
    - heading "Clients" [level=2]
    - search:
      - searchbox "Search clients"
      - button "Why" [disabled]
    - table "Clients":
      - rowgroup:
        - row:
          - columnheader "Name":
            - button "Name"
      - rowgroup:
        - row:
          - rowheader "host1":
            - button "host1"
          - cell "{HOST1}"
          - cell "A"
  - region "Events":
    - heading "Events" [level=2]
    - paragraph:
      - combobox "Level"
    - group "Events, the newest first":
      - list:
        - listitem:
          - time
          - text: /info .* joined at/
- status
"""

ARIA_WHY = f"""
- dialog "Where packets to {HOST2} go":
  - heading "Where packets to {HOST2} go" [level=2]
  - button "Ask again"
  - button "Close"
  - status
"""


# -- without names --


def test_without_names_there_is_none_anywhere(browser: Chromium) -> None:
    with (
        populated("web_names = no") as mesh,
        browser.tab(mesh.url, expected=["status of 403"]) as page,
    ):
        wait_live(page)
        expect(box(page, "B")).to_contain_text("2 clients")
        roam(mesh, "host2", HOST2, "C")
        mesh.call(mesh["B"].connect, "host3", "10.100.100.23")
        expect(node_state(page, "C")).to_have_text("up")
        mesh.crash("C")
        expect(node_state(page, "C")).to_have_text("down")
        expect(page.locator("#clients")).to_contain_text("web_names = no")
        shown = page.content()
        for secret in ("host", "office", LONG_NAME[:20], "10.100.100.1", "10.100.100.2", "192.168"):
            assert not re.search(rf"{re.escape(secret)}\d", shown), secret
        browser.screenshot(page, "unnamed")
