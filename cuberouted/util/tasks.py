"""A task that comes and goes while others stay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio


@attrs.frozen
class CancellableTask:
    """One such task: its scope, and whether it has ended."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run *task* until it is ended."""
        try:
            with self.scope:
                await task()
        finally:
            self.ended.set()

    async def end(self) -> None:
        """Cancel it, and wait until it has ended."""
        self.scope.cancel()
        await self.ended.wait()
