"""Tabs that are hidden by others.

A page that Playwright drives is visible, always. These are tabs of Chromium's own window, which
Playwright leaves alone: only their titles are known.
"""

from __future__ import annotations

from playwright.sync_api import CDPSession

from tests.browser.chromium import Chromium
from tests.lab.waiting import wait_for


class Tabs:
    """The tabs of a window."""

    def __init__(self, chromium: Chromium) -> None:
        self._session: CDPSession = chromium.browser.new_browser_cdp_session()

    def open(self, url: str) -> str:
        """Open a tab in front of the others; its id."""
        new: str = self._session.send("Target.createTarget", {"url": url})["targetId"]
        return new

    def show(self, tab: str) -> None:
        """Bring a tab to the front, which hides the one that was there."""
        self._session.send("Target.activateTarget", {"targetId": tab})

    def close(self, tab: str) -> None:
        """Close a tab."""
        self._session.send("Target.closeTarget", {"targetId": tab})

    def wait_title(self, tab: str, text: str) -> None:
        """Wait until *text* is in the title of a tab."""
        wait_for(f"{text!r} in a tab's title", lambda: text in self._title(tab))

    def _title(self, tab: str) -> str:
        found = self._session.send("Target.getTargetInfo", {"targetId": tab})
        title: str = found["targetInfo"]["title"]
        return title
