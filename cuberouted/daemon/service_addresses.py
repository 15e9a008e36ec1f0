"""The addresses of services on this host's interface: adds them, removes them, and leftovers."""

from __future__ import annotations

import math
from collections.abc import Collection

import attrs
import trio

from cuberouted.events import Emit, NodeProblem, NodeProblemEnded
from cuberouted.model import format_address
from cuberouted.routing.kernel_api import KernelApi, KernelError
from cuberouted.routing.types import Link, links_by_name
from cuberouted.util.ratelimit import LogRateLimit, suppressed_note

MIN_INTERVAL = 0.05
"""Seconds between two readings of the links, however often they change."""

FIRST_RETRY, MAX_RETRY = 1.0, 60.0
"""Seconds until a request that the kernel has refused is made again; doubled each time."""


def subject(service: str) -> str:
    """`NodeProblem.what` of a service."""
    return f"service {service}"


@attrs.define
class _Failure:
    """A request that the kernel has refused. ``delay``: seconds from the last one to the next."""

    service: str
    present: bool
    why: str
    retry_at: float
    delay: float


class ServiceAddresses:
    """Which addresses are on *interface* of *kernel*; all methods are for one task alone.

    ``known``: whether the links have been read.
    """

    def __init__(self, kernel: KernelApi, interface: str, emit: Emit) -> None:
        self.interface = interface
        self.known = False
        self._kernel = kernel
        self._emit = emit
        self._device: Link | None = None
        self._present: set[bytes] = set()
        self._leftovers: list[tuple[Link, bytes]] = []
        self._stale = True
        self._read_at = -math.inf
        self._failures: dict[bytes, _Failure] = {}
        self._limit = LogRateLimit()

    def __contains__(self, address: bytes) -> bool:
        return address in self._present

    @property
    def deadline(self) -> float:
        """When `refresh` or `set` has something to do again."""
        now = trio.current_time()
        due = self._read_at + MIN_INTERVAL if self._stale else math.inf
        retries = (f.retry_at for f in self._failures.values() if f.retry_at > now)
        return min(due, *retries, math.inf)

    def links_changed(self) -> None:
        """The links may have other addresses: read them at the next `refresh`."""
        self._stale = True

    def error(self, address: bytes) -> str:
        """Why *address* could not be added or removed, until that is tried again; or empty."""
        failure = self._failures.get(address)
        return failure.why if failure is not None and trio.current_time() < failure.retry_at else ""

    async def refresh(self, wanted: Collection[bytes]) -> None:
        """Read the links, if they have changed. Remove all of our addresses that are not *wanted*.

        Those on other interfaces as well: an earlier run may have had another service_interface.
        """
        now = trio.current_time()
        if not self._stale or now < self._read_at + MIN_INTERVAL:
            return
        self._read_at = now
        self._stale = False  # before the answer: what changes meanwhile may not be in it
        try:
            links = await self._kernel.links()
            self._device = links_by_name(links).get(self.interface)
            present = () if self._device is None else self._device.addresses
            self._present = {address.local for address in present}
            self.known = True
            for link in links:
                here = self._device is not None and link.index == self._device.index
                for address in link.ours:
                    if not here or address not in wanted:
                        await self._remove_leftover(link, address)
        except KernelError as error:
            self._stale = True
            self._read_at = now + FIRST_RETRY
            self._report("services", str(error))

    async def set(self, service: str, address: bytes, *, present: bool) -> bool:
        """Make sure that *address* is there, or is not. Return whether that is so."""
        if (address in self._present) is present:
            self._succeeded(address, present)
            return True
        if self.error(address):
            return False
        if self._device is None:  # then `address` is not there
            self._failed(service, address, present, f"there is no interface {self.interface}")
            return False
        try:
            await self._kernel.set_address(self._device.index, address, present=present)
        except KernelError as error:
            self._failed(service, address, present, str(error))
            return False
        if present:
            self._present.add(address)
        else:
            self._present.discard(address)
        self._succeeded(address, present)
        return True

    async def _remove_leftover(self, link: Link, address: bytes) -> None:
        await self._kernel.set_address(link.index, address, present=False)
        if self._device is not None and link.index == self._device.index:
            self._present.discard(address)
        why = f"removed {format_address(address)} from {link.name}: no service here has it there"
        self._report("services", why)

    def _failed(self, service: str, address: bytes, present: bool, why: str) -> None:
        before = self._failures.get(address)
        delay = FIRST_RETRY if before is None else min(2 * before.delay, MAX_RETRY)
        retry_at = trio.current_time() + delay
        self._failures[address] = _Failure(service, present, why, retry_at, delay)
        self._stale = True  # the interface may be another one with the same name
        if before is None or before.why != why:
            self._report(subject(service), why)

    def _succeeded(self, address: bytes, present: bool) -> None:
        failure = self._failures.get(address)
        # that it need not be there now proves nothing about adding it
        if failure is not None and (present or not failure.present):
            del self._failures[address]
            self._emit(NodeProblemEnded(what=subject(failure.service)))

    def _report(self, what: str, why: str) -> None:
        suppressed = self._limit.allow(what, trio.current_time())
        if suppressed is not None:
            self._emit(NodeProblem(what=what, why=why + suppressed_note(suppressed)))
