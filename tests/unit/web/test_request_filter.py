"""What the web listener accepts: hosts, methods, no bodies, and nothing from clients of the VPN."""

from __future__ import annotations

import string
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.api.http_head import MAX_FIELDS
from cuberouted.util.tasks import run_trio
from cuberouted.web.request_filter import LOOPBACK_NAMES, host_of
from tests.unit.web.requests import CLIENT, HOSTS, VPN_CLIENT, Web, replies, request

GOOD = "Host: localhost"
NEXT = request(GOOD, target="/v1/why/smuggled")
ACCEPTED = {*LOOPBACK_NAMES, *HOSTS, CLIENT.local_address}


@pytest.fixture
def web():
    return Web()


# -- hosts --


@pytest.mark.parametrize(
    ("host", "same_as"),
    [
        ("localhost", "localhost"),
        ("LocalHost:9657", "localhost"),
        ("localhost.:80", "localhost"),
        ("localhost:", "localhost"),
        ("127.0.0.1:65535", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0::0:1]:9657", "::1"),
        ("[FD00::5]", "fd00::5"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
        ("vpn_a-1.example.org:80", "vpn_a-1.example.org"),
        # what nobody means, but no list has either
        ("127.1", "127.1"),
        ("0x7f000001", "0x7f000001"),
        ("2130706433", "2130706433"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::127.0.0.1]", "::7f00:1"),
        ("localhost..", "localhost."),
        ("evil.example", "evil.example"),
        ("localhost.evil.example", "localhost.evil.example"),
    ],
)
def test_a_host_is_compared_without_port_and_case(host, same_as):
    assert host_of(host) == same_as


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", ":80", "localhost:80:80", "localhost:http", "localhost:-1", "localhost:123456"),
        *("[]", "[::1", "::1", "[::1]x", "[::1]:x", "[localhost]", "[127.0.0.1]", "[::1%25lo]"),
        *("evil@localhost", "localhost@evil", "localhost:80@evil", "%6cocalhost", "local%00host"),
        *(
            "localhost evil",
            "localhost,evil",
            "localhost/",
            "localhost\\evil",
            "localhost#",
            "l\xe9",
        ),
        *("localhost?", "http://localhost", "a" * 256, "[" + ":" * 50 + "]", "localhost\x1b[2J"),
    ],
)
def test_what_is_no_host_is_malformed(host):
    assert host_of(host) is None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1:9657", "[::1]:9657", "LOCALHOST.:1", "[::ffff:127.0.0.1]"),
        *("vpn-a.example.org", "VPN-A.Example.ORG.:443", "10.9.9.9", "10.200.200.1:9657"),
        "[::ffff:10.200.200.1]",
    ],
)
async def test_known_hosts_are_accepted(web, host):
    assert (await web.send(request(f"Host: {host}"))).startswith(b"HTTP/1.1 200 ")
    assert (await web.send(request(f"hOST:\t {host} \t"))).startswith(b"HTTP/1.1 200 ")
    absolute = request(f"Host: {host}", target=f"http://{host}/v1/status")
    assert (await web.send(absolute)).startswith(b"HTTP/1.1 200 ")
    assert len(web.handled) == 3


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:9657", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("127.0.0.2", "0.0.0.0", "[::]", "10.200.200.2", "127.1", "2130706433", "0177.0.0.1"),
        *("example.org", "x.vpn-a.example.org", "vpn-a.example.org.evil.example", "localhost.."),
    ],
)
async def test_unknown_hosts_are_told_what_to_do(web, host):
    status, text = await web.error(request(f"Host: {host}") + NEXT)
    assert status == 421
    assert text.endswith(": add it to web_hosts if it stands for this server")
    assert not web.handled


