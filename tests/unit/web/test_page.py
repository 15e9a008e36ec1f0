"""The page as it is sent: complete, from nowhere else, and only its own script can run in it."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from cuberouted.api.http import Reply, Request
from cuberouted.cli import render_status, render_why
from cuberouted.daemon.web import web_endpoints
from cuberouted.web.page import SCRIPTS, get_page

FILES = resources.files("cuberouted.web") / "page"
TEXTS = {name: (FILES / name).read_text("utf-8") for name in SCRIPTS}

MAX_SIZE = 96 * 1024
"""Bytes of the page, with the comments in it."""


@pytest.fixture
async def reply() -> Reply:
    return await get_page(Request("GET"))


@pytest.fixture
def text(reply) -> str:
    return str(reply.body, "utf-8")


def policy_of(reply: Reply) -> dict[str, str]:
    (policy,) = (value for name, value in reply.headers if name == "Content-Security-Policy")
    directives = (directive.partition(" ") for directive in policy.split("; "))
    return {name: value for name, _, value in directives}


def nonce_of(reply: Reply) -> str:
    found = re.fullmatch(r"'nonce-([\w-]{22})'", policy_of(reply)["script-src"])
    assert found
    return found[1]


async def test_every_reply_has_a_nonce_of_its_own(reply, text):
    other = await get_page(Request("GET"))
    assert nonce_of(other) != nonce_of(reply)
    assert re.findall(r'<(\w+) nonce="([^"]*)"', text) == [
        ("style", nonce_of(reply)),
        ("script", nonce_of(reply)),
    ]
    assert other.body == reply.body.replace(nonce_of(reply).encode(), nonce_of(other).encode())


async def test_nothing_else_is_allowed(reply):
    nonce = f"'nonce-{nonce_of(reply)}'"
    assert policy_of(reply) == {
        "default-src": "'none'",
        "style-src": nonce,
        "script-src": nonce,
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }


async def test_nothing_is_loaded_from_elsewhere(text):
    namespace = "http://www.w3.org/2000/svg"
    assert set(re.findall(r"\w+://[^'\" ]*", text)) == {namespace}
    assert re.findall(r"url\(|@import|src=", text) == []
    links = re.findall(r"""href=["'](.{5})""", text)
    assert [link for link in links if not link.startswith("#")] == ["data:"]


async def test_it_needs_no_rights_that_the_policy_denies(text):
    markup = re.sub(r"(<(style|script) [^>]*>).*?</\2>", r"\1", text, flags=re.DOTALL)
    assert re.findall(r"\son\w+=|\sstyle=|javascript:", markup) == []
    assert len(re.findall(r"</(?:style|script)", text)) == 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_make_no_markup_of_data(name):
    banned = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|setHTML|parseHTML"
    assert re.findall(banned, TEXTS[name]) == []
    code = [line for line in TEXTS[name].splitlines() if not line.startswith("//")]
    assert code[0] == '"use strict";'


def test_every_file_is_part_of_it():
    files = sorted(file.name for file in FILES.iterdir())
    assert files == sorted([*SCRIPTS, "index.html", "page.css"])
    assert re.findall(r"\{\{\w+\}\}", (FILES / "index.html").read_text("utf-8")) == [
        "{{nonce}}",
        "{{style}}",
        "{{nonce}}",
        "{{scripts}}",
    ]


async def test_it_is_small(reply):
    assert len(reply.body) < MAX_SIZE


async def test_a_web_listener_serves_it(mesh):
    server = mesh.add("A")
    mesh.add("B")
    await mesh.start()
    (endpoint,) = (e for e in web_endpoints(server.daemon) if e.path == "/")
    assert (endpoint.method, endpoint.handler) == ("GET", get_page)


def test_it_speaks_as_the_commands_do():
    colours = {"green": "ok", "yellow": "wait", "": "info"}
    for state, colour in render_status._STATE_STYLES.items():
        assert re.search(rf'\b{state}: "{colours[colour]}"', TEXTS["findings.js"]), state
    for words in [*render_why.OWNERS.items(), *render_why.TRACES.items()]:
        assert '{}: "{}"'.format(*words) in TEXTS["why.js"]
