"""/metrics: what it shows of a daemon, that no name makes it fail, and that it is documented."""

from __future__ import annotations

import errno
import importlib.abc
import re
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from cuberouted import __version__
from cuberouted.api.http import HttpError, Reply, Request
from cuberouted.config import OpenVPNConfig, PeerConfig, Placement, parse
from cuberouted.daemon.daemon import Daemon, Environment, OpenVPN, Peer
from cuberouted.daemon.exposition import exposition
from cuberouted.daemon.metrics import METRICS
from cuberouted.daemon.metrics_view import MetricType, View
from cuberouted.daemon.web import web_endpoints
from cuberouted.events import RoutesRestored, RouteTrace
from cuberouted.maintenance.client import Outcome
from cuberouted.model import NodeState
from cuberouted.openvpn.polling import PollIntervals
from cuberouted.openvpn.sessions import Sessions
from cuberouted.openvpn.source import open_source
from cuberouted.peering.events import DropReason, PeerLimits, PeerState
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver
from cuberouted.peering.transport import PeerEndpoint
from cuberouted.routing.policy import REASON_LABELS
from cuberouted.util.tasks import run_trio
from tests.fakes.api import call
from tests.fakes.kernel import FakeKernel
from tests.fakes.metrics import Scraped
from tests.fakes.server import METRIC, PROTOCOL, section_of
from tests.fakes.transport import FakeNetwork
from tests.lab.host import PROJECT
from tests.unit.daemon.meshes import HOST1, HOST2, HOST3, started, states, status, two_server_form
from tests.unit.longest_step import longest_step

EXPOSITION = "cuberouted.daemon.exposition"
PAGE = (PROJECT / "docs/metrics.md").read_text()
NAMES = st.text(st.characters()) | st.text('a"\\\n\r\t\0\x1b\x85\u2028\udc80\udcff\ud800é,={}#')
"""Names may have characters that are no UTF-8."""


def shown(server):
    return scraped(server.daemon)


def scraped(daemon: Daemon) -> Scraped:
    return Scraped(b"".join(exposition(View.of(daemon))).decode())


class NoDialer:
    async def dial(self, config):
        raise NotImplementedError


async def on_update(update):
    raise NotImplementedError


def on_direct(peer, message):
    raise NotImplementedError


def daemon_that_never_ran(peers: Iterable[PeerConfig], openvpns: Iterable[str]) -> Daemon:
    text = "node = A\ndata_interface = tun0\nmgmt_interface = to-B\nremote_mgmt_ip = 10.0.0.2\n"
    text += "allowed_networks = 10.0.0.0/8\n[service db]\naddress = 10.9.9.9\n"
    config = parse(text, Path("/etc/a.conf"), "a")
    transport = FakeNetwork().transport(bytes(4), config.hold_time)
    environment = Environment(FakeKernel(254, 50, 201), transport, NoDialer(), time.time, bytes)
    daemon = Daemon(config, environment)
    now, limits = trio.current_time(), PeerLimits(3.0, 60.0, 100)
    for peer in peers:
        session = PeerSession(peer.label, peer.name, "A", limits, now)
        endpoint = PeerEndpoint(peer.label, peer.mgmt_ip, peer.port, peer.mgmt_interface)
        receiver = PeerReceiver(
            transport,
            endpoint,
            session,
            on_update,
            on_direct,
            emit=daemon.events.publish,
        )
        daemon.peers[peer.label] = Peer(peer, session, receiver)
    for name in openvpns:
        made = OpenVPNConfig(name=name)
        source = open_source(
            made,
            Sessions(name),
            PollIntervals(1.0, 10.0, 3.0),
            environment.dialer,
            environment.wall_clock,
            on_update,
            emit=daemon.events.publish,
        )
        daemon.openvpns[name] = OpenVPN(made, source)
    return daemon


# -- what there is --


def test_the_page_has_every_metric_with_its_type_and_labels_and_no_other():
    lines = [line for line in PAGE.splitlines() if line.startswith("| `cuberouted_")]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    found = {
        name: (kind, tuple(re.findall(r"\w+", labels)))
        for name, kind, labels, _unit, _meaning in rows
    }
    assert len(found) == len(rows)
    assert found == {metric.name: (metric.type.value, metric.labels) for metric in METRICS}


