"""A task that can be cancelled and waited for while its nursery goes on."""

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
