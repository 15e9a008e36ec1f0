"""Runs of trio, threads, tasks that can be cancelled on their own, and signals between tasks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import attrs
import trio
import trio.abc

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


def run_trio(
    main: Callable[[*Arguments], Awaitable[T]],
    *args: *Arguments,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """`trio.run`, in which nurseries raise exception groups also for one exception.

    Without the option that is so from trio 0.25 on.
    """
    return trio.run(  # noqa: TID251
        main, *args, clock=clock, instruments=instruments, strict_exception_groups=True
    )


_ABANDON: dict[str, Any] = {
    "abandon_on_cancel"
    if "abandon_on_cancel" in inspect.signature(trio.to_thread.run_sync).parameters
    else "cancellable": True  # trio before 0.23
}


async def run_in_thread(function: Callable[[*Arguments], T], *args: *Arguments) -> T:
    """The result of *function*, from a thread, which goes on alone if we are cancelled."""
    return await trio.to_thread.run_sync(function, *args, **_ABANDON)


@attrs.frozen
class CancellableTask:
    """The cancel scope of one task, and an event that is set once the task has ended."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run *task* until it ends or is cancelled by `cancel`. Start this in a nursery, once."""
        try:
            with self.scope:
                await task()
        finally:
            self.ended.set()

    async def cancel(self) -> None:
        """Cancel the task and wait until it has ended."""
        self.scope.cancel()
        await self.ended.wait()


class Signal:
    """Wakes one waiting task. Setting it while that task is busy makes its next wait return."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake the task that waits, or will wait."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether `wait` would return at once."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the signal is set, and reset it."""
        await self._event.wait()
        self._event = trio.Event()
