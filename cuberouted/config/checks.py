"""Checks that concern several keys or sections.

Each check uses the values in the file, not the results of other checks, so that one mistake hides
no other. A key with an invalid value has been reported already and is not checked again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple, Protocol, TypeVar

from cuberouted.config import converters
from cuberouted.config.schema import (
    SECTIONS,
    Config,
    OpenVPNConfig,
    PeerConfig,
    Placement,
    ServiceConfig,
)
from cuberouted.config.section import ParsedSection, nearest
from cuberouted.config.text import UNREADABLE, Diagnostics, Section, quote
from cuberouted.model import NOT_UNICAST, Prefix

Node = ParsedSection[Config]
Peer = ParsedSection[PeerConfig]
OpenVPN = ParsedSection[OpenVPNConfig]
Service = ParsedSection[ServiceConfig]

_ACCESS = (
    ("status_file", ("mgmt_host", "mgmt_port", "mgmt_socket", "mgmt_pass_file", "mgmt_shared")),
    ("mgmt_socket", ("mgmt_host", "mgmt_port")),
)
"""Keys with one way of access to OpenVPN, and those of other ways."""


_NEEDED = {
    "hook_events": "hook",
    "hook_timeout": "hook",
    "hosts_domain": "hosts_file",
    "web_hosts": "web_listen",
    "web_clients": "web_listen",
    "web_names": "web_listen",
}
"""Keys that say more on another one."""


def check_headers(sections: Iterable[Section], diagnostics: Diagnostics) -> None:
    """Report section headers with an unknown kind, or a missing, invalid or repeated name."""
    first_line: dict[tuple[str, str], int] = {}
    for section in sections:
        if section.kind == UNREADABLE:
            continue
        if section.kind not in SECTIONS:
            near = nearest(section.kind, filter(None, SECTIONS))
            what = f"unknown section {quote(section.kind)}; the nearest is [{near} NAME]"
            diagnostics.add(section.line, None, what)
            continue
        if not section.name:
            what = f"section without a name: write [{section.kind} NAME]"
            diagnostics.add(section.line, None, what)
            continue
        try:
            converters.name(section.name)
        except ValueError as error:
            diagnostics.add(section.line, f"[{section.kind} NAME]", str(error))
            continue
        line = first_line.setdefault((section.kind, section.name), section.line)
        if line != section.line:
            what = f"has the same name as the section in line {line}: rename one"
            diagnostics.add(section.line, section.title, what)


def check_node(node: Node) -> None:
    """Report a heartbeat_interval that is not below hold_time, and keys without effect."""
    for key, needed in _NEEDED.items():
        if node.has(key) and not node.has(needed):
            node.report(key, f"has no effect without {needed}: set that too, or remove the line")
    heartbeat, hold = node.values.heartbeat_interval, node.values.hold_time
    if heartbeat < hold or node.invalid & {"heartbeat_interval", "hold_time"}:
        return
    advice = "set heartbeat_interval to a third of hold_time"
    if node.has("heartbeat_interval"):
        node.report(
            "heartbeat_interval", f"{heartbeat:g}s is not below hold_time ({hold:g}s): {advice}"
        )
    else:
        node.report(
            "hold_time", f"{hold:g}s is not above heartbeat_interval ({heartbeat:g}s): {advice}"
        )


def check_peers(node: Node, peers: Sequence[Peer], config: Config) -> None:
    """Report peers that are incomplete or conflict with each other or with the node's keys."""
    if any(peer.section.line or peer.section.entries for peer in peers):
        for peer in peers:
            if not node.has("mgmt_interface"):
                (peer if peer.section.line else node).require("mgmt_interface")
            peer.require("mgmt_ip")
            if peer.section.name and peer.section.name == config.node:
                what = "has this node's own name: every node needs its own (node = NAME sets ours)"
                peer.report_section(what)
    else:
        what = "is missing: the peer's address; with more than one peer write [peer NAME] sections"
        peers[0].report("mgmt_ip", what)
    _check_addresses(node, peers)
    _check_encryption(node, peers)
    _check_interfaces([node, *peers], {openvpn.data_interface for openvpn in config.openvpns})