@pytest.mark.parametrize(
    "values",
    [DropReason, PeerState, RouteTrace, REASON_LABELS, NodeState, Outcome, Placement],
)
def test_the_page_has_every_value_of_the_labels_that_have_few(values):
    assert [value for value in values if f"`{value}`" not in PAGE] == []


async def test_the_output_has_every_metric_with_its_type_and_labels_and_no_other(
    mesh, autojump_clock
):
    for name in "AB":
        mesh.add(name, "capacity = 50").services["db"] = [
            "address = 10.100.100.200",
            "check = /bin/check",
        ]
    await mesh.start()
    a = mesh["A"]
    a.connect("host1", HOST1)
    await mesh.until(lambda: status(a).openvpn[0].counted == 1)
    found = {}
    for family in text_string_to_metric_families(shown(a).text):
        [labels] = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family.type, labels, family.documentation
    assert found == {
        metric.name: (metric.type.value, frozenset(metric.labels), metric.meaning)
        for metric in METRICS
    }
    assert "_created" not in shown(a).text


def test_every_counter_is_there_before_anything_has_happened():
    async def main():
        metrics = scraped(daemon_that_never_ran([PeerConfig("B")], ["udp"]))
        for metric in METRICS:
            if metric.type is MetricType.COUNTER:
                series = metrics.series(metric.name.removeprefix("cuberouted_"))
                assert series, metric.name
                assert set(series.values()) == {0}, metric.name
        assert metrics.value("convergence_seconds_count") == 0
        assert metrics.value("openvpn_listing_duration_seconds_sum", openvpn="udp") == 0
        assert metrics.value("peer_refused_total", peer="B", reason="over_limit") == 0
        assert metrics.value("peer_snapshots_total", peer="B", result="timed_out") == 0
        assert metrics.value("kernel_errors_total", errno="EPERM") == 0
        assert metrics.value("service_moves_total", service="db") == 0
        assert metrics.value("sessions_sent_on_total", openvpn="udp") == 0
        assert metrics.value("events_total", type="client_moved") == 0
        assert metrics.value("peer_last_heard_timestamp_seconds", peer="B") == 0
        assert metrics.value("openvpn_last_listing_timestamp_seconds", openvpn="udp") == 0
        assert metrics.series("openvpn_counted_sessions", openvpn="udp") == {}

    run_trio(main, clock=trio.testing.MockClock())


def test_errors_of_the_kernel_without_a_name_are_one_series():
    async def main():
        daemon = daemon_that_never_ran([], [])
        daemon.node.kernel_sync.errors.update({0: 1, 524: 2, errno.EPERM: 3, errno.EIO: 4})
        metrics = scraped(daemon)
        for name, count in {"other": 3, "EPERM": 3, "EIO": 4, "ENOMEM": 0}.items():
            assert metrics.value("kernel_errors_total", errno=name) == count

    run_trio(main, clock=trio.testing.MockClock())


# -- names --


@given(NAMES.filter(bool), NAMES, NAMES, NAMES)
@example('a"b\\', "a\nb", "\udcff\udcfe", "a\\nb")
def test_no_name_makes_it_fail(one, other, announced, openvpn):
    async def main():
        peers = {PeerConfig(one), PeerConfig(other), PeerConfig(mgmt_ip=bytes((10, 0, 0, 1)))}
        daemon = daemon_that_never_ran(peers, {"", openvpn})
        daemon.peers["10.0.0.1"].session.last_accepted_name = announced
        text = b"".join(exposition(View.of(daemon))).decode()
        assert len([*text_string_to_metric_families(text)]) == len(METRICS)
        for line in text.split("\n")[:-1]:
            assert line.startswith(("cuberouted_", "# HELP cuberouted_", "# TYPE cuberouted_"))
            assert line.isprintable()

    run_trio(main, clock=trio.testing.MockClock())


