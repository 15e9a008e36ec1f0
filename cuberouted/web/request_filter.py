"""What the web listener accepts: GET and HEAD, no bodies, only hosts that it is known by, and
nothing from clients of the VPN.

Pure. The Host header is the defence against DNS rebinding: a web page of anybody can have its own
name point to this address, and read the replies through the browser of whoever visits it; but the
browser then sends that name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

import attrs
import h11

from cuberouted.api.http import Client, Headers, HttpError, split_target

METHODS: Final = (b"GET", b"HEAD")

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Always accepted: nobody else can point these names elsewhere, and `ssh -L` makes them."""

SECURITY_HEADERS: Final[Headers] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)

CLIENT_REFUSED: Final = (
    "requests from clients of the VPN are refused; web_clients = yes admits them"
)

_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([0-9a-z_.-]{1,255}))(?::[0-9]{0,5})?")
"""A host and perhaps a port (RFC 3986 section 3.2) in lower case, without what browsers never send:
a user, percent-encoding, a zone."""


@attrs.frozen
class WebRequestFilter:
    """What the web listener accepts. ``hosts``: the names of `web_hosts`.

    ``is_client``: whether an address is that of a client of the VPN; None admits clients.
    """

    hosts: frozenset[str]
    is_client: Callable[[str], bool] | None = None
    headers: Headers = SECURITY_HEADERS

    def check(self, head: h11.Request, client: Client) -> None:
        """Raise HttpError unless *head* is a GET or HEAD without a body, for a host of ours.

        Whatever it is, it is refused from a client of the VPN.
        """
        if self.is_client is not None and self.is_client(client.user):
            raise HttpError(403, CLIENT_REFUSED)
        if head.method not in METHODS:
            raise HttpError(405, "only GET and HEAD are possible here", allowed="GET, HEAD")
        fields = dict(head.headers)
        if b"transfer-encoding" in fields or fields.get(b"content-length", b"").strip(b"0"):
            raise HttpError(400, "a body is not expected here")
        authority, _ = split_target(head.target.decode("ascii"))
        if authority is not None:
            self._check_host(authority, client.local_address)
        # without a Host header (HTTP/1.0) it is a health check, and no browser
        if b"host" in fields:
            self._check_host(fields[b"host"].decode("latin-1"), client.local_address)

    def _check_host(self, authority: str, local_address: str) -> None:
        host = host_of(authority)
        if host is None:
            raise HttpError(400, "the Host header is no host name or address, with or without port")
        if host not in LOOPBACK_NAMES and host not in self.hosts and host != local_address:
            raise HttpError(
                421, f"unknown host {host[:100]}: add it to web_hosts if it stands for this server"
            )


def host_of(authority: str) -> str | None:
    """The name or address in *authority*, in one form for each; None if it is malformed."""
    found = _AUTHORITY.fullmatch(authority.lower())
    if found is None:
        return None
    ipv6, name = found.groups()
    name = name and name.removesuffix(".")
    try:
        return plain_address(str(ipaddress.IPv6Address(ipv6)) if ipv6 else name)
    except ValueError:
        return name or None


def plain_address(text: str) -> str:
    """An IP address without its zone; an IPv4-mapped one as IPv4.

    Raises:
      ValueError: it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
