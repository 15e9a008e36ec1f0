"""GET /: the page, one HTML document with its style and its scripts inside, and nothing from
elsewhere.

The parts are files beside this one, in page/. A browser accepts the style and the scripts because
they bear the nonce of the reply's Content-Security-Policy, and nothing else: whatever a name of a
client contains, it is neither.
"""

from __future__ import annotations

import secrets
from functools import cache
from importlib import resources
from typing import Final

from cuberouted.api.http import Endpoint, Reply, Request

HTML: Final = "text/html; charset=utf-8"

SCRIPTS: Final = (
    "text.js",
    "prefix.js",
    "mesh.js",
    "search.js",
    "findings.js",
    "dom.js",
    "picture.js",
    "nodes.js",
    "services.js",
    "clients.js",
    "why.js",
    "events.js",
    "feed.js",
    "main.js",
)
"""In this order: each uses only what those before it define."""

NONCE_BYTES: Final = 16
"""Random bytes of a nonce: the 128 bits that CSP recommends."""

POLICY: Final = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content-Security-Policy. ``img-src``: the icon of the browser's tab. The last directive: a script
cannot even make HTML of a text."""


def endpoint() -> Endpoint:
    """GET /."""
    _parts()  # of this version, also if an update of the files comes before the first request
    return Endpoint("GET", "/", get_page, content_type=HTML)


async def get_page(_request: Request) -> Reply:
    """The page, with a nonce of its own."""
    nonce = secrets.token_urlsafe(NONCE_BYTES)
    policy = ("Content-Security-Policy", POLICY.format(nonce=nonce))
    return Reply(nonce.encode().join(_parts()), HTML, headers=(policy,))


@cache
def _parts() -> tuple[bytes, ...]:
    """The document, cut where the nonce belongs."""
    files = resources.files(__package__) / "page"

    def read(name: str) -> str:
        return (files / name).read_text("utf-8")

    document = read("index.html")
    document = document.replace("{{style}}", read("page.css").strip())
    document = document.replace("{{scripts}}", "".join(map(read, SCRIPTS)).strip())
    return tuple(document.encode().split(b"{{nonce}}"))
