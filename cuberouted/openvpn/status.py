"""A status listing of OpenVPN -> who is connected, and which prefixes lie behind whom.

Rows may be fed as they arrive; the listing counts only with its END. Names come from
CLIENT_LIST and prefixes from ROUTING_TABLE, because CLIENT_LIST may show an IPv6 pool
address that is another client's.

Source: OpenVPN ``src/openvpn/multi.c`` (multi_print_status) and ``mroute.c``
(mroute_addr_print_ex), tags v2.3.0 to v2.7.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

import attrs

from cuberouted.model import Kind, Prefix, SessionId
from cuberouted.openvpn.protocol import NO_CID, UNDEF


class StatusError(Exception):
    """Not a listing that can be read; str() says why, and what to do."""


@attrs.define(eq=False)
class Client:
    """One client, while its listing is being read.

    ``cid`` is NO_CID in a listing without client ids (2.3). ``since``: Unix seconds.
    ``real``, ``virtual`` and ``virtual6`` are as written, the virtual ones empty where not
    known. ``addresses`` are its own, ``networks`` are routed behind it (iroute).
    """

    cid: int
    since: int
    name: bytes
    real: bytes
    virtual: bytes
    virtual6: bytes
    addresses: tuple[Prefix, ...] = ()
    networks: tuple[Prefix, ...] = ()


class Holding(NamedTuple):
    """A prefix that leads to a client; ``kind`` CLIENT: it is the client's own address."""

    prefix: Prefix
    kind: Kind
    client: Client


class Session(NamedTuple):
    """One connected client; see `Client`."""

    cid: int
    since: int
    name: bytes
    addresses: tuple[Prefix, ...]
    networks: tuple[Prefix, ...]

    @property
    def id(self) -> SessionId:
        """What tells it from every other session."""
        return SessionId(self.cid, self.since)


@attrs.define
class Ignored:
    """How many rows were not used.

    ``cached``: addresses learned from traffic inside an iroute; ``mac``: of a tap device;
    ``unnamed``: prefixes of clients without a common name; ``strange``: everything else.
    """

    cached: int = 0
    mac: int = 0
    unnamed: int = 0
    strange: int = 0


@attrs.frozen
class Listing:
    """A complete listing. It is not changed any more.

    ``by_real``: the first client that shows each real address.
    """

    clients: Sequence[Client]
    by_real: Mapping[bytes, Client]
    ignored: Ignored

    def named(self, names: Container[bytes]) -> tuple[Session, ...]:
        """The sessions of these common names, in OpenVPN's order."""
        return tuple(
            Session(c.cid, c.since, c.name, c.addresses, c.networks)
            for c in self.clients
            if c.name in names
        )


FREE_TEXT = ("Common Name", "Username")
"""Columns whose values may hold commas, the separator of version 2."""


class MissingColumnError(Exception):
    """A column that has to be there is not; str() names it."""


