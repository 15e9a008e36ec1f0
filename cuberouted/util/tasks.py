"""Tasks that can be cancelled while their nursery goes on, and signals between tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio


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
