"""What this node says of itself to its peers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

import trio

from cuberouted.model import MAX_REMOTES, NodeInfo

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

MAX_CLIENTS = 2**31 - 1


def own_info(daemon: Daemon) -> NodeInfo:
    """What this node says of itself now. It fits a heartbeat, whatever is configured."""
    record, config = daemon.maintenance.record, daemon.config
    remotes = (remote for openvpn in config.openvpns for remote in openvpn.remotes)
    return NodeInfo(
        state=record.state,
        by=record.by[:200],
        since=record.since,
        until=record.until,
        reason=record.reason[:500],
        clients=min(count_own_clients(daemon), MAX_CLIENTS),
        capacity=config.capacity,
        remotes=tuple(islice(remotes, MAX_REMOTES)),
    )


def count_own_clients(daemon: Daemon) -> int:
    """How many clients the OpenVPN processes of this node have; those they count, if known."""
    rows = (openvpn.source.status() for openvpn in daemon.openvpns.values())
    return sum(row.clients if row.counted is None else row.counted for row in rows)


class NodeInfoPublisher:
    """Gives *publish* what this node says of itself, when something has changed."""

    def __init__(self, daemon: Daemon, publish: Callable[[NodeInfo], None]) -> None:
        self._daemon = daemon
        self._publish = publish

    def refresh(self) -> None:
        """Look at once. To be called after a change that the peers have to know immediately."""
        self._publish(own_info(self._daemon))

    async def run(self) -> None:
        """Look once in every heartbeat interval, until cancelled."""
        while True:
            self.refresh()
            await trio.sleep(self._daemon.config.heartbeat_interval)
