"""Reads a status listing of OpenVPN: who is connected, and which prefixes lead to whom.

Rows may be fed as they arrive; a listing counts only with its END. Names come from CLIENT_LIST,
prefixes from ROUTING_TABLE, because CLIENT_LIST may show an IPv6 pool address that belongs to
another client.

Source: OpenVPN ``src/openvpn/multi.c`` (multi_print_status) and ``mroute.c``
(mroute_addr_print_ex), tags v2.3.0 to v2.7.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import TypeVar

import attrs

from cuberouted.model import Kind, LocalRoute, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID, UNDEF

K = TypeVar("K")

MAX_DIGITS = 18
"""Longer numbers are neither ids nor times of OpenVPN, and do not fit 64 bits."""

FREE_TEXT_COLUMNS = ("Common Name", "Username")
"""Columns whose values may contain commas, which separate the columns of version 2."""

CLIENT_REQUIRED = ("Common Name", "Real Address", "Connected Since (time_t)", "Virtual Address")
CLIENT_OPTIONAL = ("Client ID", "Virtual IPv6 Address", "Bytes Received")
ROUTE_REQUIRED = ("Virtual Address", "Common Name", "Real Address")

_MAC = re.compile(rb"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?:@[0-9]+)?", re.IGNORECASE)
_UNNAMED = frozenset({UNDEF, b""})
_STATISTICS = b"OpenVPN STATISTICS"  # sig.c, print_status: what all but servers list

NO_SERVER = (
    "this OpenVPN is no server (mode point-to-point or client): its status has no client list;"
    " use the management interface or the status file of the server's OpenVPN"
)


class StatusError(Exception):
    """Not a listing that can be read. str() says why, and what to do."""


@attrs.define(eq=False)
class ListedClient:
    """One client of a listing.

    ``session.cid`` is NO_CID in a listing without client ids (2.3). ``real``, ``virtual`` and
    ``virtual6`` are as listed, the virtual ones empty where unknown. ``prefixes``: its own
    addresses, and the networks behind it (iroute). ``received``: bytes that OpenVPN has received
    from it, 0 if unknown.
    """

    session: SessionId
    name: bytes
    real: bytes
    virtual: bytes
    virtual6: bytes
    prefixes: tuple[Prefix, ...] = ()
    received: int = 0


@attrs.define
class IgnoredRows:
    """Number of rows that were not used.

    ``cached``: addresses learned from traffic inside an iroute. ``mac``: of a tap device.
    ``unnamed``: prefixes of clients without a common name. ``malformed``: all others.
    """

    cached: int = 0
    mac: int = 0
    unnamed: int = 0
    malformed: int = 0


@attrs.frozen
class Listing:
    """A complete listing.

    ``by_real``: the first client with each real address. ``unnamed``: the sessions without a
    common name that have a prefix, with their real addresses. ``unreadable``: the first malformed
    row. ``title``: OpenVPN's version line. ``dco``: it uses data channel offload.
    """

    clients: Sequence[ListedClient]
    by_real: Mapping[bytes, ListedClient]
    ignored: IgnoredRows
    unnamed: frozenset[tuple[bytes, SessionId]] = frozenset()
    unreadable: bytes = b""
    title: bytes = b""
    dco: bool = False

    @property
    def connected(self) -> int:
        """Number of clients that have an address: one that is connecting has none yet."""
        return sum(bool(c.virtual or c.virtual6 or c.prefixes) for c in self.clients)


class ListingReader:
    """Reads one listing, row by row.

    *separator* is a tab for ``status 3``. None: the first row of a status file decides.
    """

    def __init__(self, separator: bytes | None = b"\t") -> None:
        self._separator = separator
        self._columns: dict[bytes, _Columns] = {}
        self._client_at: tuple[int, ...] = ()
        self._route_at: tuple[int, ...] = ()
        self._routes: list[LocalRoute] = []
        self._clients: list[ListedClient] = []
        self._by_real: dict[bytes, ListedClient] = {}
        self._shared_real: dict[bytes, _SharedAddress] = {}
        self._ignored = IgnoredRows()
        self._unnamed: set[tuple[bytes, SessionId]] = set()
        self._unreadable = self._title = b""
        self._dco = False

    def feed(self, line: bytes) -> None:
        """Read one row, without its line end. Rows of unknown tables are skipped.

        Raises:
          StatusError: not a listing of version 2 or 3.
        """
        if self._separator is None:
            self._separator = _separator(line)
        fields = line.split(self._separator)
        columns = self._columns.get(fields[0])
        if columns is None:
            self._header(fields)
        elif len(fields) == len(columns.names):
            self._row(fields)
        else:
            fitted = columns.fit(fields, self._is_plausible) if self._separator == b"," else None
            if fitted is None:
                self._malformed(fields)
            else:
                self._row(fitted)

    def drain(self) -> list[LocalRoute]:
        """The routes found since the last call: prefixes of clients that have a name."""
        routes, self._routes = self._routes, []
        return routes

    def finish(self) -> Listing:
        """The listing, after its END.

        Raises:
          StatusError: its HEADER rows are missing.
        """
        if not (self._client_at and self._route_at):
            raise StatusError("the listing has no HEADER rows for CLIENT_LIST and ROUTING_TABLE")
        return Listing(
            self._clients,
            self._by_real,
            self._ignored,
            frozenset(self._unnamed),
            self._unreadable,
            self._title,
            self._dco,
        )

    def _header(self, fields: list[bytes]) -> None:
        if fields[0] != b"HEADER":
            self._other(fields)
            return
        columns = _Columns(tuple(name.decode("latin-1") for name in fields[1:]))
        try:
            if fields[1:2] == [b"CLIENT_LIST"]:
                self._client_at = columns.at(CLIENT_REQUIRED, CLIENT_OPTIONAL)
            elif fields[1:2] == [b"ROUTING_TABLE"]:
                self._route_at = columns.at(ROUTE_REQUIRED)
            else:
                return
        except _MissingColumnError as exc:
            raise StatusError(f"the listing's {columns.names[0]} has no column {exc}") from exc
        self._columns[fields[1]] = columns

    def _other(self, fields: list[bytes]) -> None:
        """A row of a table without columns."""
        if fields[0] in (b"CLIENT_LIST", b"ROUTING_TABLE"):
            self._malformed(fields)
        elif fields[0] == b"TITLE":
            self._title = fields[1] if len(fields) > 1 else b""
        elif fields[:2] == [b"GLOBAL_STATS", b"dco_enabled"]:
            self._dco = fields[2:] == [b"1"]
        elif fields[0] == _STATISTICS:
            raise StatusError(NO_SERVER)

    def _malformed(self, fields: list[bytes]) -> None:
        self._ignored.malformed += 1
        self._unreadable = self._unreadable or b" ".join(fields)

    def _row(self, fields: list[bytes]) -> None:
        if fields[0] == b"CLIENT_LIST":
            self._client(fields)
        else:
            self._route(fields)

    def _client(self, fields: list[bytes]) -> None:
        name, real, at_since, virtual, at_cid, virtual6, at_received = self._client_at
        since, cid = fields[at_since], fields[at_cid] if at_cid else b"0"
        received = fields[at_received] if at_received else b"0"
        if not (_is_number(since) and _is_number(cid)):
            self._malformed(fields)
            return
        client = ListedClient(
            SessionId(int(cid) if at_cid else NO_CID, int(since)),
            fields[name],
            fields[real],
            fields[virtual],
            fields[virtual6] if virtual6 else b"",
            received=int(received) if _is_number(received) else 0,
        )
        self._clients.append(client)
        first = self._by_real.setdefault(client.real, client)
        if first is not client:
            if client.real not in self._shared_real:
                self._shared_real[client.real] = _SharedAddress()
                self._shared_real[client.real].add(first)
            self._shared_real[client.real].add(client)

    def _route(self, fields: list[bytes]) -> None:
        at_address, at_name, at_real = self._route_at
        address, real = fields[at_address], fields[at_real]
        if address.endswith(b"C"):
            self._ignored.cached += 1
            return
        client = self._by_real.get(real)
        if real in self._shared_real:
            client = self._shared_real[real].owner(fields[at_name], address)
        try:
            prefix = _prefix(address)
        except (ValueError, OSError):
            if _MAC.fullmatch(address):
                self._ignored.mac += 1
            else:
                self._malformed(fields)
            return
        if client is None:
            self._malformed(fields)
        elif client.name in _UNNAMED:
            self._ignored.unnamed += 1
            self._unnamed.add((real, client.session))
        else:
            self._add_route(prefix, address, client)

    def _add_route(self, prefix: Prefix, address: bytes, client: ListedClient) -> None:
        client.prefixes += (prefix,)
        # also after `push-update`, when CLIENT_LIST still has the old address; an iroute without a
        # netmask is listed alike, and taken for an address of the client too
        kind = Kind.NETWORK if b"/" in address else Kind.CLIENT
        self._routes.append(
            LocalRoute(prefix, kind, client.name, client.session, announced=False, confirmed=True)
        )

    def _is_plausible(self, fields: list[bytes]) -> bool:
        """Whether a row with additional commas was joined in the right places."""
        if fields[0] != b"CLIENT_LIST":
            return True
        _, _, since, virtual, *_ = self._client_at
        if not fields[since].isdigit():
            return False
        try:
            return not fields[virtual] or _prefix(fields[virtual]).is_host
        except (ValueError, OSError):
            return False


@attrs.define
class _SharedAddress:
    """The clients with one real address. Before 2.7 IPv6 clients are listed without a port.

    The owner of a route has its common name; of several, it is the one with that virtual address,
    or else the newest, because OpenVPN moves an address to the newest client that uses it.
    """

    _newest: dict[bytes, ListedClient] = attrs.field(factory=dict)
    _holders: dict[tuple[bytes, bytes], ListedClient] = attrs.field(factory=dict)

    def add(self, client: ListedClient) -> None:
        """One more client with this real address."""
        _keep_newest(self._newest, client.name, client)
        for address in (client.virtual, client.virtual6):
            _keep_newest(self._holders, (client.name, address), client)

    def owner(self, name: bytes, address: bytes) -> ListedClient | None:
        """The owner of the route to *address*, whose common name is *name*."""
        return self._holders.get((name, address)) or self._newest.get(name)


def _keep_newest(clients: dict[K, ListedClient], key: K, client: ListedClient) -> None:
    known = clients.get(key)
    if known is None or known.session[::-1] < client.session[::-1]:  # (since, cid)
        clients[key] = client


class _MissingColumnError(Exception):
    """A required column is missing. str() has its name."""


@attrs.frozen
class _Columns:
    """The columns of one table. ``names``: its HEADER row from the table's own name on.

    So field 0 of a row is the table's name, and position 0 means "no such column".
    """

    names: tuple[str, ...]

    def at(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> tuple[int, ...]:
        """The positions of these columns in a row; 0 for an optional one that is missing.

        Raises:
          _MissingColumnError: a required one is missing.
        """
        missing = [name for name in required if name not in self.names]
        if missing:
            raise _MissingColumnError(", ".join(missing))
        names = (*required, *optional)
        return tuple(self.names.index(name) if name in self.names else 0 for name in names)

    def fit(
        self, fields: list[bytes], is_plausible: Callable[[list[bytes]], bool]
    ) -> list[bytes] | None:
        """The row *fields*, split at every comma, with the parts of one value joined again.

        None: it cannot be a row of this table. Of several plausible results, the one whose
        common name is longest: ``Surname, Given`` is more common than a user name with commas.
        """
        extra = len(fields) - len(self.names)
        free = [self.names.index(name) for name in FREE_TEXT_COLUMNS if name in self.names]
        if extra < 0 or not free:
            return None
        first, last = free[0], free[-1]
        for in_first in range(extra, -1 if last != first else extra - 1, -1):
            joined = _join(_join(fields, first, in_first), last, extra - in_first)
            if is_plausible(joined):
                return joined
        return None


def _join(fields: list[bytes], at: int, extra: int) -> list[bytes]:
    return [*fields[:at], b",".join(fields[at : at + extra + 1]), *fields[at + extra + 1 :]]


def _separator(first: bytes) -> bytes:
    """A listing begins with ``TITLE``, the separator, and OpenVPN's version."""
    if first.startswith((b"TITLE\t", b"TITLE,")):
        return first[5:6]
    if not first:
        raise StatusError("it is still empty")
    if first.startswith(_STATISTICS):
        raise StatusError(NO_SERVER)
    if first.startswith(b"OpenVPN CLIENT LIST"):
        raise StatusError(
            "a status file of version 1 lacks what is needed: set 'status-version 3' in OpenVPN's"
            " configuration"
        )
    raise StatusError(f"not a status file of OpenVPN: it begins with {first[:40]!r}")


def _is_number(field: bytes) -> bool:
    return field.isdigit() and len(field) <= MAX_DIGITS


def _prefix(address: bytes) -> Prefix:
    text = address.decode("ascii")
    if b"/" in address:
        return Prefix.parse(text)
    if b":" in address:
        return Prefix(inet_pton(AF_INET6, text), 128)
    return Prefix(inet_pton(AF_INET, text), 32)