class _Address(NamedTuple):
    """The address of *peer* that *key* sets."""

    peer: Peer
    key: str

    @property
    def packed(self) -> bytes | None:
        address: bytes | None = getattr(self.peer.values, self.key)
        return address

    @property
    def text(self) -> str:
        return self.peer.section.entries[self.key].text

    @property
    def title(self) -> str:
        return f"{self.peer.written(self.key)} of {self.peer.title}"


def _check_addresses(node: Node, peers: Sequence[Peer]) -> None:
    # two uses of one address would be two routes to one destination
    used = [_Address(peer, key) for key in ("mgmt_ip", "data_ip") for peer in peers]
    for _, address, first in _repeated((address.packed, address) for address in used):
        address.peer.report(
            address.key,
            f"{address.text} is already {first.title} (line {first.peer.line(first.key)}):"
            " use an address only once",
        )
    mgmt = {
        address.packed: address.text
        for address in used
        if address.key == "mgmt_ip" and address.packed
    }
    for packed in node.values.listen or ():
        if packed in mgmt:
            node.report("listen", f"{mgmt[packed]} is a peer's address: write one of this host")


def _check_encryption(node: Node, peers: Sequence[Peer]) -> None:
    encrypted = node.has("secret_key_file")
    for peer in peers:
        if encrypted and not peer.has("public_key"):
            line = peer.line("public_key") or node.line("secret_key_file")
            peer.diagnostics.add(
                line,
                peer.written("public_key"),
                f"is missing{peer.place}: with secret_key_file every peer needs one"
                " (`cuberouted keygen` on the peer prints it)",
            )
        elif peer.has("public_key") and not encrypted:
            what = "requires secret_key_file, this node's own key (`cuberouted keygen` makes one)"
            peer.report("public_key", what)
    keys = ((key, peer) for peer in peers for key in peer.values.public_keys)
    for _, peer, first in _repeated(keys):
        peer.report("public_key", f"is already used by {first.title}: every peer needs its own")


def _check_interfaces(sections: Iterable[Node | Peer], data_interfaces: set[str]) -> None:
    for section in sections:
        interface = section.values.mgmt_interface
        if interface and interface in data_interfaces:
            what = f"{interface} is the clients' data_interface: use another one for the peers"
            section.report("mgmt_interface", what)


def check_openvpns(node: Node, openvpns: Sequence[OpenVPN], config: Config) -> None:
    """Report OpenVPN processes that are incomplete or conflict with each other."""
    for openvpn in openvpns:
        for key, excluded in _ACCESS:
            others = [openvpn.written(other) for other in excluded if openvpn.has(other)]
            if openvpn.has(key) and others:
                what = f"cannot be combined with {', '.join(others)}: keep what OpenVPN offers"
                openvpn.report(key, what)
        if not node.has("data_interface"):
            (openvpn if openvpn.section.line else node).require("data_interface")
        name = openvpn.values.service
        if name and all(name != service.name for service in config.services):
            what = f"there is no section [service {name}]: add it, or correct the name"
            openvpn.report("service", what)
    interfaces = (
        (values.data_interface, openvpn)
        for openvpn, values in zip(openvpns, config.openvpns, strict=True)
        if "data_interface" not in openvpn.invalid
    )
    for interface, openvpn, first in _repeated(interfaces):
        what = f"{interface} is already used by {first.title}: every OpenVPN process needs its own"
        openvpn.report("data_interface", what)
    accesses = ((_access(openvpn.values), openvpn) for openvpn in openvpns if not openvpn.invalid)
    for _, openvpn, first in _repeated(accesses):
        openvpn.report_section(
            f"uses the same management interface or status file as {first.title}:"
            " set mgmt_port, mgmt_socket or status_file in each of them"
        )


