"""What is left of each reply and event with ``web_names = no``."""

from __future__ import annotations

import msgspec
import pytest

from cuberouted.api.http import Endpoint, HttpError, Reply
from cuberouted.api.report import NodeRow, Nodes, OpenVPNRow, PeerRow, RouteCounts, Status
from cuberouted.api.report_services import ServiceNodeRow, ServiceRow, Services
from cuberouted.events import (
    TYPES,
    ClientLeft,
    NodeStateChanged,
    OpenVPNStateChanged,
    PeerStateChanged,
    ServiceMoved,
)
from cuberouted.web.names import HIDDEN, VISIBLE, visible, without_names
from tests.fakes.api import call, get

ABOUT_CLIENTS = "has the address or the name of a client, or both"
WHY_HIDDEN = {
    "client_joined": ABOUT_CLIENTS,
    "client_moved": ABOUT_CLIENTS,
    "client_renewed": ABOUT_CLIENTS,
    "client_left": ABOUT_CLIENTS,
    "client_killed": ABOUT_CLIENTS,
    "disconnect_requested": ABOUT_CLIENTS,
    "pool_conflict_began": ABOUT_CLIENTS,
    "pool_conflict_ended": ABOUT_CLIENTS,
    "prefix_refused": ABOUT_CLIENTS,
    "route_changed": ABOUT_CLIENTS,
    "route_conflict_began": ABOUT_CLIENTS,
    "route_conflict_ended": ABOUT_CLIENTS,
    "foreign_route_conflict_began": "why: which clients it cuts off",
    "foreign_route_conflict_ended": "why: which clients it cut off",
    "routes_restored": "shown: destinations of routes",
    "allowed_networks_changed": "networks: may be the one behind a client",
    "peer_warning": "why: may quote a prefix that the peer sent",
    "connection_rejected": "why: from where, which may be a client",
    "openvpn_warning_began": "why: quotes rows of the listing",
    "openvpn_warning_ended": "has no meaning without the one that began",
    "openvpn_warning": "why: quotes what OpenVPN has sent",
    "reload_refused": "why: quotes the configuration",
    "client_sent_on": ABOUT_CLIENTS,
    "graceful_restart_ordered": "by: an administrator",
    "service_checked": "why: what a command has printed",
    "node_problem": "why: of routes, and what commands print",
}

STATUS = Status(
    node="A",
    uptime=1.0,
    openvpn=[OpenVPNRow("openvpn", "waiting", "2.6.14", 3, "a line: anna")],
    peers=[PeerRow("B", "up", 4, 0.1), PeerRow("C", "down", 0, None, "malformed: 10.0.0.1")],
    routes=RouteCounts(5, 5, 0),
    problems=["10.0.0.1 has two clients", "anna"],
    warnings=["anna"],
)
NODES = Nodes("A", [NodeRow("A", True, "running", 3, None, None, None, None, list(STATUS.openvpn))])


def served(path, value):
    """An endpoint that replies with *value*, as it is without names."""

    async def handler(_request):
        return value

    return without_names([Endpoint("GET", path, handler)], instead=())


def test_every_type_of_event_is_visible_or_there_is_a_reason():
    assert WHY_HIDDEN.keys() | VISIBLE == set(TYPES)
    assert WHY_HIDDEN.keys() & VISIBLE == set()


def test_an_event_is_hidden_as_it_is_or_without_what_openvpn_said():
    assert visible(ClientLeft(address="10.0.0.1", client="anna", from_node="A")) is None
    up = PeerStateChanged(peer="B", known_as="B", old="down", new="up", why="snapshot complete")
    assert visible(up) is up
    lost = OpenVPNStateChanged(openvpn="", old="connected", new="waiting", why="a line: anna")
    assert visible(lost) == msgspec.structs.replace(lost, why=HIDDEN)
    well = OpenVPNStateChanged(openvpn="", old="waiting", new="connected", why="")
    assert visible(well) is well


DRAINED = {"maintenance": "draining", "since": "2026-11-21T12:00:00Z"}


async def test_nobody_learns_who_has_drained_a_node_and_why():
    event = NodeStateChanged(of_node="A", old="active", new="draining", by="anna", why="paris")
    assert "anna" not in str(visible(event))
    assert "paris" not in str(visible(event))
    secret = {**DRAINED, "by": "anna", "reason": "paris"}
    status = msgspec.structs.replace(
        STATUS, peers=[msgspec.structs.replace(STATUS.peers[0], **secret)], **secret
    )
    shown = await get(served("/v1/status", status), "/v1/status", Status)
    nodes = Nodes("A", [msgspec.structs.replace(NODES.nodes[0], **secret)])
    rows = (await get(served("/v1/nodes", nodes), "/v1/nodes", Nodes)).nodes
    for row in (shown, *shown.peers, *rows):
        assert (row.maintenance, row.since) == tuple(DRAINED.values())
        assert (row.by, row.reason) == ("", "")


def test_why_a_service_has_moved_may_quote_a_command():
    moved = ServiceMoved(service="db", address="10.0.0.200", from_node="A", to_node="B", why="anna")
    assert visible(moved) == msgspec.structs.replace(moved, why=HIDDEN)
    without = msgspec.structs.replace(moved, why="")
    assert visible(without) is without


async def test_of_the_services_the_nodes_and_their_phases_are_left():
    node = ServiceNodeRow("A", "unfit", 100, "", "check: anna", local=True, checked=0.5)
    row = ServiceRow("db", "10.0.0.200", "single", [], None, True, [node], "anna", ["anna"])
    reply = await get(served("/v1/services", Services("A", [row])), "/v1/services", Services)
    (left,) = reply.services
    assert (left.name, left.address, left.nodes[0].phase) == ("db", "10.0.0.200", "unfit")
    assert (left.why, left.nodes[0].why) == (HIDDEN, HIDDEN)
    assert left.problems == [f"1 problem {HIDDEN}"]


async def test_of_the_status_numbers_and_states_are_left():
    left = await get(served("/v1/status", STATUS), "/v1/status", Status)
    assert left == msgspec.structs.replace(
        STATUS,
        openvpn=[OpenVPNRow("openvpn", "waiting", "2.6.14", 3, f"waiting, and why is {HIDDEN}")],
        peers=[
            PeerRow("B", "up", 4, 0.1),
            PeerRow("C", "down", 0, None, f"down, and why is {HIDDEN}"),
        ],
        problems=[f"2 problems {HIDDEN}"],
        warnings=[f"1 warning {HIDDEN}"],
    )


async def test_where_nothing_is_wrong_nothing_is_said_to_be_hidden():
    well = msgspec.structs.replace(STATUS, openvpn=[], peers=[], problems=[], warnings=[])
    assert await get(served("/v1/status", well), "/v1/status", Status) == well


async def test_of_the_nodes_numbers_and_states_are_left():
    left = await get(served("/v1/nodes", NODES), "/v1/nodes", Nodes)
    assert left.nodes[0].openvpn == [
        OpenVPNRow("openvpn", "waiting", "2.6.14", 3, f"waiting, and why is {HIDDEN}")
    ]
    assert (left.node, left.nodes[0].clients) == ("A", 3)


async def test_health_is_as_it_is():
    assert await call(served("/healthz", Reply(b"ok\n")), "GET", "/healthz") == b"ok\n"


@pytest.mark.parametrize("path", ["/v1/clients", "/v1/of-a-later-version"])
async def test_whatever_is_not_known_to_be_free_of_names_is_refused(path):
    with pytest.raises(HttpError, match="web_names = no: names and addresses") as refused:
        await call(served(path, STATUS), "GET", path)
    assert refused.value.status == 403
