"""The page of a server of the lab, in Chromium on that server, with real OpenVPN clients."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from playwright.sync_api import Page, Playwright, expect

from tests.browser.chromium import Chromium, chromium
from tests.browser.page import box, node_state, row, rows, search, wait_at, wait_live
from tests.browser.tabs import Tabs
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for

PORT = 9657
URL = f"http://127.0.0.1:{PORT}/"
HOLD = 3.0
GONE = ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING"]


def configuration(server: Server) -> str:
    """A configuration with a page."""
    return mesh(server, f"web_listen = 127.0.0.1:{PORT}")


@contextmanager
def browser_on(server: Server, driver: Playwright, directory: Path) -> Iterator[Chromium]:
    """Chromium on *server*."""
    with chromium(driver, directory, server.host) as browser:
        yield browser


def watch(page: Page, condition: str) -> None:
    """Remember when the JavaScript *condition* is true for the first time: see `seen_after`."""
    page.evaluate(
        f"""() => {{
          globalThis.seen = 0;
          const look = () => {{ if ({condition}) globalThis.seen ||= Date.now(); }};
          const all = {{subtree: true, childList: true, characterData: true, attributes: true}};
          new MutationObserver(look).observe(document.body, all);
        }}"""
    )


def seen_after(page: Page, since: float) -> float:
    """Seconds from *since* (Unix seconds) until what is watched for was in the document."""
    seen: int = page.wait_for_function("() => globalThis.seen").json_value()
    return seen / 1000 - since


def event(server: Server, kind: str, about: str) -> float:
    """The Unix seconds of the newest event of this *kind* that is *about* something."""
    done = server.daemon.command("history", "--json")
    happened = [json.loads(line) for line in done.stdout.splitlines()]
    times = [e["time"] for e in happened if e["type"] == kind and about in e["text"]]
    return datetime.fromisoformat(times[-1]).timestamp()


def connections(server: Server) -> int:
    """Connections to the page's port."""
    shown = server.host.run("ss", "-Htn", "state", "established", f"sport = :{PORT}")
    return len(shown.splitlines())


def test_clients_on_the_page(lab3: Lab, driver: Playwright, tmp_path: Path) -> None:
    a, b, c = lab3.servers
    where = connect(lab3, {"host1": 0, "host2": 1})
    start_daemons(lab3.servers, configuration)
    wait_routes(lab3, where)
    one, two = where
    with browser_on(a, driver, tmp_path) as browser, browser.tab(URL) as page:
        wait_live(page)
        wait_at(page, two.data, b.name)
        assert rows(page) == {
            one.data: ("host1", a.name),
            one.data6: ("host1", a.name),
            two.data: ("host2", b.name),
            two.data6: ("host2", b.name),
        }
        expect(box(page, b.name)).to_contain_text("1 client")

        # a client roams
        shown = f"""document.querySelector('tr[data-address="{two.data}"] .node')
            ?.textContent.startsWith("{c.name}")"""
        watch(page, shown)
        two.roam(c)
        took = seen_after(page, event(a, "client_moved", f"({two.data})"))
        print(f"a roam is shown {1000 * took:.0f} ms after its event")
        assert took < 1
        expect(box(page, c.name)).to_contain_text("1 client")
        moved = f"host2 ({two.data}) moved {b.name} -> {c.name}"
        expect(page.locator("#event-list")).to_contain_text(moved)

        # search, and filter by a node
        for text in (two.data, "host2", "HOST2 vpnsrvc", f"{two.data}/32"):
            search(page, text)
            assert two.data in rows(page)
            assert one.data not in rows(page)
        search(page, "")
        box(page, a.name).click()
        assert set(rows(page)) == {one.data, one.data6}
        page.get_by_role("button", name="Show all nodes").click()

        # why
        row(page, two.data).click()
        again = page.get_by_role("button", name="Ask again")
        verdict = page.locator("#why-verdict")

        def agrees() -> bool:
            again.click()
            expect(verdict).to_contain_text(two.data)
            answer = json.loads(a.daemon.command("why", two.data, "--json").stdout)
            wanted: str = answer["addresses"][0]["verdict"]
            return verdict.inner_text() == wanted

        wait_for("the page and the command to give the same verdict", agrees)
        browser.screenshot(page, "why")


def test_servers_on_the_page(lab3: Lab, driver: Playwright, tmp_path: Path) -> None:
    a, b, c = lab3.servers
    where = connect(lab3, {"host1": 1})
    start_daemons(lab3.servers, configuration)
    wait_routes(lab3, where)
    [one] = where
    with browser_on(a, driver, tmp_path) as browser, browser.tab(URL, expected=GONE) as page:
        wait_live(page)
        wait_at(page, one.data, b.name)

        # a peer's daemon is killed
        watch(
            page,
            f"""document.querySelector('#picture [data-node="{c.name}"]')
            .textContent.includes("down")""",
        )
        killed = time.time()
        c.daemon.crash()
        took = seen_after(page, killed)
        print(f"a dead peer is shown after {took:.2f} s, with a hold time of {HOLD:g} s")
        assert took < HOLD + 1
        expect(node_state(page, c.name)).to_have_text("down")
        expect(page.locator("#findings")).to_contain_text(f"peer {c.name}")
        browser.screenshot(page, "down")
        c.daemon.start()
        expect(node_state(page, c.name)).to_have_text("up")

        # our own one is stopped, and started when a client has roamed
        a.daemon.stop()
        expect(page.locator("#trouble")).to_contain_text("Connection lost, trying again")
        expect(page.locator("#connection")).to_have_text("not live")
        one.roam(c)
        a.daemon.start()
        a.daemon.ready()
        started = time.monotonic()
        wait_live(page)
        wait_at(page, one.data, c.name)
        print(f"the page is live {time.monotonic() - started:.1f} s after the daemon was ready")
        expect(page.locator("#trouble")).to_be_hidden()
        one.roam(b)
        wait_at(page, one.data, b.name)


def test_a_hidden_tab_holds_no_connection(lab: Lab, driver: Playwright, tmp_path: Path) -> None:
    a, b = lab.servers
    start_daemons(lab.servers, configuration)
    with browser_on(a, driver, tmp_path) as browser:
        tabs = Tabs(browser)
        tab = tabs.open(URL)
        tabs.wait_title(tab, f"{a.name}: all is well")
        assert connections(a) >= 1
        tabs.open("about:blank")
        # those without a request are closed by the daemon, after a while
        wait_for("all connections to be closed", lambda: connections(a) == 0, timeout=30)
        b.daemon.crash()
        tabs.show(tab)
        tabs.wait_title(tab, "problem")
