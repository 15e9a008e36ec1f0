"""A fake kernel that reports what was changed, and refuses changes on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cuberouted.model import Prefix
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.types import Change, ChangeError, Nexthop, Op, Route, StrayRoute
from tests.fakes.kernel_state import Entry, Place
from tests.fakes.server import RecordingKernel

Lost = Mapping[Prefix, int]
"""Our routes that an `apply` removed and did not add again: prefix -> interface index."""


class SimulatedKernel(RecordingKernel):
    """``refuses`` returns the errno for a change, or 0. ``on_apply`` is called after every
    `apply` with the changes made, the routes lost, and the foreign routes changed.

    ``refuses_addresses``: the errno for `set_address`, or 0. ``on_address`` is called after an
    address was set by the daemon, with the address and whether it is there now; ``on_refused``
    after one could not be added.
    """

    def __init__(self, table: int) -> None:
        super().__init__(table)
        self.refuses: Callable[[Change], int] = lambda _: 0
        self.on_apply: Callable[[Sequence[Change], Lost, Sequence[Place]], None] = lambda *_: None
        self.refuses_addresses = 0
        self.on_address: Callable[[bytes, bool], None] = lambda *_: None
        self.on_refused: Callable[[bytes], None] = lambda _: None
        self._touched: list[Place] = []
        self._vanished: dict[Prefix, int] = {}

    async def set_address(self, device: int, address: bytes, *, present: bool) -> None:
        """See `KernelApi`."""
        before = self.has_address(address)
        try:
            await self._set_address(device, address, present=present)
        except KernelError:
            if present:
                self.on_refused(address)
            raise
        if before != present:
            self.on_address(address, present)

    async def _set_address(self, device: int, address: bytes, *, present: bool) -> None:
        if self.refuses_addresses:
            raise KernelError("the address was refused", self.refuses_addresses)
        await super().set_address(device, address, present=present)

    def has_address(self, address: bytes) -> bool:
        """Whether this address is on any device."""
        return any(a.local == address for d in self.devices.values() for a in d.addresses)

    async def apply(self, changes: Sequence[Change]) -> tuple[ChangeError, ...]:
        """See `KernelApi`."""
        self._vanished, self._touched = {}, []
        refused = await super().apply(changes)
        failed = {refusal.change for refusal in refused}
        made = [change for change in changes if change not in failed]
        if changes:
            self.on_apply(made, self._vanished, self._touched)
        return refused

    def _make(self, change: Change) -> int:
        number = self.refuses(change)
        if number:
            return number
        before = self._removed_by(change)
        foreign = self._foreign_at(change)
        number = super()._make(change)
        if foreign is not None and self.routes.get(foreign[0]) != foreign[1]:
            self._touched.append(foreign[0])
        if change.op is Op.DELETE:
            self._vanished |= {p: d for p, d in before.items() if not self._has(p)}
        elif isinstance(change.what, Route) and not number:
            self._vanished.pop(change.what.prefix, None)
        return number

    def _has(self, prefix: Prefix) -> bool:
        return Place(prefix, self.table, self.metric) in self.routes

    def _removed_by(self, change: Change) -> dict[Prefix, int]:
        """The routes that *change* may remove."""
        what = change.what
        if change.op is not Op.DELETE or isinstance(what, StrayRoute):
            return {}
        if isinstance(what, Route):
            entry = self.routes.get(Place(what.prefix, self.table, self.metric))
            ours = entry is not None and entry.protocol == self.protocol
            return {what.prefix: entry.device or 0} if entry is not None and ours else {}
        return {
            place.prefix: entry.device or 0
            for place, entry in self.routes.items()
            if entry.nexthop == what.id and entry.protocol == self.protocol
        }

    def _foreign_at(self, change: Change) -> tuple[Place, Entry] | None:
        what = change.what
        if isinstance(what, Nexthop):
            return None
        table, metric = self.table, self.metric
        if isinstance(what, StrayRoute):
            table, metric = what.table, what.metric
        place = Place(what.prefix, table, metric)
        entry = self.routes.get(place)
        return None if entry is None or entry.protocol == self.protocol else (place, entry)