def check_web(node: Node, openvpns: Sequence[OpenVPN]) -> None:
    """Report a web_listen whose port something else on this host has."""
    web = node.values.web_listen
    if web is None:
        return
    address = ip_address(web.address)
    listen = node.values.listen or ()
    if web.port == node.values.cube_routed_port and (
        address.is_unspecified or address.packed in listen
    ):
        what = f"{web} takes the peers' port (cube_routed_port): use another one"
        node.report("web_listen", what)
    for openvpn in openvpns:
        values = openvpn.values
        host = values.mgmt_host or "127.0.0.1"
        if (
            web.port == values.mgmt_port
            and (web.address == host or (address.is_unspecified and host == "127.0.0.1"))
            and not (values.mgmt_socket or values.status_file)
        ):
            what = f"{web} is OpenVPN's management interface{openvpn.place}: use another port"
            node.report("web_listen", what)


MIN_HEARTBEATS = 3
"""Heartbeats within hold_time that a service with a witness needs: it is given up one before the
peers take it."""


def check_services(node: Node, services: Sequence[Service], peers: Sequence[Peer]) -> None:
    """Report services that are incomplete, or whose address something else has."""
    for service in services:
        service.require("address")
        _check_service_keys(service)
        _check_witness(node, service)
    addresses = ((service.values.address, service) for service in services)
    for _, service, first in _repeated(addresses):
        text = service.section.entries["address"].text
        service.report("address", f"{text} is already used by {first.title}: each needs its own")
    used = {
        getattr(peer.values, key): f"{peer.written(key)}{peer.place}"
        for peer in peers
        for key in ("mgmt_ip", "data_ip")
        if getattr(peer.values, key)
    }
    for service in services:
        address = service.values.address
        if address in used:
            text = service.section.entries["address"].text
            service.report("address", f"{text} is {used[address]}: use an address of its own")
        if address and any(network.contains(Prefix.host(address)) for network in NOT_UNICAST):
            text = service.section.entries["address"].text
            service.report("address", f"{text} cannot be reached from other hosts")


def _check_service_keys(service: Service) -> None:
    for key in ("check_interval", "check_timeout", "rise", "fall"):
        if service.has(key) and not service.has("check"):
            service.report(key, "has no effect without check: set that too, or remove the line")
    if service.values.placement is Placement.NEAREST:
        for key in ("preempt", "witness", "fence"):
            if service.has(key):
                what = "has no effect with placement = nearest: all healthy nodes have the address"
                service.report(key, what)


def _check_witness(node: Node, service: Service) -> None:
    heartbeat, hold = node.values.heartbeat_interval, node.values.hold_time
    invalid = node.invalid & {"heartbeat_interval", "hold_time"}
    if service.values.witness and heartbeat * MIN_HEARTBEATS > hold and not invalid:
        what = (
            f"needs a hold_time of at least {MIN_HEARTBEATS} heartbeat_intervals"
            f" ({heartbeat:g}s): set heartbeat_interval to a third of hold_time ({hold:g}s)"
        )
        service.report("witness", what)


def _access(openvpn: OpenVPNConfig) -> Hashable:
    tcp = (openvpn.mgmt_host or "127.0.0.1", openvpn.mgmt_port)
    return openvpn.status_file or openvpn.mgmt_socket or tcp


class _Titled(Protocol):
    @property
    def title(self) -> str: ...


HashableT = TypeVar("HashableT", bound=Hashable)
TitledT = TypeVar("TitledT", bound=_Titled)


def _repeated(
    uses: Iterable[tuple[HashableT, TitledT]],
) -> Iterator[tuple[HashableT, TitledT, TitledT]]:
    """Each value that is used again, with the section that does so and the first one.

    Values that are not set (None or empty) are skipped.
    """
    first: dict[HashableT, TitledT] = {}
    for value, user in uses:
        # the same title twice is a repeated section, which `check_headers` reports
        if value and first.setdefault(value, user).title != user.title:
            yield value, user, first[value]
