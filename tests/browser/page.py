"""What the tests look at in the page, whichever daemon serves it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

Rows = dict[str, tuple[str, str]]
"""By address: name and node of a client, as the table shows them."""

ROWS = """
() => [...document.querySelectorAll("#client-table tbody tr")].map((row) =>
  [row.dataset.address, row.querySelector("button").textContent,
    row.querySelector(".node").firstChild.textContent])
"""

AT = """
([address, node]) => {
  const rows = [...document.querySelectorAll("#client-table tbody tr")];
  const row = rows.find((row) => row.dataset.address === address);
  return (row ? row.querySelector(".node").firstChild.textContent : "") === node;
}
"""


def wait_live(page: Page) -> None:
    """Wait until the page is connected, and shows what there is."""
    expect(page.locator("#connection")).to_have_text("live")


def rows(page: Page) -> Rows:
    """The clients that are shown."""
    return {address: (name, node) for address, name, node in page.evaluate(ROWS)}


def wait_at(page: Page, address: str, node: str, timeout: float = 10_000) -> None:
    """Wait up to *timeout* milliseconds until the client is shown at *node*; empty: not at all."""
    page.wait_for_function(AT, arg=[address, node], timeout=timeout)


def row(page: Page, address: str) -> Locator:
    """The button in a client's row."""
    return page.locator(f'#client-table tr[data-address="{address}"] button')


def search(page: Page, text: str) -> None:
    """Type into the search box."""
    page.get_by_role("searchbox", name="Search clients").fill(text)


def node_state(page: Page, node: str) -> Locator:
    """The state of a node in the table."""
    return page.locator(f'#nodes tr[data-node="{node}"] .state')


def service(page: Page, name: str) -> Locator:
    """The row of a service."""
    return page.locator(f'#services tr[data-service="{name}"]')


def box(page: Page, node: str) -> Locator:
    """A node in the picture."""
    return page.locator(f'#picture [data-node="{node}"]')


def focused(page: Page) -> dict[str, Any]:
    """What has the keyboard's focus."""
    found: dict[str, Any] = page.evaluate(
        """() => {
          const element = document.activeElement;
          const row = element.closest("tr");
          return {id: element.id, text: element.textContent.trim(),
            address: row && row.dataset.address, dialog: Boolean(element.closest("dialog"))};
        }"""
    )
    return found
