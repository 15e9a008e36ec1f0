"""Collects the facts about OpenVPN processes: configuration, clients' files, version, and who uses
the management interface. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from itertools import islice

from cuberouted.api.report import Status
from cuberouted.check import holders, ports
from cuberouted.check.facts import ClientFiles, ServerFacts
from cuberouted.check.finding import reported_name
from cuberouted.check.programs import run
from cuberouted.config import Config, OpenVPNConfig
from cuberouted.daemon.host import HostState
from cuberouted.openvpn.config_file import OpenVPNOptions, Option, parse_file
from cuberouted.openvpn.config_search import SearchError, find_options, read_file

MAX_CLIENT_FILES = 10_000
"""Files of a client-config-dir that are read. It takes a second."""

MAX_CLIENT_FILE = 65_536
"""Bytes of one of them."""

PUSH, PUSH6 = "ifconfig-push", "ifconfig-ipv6-push"
"""The options that give a client a fixed address."""


def read_servers(
    config: Config, host: HostState, reported: Status | str | None
) -> Mapping[str, ServerFacts]:
    """By name of the OpenVPN process. *reported*: what the daemon reports."""
    versions = _reported_versions(reported)
    found = {}
    for one in config.openvpns:
        version = versions.get(reported_name(one.name)) or _installed_version()
        found[one.name] = _read_server(one, host, version)
    return found


def _reported_versions(reported: Status | str | None) -> dict[str, str]:
    rows = reported.openvpn if isinstance(reported, Status) else ()
    return {row.name: f"OpenVPN {row.version}" for row in rows if row.version}


def _installed_version() -> str:
    return (run("openvpn", "--version") or "").partition("\n")[0]


def _read_server(one: OpenVPNConfig, host: HostState, version: str) -> ServerFacts:
    try:
        options: OpenVPNOptions | str = find_options(one)
    except SearchError as error:
        options = str(error)
    held = _holders(one, host)
    return ServerFacts(
        options=options,
        clients=None if isinstance(options, str) else read_clients(options),
        version=version,
        holders=held.holders if held else (),
        held=None if held is None else bool(held.holders or held.unseen),
    )


def _holders(one: OpenVPNConfig, host: HostState) -> holders.Held | None:
    if one.status_file is not None:
        return None
    if one.mgmt_socket is not None:
        return holders.of_unix_socket(one.mgmt_socket)
    try:
        return holders.of_port(ports.management_addresses(one, host), one.mgmt_port)
    except OSError:
        return None


def read_clients(options: OpenVPNOptions) -> ClientFiles | None:
    """The clients' files of this OpenVPN, or None if there are none, or not all can be read."""
    option = options.get("client-config-dir")
    if option is None:
        return None
    directory = options.path(option)
    try:
        given = {
            path.name: tuple(parse_file(read_file(path, MAX_CLIENT_FILE)))
            for path in islice(directory.iterdir(), MAX_CLIENT_FILES)
            if path.name != "DEFAULT" and path.is_file()
        }
    except OSError:
        return None
    return ClientFiles(
        directory,
        frozenset(given),
        frozenset(name for name, found in given.items() if _has(found, PUSH)),
        frozenset(name for name, found in given.items() if _has(found, PUSH6)),
        {address: name for name, found in given.items() for address in _pushed(found)},
    )


def _has(options: Iterable[Option], name: str) -> bool:
    return any(option.name == name for option in options)


def _pushed(options: Iterable[Option]) -> Iterator[bytes]:
    """The addresses that a client's file gives it, packed."""
    for option in options:
        if option.name in (PUSH, PUSH6) and option.arguments:
            try:
                yield ip_address(option.arguments[0].partition("/")[0]).packed
            except ValueError:
                continue  # OpenVPN reports it when the client connects
