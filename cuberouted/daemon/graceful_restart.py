"""A restart that keeps the routes, where ``on_exit`` would withdraw them: ordered beforehand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from cuberouted.api.http import Endpoint, Request
from cuberouted.api.report_drain import GracefulRestart, GracefulRestartOrder
from cuberouted.config import OnExit
from cuberouted.events import GracefulRestartOrdered

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon


class ExitPolicy:
    """What a stop of *daemon* does with the routes.

    ``on_exit = keep`` keeps them at every stop, an order until its time has passed. An order is
    not stored: the daemon that is started next has none.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._deadline = -math.inf

    def keeps_routes(self) -> bool:
        """Whether a stop at this moment keeps the routes, here and on the peers."""
        return self._daemon.config.on_exit is OnExit.KEEP or self.seconds_left() is not None

    def seconds_left(self) -> float | None:
        """Seconds for which the order is in force, or None without one."""
        left = self._deadline - trio.current_time()
        return left if left > 0 else None

    def order(self, within: float, user: str) -> GracefulRestart:
        """Keep the routes at a stop within that many seconds; 0 revokes an earlier order."""
        daemon = self._daemon
        self._deadline = trio.current_time() + within
        daemon.events.publish(GracefulRestartOrdered(within=within, by=user))
        return GracefulRestart(daemon.config.node, within, daemon.config.on_exit.value)


def endpoint(daemon: Daemon) -> Endpoint:
    """The user's order by the API."""

    async def post_graceful_restart(request: Request) -> GracefulRestart:
        return daemon.exit_policy.order(request.json(GracefulRestartOrder).within, request.user)

    return Endpoint(
        "POST",
        "/v1/graceful-restart",
        post_graceful_restart,
        changes=True,
        body=GracefulRestartOrder,
        reply=GracefulRestart,
        summary="Keep the routes, here and on the peers, if the daemon is stopped within a time.",
    )
