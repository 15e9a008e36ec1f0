"""GET /healthz and GET /readyz: whether the daemon runs, and whether clients may be sent here.

A node is ready once it serves its own clients, and routes to those of the peers that are there. It
is not while it is drained or in maintenance, or while all its OpenVPN processes are on standby.
What happens to a peer afterwards does not count: taking this node out would disturb its own clients
and help nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import trio
from msgspec import Meta

from cuberouted.api.http import Endpoint, HttpError, Reply, Request
from cuberouted.config import OpenVPNConfig
from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.node_info import own_info
from cuberouted.daemon.standby import why_standby
from cuberouted.model import NodeState, in_words
from cuberouted.openvpn.health import OpenVPNState

PLAIN = "text/plain; charset=utf-8"

NOT_READY = 503


class ReadyParameters(msgspec.Struct):
    """Which OpenVPN process."""

    openvpn: Annotated[
        str, Meta(description="Only this OpenVPN process counts; its name is as in `status`.")
    ] = ""


def endpoints(daemon: Daemon, *, details: bool = True) -> tuple[Endpoint, ...]:
    """GET /healthz and GET /readyz. Without *details* the reasons contain no text of OpenVPN's
    or of an administrator's.
    """

    async def get_readyz(request: Request) -> Reply:
        name = request.parameters(ReadyParameters).openvpn
        known = [_shown(openvpn) for openvpn in daemon.config.openvpns]
        if name and name not in known:
            raise HttpError(404, f"no OpenVPN process {name[:100]}; known are: {', '.join(known)}")
        reasons = reasons_not_ready(daemon, name, details=details)
        if not reasons:
            return Reply(b"ready\n", PLAIN)
        return Reply("".join(f"{why}\n" for why in reasons).encode(), PLAIN, NOT_READY)

    return (
        Endpoint(
            "GET", "/healthz", _get_healthz, content_type=PLAIN, summary="Whether the daemon runs."
        ),
        Endpoint(
            "GET",
            "/readyz",
            get_readyz,
            content_type=PLAIN,
            summary="Whether clients may be sent to this node, and else why not, a reason a line.",
            parameters=ReadyParameters,
            errors={NOT_READY: "not ready", 404: "no such OpenVPN process"},
        ),
    )


def reasons_not_ready(daemon: Daemon, openvpn: str = "", *, details: bool = True) -> list[str]:
    """Why no clients should be sent to this node now, a clause each; empty if it is ready.

    *openvpn*: only this process counts, named as in `status`. *details*: with what OpenVPN has
    answered, and with who has drained the node, and why.
    """
    return [
        *(["cuberouted is stopping"] if daemon.is_stopping else ()),
        *_maintenance_reasons(daemon, details),
        *_openvpns_reasons(daemon, openvpn, details),
        *_peer_reasons(daemon),
    ]


def _maintenance_reasons(daemon: Daemon, details: bool) -> Iterator[str]:
    info = own_info(daemon)
    if info.state is NodeState.ACTIVE:
        return
    by = f", by {info.by}" if info.by else ""
    more = f"{by}{_because(info.reason)}" if details else ""
    yield f"this node is {in_words(info.state)}{more}"


async def _get_healthz(_request: Request) -> Reply:
    return Reply(b"ok\n", PLAIN)


def _openvpns_reasons(daemon: Daemon, openvpn: str, details: bool) -> Iterator[str]:
    """Those of the process *openvpn*, or of all. At least one has to run here."""
    configs = [c for c in daemon.config.openvpns if openvpn in ("", _shown(c))]
    standby = {c.name: why for c in configs if (why := why_standby(daemon, c))}
    if standby and len(standby) == len(configs):
        subject = f"openvpn {openvpn} does not run" if openvpn else "no OpenVPN process runs"
        yield f"{subject} here: {', '.join(standby.values())}"
    for config in configs:
        if config.name not in standby:
            yield from _openvpn_reasons(daemon, config, details)


def _openvpn_reasons(daemon: Daemon, config: OpenVPNConfig, details: bool) -> Iterator[str]:
    name = f"openvpn {config.name}".rstrip()
    if config.data_interface in daemon.node.host.missing:
        yield f"interface {config.data_interface} is missing or down"
    openvpn = daemon.openvpns.get(config.name)
    if openvpn is None:
        yield f"{name} is not connected yet"
        return
    now = openvpn.source.status()
    if now.state is not OpenVPNState.CONNECTED:
        yield f"{name} is {now.state}{_because(now.detail if details else '')}"
    elif not daemon.node.is_listed(config.name):
        yield f"{name}: its clients are not known yet{_because(now.detail if details else '')}"


def _peer_reasons(daemon: Daemon) -> Iterator[str]:
    """The peers for which the initial synchronization waits."""
    if trio.current_time() >= daemon.initial_sync_ends:
        return
    for config in daemon.config.peers:
        peer = daemon.peers.get(config.label)
        if peer is None:
            yield f"peer {config.label} is not connected yet"
        elif not peer.session.has_been_up:
            yield f"peer {peer.session.known_as} is {peer.session.state}"


def _shown(openvpn: OpenVPNConfig) -> str:
    """Its name in `status`."""
    return openvpn.name or "openvpn"


def _because(why: str) -> str:
    return f": {why}" if why else ""
