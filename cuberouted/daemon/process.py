"""The daemon as a process: the real environment, signals, systemd, the log, the exit status."""

from __future__ import annotations

import logging
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from cuberouted import __version__
from cuberouted.api.http_server import HttpServer
from cuberouted.api.protocol import ControlError, UnwritableError
from cuberouted.api.server import ControlSocket, listening, serve
from cuberouted.config import Config, ConfigError, load
from cuberouted.config.keypair import with_secret_key
from cuberouted.daemon.daemon import Daemon, Environment, ReloadError
from cuberouted.daemon.log import Log
from cuberouted.daemon.sd_notify import Notifier
from cuberouted.daemon.snapshot import endpoints, status_line
from cuberouted.daemon.web import Web
from cuberouted.events import NodeProblem, NodeStarted, NodeStopping, Reloaded, ReloadRefused
from cuberouted.openvpn.dial import ManagementDialer
from cuberouted.peering.zmq.transport import open_transport
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.linux.kernel import missing_capability, open_kernel
from cuberouted.util import heap
from cuberouted.util.tasks import run_trio

log = logging.getLogger(__name__)

STATUS_INTERVAL = 1.0
"""Seconds between two updates of the line in `systemctl status`."""

FINISH_TIME = 1.0
"""Seconds for the clients of the control socket to receive the end of their replies."""

CONTROL_SOCKET = "control socket"
"""`NodeProblem.what`."""

FAILED = 1
"""Exit status."""


def run_daemon(config: Config) -> int:
    """Run until a signal. Return the exit status."""
    the_log = Log(config.log_level, config.log_format)
    missing = missing_capability()
    if missing:
        log.error("%s is missing: run as root, or by the systemd unit", missing)
        return FAILED
    heap.configure()
    failed = False
    try:
        run_trio(_serve, config, the_log)
    except* (ControlError, KernelError) as errors:
        failed = True
        for error in _leaves(errors):
            log.error("%s", error)  # noqa: TRY400 - a traceback would not help the administrator
    return FAILED if failed else 0


async def _serve(config: Config, the_log: Log) -> None:
    notifier = Notifier.from_environment()
    with _control_socket(config.control_socket) as (control, problem):
        async with (
            open_kernel(config.route_table, config.route_metric, config.route_protocol) as kernel,
            open_transport(
                config.cube_routed_port,
                config.hold_time,
                config.secret_key,
                emit=lambda event: daemon.events.publish(event),
            ) as transport,
            trio.open_nursery() as nursery,
        ):
            dialer = ManagementDialer(lambda name: daemon.node.host.data_addresses.get(name))
            daemon = Daemon(
                config, Environment(kernel, transport, dialer, time.time, secrets.token_bytes)
            )
            daemon.events.listeners.append(the_log.write)
            if problem:
                daemon.api_problems[CONTROL_SOCKET] = problem
                daemon.events.publish(NodeProblem(what=CONTROL_SOCKET, why=problem))
            api = HttpServer(endpoints(daemon), daemon.events.publish, CONTROL_SOCKET)
            web = Web(daemon)
            await nursery.start(_handle_signals, daemon, web, notifier, the_log)
            if control is not None:
                nursery.start_soon(serve, control, api)
            nursery.start_soon(_notify_systemd, daemon, notifier)
            nursery.start_soon(the_log.run)
            nursery.start_soon(daemon.hooks.run)
            nursery.start_soon(daemon.hosts_file.run)
            nursery.start_soon(heap.keep_collections_short)
            nursery.start_soon(web.run)
            await nursery.start(_run, daemon, api, web, nursery.cancel_scope)
            where = config.control_socket if control is not None else "missing"
            daemon.events.publish(
                NodeStarted(
                    version=__version__,
                    control_socket=str(where),
                    web_listen=str(config.web_listen or ""),
                )
            )
            notifier.ready()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # see `__main__`


@contextmanager
def _control_socket(path: Path) -> Iterator[tuple[ControlSocket | None, str]]:
    """The control socket, or None and why the file system does not let us create it.

    It may be full or read-only: routing needs no disk.
    """
    with ExitStack() as stack:
        control, problem = None, ""
        try:
            control = stack.enter_context(listening(path))
        except UnwritableError as error:
            problem = f"{error}; the commands do not work until cuberouted is restarted"
        yield control, problem


async def _run(
    daemon: Daemon,
    api: HttpServer,
    web: Web,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    await daemon.run(task_status=task_status)
    await daemon.hooks.finish()
    daemon.events.close()
    with trio.move_on_after(FINISH_TIME):  # streams and replies that are under way
        await api.wait_idle()
        await web.wait_idle()
    scope.cancel()


async def _handle_signals(
    daemon: Daemon,
    web: Web,
    notifier: Notifier,
    the_log: Log,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                await _reload(daemon, web, notifier, the_log)
            else:
                daemon.events.publish(NodeStopping(why=signal.Signals(number).name))
                notifier.stopping()
                daemon.stop()


async def _reload(daemon: Daemon, web: Web, notifier: Notifier, the_log: Log) -> None:
    path = daemon.config.path
    notifier.reloading(time.monotonic_ns() // 1000)
    try:
        await daemon.reload(with_secret_key(load(path)))
    except (ConfigError, ReloadError) as error:
        daemon.refused_reload = str(error)
        for line in str(error).splitlines():
            daemon.events.publish(ReloadRefused(why=line))
    else:
        daemon.refused_reload = ""
        web.reconfigure()
        the_log.configure(daemon.config.log_level, daemon.config.log_format)
        daemon.events.publish(Reloaded(path=str(path)))
    notifier.ready()


async def _notify_systemd(daemon: Daemon, notifier: Notifier) -> None:
    sent = ""
    while notifier.address is not None:
        line = status_line(daemon)
        if line != sent:
            notifier.status(line)
            sent = line
        notifier.watchdog()
        await trio.sleep(STATUS_INTERVAL)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