async def test_a_peer_without_a_name_has_its_address_until_it_announces_one(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    a.settings, a.sections = two_server_form(b), []
    await a.start()
    assert shown(a).value("peer_up", peer="10.200.200.2") == 0
    await b.start()
    await mesh.until(mesh.is_up)
    assert shown(a).value("peer_up", peer="B") == 1
    assert shown(a).series("peer_up", peer="10.200.200.2") == {}


async def test_a_name_that_is_refused_is_no_label(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B")
    for server, other in ((a, b), (b, a)):
        server.sections = two_server_form(other)
    b.node = "A"
    await a.start()
    await b.start()
    address = "10.200.200.2"
    await mesh.until(lambda: status(a).peers[0].refused > 0)
    assert shown(a).value("peer_refused_total", peer=address, reason="name") > 0
    assert shown(a).value("peer_up", peer=address) == 0
    assert shown(a).series("peer_up", peer="A") == {}


# -- what it shows --


async def test_clients_that_connect_move_and_leave(mesh, autojump_clock):
    a, b, c = await started(mesh)
    cid = b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == {HOST1: "B"})
    c.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == {HOST1: "C"} and not b.openvpn.clients)
    await mesh.until(lambda: a.daemon.counters.moved == 1)
    metrics = shown(a)
    assert metrics.value("build_info", version=__version__, node="A") == 1
    assert metrics.value("ready") == 1
    assert metrics.value("clients_joined_total") == 1
    assert metrics.value("clients") == 1
    assert metrics.value("events_total", type="client_moved") == 1
    assert metrics.value("convergence_seconds_count") == 2
    assert metrics.value("peer_clients", peer="B") == 0
    assert metrics.value("peer_clients", peer="C") == 1
    assert metrics.value("peer_prefixes", peer="C") == 2
    assert metrics.value("routes_desired") == 3
    assert metrics.value("routes_installed") == 3
    assert metrics.value("routes_conflicting") == 0
    assert metrics.value("route_changes_total", change="moved") == 1
    assert shown(b).value("sessions_killed_total", openvpn="openvpn") == 1
    assert shown(b).value("openvpn_sessions", openvpn="openvpn") == 0
    assert shown(c).value("openvpn_sessions", openvpn="openvpn") == 1
    c.openvpn.disconnect(next(iter(c.openvpn.clients)))
    await mesh.until(lambda: a.daemon.counters.left == 1)
    assert shown(a).value("clients_left_total") == 1
    assert cid not in b.openvpn.clients


