"""Requests to a web listener, as bytes, and what comes of them."""

from __future__ import annotations

import json

import attrs

from cuberouted.api.http import Client, Endpoint, Reply, Request
from cuberouted.api.http_server import HttpServer
from cuberouted.events import Event
from cuberouted.web.request_filter import WebRequestFilter
from tests.fakes.api import exchange

HOSTS = frozenset({"vpn-a.example.org", "10.9.9.9"})
CLIENT = Client("10.0.0.9", reads=True, changes=False, local_address="10.200.200.1")
VPN_CLIENT = attrs.evolve(CLIENT, user="10.100.100.10")


class Web:
    """A server with the web's request filter. ``handled``: what has reached its handlers."""

    def __init__(self) -> None:
        self.handled: list[Request] = []
        self.events: list[Event] = []
        endpoints = (
            Endpoint("GET", "/v1/status", self._handler),
            Endpoint("GET", "/v1/why/{target}", self._handler),
            Endpoint("POST", "/v1/change", self._handler, changes=True),
        )
        request_filter = WebRequestFilter(HOSTS, lambda address: address == VPN_CLIENT.user)
        self.server = HttpServer(endpoints, self.events.append, "web_listen", request_filter)

    async def _handler(self, request: Request) -> Reply:
        self.handled.append(request)
        return Reply(b"{}")

    async def send(self, *pieces: bytes, client: Client = CLIENT) -> bytes:
        """All that comes back on a connection of these bytes."""
        return await exchange(self.server, pieces, client)

    async def error(self, *pieces: bytes) -> tuple[int, str]:
        """Status and text of the one reply, an error after which the connection is closed."""
        received = await self.send(*pieces)
        head, _, body = received.partition(b"\r\n\r\n")
        assert replies(received) == 1, received
        assert b"\r\nConnection: close" in head
        assert b"\r\nContent-Type: application/json\r\n" in head
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in head
        text = json.loads(body)["error"]
        assert text.isprintable()
        return int(head.split()[1]), text


def request(*fields: str, method: str = "GET", target: str = "/v1/status") -> bytes:
    """A request with these header fields."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode("latin-1")


def replies(received: bytes) -> int:
    """How many replies these bytes are."""
    return received.count(b"\r\nDate: ")
