from __future__ import annotations

import threading

import pytest
import trio

from cuberouted.util.tasks import run_in_thread, run_trio


async def fail_in_a_nursery(text: str) -> None:
    async with trio.open_nursery():
        raise ValueError(text)


def test_a_nursery_raises_a_group_for_one_exception_too() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run_trio(fail_in_a_nursery, "alone")
    assert [str(error) for error in caught.value.exceptions] == ["alone"]


async def test_nurseries_of_tests_do_so_too() -> None:
    with pytest.raises(ExceptionGroup):
        await fail_in_a_nursery("alone")


async def test_a_function_in_a_thread_returns_its_result() -> None:
    assert await run_in_thread(divmod, 7, 2) == (3, 1)


async def test_a_thread_that_hangs_does_not_hold_up_who_is_cancelled(autojump_clock) -> None:
    released, ended = threading.Event(), threading.Event()

    def hang() -> None:
        released.wait(60)
        ended.set()

    with trio.move_on_after(1) as scope:
        await run_in_thread(hang)
    assert scope.cancelled_caught
    assert not ended.is_set()
    released.set()
    assert ended.wait(60)
