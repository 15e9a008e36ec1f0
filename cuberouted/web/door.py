"""What the web listener accepts: GET and HEAD, no bodies, and only hosts that it is known by.

Pure. The Host header is the defence against DNS rebinding: a web page of anybody can have its own
name point to this address, and read the replies through the browser of whoever visits it; but the
browser then sends that name.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import attrs
import h11

from cuberouted.api.http import Client, Headers, HttpError

METHODS: Final = (b"GET", b"HEAD")

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Always accepted: nobody else can point these names elsewhere, and `ssh -L` makes them."""

SECURITY_HEADERS: Final[Headers] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)


@attrs.frozen
class WebDoor:
    """The door of the web listener. ``hosts``: the names of `web_hosts`."""

    hosts: frozenset[str]
    headers: Headers = SECURITY_HEADERS

    def check(self, head: h11.Request, client: Client) -> None:
        """Raise HttpError unless *head* is a GET or HEAD without a body, for a host of ours."""
        if head.method not in METHODS:
            raise HttpError(405, "only GET and HEAD are possible here", allowed="GET, HEAD")
        fields = dict(head.headers)
        if b"transfer-encoding" in fields or fields.get(b"content-length", b"0").strip(b"0"):
            raise HttpError(400, "a body is not expected here")
        # without a Host header (HTTP/1.0) it is no browser
        if b"host" in fields:
            self._check_host(fields[b"host"].decode("latin-1"), client.local_address)

    def _check_host(self, text: str, local_address: str) -> None:
        host = host_of(text)
        if host not in LOOPBACK_NAMES and host not in self.hosts and host != local_address:
            raise HttpError(
                421, f"unknown host {text[:100]}: add it to web_hosts if it stands for this server"
            )


def host_of(text: str) -> str:
    """The name or address in a Host header (RFC 9112 section 3.2), in lower case, without port."""
    name = text.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    else:
        name = name.partition(":")[0].removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
