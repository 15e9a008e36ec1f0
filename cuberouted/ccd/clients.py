"""From the hosts file to the clients and their addresses, and all that is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import attrs

from cuberouted.ccd.hosts import Address, Host, HostsText, Network, Note, network_of
from cuberouted.ccd.subnets import Subnets, Topology
from cuberouted.ccd.text import other_end, push_line
from cuberouted.model import NOT_UNICAST, Prefix

DEFAULT = "DEFAULT"
"""The file for clients that have none."""

MAX_NAME = 64
"""Bytes of a common name (RFC 5280, ub-common-name)."""

_NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_.@-]*")
"""Names that every version of OpenVPN looks for as they are: in others characters become "_"."""


@attrs.frozen
class Client:
    """A client of the hosts file: its lines there, its addresses, and its lines in its file."""

    name: str
    hosts: tuple[Host, ...]
    made: tuple[str, ...]

    def host(self, version: int) -> Host | None:
        """Its line with an address of this version of IP."""
        return next((host for host in self.hosts if host.address.version == version), None)


@attrs.frozen
class Clients:
    """What is to be.

    ``outside``: by name, hosts that are no clients, because their address is elsewhere.
    ``servers``: likewise those that are servers. ``mistakes``: nothing may be written then.
    """

    by_name: Mapping[str, Client]
    mistakes: tuple[Note, ...]
    outside: Mapping[str, Note]
    servers: Mapping[str, Note]

    @property
    def by_address(self) -> dict[Address, tuple[Client, Host]]:
        """Who has an address, and the line that says so."""
        return {
            host.address: (client, host)
            for client in self.by_name.values()
            for host in client.hosts
        }


def select_clients(hosts: HostsText, file: Path, subnets: Subnets, *, short: bool) -> Clients:
    """The clients in *hosts*, the text of *file*.

    *short*: a name counts up to its first dot.
    """
    return _Selection(file, subnets, short).result(hosts)


class _Selection:
    def __init__(self, file: Path, subnets: Subnets, short: bool) -> None:
        self._file, self._subnets, self._short = file, subnets, short
        self._mistakes = list[Note]()
        self._outside: dict[str, Note] = {}
        self._left_out: dict[str, Note] = {}
        self._found: dict[str, dict[int, tuple[Host, Network]]] = {}
        self._owners: dict[Address, Host] = {}
        self._servers: Mapping[Address, str | None] = {}

    def result(self, hosts: HostsText) -> Clients:
        self._servers = _servers(hosts, self._subnets)
        for host in hosts.hosts:
            self._add(host)
        self._mistakes += hosts.mistakes
        return Clients(
            by_name={name: self._client(name, found) for name, found in self._found.items()},
            mistakes=tuple(sorted(self._mistakes, key=lambda note: note.line or 0)),
            outside=self._outside,
            servers=self._left_out,
        )

    def _client(self, name: str, found: Mapping[int, tuple[Host, Network]]) -> Client:
        chosen = [found[version] for version in sorted(found)]
        return Client(
            name,
            tuple(host for host, _ in chosen),
            tuple(
                push_line(host.address, network, self._subnets.topology) for host, network in chosen
            ),
        )

    def _add(self, host: Host) -> None:
        address = host.address
        name = self._name(host)
        network = network_of(address, self._subnets.networks)
        if network is None:
            if not _is_special(address):
                text = f"{name}: {address} is outside {self._subnets}"
                self._outside.setdefault(name, Note(self._file, host.line, text))
            return
        if address in self._servers:
            self._check_server(host, self._servers[address])
            return
        wrong = [*_name_faults(name), *self._address_faults(address, network)]
        wrong += self._duplicates(host, name)
        for why in wrong:
            self._mistake(host, f"{name}: {why}")
        self._owners.setdefault(address, host)
        self._found.setdefault(name, {}).setdefault(address.version, (host, network))

    def _check_server(self, host: Host, server: str | None) -> None:
        """A server may stand in the file, by its own name. It gets no file."""
        names = {name for given in host.names for name in _both(given)}
        if server is not None and server not in names:
            self._mistake(
                host,
                f"{host.name}: {host.address} is the address of server {server}: give it another,"
                f" or add {server} to its names",
            )
        text = f"{host.name}: {host.address} is the address of a server"
        self._left_out.setdefault(host.name, Note(self._file, host.line, text))

    def _name(self, host: Host) -> str:
        return host.name.partition(".")[0] or host.name if self._short else host.name

    def _address_faults(self, address: Address, network: Network) -> Iterator[str]:
        subnets = self._subnets
        if isinstance(address, IPv4Address) and network.num_addresses > 2:
            if address in (network.network_address, network.broadcast_address):
                yield f"{address} is the first or last address of {network}, and no client's"
                return
            if subnets.topology is Topology.NET30:
                yield from self._end_faults(address)
        elif address == network.network_address:
            yield f"{address} is the address of {network} itself, and no client's"
        elif isinstance(address, IPv6Address) and address.scope_id is not None:
            yield f"{address} has an interface, which a client's address has not"
        allowed = subnets.allowed
        if allowed is not None and network_of(address, allowed) is None:
            yield f"{address} is not in allowed_networks: no server would share it"

    def _end_faults(self, address: IPv4Address) -> Iterator[str]:
        end = other_end(address)
        if end is None:
            yield f"{address} is the first or last of a /30, which topology net30 cannot use"
        elif end in self._servers:
            yield f"{address} is in the /30 of a server's address, {end}"
        elif end in self._owners:
            other = self._owners[end]
            yield f"{address} is in the same /30 as {end} of {other.name} in line {other.line}"

    def _duplicates(self, host: Host, name: str) -> Iterator[str]:
        other = self._owners.get(host.address)
        if other is not None:
            yield f"{host.address} is the address of {other.name} in line {other.line}, too"
            return
        given = self._found.get(name, {}).get(host.address.version)
        if given is not None:
            earlier = given[0]
            yield f"has {earlier.address} in line {earlier.line}, and {host.address} here"

    def _mistake(self, host: Host, text: str) -> None:
        self._mistakes.append(Note(self._file, host.line, text))


def _servers(hosts: HostsText, subnets: Subnets) -> Mapping[Address, str | None]:
    """The addresses of servers: those that are known, and others of the same names.

    The configuration has one address of each server, and the hosts file may have an IPv6 one, too.
    """
    names = set(subnets.server_names)
    names |= {host.name for host in hosts.hosts if host.address in subnets.servers}
    found = {
        host.address: host.name for host in hosts.hosts if names.intersection(_both(host.name))
    }
    return {**found, **subnets.servers}


def _both(name: str) -> tuple[str, str]:
    """A name, and what precedes its first dot."""
    return name, name.partition(".")[0]


def _name_faults(name: str) -> Iterator[str]:
    if name == DEFAULT:
        yield "is the file for clients that have none"
    elif not _NAME.fullmatch(name):
        yield (
            "cannot be the name of a client's file: letters, digits and _ . @ - can, and neither"
            " . nor - at the beginning; write such a file by hand"
        )
    elif len(name) > MAX_NAME:
        yield f"is longer than a common name, {MAX_NAME} bytes"


def _is_special(address: Address) -> bool:
    """Whether every hosts file has such an address: loopback, multicast and others."""
    host = Prefix.host(address.packed)
    return any(network.contains(host) for network in NOT_UNICAST)
