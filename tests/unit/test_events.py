"""Events: each has a type, a sentence and a level, and survives its way through JSON."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cuberouted import events
from cuberouted.events import (
    AnyEvent,
    ClientJoined,
    ClientKilled,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    Level,
    OpenVPNStateChanged,
    PeerStateChanged,
    RouteChanged,
    RouteTrace,
)
from cuberouted.model import Kind

HOST2: dict[str, Any] = {"address": "10.100.100.14", "client": "host2"}


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            ClientMoved(**HOST2, from_node="vpnsrvB", to_node="vpnsrvC", routed_after=0.00186),
            "host2 (10.100.100.14) moved vpnsrvB -> vpnsrvC, routed after 1.9 ms",
        ),
        (
            ClientJoined(**HOST2, to_node="vpnsrvB"),
            "host2 (10.100.100.14) joined at vpnsrvB",
        ),
        (
            ClientJoined(**HOST2, to_node="vpnsrvB", found=True, routed_after=0.25),
            "host2 (10.100.100.14) found at vpnsrvB, routed after 250.0 ms",
        ),
        (
            ClientJoined(address="10.7.0.0/24", client="host2", kind=Kind.NETWORK, to_node="B"),
            "network 10.7.0.0/24 behind host2 joined at B",
        ),
        (ClientRenewed(**HOST2, to_node="B"), "host2 (10.100.100.14) reconnected at B"),
        (ClientLeft(**HOST2, from_node="B"), "host2 (10.100.100.14) left B"),
        (
            ClientLeft(**HOST2, from_node="B", why="peer B is down"),
            "host2 (10.100.100.14) left B: peer B is down",
        ),
        (
            ClientKilled(**HOST2, openvpn="", cid=5, why="superseded by one on vpnsrvC"),
            (
                "openvpn: killing the session of host2 (10.100.100.14), client id 5:"
                " superseded by one on vpnsrvC"
            ),
        ),
        (
            RouteChanged(address="10.1.1.1", trace=RouteTrace.ADDED, via="vpnsrvB"),
            "route 10.1.1.1 added to vpnsrvB",
        ),
        (
            RouteChanged(address="10.1.1.1", trace=RouteTrace.REMOVED, why="by another program"),
            "route 10.1.1.1 removed: by another program",
        ),
    ],
)
def test_sentences(event, sentence):
    assert str(event) == sentence
    assert events.decode(events.encode(event)) == event


def test_levels_follow_what_happened():
    peer: dict[str, Any] = {"peer": "B", "known_as": "B", "why": "x"}
    assert PeerStateChanged(**peer, old="down", new="up").level is Level.INFO
    assert PeerStateChanged(**peer, old="up", new="down").level is Level.WARNING
    well = OpenVPNStateChanged(openvpn="", old="waiting", new="connected", why="")
    assert (well.level, str(well)) == (Level.INFO, "openvpn: waiting -> connected, all is well")
    assert RouteChanged(address="10.1.1.1", trace=RouteTrace.ADDED).level is Level.DEBUG


def test_a_line_of_json_has_the_type_the_level_and_the_sentence():
    line = events.encode(ClientLeft(**HOST2, from_node="B", number=7, node="vpnsrvA"))
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert msgspec.json.decode(line) == {
        "type": "client_left",
        "number": 7,
        "time": "1970-01-01T00:00:00Z",
        "node": "vpnsrvA",
        "address": "10.100.100.14",
        "client": "host2",
        "kind": "client",
        "from_node": "B",
        "why": "",
        "level": "info",
        "text": "host2 (10.100.100.14) left B",
    }


def test_every_event_can_be_decoded_and_its_type_is_its_name_in_words():
    classes = typing.get_args(AnyEvent)
    tags = {cls.__struct_config__.tag for cls in classes}
    assert len(tags) == len(classes)
    assert {"openvpn_state_changed", "peer_state_changed", "client_moved"} <= tags
    concrete = [
        value
        for name, value in vars(events).items()
        if isinstance(value, type)
        and issubclass(value, events.Event)
        and name not in {"Event", "ClientEvent"}
    ]
    assert set(concrete) == set(classes)


def test_the_document_has_each_event_with_its_level_and_keys():
    document = Path(__file__).parents[2] / "docs" / "events.md"
    rows = [line.strip("|\n ").split(" | ") for line in document.read_text("utf-8").splitlines()]
    documented = {row[0].strip("`"): (row[1], row[3]) for row in rows if len(row) == 4}
    del documented["type"], documented["---"]
    common = events.Event.__struct_fields__
    expected = {
        cls.__struct_config__.tag: " ".join(
            f"`{field}`" for field in cls.__struct_fields__ if field not in common
        )
        for cls in typing.get_args(AnyEvent)
    }
    assert {tag: keys for tag, (_, keys) in documented.items()} == expected
    for cls in typing.get_args(AnyEvent):
        levels = documented[cls.__struct_config__.tag][0].split(", ")
        assert cls.LEVEL in levels
        assert (len(levels) == 2) == ("level" in vars(cls))


@pytest.mark.parametrize("line", [b"", b"{", b'{"type":"client_gone"}', b"[]", b'{"type":1}'])
def test_anything_else_is_refused(line):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's errors are ValueErrors
        events.decode(line)
