"""One function for each input from outside: it takes any bytes, and returns.

Exceptions that a parser documents are caught here; any other would have ended a task. Work and
memory are bounded by the input, which the callers keep below `MAX_INPUT`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import h11

from cuberouted.api import report
from cuberouted.api.http import Client, Endpoint, Reply, Request
from cuberouted.api.http_server import HttpServer
from cuberouted.api.report_disconnect import DisconnectReport
from cuberouted.ccd.subnets import networks_of, own_addresses
from cuberouted.ccd.text import parse_client
from cuberouted.check.facts import ClientFiles, HostFacts, ServerFacts
from cuberouted.check.filter_lists import parse_iptables, parse_nft
from cuberouted.check.packet_filter import Packet, outcomes
from cuberouted.check.server_rules import check_server
from cuberouted.config import Config, ConfigError, parse
from cuberouted.config.converters import is_curve_key
from cuberouted.config.text import MAX_PROBLEMS
from cuberouted.daemon.disconnect import node_result
from cuberouted.daemon.host import HostState
from cuberouted.daemon.listings import client_row
from cuberouted.daemon.peer_check import clock_offset
from cuberouted.events import Event
from cuberouted.model import FileKind, Prefix, SessionId, SupersededSession
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from cuberouted.openvpn.connection import ManagementConnection
from cuberouted.openvpn.damping import KillDamping
from cuberouted.openvpn.fingerprints import OwnFingerprint, compare
from cuberouted.openvpn.life import LifeWatch
from cuberouted.openvpn.polling import Polling
from cuberouted.openvpn.protocol import MAX_LINE, ManagementError
from cuberouted.openvpn.sessions import Sessions
from cuberouted.openvpn.status import ListingReader, StatusError
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerLimits, RoutesChanged, RoutesReplaced
from cuberouted.peering.messages import (
    DisconnectReply,
    FactsReply,
    IncompatibleVersionError,
    MessageError,
    Outcome,
    decode,
)
from cuberouted.peering.received_requests import ReceivedRequests, Verdict
from cuberouted.peering.session import PeerSession
from cuberouted.peering.zmq.zap import MAX_TOPICS, SubscriptionLimit
from cuberouted.routing.linux import linkmsg, netlink, routemsg
from cuberouted.routing.linux.monitor import EventBuffer
from cuberouted.routing.linux.netlink import NetlinkError
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, Rib, Source
from cuberouted.util.tasks import run_trio
from cuberouted.web.request_filter import WebRequestFilter
from tests.fakes.api import ROOT, exchange

MAX_INPUT = 16384
LIMIT = 50
CORPUS = Path(__file__).parent / "corpus"
OWN_FILES = [OwnFingerprint.of(kind, "", bytes(16), [(b"a", b"1")]) for kind in FileKind]
SUPERSEDED = SupersededSession(Prefix.parse("10.9.0.5"), b"one", SessionId(0, 1), "b")

CHECKED = "data_interface = tun0\nmgmt_interface = tun1\nremote_mgmt_ip = 10.200.200.5\n"


def pieces(data: bytes) -> Iterator[bytes]:
    """*data* in pieces as a stream may deliver them; the first byte is their size."""
    size = (data[0] if data else 0) or len(data) or 1
    return (data[at : at + size] for at in range(1, len(data), size))


def management(data: bytes) -> None:
    """OpenVPN's management interface, from the first byte of a connection on."""
    sessions = Sessions("")
    connection = ManagementConnection(
        sessions, Polling(1.0, 30.0), KillDamping(), LifeWatch(), b"secret", 0.0
    )
    connection.set_superseded(frozenset({SUPERSEDED}))
    connection.disconnect(b"two")
    with contextlib.suppress(ManagementError):
        for now, piece in enumerate(pieces(data)):
            connection.receive(piece, float(now))
            connection.timer(now + 0.5)
            assert connection.buffered <= MAX_LINE + len(piece)
            str(connection.health)
    assert sessions.count <= len(data)


def listing(data: bytes) -> None:
    """A status listing or status file, of version 2 or 3."""
    for separator in (b"\t", None):
        reader, reconciliation = ListingReader(separator), Sessions("").reconciliation()
        with contextlib.suppress(StatusError):
            for line in data.split(b"\n"):
                reader.feed(line)
                reconciliation.add(reader.drain())
            reader.finish()
            reconciliation.finish()


