from __future__ import annotations

import json

import msgspec
import pytest

from cuberouted.api import report
from cuberouted.api.report import OpenVPNRow, PeerRow, RouteCounts, Status


def status(openvpns=("connected",), peers=("up",)):
    return Status(
        node="A",
        uptime=1.0,
        openvpn=[OpenVPNRow("openvpn", state, "2.6.14", 1) for state in openvpns],
        peers=[PeerRow("B", state, 1, 0.1) for state in peers],
        routes=RouteCounts(1, 1, 0),
    )


@pytest.mark.parametrize(
    ("openvpns", "peers", "well"),
    [
        (["connected"], ["up", "up"], True),
        (["connected"], [], True),
        (["connected", "waiting"], ["up"], False),
        (["silent"], ["up"], False),
        (["connected"], ["up", "syncing"], False),
        (["connected"], ["down"], False),
        (["connected"], ["restarting"], False),
    ],
)
def test_all_is_well_when_openvpn_and_every_peer_are_there(openvpns, peers, well):
    assert status(openvpns, peers).well is well


def test_a_problem_is_not_well():
    assert not msgspec.structs.replace(status(), problems=["waiting for interface tun1"]).well
    assert msgspec.structs.replace(status(), warnings=["it may list ghosts"]).well


def test_the_keys_of_status_are_those_of_the_documentation():
    found = json.loads(msgspec.json.encode(status()))
    assert found.keys() >= {"node", "uptime", "openvpn", "peers", "routes"}
    assert found["openvpn"][0].keys() >= {"name", "state", "version", "clients"}
    assert found["peers"][0].keys() >= {"name", "state", "clients", "last_heard"}
    assert found["routes"].keys() == {"desired", "installed", "conflicts"}
    assert msgspec.json.decode(msgspec.json.encode(status()), type=Status) == status()


@pytest.mark.parametrize(
    ("since", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_262_400.9, "2026-11-21T12:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (1e300, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_iso_8601_in_utc(since, text):
    assert report.iso_time(since) == text


def test_what_openvpn_counts_is_shown_where_not_all_is_shared():
    assert OpenVPNRow("openvpn", "connected", None, 2).shared == "2"
    assert OpenVPNRow("openvpn", "connected", None, 2, counted=2).shared == "2"
    assert OpenVPNRow("openvpn", "connected", None, 2, counted=5).shared == "2 of 5"
    assert OpenVPNRow("openvpn", "connected", None, 2, counted=1).shared == "2"


def test_an_openvpn_whose_list_cannot_be_used_is_not_well():
    row = OpenVPNRow("openvpn", "connected", "2.6.14", 0, "this OpenVPN is no server")
    assert not msgspec.structs.replace(status(), openvpn=[row]).well


def test_things_are_counted_as_in_english():
    assert [report.pluralize(number, "peer") for number in (0, 1, 2)] == [
        "0 peers",
        "1 peer",
        "2 peers",
    ]
