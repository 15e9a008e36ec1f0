"""POST /v1/drain, /v1/resume and /v1/rebalance, and GET /v1/drain."""

from __future__ import annotations

from cuberouted.api.http import Endpoint, HttpError, Request
from cuberouted.api.report_drain import (
    DrainOrder,
    DrainQuery,
    DrainReport,
    RebalanceOrder,
    RebalanceReport,
    ResumeOrder,
)
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.maintenance import MaintenanceError


def endpoints(daemon: Daemon) -> tuple[Endpoint, ...]:
    """The endpoints of maintenance."""

    async def get_drain(request: Request) -> DrainReport:
        return await daemon.maintenance.report(every=request.parameters(DrainQuery).all)

    async def post_drain(request: Request) -> DrainReport:
        try:
            return await daemon.maintenance.drain(request.json(DrainOrder), request.user)
        except MaintenanceError as error:
            raise HttpError(409, str(error)) from None

    async def post_resume(request: Request) -> DrainReport:
        request.json(ResumeOrder)
        return await daemon.maintenance.resume(request.user)

    async def post_rebalance(request: Request) -> RebalanceReport:
        try:
            return await daemon.maintenance.rebalance(request.json(RebalanceOrder), request.user)
        except MaintenanceError as error:
            raise HttpError(409, str(error)) from None

    return (
        Endpoint(
            "GET",
            "/v1/drain",
            get_drain,
            parameters=DrainQuery,
            reply=DrainReport,
            summary="The state of this node, and what became of its clients since it is drained.",
        ),
        Endpoint(
            "POST",
            "/v1/drain",
            post_drain,
            changes=True,
            body=DrainOrder,
            reply=DrainReport,
            summary="Take this node out of service: send its services and clients to the others.",
            errors={409: "the others cannot take its clients, or the time to end has passed"},
        ),
        Endpoint(
            "POST",
            "/v1/resume",
            post_resume,
            changes=True,
            body=ResumeOrder,
            reply=DrainReport,
            summary="Put this node into service again.",
        ),
        Endpoint(
            "POST",
            "/v1/rebalance",
            post_rebalance,
            changes=True,
            body=RebalanceOrder,
            reply=RebalanceReport,
            summary="Send this node's surplus of clients on, some a minute, until all are even.",
            errors={409: "this node is not active"},
        ),
    )