def wire(data: bytes) -> None:
    """Messages of a peer, each preceded by its length, through session and RIB."""
    session = PeerSession("b", None, "A", PeerLimits(3.0, 30.0, LIMIT), 0.0, nonce=lambda: bytes(8))
    rib = Rib(Policy((Prefix.parse("10.0.0.0/8"), Prefix.parse("fd00::/8"))))
    source = Source(Origin.PEER, "b")
    topics = itertools.cycle([b"u", b"u", b"s/" + b"0" * 16])
    for now, (topic, payload) in enumerate(zip(topics, _framed(data), strict=False)):
        try:
            actions = session.receive(topic, decode((topic, payload)), float(now))
        except IncompatibleVersionError as error:
            actions = session.incompatible(error, float(now))
        except MessageError as error:
            session.malformed(str(error))
            continue
        for received in actions.updates:
            match received:
                case RoutesChanged(node=node, advertise=advertise, withdraw=withdraw):
                    rib.update(source, node, advertise, withdraw)
                case RoutesReplaced(node=node, advertisements=advertisements):
                    rib.update(source, node, advertisements, list(rib.adj_rib_in(source)))
        session.timer(now + 0.5)
        assert session.status().advertisements <= LIMIT
    for prefix, best in rib.best_routes():
        client_row(prefix, best)


def direct(data: bytes) -> None:
    """Messages of a peer to this node alone, each preceded by its length."""
    session = PeerSession("b", None, "A", PeerLimits(3.0, 30.0, LIMIT), 0.0, nonce=lambda: bytes(8))
    received = ReceivedRequests()
    done = DisconnectReply(outcome=Outcome.ENDED)
    for now, payload in enumerate(_framed(data)):
        try:
            actions = session.receive(b"d/A/", decode((b"d/A/", payload)), float(now))
        except MessageError as error:
            session.malformed(str(error))
            continue
        if actions.direct is None:
            continue  # of a node that is refused
        message, body = actions.direct, actions.direct.body
        if isinstance(body, FactsReply):
            clock_offset(0.0, body, 1.0)
            for item in compare(OWN_FILES, body.fingerprints):
                assert item.text.isprintable()
        elif isinstance(body, DisconnectReply):
            report = DisconnectReport("host1", [node_result(message.node, body)])
            assert all(line.isprintable() for line in report.sentences())
        elif received.receive(message.id, float(now)) is Verdict.ANSWER:
            received.answered(message.id, done)
            assert received.receive(message.id, now + 0.5) == done


def _framed(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2])
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def requests(data: bytes) -> None:
    """Frames of a subscriber, one a line."""
    publisher, subscriptions = Publisher("A", 1, 1.0, 0.0), SubscriptionLimit()
    publisher.initial_sync_done(0.0)
    for now, frame in enumerate(data.split(b"\n")):
        peer = None if now % 3 else "b"
        if subscriptions.add(frame, peer):
            subscriptions.forget("b")
        publisher.receive(frame, peer, float(now))
        publisher.timer(float(now))
        assert subscriptions.count("b") <= MAX_TOPICS
    assert publisher.transfers <= 1


def control(data: bytes) -> None:
    """A connection to the control socket: HTTP requests."""
    received = run_trio(_exchange, list(pieces(data)))
    assert not received or received.startswith(b"HTTP/1.1 ")


KNOWN_HOST = re.compile(
    r"(localhost|127\.0\.0\.1|10\.0\.0\.1|vpn\.example)\.?(:\d{0,5})?|\[[0-9a-f:.]*\](:\d{0,5})?"
)
"""A Host header that the web listener may accept. IPv6 has many forms; its unit test has them."""


class CheckedFilter(WebRequestFilter):
    """The web's request filter; what it accepts is checked again, in another way."""

    def check(self, head: h11.Request, client: Client) -> None:
        """See `RequestFilter`."""
        super().check(head, client)
        assert head.method in (b"GET", b"HEAD")
        assert b"transfer-encoding" not in dict(head.headers)
        assert all(not int(value) for name, value in head.headers if name == b"content-length")
        hosts = [value.decode().lower() for name, value in head.headers if name == b"host"]
        assert hosts or head.http_version == b"1.0"
        if head.target.lower().startswith((b"http://", b"https://")):
            hosts.append(re.split("[/?#]", head.target.decode().lower())[2])
        assert all(KNOWN_HOST.fullmatch(host) for host in hosts), hosts