@pytest.mark.parametrize(
    "fields",
    [
        ["Host: localhost", "Host: localhost"],
        ["Host: localhost", "host: evil.example"],
        ["Host: evil.example", "HOST: localhost"],
        [],
        ["Host:"],
        ["Host: evil@localhost"],
        ["Host: localhost\x1b[2J"],
        ["Host: localhost, evil.example"],
        ["Host: localhost", " evil.example"],
        ["Host : localhost"],
        ["X-Forwarded-Host: localhost"],
        ["Host: \x85localhost"],
    ],
)
async def test_not_exactly_one_host_is_malformed(web, fields):
    assert (await web.error(request(*fields) + NEXT))[0] == 400
    assert not web.handled


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://evil.example/v1/status", 421),
        ("HTTPS://evil.example:80/v1/status", 421),
        ("http://localhost@evil.example/v1/status", 400),
        ("http://evil.example@localhost/v1/status", 400),
        ("http://localhost\\@evil.example/v1/status", 400),
        ("http://localhost%2f.evil.example/v1/status", 400),
        ("http:///v1/status", 400),
        ("http://?/v1/status", 400),
        ("http://#/v1/status", 400),
    ],
)
async def test_the_host_of_an_absolute_target_counts_too(web, target, status):
    assert (await web.error(request(GOOD, target=target) + NEXT))[0] == status
    both = request("Host: evil.example", target="http://localhost/v1/status")
    assert (await web.error(both + NEXT))[0] == 421
    assert not web.handled


@pytest.mark.parametrize(
    "target",
    [
        *("//evil.example/v1/status", "evil.example:80", "*", "ftp://localhost/v1/status"),
        *("http://localhost", "http://localhost?/v1/status", "http:/v1/status", "/v1/status/."),
        *("/v1/../v1/status", "/%76%31/status", "/v1/status%00", "/v1/status;x", "/V1/status"),
        *("/v1/change", "/v1/status#x"),
    ],
)
async def test_other_targets_are_not_found(web, target):
    received = await web.send(request(GOOD, target=target))
    assert received.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 405 ")), received
    assert not web.handled


async def test_without_host_http_1_0_is_a_health_check(web):
    assert (await web.send(b"GET /v1/status HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert (await web.error(b"GET /v1/status HTTP/1.0\r\nHost: evil\r\n\r\n"))[0] == 421
    assert (await web.error(b"GET http://evil/v1/status HTTP/1.0\r\n\r\n"))[0] == 421
    assert len(web.handled) == 1


# -- methods, bodies and heads --


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "GETS", "X"]
)
async def test_other_methods_are_refused(web, method):
    for target in ("/v1/status", "*", "evil.example:443", "/v1/change"):
        received = await web.send(request(GOOD, method=method, target=target) + NEXT)
        assert received.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nAllow: GET, HEAD\r\n" in received
        assert await web.error(request(GOOD, method=method, target=target) + NEXT)
    assert not web.handled


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Length: 1"], 400),
        (["Content-Length: 000000000000000001"], 400),
        (["Content-Length: 10", "Expect: 100-continue"], 400),
        (["Content-Length: 0", "Content-Length: 5"], 400),
        (["Content-Length: 5, 5"], 400),
        (["Content-Length: +0"], 400),
        (["Content-Length: 0x0"], 400),
        (["Content-Length:"], 400),
        (["Transfer-Encoding: chunked"], 400),
        (["TRANSFER-ENCODING: CHUNKED"], 400),
        (["Transfer-Encoding: chunked", "Content-Length: 0"], 400),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], 400),
        (["Transfer-Encoding: identity"], 501),
        (["Transfer-Encoding: \x0bchunked"], 400),
        (["Transfer-Encoding : chunked"], 400),
        (["Transfer-Encoding:", " chunked"], 400),
        (["X: y", " Transfer-Encoding: chunked"], 400),
        (["X: y\nTransfer-Encoding: chunked"], 400),
        (["X: y\rTransfer-Encoding: chunked"], 400),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_body_is_refused_and_no_request_is_found_in_it(web, fields, status, method):
    body = b"0\r\n\r\n" + NEXT
    for pieces in ([request(GOOD, *fields, method=method) + body], [request(GOOD, *fields), body]):
        received = await web.send(*pieces)
        assert received.startswith(b"HTTP/1.1 %d " % status), received
        assert replies(received) == 1
        assert b"\r\nConnection: close\r\n" in received
    assert not web.handled


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/status HTTP/1.1\nHost: localhost\n\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: y\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: a\n\nGET / HTTP/1.1\r\n\r\n",
        b"GET /v1/status HTTP/1.1\rHost: localhost\r\r\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
        b"GET /v1/status\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET  /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"GET\t/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status\r\n\r\n",
        b"GET /v1/status http/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/01.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\n Host: evil\r\nHost: localhost\r\n\r\n",
        b"\r\nGET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n: no name\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_malformed_heads_are_refused(web, data):
    for pieces in ([data + NEXT], [bytes([byte]) for byte in data]):
        assert (await web.error(*pieces))[0] == 400
    assert not web.handled


