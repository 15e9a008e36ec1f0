"""Maintenance of this node: drain, resume, and what is kept over a restart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import trio

from cuberouted.api.report import iso_time
from cuberouted.api.report_drain import (
    DrainOrder,
    DrainReport,
    RebalanceOrder,
    RebalanceReport,
)
from cuberouted.daemon.drainer import (
    LOOK_INTERVAL,
    Drainer,
    clients_here,
    other_nodes,
)
from cuberouted.daemon.rebalancer import Rebalancer
from cuberouted.events import (
    DrainFinished,
    NodeProblem,
    NodeProblemEnded,
    NodeStateChanged,
)
from cuberouted.maintenance import guards
from cuberouted.maintenance.client import Outcome
from cuberouted.maintenance.drain import Counts
from cuberouted.maintenance.record import DEFAULT_INTERVAL, MaintenanceRecord, RecordError
from cuberouted.model import MAX_REASON, NodeState, in_words, printable
from cuberouted.util.tasks import Signal

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon
    from cuberouted.daemon.local_service import LocalService

WHAT = "maintenance"
"""`NodeProblem.what`."""

NOBODY_TAKES = "maintenance: other nodes"
"""`NodeProblem.what` while nobody can be sent on."""

HAND_OVER_TIME = 5.0
"""Seconds for which the first client waits until the services of this node are elsewhere."""

HAND_OVER_INTERVAL = 0.05
"""Seconds between two looks at that."""

CLOCK = "the time that was given with --until"
"""Who has ended a maintenance that ends by itself."""


class MaintenanceError(Exception):
    """An order is refused. str() says why."""


class Maintenance:
    """Whether this node takes clients. ``record``: since when it is what it is, and why.

    ``problems``: what is wrong with it, by `NodeProblem.what`.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.record = MaintenanceRecord()
        self.problems: dict[str, str] = {}
        self.rebalancer = Rebalancer(daemon)
        self._daemon = daemon
        self._drainer: Drainer | None = None
        self._orders = trio.Lock()
        self._changed = Signal()
        self._hand_over_ends = -math.inf
        try:
            self.record = daemon.environment.records.read(daemon.config.state_directory)
        except RecordError as error:
            # it exists only while a node is not active
            self.record = MaintenanceRecord(
                state=NodeState.MAINTENANCE,
                since=max(0, int(daemon.environment.wall_clock())),
                reason="what it was before the restart cannot be read",
            )
            self.problems[WHAT] = (
                f"{error}; this node was not active when that was written, so it takes no clients"
                " and no services until `cuberouted resume`"
            )

    @property
    def is_active(self) -> bool:
        """Whether clients and services may come here."""
        return self.record.state is NodeState.ACTIVE

    @property
    def counts(self) -> Counts | None:
        """What became of the clients, as of the last look; None if this node is not drained."""
        return self._drainer.drain.counts if self._drainer else None

    async def run(self) -> None:
        """Send clients on whenever this node does not want any, until cancelled."""
        for what, why in self.problems.items():
            self._daemon.events.publish(NodeProblem(what=what, why=why))
        await self._end_if_due()
        with trio.move_on_after(self._daemon.config.hold_time):
            await self._daemon.node.all_listed.wait()
        while True:
            if self.is_active:
                with trio.move_on_at(self.rebalancer.deadline):
                    await self._changed.wait()
                await self.rebalancer.step()
            else:
                await self._hand_services_over()
                await self._keep_clients_away()

    # -- orders --

    async def drain(self, order: DrainOrder, by: str) -> DrainReport:
        """Take this node out of service, or change how that goes on.

        Raises:
          MaintenanceError: the other nodes cannot take its clients, or the order makes no sense.
        """
        async with self._orders:
            return await self._begin(order, by)

    async def resume(self, by: str, why: str = "") -> DrainReport:
        """Put this node into service again."""
        async with self._orders:
            was_active = self.is_active
            if not was_active:
                await self._change(
                    MaintenanceRecord(by=by[:200], since=self._unix_time(), reason=why)
                )
                self._end_problem(NOBODY_TAKES)
            elif WHAT in self.problems:
                await self._keep(self.record)
            report = await self.report()
            if was_active:
                report.problems.append("this node was active already")
            elif self.is_active:
                self._drainer = None
            return report

    async def rebalance(self, order: RebalanceOrder, by: str) -> RebalanceReport:
        """Send the surplus of this node on, or stop that.

        Raises:
          MaintenanceError: this node is not active.
        """
        async with self._orders:
            if not self.is_active:
                is_away = f"this node is {in_words(self.record.state)}"
                raise MaintenanceError(f"{is_away}, so all its clients go: rebalance another one")
            report = await self.rebalancer.order(order, by)
        self._changed.set()
        return report

    async def report(self, *, every: bool = False) -> DrainReport:
        """The state, and what became of the clients so far. *every*: with a row for each."""
        record, drainer = self.record, self._drainer
        counts = drainer.drain.counts if drainer else None
        if counts is None and not self.is_active:
            here = clients_here(self._daemon)
            counts = Counts({Outcome.WAITING: here}, {}, here)
        return DrainReport(
            node=self._daemon.config.node,
            state=record.state.value,
            by=record.by,
            since=_time(record.since),
            until=_time(record.until),
            reason=record.reason,
            finished=record.state is NodeState.MAINTENANCE,
            total=counts.total if counts else 0,
            moved=dict(counts.moved) if counts else {},
            clients=await drainer.rows(every=every) if drainer else [],
            outcomes={o.value: n for o, n in counts.outcomes.items()} if counts else {},
            services=held_services(self._daemon),
            kept_services=kept_services(self._daemon),
            problems=[f"{what}: {why}" for what, why in self.problems.items()],
            interval=record.interval,
        )

    async def _begin(self, order: DrainOrder, by: str) -> DrainReport:
        now, here = self._unix_time(), clients_here(self._daemon)
        if order.until is not None and order.until <= now:
            raise MaintenanceError(f"--until: {iso_time(order.until)} is over")
        verdict = guards.examine(other_nodes(self._daemon), here)
        if order.dry_run:
            report = await self.report()
            if self.is_active:
                report.total, report.outcomes = here, {Outcome.WAITING.value: here}
            report.problems += verdict.notes
            report.refused += verdict.refusals
            return report
        if self.is_active and verdict.refusals and not order.force:
            why = "; ".join(verdict.refusals)
            raise MaintenanceError(f"{why}; `drain --force` drains this node all the same")
        await self._change(self._ordered(order, by, now, here))
        report = await self.report()
        report.problems += (*verdict.notes, *verdict.refusals)
        return report

    def _ordered(self, order: DrainOrder, by: str, now: int, here: int) -> MaintenanceRecord:
        """The record after *order*. What it leaves open stays as it was."""
        old, drainer = self.record, self._drainer
        if not self.is_active and order == DrainOrder():
            return old
        interval = DEFAULT_INTERVAL if self.is_active else old.interval
        if order.over is not None:
            waiting = drainer.drain.waiting if drainer else here
            interval = order.over / max(1, waiting)
        return MaintenanceRecord(
            state=NodeState.DRAINING if self.is_active else old.state,
            by=by[:200],
            since=now if self.is_active else old.since,
            until=old.until if order.until is None else order.until,
            reason=printable(order.reason)[:MAX_REASON] or ("" if self.is_active else old.reason),
            interval=interval,
            force=order.force or (old.force and not self.is_active),
        )

    async def _change(self, record: MaintenanceRecord) -> None:
        """*record* counts from now on, also if it cannot be kept."""
        old, self.record = self.record, record
        now = trio.current_time()
        if old.state is NodeState.ACTIVE and not self.is_active:
            self._hand_over_ends = now + HAND_OVER_TIME
            self.rebalancer.stop()
        elif self._drainer is not None:
            self._drainer.drain.reconfigure(record.interval, now)
        if old.state is not record.state:
            self._daemon.events.publish(
                NodeStateChanged(
                    of_node=self._daemon.config.node,
                    old=old.state.value,
                    new=record.state.value,
                    by=record.by,
                    why=record.reason,
                )
            )
        self._daemon.services.wake()
        self._daemon.node_info.refresh()
        self._changed.set()
        await self._keep(record)

    async def _keep(self, record: MaintenanceRecord) -> None:
        directory = self._daemon.config.state_directory
        try:
            await self._daemon.environment.records.write(directory, record)
        except RecordError as error:
            would = "bring it back" if record.state is NodeState.ACTIVE else "forget this"
            advice = "mend that, and give the order again"
            self._problem(WHAT, f"{error}; a restart of the daemon would {would}: {advice}")
        else:
            self._end_problem(WHAT)

    # -- what is done while this node is not active --

    async def _hand_services_over(self) -> None:
        """Wait until the services are elsewhere, or for a few seconds."""
        for _ in range(round(HAND_OVER_TIME / HAND_OVER_INTERVAL)):
            late = trio.current_time() >= self._hand_over_ends
            if late or self.is_active or not held_services(self._daemon):
                return
            await trio.sleep(HAND_OVER_INTERVAL)

    async def _keep_clients_away(self) -> None:
        """Look once, and send on who is due until the next look."""
        if self._drainer is None:
            self._drainer = Drainer(
                self._daemon,
                self.record.interval,
                paced=self.record.state is NodeState.DRAINING,
            )
        drainer = self._drainer
        next_look = trio.current_time() + LOOK_INTERVAL
        await drainer.look()
        await self._finish_if_done(drainer)
        await self._end_if_due()
        while trio.current_time() < next_look and drainer is self._drainer:
            wake_at = next_look
            if not self.is_active and self._others_take():
                drainer.send_due(self._why())
                wake_at = min(next_look, drainer.drain.deadline)
            await trio.lowlevel.checkpoint()
            with trio.move_on_at(wake_at):
                await self._changed.wait()
            if self.is_active:
                break

    def _others_take(self) -> bool:
        """Whether another node takes clients: else they are better off here."""
        available = self.record.force or any(n.is_available for n in other_nodes(self._daemon))
        if available:
            self._end_problem(NOBODY_TAKES)
        elif NOBODY_TAKES not in self.problems and clients_here(self._daemon):
            self._problem(
                NOBODY_TAKES, "none takes clients now, so nobody is sent on until one does"
            )
        return available

    def _why(self) -> str:
        record = self.record
        return f"drained{f' by {record.by}' if record.by else ''}" + (
            f": {record.reason}" if record.reason else ""
        )

    async def _finish_if_done(self, drainer: Drainer) -> None:
        counts = drainer.drain.counts
        if counts is None or not drainer.drain.is_finished:
            return
        async with self._orders:
            is_another = drainer is not self._drainer  # resumed and drained again meanwhile
            if is_another or self.record.state is not NodeState.DRAINING:
                return
            await self._change(msgspec.structs.replace(self.record, state=NodeState.MAINTENANCE))
        self._daemon.events.publish(
            DrainFinished(
                clients=counts.total,
                moved=counts.of(Outcome.MOVED),
                came_back=counts.of(Outcome.CAME_BACK),
                left=counts.of(Outcome.LEFT),
            )
        )

    async def _end_if_due(self) -> None:
        if not self.is_active and 0 < self.record.until <= self._unix_time():
            await self.resume(CLOCK, self.record.reason)

    def _problem(self, what: str, why: str) -> None:
        if self.problems.get(what) != why:
            self.problems[what] = why
            self._daemon.events.publish(NodeProblem(what=what, why=why))

    def _end_problem(self, what: str) -> None:
        if self.problems.pop(what, None) is not None:
            self._daemon.events.publish(NodeProblemEnded(what=what))

    def _unix_time(self) -> int:
        return max(0, int(self._daemon.environment.wall_clock()))


def held_services(daemon: Daemon) -> list[str]:
    """The names of the services whose address this node has, or is about to have."""
    return [s.config.name for s in _held(daemon)]


def kept_services(daemon: Daemon) -> list[str]:
    """Those of `held_services` that no other node can have now."""
    kept = []
    for local in _held(daemon):
        claims = daemon.node.claims(local.config.address).values()
        if not any(claim.phase.can_take_over for claim in claims):
            kept.append(local.config.name)
    return kept


def _held(daemon: Daemon) -> list[LocalService]:
    local = daemon.services.local
    return [s for s in local if s.claim is not None and s.claim.phase.is_occupied]


def _time(seconds: int) -> str:
    return iso_time(seconds) if seconds else ""