def web(data: bytes) -> None:
    """A connection to the web listener."""
    received = run_trio(_exchange_web, list(pieces(data)))
    assert not received or received.startswith(b"HTTP/1.1 ")


async def _exchange_web(data: list[bytes]) -> bytes:
    async def handler(request: Request) -> Reply:
        assert request.method in ("GET", "HEAD")
        assert not request.body
        return Reply(b"ok\n")

    endpoints = (
        Endpoint("GET", "/healthz", handler),
        Endpoint("GET", "/v1/why/{target}", handler),
        Endpoint("POST", "/v1/disconnect", handler, changes=True, body=report.Clients),
    )
    failures: list[Event] = []
    client = Client("10.0.0.2", reads=True, changes=False, local_address="10.0.0.1")
    request_filter = CheckedFilter(frozenset({"vpn.example"}))
    received = await exchange(
        HttpServer(endpoints, failures.append, "web", request_filter), data, client
    )
    assert not failures
    return received


async def _exchange(data: list[bytes]) -> bytes:
    async def handler(request: Request) -> report.Clients:
        request.json(report.Clients) if request.body else None
        return report.Clients([])

    endpoints = (
        Endpoint("GET", "/v1/clients", handler),
        Endpoint("GET", "/v1/why/{target}", handler),
        Endpoint("POST", "/v1/disconnect", handler, changes=True, body=report.Clients),
    )
    failures: list[Event] = []
    server = HttpServer(endpoints, failures.append, "control socket")
    received = await exchange(server, data, ROOT)
    assert not failures
    return received


def kernel(data: bytes) -> None:
    """Netlink: replies and notifications."""
    EventBuffer(254, 50, 201, {254}).receive(data)
    with contextlib.suppress(NetlinkError):
        for message in netlink.messages(data):
            for read in (
                netlink.read_ack,
                linkmsg.read_link,
                linkmsg.read_address,
                linkmsg.read_rule,
                linkmsg.read_nexthop,
            ):
                with contextlib.suppress(NetlinkError):
                    read(message)
            with contextlib.suppress(NetlinkError):
                routemsg.read_route(message.body)


def configuration(data: bytes) -> None:
    """The configuration file, as text; and keys."""
    is_curve_key(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    config = _parsed(text)
    if config is not None:
        assert config.peers
        assert len(config.allowed_peers()) >= len(config.peers)
        encrypted = config.secret_key_file is not None
        assert {bool(peer.public_keys) for peer in config.peers} == {encrypted}


def _parsed(text: str) -> Config | None:
    try:
        return parse(text, Path("c.conf"), "a")
    except ConfigError as error:
        problems = error.problems
    assert 0 < len(problems) <= MAX_PROBLEMS
    assert all(str(problem).isprintable() for problem in problems)
    return None


def openvpn_options(data: bytes) -> None:
    """OpenVPN's own configuration, and the rules of `check` on it."""
    found = OpenVPNOptions(tuple(parse_file(data)), Path("/etc/openvpn"))
    assert len(found.options) <= data.count(b"\n") + 1
    names = frozenset({"a"})
    server = ServerFacts(found, ClientFiles(Path("ccd"), names, names, names))
    config = parse(CHECKED, Path("c.conf"), "a")
    facts = HostFacts((), HostState(), None, {}, {}, {}, {}, daemon=False, servers={"": server})
    assert len(list(check_server(config, config.openvpns[0], facts))) < 20
    assert len(networks_of(found)) <= 1 + len(found.options)
    assert len(own_addresses(found)) <= 4
    assert parse_client(data).hand in data


def packet_filters(data: bytes) -> None:
    """What nft and iptables list, and what becomes of a packet there."""
    text = data.decode(errors="replace")
    packet = Packet("tun0", "tun1", Prefix.parse("10.9.0.0/24"), Prefix.parse("10.9.0.0/24"))
    for ruleset in (parse_nft(text), parse_iptables("iptables-legacy", "ip", "filter", text)):
        if ruleset is not None:
            for chain in ruleset.chains:
                assert outcomes(ruleset, chain, packet)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        management,
        listing,
        wire,
        direct,
        requests,
        control,
        web,
        kernel,
        configuration,
        openvpn_options,
        packet_filters,
    )
}


def corpus(name: str) -> list[bytes]:
    """The stored inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