async def test_a_peer_and_the_snapshot_that_came_of_it(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    metrics = shown(a)
    assert metrics.value("peer_up", peer="B") == 1
    for state in PeerState:
        assert metrics.value("peer_state", peer="B", state=state.value) == (state is PeerState.UP)
    assert metrics.value("peer_snapshots_total", peer="B", result="received") == 1
    assert metrics.value("peer_messages_received_total", peer="B") > 0
    changes = metrics.value("peer_state_changes_total", peer="B")
    heard = metrics.value("peer_last_heard_timestamp_seconds", peer="B")
    assert a.wall_clock() - heard < 1
    await b.crash()
    await mesh.until(lambda: states(a) == {"B": "down"})
    assert shown(a).value("peer_up", peer="B") == 0
    assert shown(a).value("peer_state", peer="B", state="down") == 1
    assert shown(a).value("peer_state_changes_total", peer="B") == changes + 1


async def test_listings(mesh, autojump_clock):
    a, _ = await started(mesh, "AB")
    before = shown(a).value("openvpn_listing_duration_seconds_count", openvpn="openvpn")
    a.connect("host1", HOST1)
    a.connect("UNDEF", HOST2)
    await mesh.until(lambda: len(status(a).problems) == 1)
    metrics = shown(a)
    assert metrics.value("openvpn_up", openvpn="openvpn") == 1
    assert metrics.value("openvpn_listing_duration_seconds_count", openvpn="openvpn") > before
    at = metrics.value("openvpn_last_listing_timestamp_seconds", openvpn="openvpn")
    assert 0 <= a.wall_clock() - at < 60
    assert metrics.value("omitted_sessions", openvpn="openvpn") == 1
    assert metrics.value("problems") == 1
    assert metrics.value("warnings") == 0


async def test_the_time_of_the_start_changes_with_a_start_only(mesh, autojump_clock):
    a, _ = await started(mesh, "AB")
    began = shown(a).value("start_timestamp_seconds")
    assert began == pytest.approx(a.wall_clock(), abs=60)
    a.skew = 0.5  # the clock was set
    await trio.sleep(5)
    assert shown(a).value("start_timestamp_seconds") == began
    await a.crash()
    await a.start()
    assert shown(a).value("start_timestamp_seconds") > began


async def test_overlapping_pools(mesh, autojump_clock):
    a, b, c = await started(mesh)
    b.connect("host1", HOST1)
    c.connect("host2", HOST1)
    b.connect("host3", HOST3)
    await mesh.until(lambda: len(status(a).problems) == 1)
    assert shown(a).value("pool_conflicts") == shown(a).value("problems") == 1


async def test_prefixes_that_are_refused(mesh, autojump_clock):
    a, b = mesh.add("A"), mesh.add("B", "allowed_networks = 10.0.0.0/8, 203.0.113.0/24")
    await mesh.start()
    b.connect("host1", "203.0.113.7")
    await mesh.until(lambda: status(a).peers[0].refused_prefixes == 1)
    assert shown(a).value("peer_refused_prefixes", peer="B") == 1
    reason = "outside_allowed_networks"
    assert shown(a).value("peer_refused_total", peer="B", reason=reason) == 1


async def test_routes_that_somebody_deletes(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients == {HOST1: "B"})
    a.kernel.remove_route(HOST1, METRIC, protocol=PROTOCOL)
    await mesh.until(lambda: a.daemon.counters.events[RoutesRestored] == 1)
    assert shown(a).value("routes_restored_total") == 1


async def test_the_series_of_a_peer_that_is_removed_go_with_it(mesh, autojump_clock):
    a, _, c = await started(mesh)
    assert shown(a).value("peer_up", peer="B") == 1
    a.sections = [section_of(c)]
    await a.reload()
    assert {key for key in shown(a).samples if ("peer", "B") in key[1]} == set()
    assert shown(a).value("peer_up", peer="C") == 1


# -- the endpoint --


async def get(endpoints):
    [endpoint] = (e for e in endpoints if e.path == "/metrics")
    reply = await endpoint.handler(Request("GET"))
    assert isinstance(reply, Reply)
    return reply


async def test_the_endpoint_replies_in_prometheus_text_format(mesh, autojump_clock):
    a, _ = await started(mesh, "AB")
    endpoints = web_endpoints(a.daemon)
    reply = await get(endpoints)
    assert reply.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.body == await call(endpoints, "GET", "/metrics")
    assert b'\ncuberouted_peer_up{peer="B"} 1.0\n' in reply.body


async def test_other_tasks_run_while_hundreds_of_peers_are_written():
    daemon = daemon_that_never_ran([PeerConfig(f"peer{n}") for n in range(300)], ["udp"])
    endpoints = web_endpoints(daemon)
    await get(endpoints)
    with longest_step() as one:
        await get(endpoints)
        longest, began = one.seconds, time.thread_time()
        [*exposition(View.of(daemon))]
        assert longest < (time.thread_time() - began) / 2


async def test_the_loop_runs_while_the_first_requests_import_prometheus_client(monkeypatch):
    monkeypatch.delitem(sys.modules, EXPOSITION)
    monkeypatch.delitem(sys.modules, SlowImporter.MODULE)
    daemon = daemon_that_never_ran([PeerConfig("B")], ["udp"])
    going_on = threading.Event()
    importer = SlowImporter(going_on)
    monkeypatch.setattr(sys, "meta_path", [importer, *sys.meta_path])
    endpoints = web_endpoints(daemon)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get, endpoints)
        await trio.to_thread.run_sync(importer.begun.wait)
        nursery.start_soon(get, endpoints)
        await trio.testing.wait_all_tasks_blocked()
        going_on.set()
    assert importer.went_on


class SlowImporter(importlib.abc.MetaPathFinder):
    """Lets the import of a part of prometheus_client wait for *going_on*."""

    MODULE = "prometheus_client.registry"

    def __init__(self, going_on: threading.Event) -> None:
        self.begun = threading.Event()
        self.went_on = False
        self._going_on = going_on

    def find_spec(self, name, *_):
        if name == self.MODULE:
            self.begun.set()
            self.went_on = self._going_on.wait(5)


async def test_without_prometheus_client_it_says_what_to_install(mesh, autojump_clock, monkeypatch):
    a, _ = await started(mesh, "AB")
    monkeypatch.delitem(sys.modules, EXPOSITION)
    with monkeypatch.context() as without:
        for name in [name for name in sys.modules if name.startswith("prometheus_client.")]:
            without.delitem(sys.modules, name)
        without.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(HttpError, match="/bin/pip install prometheus_client") as caught:
            await get(web_endpoints(a.daemon))
        assert caught.value.status == 503
    assert (await get(web_endpoints(a.daemon))).status == 200  # it has been installed meanwhile