async def test_what_a_malformed_head_says_is_repeated_only_in_part(web):
    for line in ("\x1b[2J" * 3000, "<script>" * 1500):
        _, text = await web.error(request(GOOD, line))
        assert len(text) < 250


async def test_the_number_of_header_fields_is_limited(web):
    fields = [GOOD, *(f"X-{number}: y" for number in range(MAX_FIELDS - 1))]
    assert (await web.send(request(*fields))).startswith(b"HTTP/1.1 200 ")
    assert await web.error(request(*fields, "a: b") + NEXT) == (
        431,
        f"more than {MAX_FIELDS} header fields",
    )
    assert len(web.handled) == 1


@pytest.mark.parametrize(
    "fields",
    [
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"],
        ["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"],
        ["Expect: 100-continue"],
        ["Content-Length: 0"],
    ],
)
async def test_no_other_protocol_is_spoken(web, fields):
    received = await web.send(request(GOOD, *fields))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert replies(received) == 1


async def test_a_request_without_a_body_keeps_the_connection(web):
    received = await web.send((request(GOOD) + request(GOOD, target="/nowhere")) * 3)
    assert received.count(b"HTTP/1.1 200 ") == received.count(b"HTTP/1.1 404 ") == 3


# -- properties --

WORDS = ["localhost", "evil.example", "10.200.200.1", "[::1]", *HOSTS, ":80", ".", "@", "%", " "]
HOST = st.lists(st.sampled_from(WORDS) | st.text(string.printable, max_size=3), max_size=4).map(
    "".join
)
FIELD = st.sampled_from(
    [
        *("Content-Length: 0", "Content-Length: 3", "Transfer-Encoding: chunked", "X: y"),
        *("Expect: 100-continue", " folded", "Connection: close", "Upgrade: h2c", "X: y\nHost: x"),
    ]
)


@given(
    hosts=st.lists(HOST, max_size=2),
    authority=st.none() | HOST,
    fields=st.lists(FIELD, max_size=3),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    version=st.sampled_from(["1.0", "1.1"]),
    body=st.sampled_from(["", "abc", "3\r\nabc\r\n0\r\n\r\n"]),
    client=st.sampled_from([CLIENT, VPN_CLIENT]),
)
def test_only_bodiless_requests_for_known_hosts_reach_a_handler(
    hosts, authority, fields, method, version, body, client
):
    web = Web()
    target = "/v1/status" if authority is None else f"http://{authority}/v1/status"
    lines = [f"{method} {target} HTTP/{version}", *(f"Host: {host}" for host in hosts), *fields]
    data = "\r\n".join([*lines, "", body]).encode()
    received = run_trio(partial(web.send, client=client), data)
    assert not web.events
    assert received.startswith(b"HTTP/1.1 ")
    if client is VPN_CLIENT:
        assert received.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
        assert replies(received) == 1
        assert not web.handled
    if web.handled:
        assert method != "POST"
        named = [*hosts, *([] if authority is None else [authority])]
        assert hosts or version == "1.0"
        for name in named:
            assert host_of(name.strip(" \t")) in ACCEPTED
        assert not {"Content-Length: 3", "Transfer-Encoding: chunked"} & set(fields)
        assert all(not handled.body for handled in web.handled)
