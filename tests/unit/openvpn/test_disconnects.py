"""Sessions that a user ends: which commands OpenVPN gets, and what the user is told."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from cuberouted.openvpn.disconnects import MAX_NAMES, Disconnected, Disconnects
from cuberouted.openvpn.management_source import DISCONNECT_TIMEOUT
from tests.fakes.openvpn import CLIENT_KILL_TIME, FakeOpenVPN
from tests.unit.openvpn.harness import Watched, settle, watched

A, B, C = b"10.9.0.50", b"10.9.0.51", b"10.9.0.52"


async def disconnect(w: Watched, name: bytes) -> tuple[list[int], str]:
    """The client ids of the ended sessions, and the problem."""
    result = await w.source.disconnect(name)
    assert result.name == name
    return [client.session.cid for client in result.ended], result.problem


async def test_a_client_s_only_session_is_ended_at_once(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        w.openvpn.connect(b"host2", B)
        await settle()
        began = trio.current_time()
        assert await disconnect(w, b"host2") == ([1], "")
        assert trio.current_time() - began < 0.01
        assert w.kills == [b'kill "host2"']
        await settle()
        assert set(w.recorder.names.values()) == {b"host1"}


async def test_all_sessions_of_a_name_are_ended(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        for address in (A, B):
            w.openvpn.connect(b"twin", address)
        w.openvpn.connect(b"host1", C)
        await settle()
        assert await disconnect(w, b"twin") == ([0, 1], "")
        await settle()
        assert set(w.recorder.names.values()) == {b"host1"}


@pytest.mark.parametrize("name", [b"host:9", b"x" * 128, b"a:\xff\x80b"])
async def test_a_name_that_kill_cannot_take_is_ended_by_client_id(
    autojump_clock: MockClock, name: bytes
) -> None:
    async with watched(FakeOpenVPN()) as w:
        for address in (A, B):
            w.openvpn.connect(name, address)
        await settle()
        assert await disconnect(w, name) == ([0, 1], "")
        assert w.kills == [b"client-kill 0", b"client-kill 1"]
        await trio.sleep(CLIENT_KILL_TIME + 0.1)
        assert w.recorder.names == {}


async def test_odd_bytes_of_a_name_are_sent_as_they_are(autojump_clock: MockClock) -> None:
    name = b'\xff\xfe "q" \\'
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(name, A)
        await settle()
        assert await disconnect(w, name) == ([0], "")
        assert w.kills == [b'kill "\xff\xfe \\"q\\" \\\\"']


async def test_a_session_that_has_no_route_is_ended_too(autojump_clock: MockClock) -> None:
    """A client without an address is listed, and nobody else knows it."""
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", b"", quiet=True)
        await settle()
        assert w.recorder.names == {}
        assert await disconnect(w, b"host1") == ([0], "")


async def test_nobody_is_ended_where_nobody_has_the_name(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        assert await disconnect(w, b"host") == ([], "")
        assert w.kills == []


async def test_what_kill_refuses_is_ended_by_client_id(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.refuse_kill = True
        assert await disconnect(w, b"host1") == ([0], "")
        assert w.kills == [b'kill "host1"', b"client-kill 0"]


async def test_what_openvpn_cannot_end_is_told(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN(version="2.3")) as w:
        w.openvpn.connect(b"host1", A, quiet=True)
        w.openvpn.connect(b"host:1", B, quiet=True)
        await trio.sleep(31)
        w.openvpn.refuse_kill = True
        ended, problem = await disconnect(w, b"host1")
        assert (ended, problem) == ([], "OpenVPN answers: common name 'host1' not found")
        ended, problem = await disconnect(w, b"host:1")
        assert ended == []
        assert "no client ids" in problem


async def test_two_who_ask_at_the_same_time_get_one_answer_for_one_kill(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        results: list[tuple[list[int], str]] = []

        async def ask() -> None:
            results.append(await disconnect(w, b"host1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert results == [([0], ""), ([0], "")]
        assert w.kills == [b'kill "host1"']


async def test_many_names_need_one_listing(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        names = [b"host%d" % number for number in range(50)]
        for number, name in enumerate(names):
            w.openvpn.connect(name, b"10.9.1.%d" % number)
        await settle()
        before = w.openvpn.asked.count(b"status 3")
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(partial(w.source.disconnect, name))
        assert len(w.kills) == 50
        assert w.openvpn.asked.count(b"status 3") <= before + 2


async def test_a_silent_openvpn_is_told_and_kills_nobody_later(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.fall_silent()
        began = trio.current_time()
        assert await disconnect(w, b"host1") == ([], "no answer from OpenVPN in 10 s")
        assert trio.current_time() - began == pytest.approx(DISCONNECT_TIMEOUT)
        w.openvpn.wake_up()
        await trio.sleep(60)
        assert w.kills == []
        assert await disconnect(w, b"host1") == ([0], "")


async def test_an_openvpn_that_is_gone_is_told_only_where_it_had_the_client(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.stop()
        await trio.sleep(0.2)
        ended, problem = await disconnect(w, b"host1")
        assert ended == []
        assert problem.startswith("OpenVPN is not connected (waiting); ")
        assert await disconnect(w, b"host2") == ([], "")


async def test_a_connection_that_ends_meanwhile_is_told(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.fall_silent()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                ended, problem = await disconnect(w, b"host1")
                assert (ended, "ended before" in problem) == ([], True)

            await trio.sleep(1)
            w.openvpn.hang_up()
            w.openvpn.wake_up()


async def test_an_incomplete_listing_is_followed_by_another(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.cut_after = 3

        async def mend() -> None:
            await trio.sleep(0.5)
            w.openvpn.cut_after = None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(mend)
            assert await disconnect(w, b"host1") == ([0], "")


def test_the_number_of_names_at_a_time_is_limited() -> None:
    disconnects = Disconnects()
    needed = [disconnects.request(b"host%d" % number) for number in range(MAX_NAMES + 1)]
    assert needed == [True] * MAX_NAMES + [False]
    [refused] = disconnects.finished
    assert refused == Disconnected(b"host100", problem=refused.problem)
    assert "try again" in refused.problem
