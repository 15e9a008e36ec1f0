"""FastPathLock: acquiring it is no checkpoint while it is free."""

from __future__ import annotations

import contextlib

import trio
import trio.testing

from cuberouted.util.lock import FastPathLock


async def test_acquiring_a_free_lock_is_no_checkpoint():
    lock = FastPathLock()
    with trio.testing.assert_no_checkpoints():
        for _ in range(2):
            async with lock:
                pass


async def test_waiting_tasks_get_the_lock_in_order(autojump_clock):
    lock, acquired = FastPathLock(), []

    async def acquire(number):
        async with lock:
            await trio.sleep(1)
            acquired.append((number, trio.current_time()))

    async with trio.open_nursery() as nursery:
        begin = trio.current_time()
        for number in range(4):
            nursery.start_soon(acquire, number)
            await trio.testing.wait_all_tasks_blocked()
    assert acquired == [(number, begin + number + 1) for number in range(4)]


async def test_lock_is_free_after_an_error_and_after_a_cancelled_wait(autojump_clock):
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
                raise AssertionError("another task holds the lock")
        assert waiting.cancelled_caught
    with trio.testing.assert_no_checkpoints():
        async with lock:
            pass
