"""Collects the facts about OpenVPN processes: configuration, clients' files, version, and who uses
the management interface. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from cuberouted.api.report import Status
from cuberouted.check import holders, ports
from cuberouted.check.facts import ClientFiles, ServerFacts
from cuberouted.check.finding import openvpn
from cuberouted.check.programs import run
from cuberouted.config import Config, OpenVPNConfig
from cuberouted.daemon.host import HostState
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from cuberouted.openvpn.config_search import SearchError, find_options, read_file

MAX_CLIENT_FILES = 10_000
"""Files of a client-config-dir that are read. It takes a second."""

MAX_CLIENT_FILE = 65_536
"""Bytes of one of them."""


def read_servers(
    config: Config, host: HostState, reported: Status | str | None
) -> Mapping[str, ServerFacts]:
    """By name of the OpenVPN process. *reported*: what the daemon reports."""
    versions = _reported_versions(reported)
    found = {}
    for one in config.openvpns:
        version = versions.get(openvpn(one.name)) or _installed_version()
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
            path.name: frozenset(_names(path))
            for path in islice(directory.iterdir(), MAX_CLIENT_FILES)
            if path.name != "DEFAULT" and path.is_file()
        }
    except OSError:
        return None
    return ClientFiles(
        directory,
        frozenset(given),
        frozenset(name for name, found in given.items() if "ifconfig-push" in found),
        frozenset(name for name, found in given.items() if "ifconfig-ipv6-push" in found),
    )


def _names(path: Path) -> Iterator[str]:
    return (option.name for option in parse_file(read_file(path, MAX_CLIENT_FILE)))
