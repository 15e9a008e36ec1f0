from __future__ import annotations

import msgspec
import pytest

from cuberouted.api.http import MAX_PARAMETERS, Client, Endpoint, Endpoints, HttpError, Request

ROOT = Client("root", reads=True, changes=True)
READER = Client("uid 1000", reads=True, changes=False, denied="be somebody else")
STRANGER = Client("uid 1001", reads=False, changes=False, denied="be somebody else")


class Window(msgspec.Struct):
    after: int = 0
    name: str = ""


class Body(msgspec.Struct):
    name: str


async def handler(request):
    raise NotImplementedError


ENDPOINTS = Endpoints(
    [
        Endpoint("GET", "/v1/status", handler),
        Endpoint("GET", "/v1/events", handler, parameters=Window),
        Endpoint("GET", "/v1/why/{target}", handler),
        Endpoint("GET", "/v1/node/{name}/log", handler),
        Endpoint("POST", "/v1/node/{name}", handler, changes=True),
        Endpoint("DELETE", "/v1/node/{name}", handler, changes=True),
    ]
)


def find(method, target, client=ROOT):
    endpoint, request = ENDPOINTS.find(method, target, b"", client)
    return endpoint.path, request


@pytest.mark.parametrize(
    ("target", "path", "argument"),
    [
        ("/v1/status", "/v1/status", ""),
        ("http://localhost/v1/status", "/v1/status", ""),
        ("HTTPS://[::1]:80/v1/status", "/v1/status", ""),
        ("/v1/why/10.9.0.1", "/v1/why/{target}", "10.9.0.1"),
        ("/v1/why/10.9.0.0%2F24", "/v1/why/{target}", "10.9.0.0/24"),
        ("/v1/why/w%C3%B6rld%20%ff", "/v1/why/{target}", "w\u00f6rld \ufffd"),
        ("/v1/node/a/log", "/v1/node/{name}/log", "a"),
    ],
)
def test_a_path_selects_its_endpoint(target, path, argument):
    for method in ("GET", "HEAD"):
        found, request = find(method, target)
        assert (found, request.argument, request.method) == (path, argument, method)


@pytest.mark.parametrize(
    "target",
    [
        *("", "/", "*", "v1/status", "/v1/status/", "//v1/status", "/v1/why/", "/v1/why/a/b"),
        *("http://x", "/v1/../v1/status", "http://[/v1", "localhost:80", "\u00ff"),
    ],
)
def test_another_path_is_not_found(target):
    with pytest.raises(HttpError) as caught:
        find("GET", target)
    assert caught.value.status == 404
    assert caught.value.text.endswith(
        "known are: /v1/events, /v1/node/{name}, /v1/node/{name}/log, /v1/status, /v1/why/{target}"
    )


def test_another_method_is_refused_with_those_that_are_possible():
    with pytest.raises(HttpError) as caught:
        find("POST", "/v1/status")
    assert (caught.value.status, caught.value.allowed) == (405, "GET, HEAD")
    assert caught.value.text == "POST is not possible for /v1/status; possible are: GET, HEAD"
    with pytest.raises(HttpError) as caught:
        find("get", "/v1/node/a")
    assert (caught.value.status, caught.value.allowed) == (405, "POST, DELETE")


def test_who_may_only_read_may_not_change():
    assert find("GET", "/v1/status", READER)[1].user == "uid 1000"
    assert find("POST", "/v1/node/a")[1].user == "root"
    for method, target, client in (
        ("POST", "/v1/node/a", READER),
        ("POST", "/v1/node/a", STRANGER),
        ("GET", "/v1/status", STRANGER),
        ("GET", "/nowhere", STRANGER),  # who may not read cannot find out what there is
    ):
        with pytest.raises(HttpError) as caught:
            find(method, target, client)
        assert caught.value.status == 403
        assert caught.value.text == "permission denied; be somebody else"


def test_parameters_are_unquoted_and_converted():
    _, request = find("GET", "/v1/events?after=7&name=a%26b+c%25")
    assert request.query == {"after": "7", "name": "a&b c%"}
    assert request.parameters(Window) == Window(7, "a&b c%")
    assert find("GET", "/v1/events?")[1].parameters(Window) == Window()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("befor=7", "unknown parameter befor; known are: after, name"),
        ("after", "invalid query: Expected `int`, got `str` - at `$.after`"),
        ("after=soon", "invalid query: Expected `int`, got `str` - at `$.after`"),
        ("name=a&name=a", "parameter name is given twice"),
        ("name=a" + "&a=1" * MAX_PARAMETERS, f"more than {MAX_PARAMETERS} parameters"),
    ],
)
def test_an_invalid_query_is_an_error(query, text):
    with pytest.raises(HttpError) as caught:
        find("GET", f"/v1/events?{query}")
    assert (caught.value.status, caught.value.text) == (400, text)


def test_an_endpoint_without_parameters_accepts_none():
    with pytest.raises(HttpError) as caught:
        find("GET", "/v1/status?after=1")
    assert caught.value.text == "unknown parameter after; there are none"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"name": 1}', b"\xff", b"[" * 5000])
def test_a_body_that_is_not_as_expected_is_an_error(body):
    assert Request("POST", body=b'{"name": "a"}').json(Body) == Body("a")
    with pytest.raises(HttpError) as caught:
        Request("POST", body=body).json(Body)
    assert caught.value.status == 400
    assert caught.value.text.startswith("invalid body: ")
