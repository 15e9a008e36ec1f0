from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from cuberouted.events import Event, OpenVPNWarningBegan, OpenVPNWarningEnded
from cuberouted.openvpn.omissions import (
    UNNAMED_DELAY,
    Omission,
    OmissionEvents,
    Omissions,
    has_ghosts,
)
from cuberouted.openvpn.status import Listing, ListingReader
from tests.fakes.openvpn import FakeOpenVPN
from tests.fakes.openvpn_listing import Client, rows
from tests.unit.openvpn.harness import settle, watched

NAMED = Client(1, b"host1", b"10.9.0.50", 1_795_222_140)
UNNAMED = attrs.evolve(NAMED, cid=2, name=b"UNDEF", address=b"10.9.0.51", real=(b"192.0.2.2", 9))
CONNECTING = attrs.evolve(UNNAMED, cid=3, address=b"", real=(b"192.0.2.3", 9))
ETHERNET = attrs.evolve(NAMED, address=b"", networks=(b"02:00:00:00:00:05@0",))


def listing(*clients: Client, wrong: bytes = b"", title: bytes = b"", dco: bool = False) -> Listing:
    reader = ListingReader()
    lines = rows("2.6", clients)[:-1]
    for line in [*lines, *([wrong] if wrong else [])]:
        reader.feed(line)
    return attrs.evolve(reader.finish(), title=title, dco=dco)


def test_a_listing_that_omits_nothing_has_no_sentence() -> None:
    omissions = Omissions()
    omissions.update(listing(NAMED, CONNECTING), 0)
    omissions.update(listing(NAMED, CONNECTING), 10)
    assert omissions.sentences == {}


def test_clients_without_a_name_are_told_once_they_stand() -> None:
    omissions = Omissions()
    omissions.update(listing(NAMED, UNNAMED), 0)
    assert omissions.sentences == {}
    omissions.update(listing(NAMED, UNNAMED), UNNAMED_DELAY)
    (sentence,) = omissions.sentences.values()
    assert "1 client without a common name" in sentence
    assert "username-as-common-name" in sentence
    omissions.update(listing(NAMED), 3)
    assert omissions.sentences == {}


def test_sessions_that_are_momentarily_without_a_name_are_not_told() -> None:
    omissions = Omissions()
    for cid in range(5):  # one after the other
        omissions.update(listing(attrs.evolve(UNNAMED, cid=cid)), cid * UNNAMED_DELAY)
        assert omissions.sentences == {}


def test_tap_clients_and_unreadable_rows_are_told_at_once() -> None:
    omissions = Omissions()
    omissions.update(listing(ETHERNET), 0)
    assert "dev tun" in omissions.sentences[Omission.ETHERNET]
    omissions.update(listing(NAMED, wrong=b"ROUTING_TABLE\tnonsense"), 0)
    assert omissions.sentences.keys() == {Omission.UNREADABLE}
    assert "1 row" in omissions.sentences[Omission.UNREADABLE]
    assert "nonsense" in omissions.sentences[Omission.UNREADABLE]


@pytest.mark.parametrize(
    ("version", "ghosts"),
    [
        (b"2.6.0", True),
        (b"2.6.14", True),
        (b"2.6.19", True),
        (b"2.6.20", False),
        (b"2.7_beta1", True),
        (b"2.7.0", False),
        (b"2.7.6", False),
        (b"2.8_git", False),
        (b"3.0.0", False),
        (b"unknown", False),
    ],
)
def test_dco_before_its_mend_is_told(version: bytes, ghosts: bool) -> None:
    title = b"OpenVPN " + version + b" x86_64-pc-linux-gnu [DCO]"
    assert has_ghosts(listing(title=title, dco=True)) is ghosts
    assert not has_ghosts(listing(title=title))
    omissions = Omissions()
    omissions.update(listing(title=title, dco=True), 0)
    assert (Omission.GHOSTS in omissions.sentences) is ghosts
    assert (len(omissions.warnings), omissions.problems) == (int(ghosts), ())


@pytest.mark.parametrize("separator", [b"\t", b","])
def test_dco_and_the_version_are_read_from_the_listing(separator: bytes) -> None:
    reader = ListingReader(None)
    for line in rows("2.6", [NAMED], separator)[:-1]:
        reader.feed(line.replace(b"dco_enabled%s0" % separator, b"dco_enabled%s1" % separator))
    assert has_ghosts(reader.finish())


def test_begin_and_end_are_events_and_few_a_minute() -> None:
    events: list[Event] = []
    omissions = OmissionEvents(events.append, "data")
    shown = {Omission.ETHERNET: "a sentence"}
    began = OpenVPNWarningBegan(openvpn="data", what=Omission.ETHERNET, why="a sentence")
    for now in range(3):
        omissions.update(shown, now)
    omissions.update({}, 3)
    assert events == [began, OpenVPNWarningEnded(openvpn="data", what=Omission.ETHERNET)]
    for now in range(4, 50):
        omissions.update(shown if now % 2 else {}, now)
    assert len(events) == 2
    omissions.update(shown, 70)
    assert events[2:] == [began]


async def test_clients_of_a_tap_device_come_and_go_without_an_update(
    autojump_clock: MockClock,
) -> None:
    """OpenVPN announces them with the address of its pool, and lists none."""
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", b"02:00:00:00:00:05@0", quiet=True)
        await trio.sleep(31)
        before = len(w.recorder.updates)
        started = b"".join(
            b">CLIENT:%s\r\n" % line
            for line in (
                b"ESTABLISHED,7",
                b"ENV,time_unix=1795222150",
                b"ENV,ifconfig_pool_remote_ip=10.9.0.51",
                b"ENV,common_name=host2",
                b"ENV,END",
            )
        )
        w.openvpn.say(started)
        await settle()
        assert (w.recorder.names, len(w.recorder.updates)) == ({}, before)
        w.openvpn.restart()
        w.openvpn.restarted()  # maybe with another configuration
        await settle()
        w.openvpn.say(started)
        await settle()
        assert b"host2" in {route.name for u in w.recorder.updates for route in u.routes}
