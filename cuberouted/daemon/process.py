"""The daemon as a process: real edges, signals, systemd, the log, the exit status."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import trio

from cuberouted.api.server import ControlError, UnwritableError, listening, serve
from cuberouted.config import Config, ConfigError, load
from cuberouted.config.keypair import with_secret_key
from cuberouted.daemon.daemon import Daemon, Environment, ReloadError
from cuberouted.daemon.sd_notify import Notifier
from cuberouted.daemon.snapshot import handlers, status_line
from cuberouted.openvpn.dial import ManagementDialer
from cuberouted.peering.zmq.transport import open_transport
from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.linux.kernel import missing_capability, open_kernel

log = logging.getLogger(__name__)

STATUS_INTERVAL = 1.0
"""Seconds between two looks at what `systemctl status` should say."""

FAILED = 1

GC_THRESHOLD = 10_000
"""New objects between two searches for garbage: with Python's 700, 20,000 claims that come at
once, of which nothing is garbage, are searched so often that half the time goes there."""


def run_daemon(config: Config) -> int:
    """Run until a signal. Returns the exit status."""
    set_up_log(config.log_level)
    missing = missing_capability()
    if missing:
        log.error("%s is missing: run as root, or by the systemd unit", missing)
        return FAILED
    gc.freeze()  # what has been imported stays
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    failed = False
    try:
        trio.run(_serve, config)
    except* (ControlError, KernelError) as errors:
        failed = True
        for error in _leaves(errors):
            log.error("%s", error)  # noqa: TRY400 - for people, who need no traceback
    return FAILED if failed else 0


async def _serve(config: Config) -> None:
    notifier = Notifier.from_environment()
    with _control(config.control_socket) as control:
        async with (
            open_kernel(config.route_table, config.route_metric, config.route_protocol) as kernel,
            open_transport(
                config.cube_routed_port, config.hold_time, config.secret_key
            ) as transport,
            trio.open_nursery() as nursery,
        ):
            dialer = ManagementDialer(lambda name: daemon.node.host.data_addresses.get(name))
            daemon = Daemon(
                config, Environment(kernel, transport, dialer, time.time, secrets.token_bytes)
            )
            nursery.start_soon(_handle_signals, daemon, notifier)
            if control is not None:
                nursery.start_soon(serve, control, handlers(daemon))
            nursery.start_soon(_notify_systemd, daemon, notifier)
            await nursery.start(_run, daemon, nursery.cancel_scope)
            where = config.control_socket if control is not None else "missing"
            log.info("node %s: serving; control socket %s", config.node, where)
            notifier.ready()


@contextmanager
def _control(path: Path) -> Iterator[trio.SocketListener | None]:
    """The control socket. None where the disk is full or read-only: routes need no disk."""
    with ExitStack() as stack:
        try:
            control = stack.enter_context(listening(path))
        except UnwritableError as error:
            log.warning("%s; nobody can ask for the status until cuberouted is restarted", error)
            control = None
        yield control


async def _run(
    daemon: Daemon, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    await daemon.run(task_status=task_status)
    scope.cancel()


async def _handle_signals(daemon: Daemon, notifier: Notifier) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                await _reload(daemon)
                notifier.ready()
            else:
                log.info("%s: ending", signal.Signals(number).name)
                notifier.stopping()
                daemon.stop()


async def _reload(daemon: Daemon) -> None:
    path = daemon.config.path
    try:
        await daemon.reload(with_secret_key(load(path)))
    except (ConfigError, ReloadError) as error:
        for line in str(error).splitlines():
            log.error("reload refused: %s", line)  # noqa: TRY400
    else:
        logging.getLogger().setLevel(daemon.config.log_level.upper())
        log.info("%s: reloaded", path)


async def _notify_systemd(daemon: Daemon, notifier: Notifier) -> None:
    told = ""
    while notifier.address is not None:
        now = status_line(daemon)
        if now != told:
            notifier.status(now)
            told = now
        notifier.alive()
        await trio.sleep(STATUS_INTERVAL)


def set_up_log(level: str) -> None:
    """Standard error; in the journal each line gets its priority instead of a time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JournalFormatter()
        if os.environ.get("JOURNAL_STREAM")
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class JournalFormatter(logging.Formatter):
    """The priority in front, as sd-daemon(3) has it; time and name are the journal's work."""

    PRIORITIES = MappingProxyType({"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2})

    def format(self, record: logging.LogRecord) -> str:
        """``<6>message``; every line of a traceback likewise."""
        mark = f"<{self.PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(mark + line for line in super().format(record).splitlines())


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
