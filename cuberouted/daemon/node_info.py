"""What this node says of itself to its peers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from cuberouted.api import report
from cuberouted.model import MAX_REMOTES, NodeInfo
from cuberouted.peering.peer_info import checked

if TYPE_CHECKING:
    from cuberouted.daemon.daemon import Daemon

MAX_CLIENTS = 2**31 - 1

Row = TypeVar("Row", report.Status, report.PeerRow, report.NodeRow)


def own_info(daemon: Daemon) -> NodeInfo:
    """What this node says of itself now. It fits a heartbeat, whatever is configured."""
    record, config = daemon.maintenance.record, daemon.config
    remotes = (remote for openvpn in config.openvpns for remote in openvpn.remotes)
    return checked(
        NodeInfo(
            state=record.state,
            by=record.by,
            since=record.since,
            until=record.until,
            reason=record.reason,
            clients=min(count_own_clients(daemon), MAX_CLIENTS),
            capacity=config.capacity,
            remotes=tuple(islice(remotes, MAX_REMOTES)),
        )
    )


def count_own_clients(daemon: Daemon) -> int:
    """How many clients the OpenVPN processes of this node have; those they count, if known."""
    rows = (openvpn.source.status() for openvpn in daemon.openvpns.values())
    return sum(row.clients if row.counted is None else row.counted for row in rows)


def with_state(row: Row, info: NodeInfo | None) -> Row:
    """*row* of a node with what that says of its state; None: it has said nothing yet."""
    if info is None:
        return msgspec.structs.replace(row, maintenance="")
    return msgspec.structs.replace(
        row,
        maintenance=info.state.value,
        by=info.by,
        since=report.iso_time(info.since) if info.since else "",
        until=report.iso_time(info.until) if info.until else "",
        reason=info.reason,
    )


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
