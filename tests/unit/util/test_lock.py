"""A lock that is no checkpoint while it is free."""

from __future__ import annotations

import contextlib

import trio
import trio.testing

from cuberouted.util.lock import FastPathLock


async def test_where_it_is_free_it_waits_for_nothing():
    lock = FastPathLock()
    with trio.testing.assert_no_checkpoints():
        for _ in range(2):
            async with lock:
                pass


async def test_those_who_wait_get_it_in_the_order_in_which_they_came(autojump_clock):
    lock, had = FastPathLock(), []

    async def have(who):
        async with lock:
            await trio.sleep(1)
            had.append((who, trio.current_time()))

    async with trio.open_nursery() as nursery:
        begin = trio.current_time()
        for who in range(4):
            nursery.start_soon(have, who)
            await trio.testing.wait_all_tasks_blocked()
    assert had == [(who, begin + who + 1) for who in range(4)]


async def test_it_is_free_again_after_an_error_and_after_a_wait_was_cancelled(autojump_clock):
    lock = FastPathLock()

    async def fail():
        with contextlib.suppress(KeyError):
            async with lock:
                await trio.sleep(2)
                raise KeyError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as waiting:
            async with lock:
                raise AssertionError("somebody else has it")
        assert waiting.cancelled_caught
    with trio.testing.assert_no_checkpoints():
        async with lock:
            pass
