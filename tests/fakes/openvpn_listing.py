"""Status listings as the versions of OpenVPN write them.

Source: multi_print_status and mroute_addr_print_ex of tags v2.3.0 to v2.7.6.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

TITLES = {
    "2.3": b"OpenVPN 2.3.18 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [EPOLL] [MH] [IPv6]",
    "2.4": b"OpenVPN 2.4.12 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] [EPOLL] [AEAD]",
    "2.6": b"OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] [EPOLL] [AEAD] [DCO]",
    "2.7": b"OpenVPN 2.7.6 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] [EPOLL] [AEAD] [DCO]",
}

CLIENT_COLUMNS = {
    "2.3": b"Common Name|Real Address|Virtual Address|Bytes Received|Bytes Sent|Connected Since"
    b"|Connected Since (time_t)|Username",
    "2.4": b"Common Name|Real Address|Virtual Address|Virtual IPv6 Address|Bytes Received"
    b"|Bytes Sent|Connected Since|Connected Since (time_t)|Username|Client ID|Peer ID",
}
CLIENT_COLUMNS["2.6"] = CLIENT_COLUMNS["2.7"] = CLIENT_COLUMNS["2.4"] + b"|Data Channel Cipher"

ROUTE_COLUMNS = b"Virtual Address|Common Name|Real Address|Last Ref|Last Ref (time_t)"


@attrs.define
class Client:
    """A client of an OpenVPN server, real or not.

    ``renewals``: how often it has come back to this session. ``routes`` are rows of the routing
    table as written, its own addresses among them.
    """

    cid: int
    name: bytes
    address: bytes
    since: int
    address6: bytes = b""
    networks: tuple[bytes, ...] = ()
    real: tuple[bytes, int] = (b"192.0.2.1", 1194)
    username: bytes = b"UNDEF"
    received: int = 3871
    renewals: int = 0

    @property
    def routes(self) -> list[bytes]:
        return [a for a in (self.address, self.address6, *self.networks) if a]

    def real_address(self, version: str) -> bytes:
        host, port = self.real
        v6 = b":" in host
        if version == "2.7":
            return (b"udp6:[%s]:%d" if v6 else b"udp4:%s:%d") % (host, port)
        return host if v6 else b"%s:%d" % (host, port)


def rows(version: str, clients: Iterable[Client], separator: bytes = b"\t") -> list[bytes]:
    """The lines of a listing, END included, without line ends."""
    clients = list(clients)
    head = b"CLIENT_LIST|" + CLIENT_COLUMNS[version]
    lines = [
        separator.join((b"TITLE", TITLES[version])),
        separator.join((b"TIME", b"2026-11-21 00:49:00", b"1795222140")),
        separator.join((b"HEADER", *head.split(b"|"))),
        *(separator.join(_client(version, client)) for client in clients),
        separator.join((b"HEADER", b"ROUTING_TABLE", *ROUTE_COLUMNS.split(b"|"))),
        *(separator.join(route) for client in clients for route in _routes(version, client)),
        separator.join((b"GLOBAL_STATS", b"Max bcast/mcast queue length", b"0")),
    ]
    if version in ("2.6", "2.7"):
        lines.append(separator.join((b"GLOBAL_STATS", b"dco_enabled", b"0")))
    return [*lines, b"END"]


def _client(version: str, client: Client) -> list[bytes]:
    fields = [b"CLIENT_LIST", client.name, client.real_address(version), client.address]
    if version != "2.3":
        fields.append(client.address6)
    fields += [
        b"%d" % client.received,
        b"3599",
        b"2026-11-21 00:49:00",
        b"%d" % client.since,
        client.username,
    ]
    if version != "2.3":
        fields += [b"%d" % client.cid, b"%d" % (client.cid % 8)]
    if version in ("2.6", "2.7"):
        fields.append(b"AES-256-GCM")
    return fields


def _routes(version: str, client: Client) -> Iterable[list[bytes]]:
    for route in client.routes:
        real = client.real_address(version)
        yield [b"ROUTING_TABLE", route, client.name, real, b"2026-11-21 00:49:00", b"1795222140"]
