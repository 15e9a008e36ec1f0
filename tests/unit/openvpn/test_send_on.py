"""Clients that are sent on to another server: what OpenVPN gets, and what is impossible."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from cuberouted.model import LocalRoute, Prefix, SessionId
from cuberouted.openvpn.connection import MAX_TO_SEND_ON
from cuberouted.openvpn.protocol import NO_CID
from tests.fakes.openvpn import CLIENT_KILL_TIME, SEND_ON_TIME, FakeOpenVPN
from tests.fakes.openvpn_listing import Client
from tests.unit.openvpn.harness import Watched, settle, watched

A, B = b"10.9.0.50", b"10.9.0.51"


def route(w: Watched, address: bytes) -> LocalRoute:
    return w.recorder.routes[Prefix.parse(address.decode())]


def sent_on(w: Watched) -> list[str]:
    return [text for text in w.recorder.sentences if "sent on" in text]


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
@pytest.mark.parametrize("shared", [False, True])
async def test_the_client_is_told_to_go_to_its_next_server(
    autojump_clock: MockClock, version: str, shared: bool
) -> None:
    gone: list[tuple[float, Client]] = []
    async with watched(FakeOpenVPN(version), shared=shared) as w:
        w.openvpn.on_sent_on = lambda client: gone.append((trio.current_time(), client))
        w.openvpn.connect(b"host1", A)
        w.openvpn.connect(b"host2", B)
        await settle()
        began = trio.current_time()
        assert w.source.send_on(route(w, B).session)
        await trio.sleep(SEND_ON_TIME + 0.1)
        assert w.kills == [b"client-kill 1 RESTART,[N]"]
        [(at, client)] = gone
        assert (client.name, round(at - began, 1)) == (b"host2", SEND_ON_TIME)
        assert set(w.recorder.names.values()) == {b"host1", b"host2"}  # it is still listed
        await trio.sleep(CLIENT_KILL_TIME)
        assert set(w.recorder.names.values()) == {b"host1"}
        assert sent_on(w) == []


async def test_several_are_sent_on_by_one_write(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        for number in range(50):
            w.openvpn.connect(b"host%d" % number, b"10.9.0.%d" % (number + 1))
        await settle()
        for each in w.source.sessions.routes():
            assert w.source.send_on(each.session)
        await trio.sleep(CLIENT_KILL_TIME + 1.1)
        assert w.kills == [b"client-kill %d RESTART,[N]" % cid for cid in range(50)]
        assert w.recorder.names == {}


async def test_a_client_that_has_just_gone_is_noted_once_a_minute(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        for _ in range(2):
            for _ in range(3):
                assert w.source.send_on(SessionId(77, 1))
            await trio.sleep(61)
        why = "a client was not sent on: client-kill command failed"
        assert sent_on(w) == [
            f"openvpn: {why}",
            f"openvpn: {why} (2 similar messages suppressed)",
        ]
        assert set(w.recorder.names.values()) == {b"host1"}


async def test_it_is_impossible_without_a_client_id_or_a_connection(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN("2.3")) as w:
        w.openvpn.connect(b"host1", A, quiet=True)
        await trio.sleep(31)
        session = route(w, A).session
        assert session.cid == NO_CID
        assert not w.source.send_on(session)
        w.openvpn.stop()
        await settle()
        assert not w.source.send_on(SessionId(0, session.since))
        assert w.kills == []


async def test_a_silent_openvpn_is_not_asked(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.fall_silent()
        await trio.sleep(60)
        assert not w.source.send_on(route(w, A).session)


async def test_what_openvpn_was_not_told_yet_is_bounded(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        session = route(w, A).session
        done = [w.source.send_on(session) for _ in range(MAX_TO_SEND_ON + 5)]
        assert done.count(True) == MAX_TO_SEND_ON