@attrs.frozen
class Columns:
    """One table's columns: ``names`` as in its HEADER row from the table's own name on.

    So a row's field 0 is the table's name, and position 0 stands for "no such column".
    """

    names: tuple[str, ...]

    def at(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> tuple[int, ...]:
        """The positions of these columns in a row; 0 for an optional one that is not there.

        Raises:
          MissingColumnError: a required one is not there.
        """
        missing = [name for name in required if name not in self.names]
        if missing:
            raise MissingColumnError(", ".join(missing))
        names = (*required, *optional)
        return tuple(self.names.index(name) if name in self.names else 0 for name in names)

    def fit(
        self, fields: list[bytes], plausible: Callable[[list[bytes]], bool]
    ) -> list[bytes] | None:
        """*fields*, a row cut at every comma, with those joined again that are one value.

        None: it cannot be this table's row. Of several plausible ways, the one that gives
        most to the common name: a user name that holds commas is rarer than ``Surname, Given``.
        """
        extra = len(fields) - len(self.names)
        free = [self.names.index(name) for name in FREE_TEXT if name in self.names]
        if extra < 0 or not free:
            return None
        first, last = free[0], free[-1]
        for in_first in range(extra, -1 if last != first else extra - 1, -1):
            cut = _joined(_joined(fields, first, in_first), last, extra - in_first)
            if plausible(cut):
                return cut
        return None


def _joined(fields: list[bytes], at: int, extra: int) -> list[bytes]:
    return [*fields[:at], b",".join(fields[at : at + extra + 1]), *fields[at + extra + 1 :]]


MAC = re.compile(rb"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?:@[0-9]+)?", re.IGNORECASE)
NOBODY = frozenset({UNDEF, b""})
MAX_DIGITS = 18
"""Longer numbers are no ids or times of OpenVPN's, and would not fit 64 bits."""


class ListingReader:
    """Reads one listing, row by row.

    ``separator`` is a tab for ``status 3``, or None: a status file's first row tells.
    """

    def __init__(self, separator: bytes | None = b"\t") -> None:
        self._separator = separator
        self._columns: dict[bytes, Columns] = {}
        self._client_at: tuple[int, ...] = ()
        self._route_at: tuple[int, ...] = ()
        self._found: list[Holding] = []
        self._clients: list[Client] = []
        self._by_real: dict[bytes, Client] = {}
        self._sharing: dict[bytes, list[Client]] = {}  # clients that show one real address
        self._ignored = Ignored()

    def feed(self, line: bytes) -> None:
        """Take one row, without its line end. Rows of unknown tables are skipped.

        Raises:
          StatusError: this is no listing of version 2 or 3.
        """
        if self._separator is None:
            self._separator = _separator(line)
        fields = line.split(self._separator)
        columns = self._columns.get(fields[0])
        if columns is None:
            self._other(fields)
        elif len(fields) == len(columns.names):
            self._row(fields)
        else:
            cut = columns.fit(fields, self._plausible) if self._separator == b"," else None
            if cut is None:
                self._ignored.strange += 1
            else:
                self._row(cut)

    def take(self) -> list[Holding]:
        """What was found since the last call: prefixes of clients that have a name."""
        found, self._found = self._found, []
        return found

    def finish(self) -> Listing:
        """The listing, after its END.

        Raises:
          StatusError: it never said what its columns are.
        """
        if not (self._client_at and self._route_at):
            raise StatusError("the listing has no HEADER rows for CLIENT_LIST and ROUTING_TABLE")
        return Listing(self._clients, self._by_real, self._ignored)

    def _other(self, fields: list[bytes]) -> None:
        if fields[0] != b"HEADER":
            self._ignored.strange += fields[0] in (b"CLIENT_LIST", b"ROUTING_TABLE")
            return
        columns = Columns(tuple(name.decode("latin-1") for name in fields[1:]))
        try:
            if fields[1:2] == [b"CLIENT_LIST"]:
                self._client_at = columns.at(CLIENT_REQUIRED, CLIENT_OPTIONAL)
            elif fields[1:2] == [b"ROUTING_TABLE"]:
                self._route_at = columns.at(ROUTE_REQUIRED)
            else:
                return
        except MissingColumnError as exc:
            raise StatusError(f"the listing's {columns.names[0]} has no column {exc}") from exc
        self._columns[fields[1]] = columns

    def _row(self, fields: list[bytes]) -> None:
        if fields[0] == b"CLIENT_LIST":
            self._client(fields)
        else:
            self._route(fields)

    def _client(self, fields: list[bytes]) -> None:
        name, real, at_since, virtual, at_cid, virtual6 = self._client_at
        since, cid = fields[at_since], fields[at_cid] if at_cid else b"0"
        if not (_is_number(since) and _is_number(cid)):
            self._ignored.strange += 1
            return
        client = Client(
            int(cid) if at_cid else NO_CID,
            int(since),
            fields[name],
            fields[real],
            fields[virtual],
            fields[virtual6] if virtual6 else b"",
        )
        self._clients.append(client)
        first = self._by_real.setdefault(client.real, client)
        if first is not client:
            self._sharing.setdefault(client.real, [first]).append(client)

    def _route(self, fields: list[bytes]) -> None:
        at_address, at_name, at_real = self._route_at
        address, real = fields[at_address], fields[at_real]
        if address.endswith(b"C"):
            self._ignored.cached += 1
            return
        client = self._by_real.get(real)
        if real in self._sharing:
            client = _behind(self._sharing[real], fields[at_name], address)
        if client is None:
            self._ignored.strange += 1
        elif client.name in NOBODY:
            self._ignored.unnamed += 1
        else:
            self._lead(address, client)

    def _lead(self, address: bytes, client: Client) -> None:
        try:
            prefix = _prefix(address)
        except (ValueError, OSError):
            if MAC.fullmatch(address):
                self._ignored.mac += 1
            else:
                self._ignored.strange += 1
            return
        if _own(address, client):
            client.addresses += (prefix,)
            self._found.append(Holding(prefix, Kind.CLIENT, client))
        else:
            client.networks += (prefix,)
            self._found.append(Holding(prefix, Kind.NETWORK, client))

    def _plausible(self, fields: list[bytes]) -> bool:
        """Whether a row that holds more commas than it should is cut in the right places."""
        if fields[0] != b"CLIENT_LIST":
            return True
        _, _, since, virtual, _, _ = self._client_at
        if not fields[since].isdigit():
            return False
        try:
            return not fields[virtual] or _prefix(fields[virtual]).is_host
        except (ValueError, OSError):
            return False


CLIENT_REQUIRED = ("Common Name", "Real Address", "Connected Since (time_t)", "Virtual Address")
CLIENT_OPTIONAL = ("Client ID", "Virtual IPv6 Address")
ROUTE_REQUIRED = ("Virtual Address", "Common Name", "Real Address")


def _separator(first: bytes) -> bytes:
    """A listing begins with ``TITLE``, the separator, and OpenVPN's version."""
    if first.startswith((b"TITLE\t", b"TITLE,")):
        return first[5:6]
    if not first:
        raise StatusError("it is empty so far")
    if first.startswith((b"OpenVPN CLIENT LIST", b"OpenVPN STATISTICS")):
        raise StatusError(
            "a status file of version 1 tells too little: set 'status-version 3' in OpenVPN's"
            " configuration"
        )
    raise StatusError(f"not a status file of OpenVPN: it begins with {first[:40]!r}")


def _is_number(field: bytes) -> bool:
    return field.isdigit() and len(field) <= MAX_DIGITS


def _behind(clients: list[Client], name: bytes, address: bytes) -> Client | None:
    """Whose route it is, of several clients that show one real address.

    Before 2.7 IPv6 clients are shown without a port. It is that of the route's common name;
    of several of these, the one whose own address it is; and else the newest, because what
    a newer one claims OpenVPN takes from the older.
    """
    named = [client for client in clients if client.name == name]
    owners = [client for client in named if address in (client.virtual, client.virtual6)]
    return max(owners or named, key=lambda client: (client.since, client.cid), default=None)


def _own(address: bytes, client: Client) -> bool:
    """Whether this is the client's own address, and no iroute.

    Where CLIENT_LIST does not tell (2.3 never tells the IPv6 address), a host is its own.
    """
    known = client.virtual6 if b":" in address else client.virtual
    return address == known if known else b"/" not in address


def _prefix(address: bytes) -> Prefix:
    text = address.decode("ascii")
    if b"/" in address:
        return Prefix.parse(text)
    if b":" in address:
        return Prefix(inet_pton(AF_INET6, text), 128)
    return Prefix(inet_pton(AF_INET, text), 32)
