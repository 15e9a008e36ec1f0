"""Requests to a peer over a network that loses messages, and floods of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from cuberouted.events import Event, PeerWarning
from cuberouted.peering.messages import (
    AnyReply,
    AnyRequest,
    Direct,
    DisconnectReply,
    DisconnectRequest,
    Outcome,
)
from cuberouted.peering.received_requests import (
    MAX_PENDING,
    MAX_REMEMBERED,
    MAX_TOKENS,
    TOKENS_PER_SECOND,
    ReceivedRequests,
    Verdict,
)
from cuberouted.peering.requests import REPEAT_DELAYS, Requests

REQUEST = DisconnectRequest(client=b"host1", by="root")
DONE = DisconnectReply(outcome=Outcome.ENDED, client_ids=(5,))
GIVEN_UP = sum(REPEAT_DELAYS)


class Wire:
    """A and B; ``lost(sender, number)``: whether the message with that number from 0 is lost."""

    def __init__(self, lost: Callable[[str, int], bool], takes: float = 0.0) -> None:
        self.answered: list[bytes] = []
        self.sent = {"A": 0, "B": 0}
        self.takes = takes
        self._lost = lost
        self.emitted: list[Event] = []
        rng = random.Random(1)
        self.nodes = {
            name: Requests(self._sender(name), self._answer, rng.randbytes, self.emitted.append)
            for name in "AB"
        }

    def _sender(self, name: str) -> Callable[[str, bytes, AnyRequest | AnyReply], None]:
        def send(node: str, id_: bytes, body: AnyRequest | AnyReply) -> None:
            number, self.sent[name] = self.sent[name], self.sent[name] + 1
            if not self._lost(name, number) and node in self.nodes:
                message = Direct(node=name, epoch=1, seq=1, id=id_, body=body)
                self.nodes[node].receive(name, message)

        return send

    async def _answer(self, _peer: str, request: AnyRequest) -> AnyReply:
        await trio.sleep(self.takes)
        assert isinstance(request, DisconnectRequest)
        self.answered.append(request.client)
        return DONE

    async def ask(self, node: str = "B") -> DisconnectReply | None:
        return await self.nodes["A"].ask(node, node, REQUEST, DisconnectReply)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Wire]:
        async with trio.open_nursery() as nursery:
            for requests in self.nodes.values():
                nursery.start_soon(requests.run)
            await trio.testing.wait_all_tasks_blocked()
            yield self
            nursery.cancel_scope.cancel()


async def test_a_request_is_answered(autojump_clock: MockClock) -> None:
    async with Wire(lambda *_: False).running() as wire:
        assert await wire.ask() == DONE
        assert wire.sent == {"A": 1, "B": 1}


@pytest.mark.parametrize("loser", ["A", "B"])
async def test_lost_messages_are_made_up_for_and_nothing_is_done_twice(
    autojump_clock: MockClock, loser: str
) -> None:
    lost = len(REPEAT_DELAYS) - 1
    async with Wire(lambda sender, n: sender == loser and n < lost).running() as wire:
        assert await wire.ask() == DONE
        assert wire.answered == [b"host1"]
        assert wire.sent["A"] == lost + 1


async def test_a_slow_answer_is_waited_for_and_made_once(autojump_clock: MockClock) -> None:
    async with Wire(lambda *_: False, takes=10.0).running() as wire:
        assert await wire.ask() == DONE
        assert wire.answered == [b"host1"]


async def test_without_a_reply_a_request_is_given_up(autojump_clock: MockClock) -> None:
    async with Wire(lambda *_: False).running() as wire:
        began = trio.current_time()
        assert await wire.ask("C") is None
        assert trio.current_time() - began == pytest.approx(GIVEN_UP)
        assert wire.sent["A"] == len(REPEAT_DELAYS)


async def test_a_reply_counts_only_from_the_peer_that_was_asked(autojump_clock: MockClock) -> None:
    async with Wire(lambda *_: True).running() as wire, trio.open_nursery() as nursery:
        results: list[DisconnectReply | None] = []

        async def ask() -> None:
            results.append(await wire.ask())

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        [(_, id_)] = wire.nodes["A"]._pending
        forged = Direct(node="C", epoch=1, seq=1, id=id_, body=DONE)
        wire.nodes["A"].receive("C", forged)
        await trio.sleep(GIVEN_UP + 1)
        assert results == [None]


async def test_a_flood_of_requests_is_bounded_and_few_events(autojump_clock: MockClock) -> None:
    async with Wire(lambda *_: False, takes=1.0).running() as wire:
        rng = random.Random(2)
        for _ in range(50):
            for _ in range(1000):
                message = Direct(node="A", epoch=1, seq=1, id=rng.randbytes(8), body=REQUEST)
                wire.nodes["B"].receive("A", message)
            await trio.sleep(0.2)
        assert len(wire.answered) <= MAX_TOKENS + 10 * TOKENS_PER_SECOND
        assert len(wire.answered) <= 10 * MAX_PENDING
        why = "dropped a request: too many"
        assert wire.emitted == [PeerWarning(peer="A", why=why)]
        await trio.sleep(60)
        dropped = 50 * 1000 - len(wire.answered)
        assert await wire.ask() == DONE
        for _ in range(MAX_PENDING + 1):
            message = Direct(node="A", epoch=1, seq=1, id=rng.randbytes(8), body=REQUEST)
            wire.nodes["B"].receive("A", message)
        assert wire.emitted[1:] == [PeerWarning(peer="A", why=why, count=dropped)]


async def test_a_failing_answer_ends_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Wire(lambda *_: False).running() as wire:

        async def fail(_peer: str, _request: AnyRequest) -> AnyReply:
            raise RuntimeError("a bug")

        good, wire.nodes["B"]._answer = wire.nodes["B"]._answer, fail
        assert await wire.ask() is None
        assert "its request failed" in caplog.text
        wire.nodes["B"]._answer = good
        assert await wire.ask() == DONE


async def test_at_the_end_requests_are_not_answered_and_harm_nothing(
    autojump_clock: MockClock,
) -> None:
    async with Wire(lambda *_: False).running() as wire:
        pass
    message = Direct(node="A", epoch=1, seq=1, id=bytes(8), body=REQUEST)
    wire.nodes["B"].receive("A", message)
    assert wire.answered == []


def test_what_is_remembered_is_bounded_and_the_newest() -> None:
    requests = ReceivedRequests()
    ids = [number.to_bytes(8) for number in range(MAX_REMEMBERED + 1)]
    for second, id_ in enumerate(ids):
        assert requests.receive(id_, second) is Verdict.ANSWER
        requests.answered(id_, DONE)
    assert requests.receive(ids[-1], 100) == DONE
    assert requests.receive(ids[1], 100) == DONE
    assert requests.receive(ids[0], 100) is Verdict.ANSWER
