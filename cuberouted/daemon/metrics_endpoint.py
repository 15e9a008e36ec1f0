"""GET /metrics, for Prometheus. Everything else runs without prometheus_client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio

from cuberouted.api.http import Endpoint, HttpError, Reply, Request
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.metrics_view import View
from cuberouted.util.packages import PROMETHEUS_CLIENT, install_command

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of Prometheus' text format."""

Exposition = Callable[[View], Iterator[bytes]]


def endpoint(daemon: Daemon) -> Endpoint:
    """GET /metrics."""
    exposition: Exposition | None = None

    async def get_metrics(_request: Request) -> Reply:
        nonlocal exposition
        if exposition is None:  # the import takes a while, so other tasks run meanwhile
            exposition = await trio.to_thread.run_sync(_import)
        text = b""
        for metric in exposition(View.of(daemon)):
            text += metric
            await trio.lowlevel.checkpoint()
        return Reply(text, TEXT_FORMAT)

    return Endpoint(
        "GET",
        "/metrics",
        get_metrics,
        content_type=TEXT_FORMAT,
        summary="The metrics of this node in Prometheus' text format.",
        errors={503: "prometheus_client is not installed"},
    )


def _import() -> Exposition:
    try:
        from cuberouted.daemon.exposition import exposition
    except ModuleNotFoundError as error:
        if error.name != PROMETHEUS_CLIENT:
            raise
        command = install_command(PROMETHEUS_CLIENT)
        raise HttpError(503, f"/metrics needs {PROMETHEUS_CLIENT}: `{command}`") from None
    return exposition
