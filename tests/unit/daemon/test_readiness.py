"""GET /healthz and GET /readyz: when a load balancer is told to send clients, and when not to."""

from __future__ import annotations

import pytest
import trio

from cuberouted.api.http import Endpoints, HttpError, Reply
from cuberouted.daemon.readiness import endpoints, reasons_not_ready
from tests.fakes.api import ROOT, call
from tests.unit.daemon.meshes import HOST1, HOST2, started

READY = (200, "ready\n")


async def readyz(server, query=""):
    """The status and the body of GET /readyz."""
    target = f"/readyz{query}"
    endpoint, request = Endpoints(endpoints(server.daemon)).find("GET", target, b"", ROOT)
    reply = await endpoint.handler(request)
    assert isinstance(reply, Reply)
    return reply.status, reply.body.decode()


def reasons(server, openvpn=""):
    return reasons_not_ready(server.daemon, openvpn)


async def until_reasons(mesh, server, *expected):
    """The seconds until these are the reasons."""
    return await mesh.until(lambda: reasons(server) == list(expected))


async def test_a_node_in_operation_is_alive_and_ready(mesh, autojump_clock):
    a, *_ = await started(mesh)
    await until_reasons(mesh, a)
    assert await readyz(a) == READY
    assert await call(endpoints(a.daemon), "GET", "/healthz") == b"ok\n"


async def test_before_its_first_look_at_the_kernel_nothing_is_ready(mesh, autojump_clock):
    a, _ = mesh.add("A"), mesh.add("B")
    seen = []
    a.on_start = lambda _: seen.append(reasons(a))
    await a.start()
    assert seen == [["openvpn is not connected yet", "peer B is not connected yet"]]


async def test_the_initial_sync_lasts_until_every_peer_was_up_once(mesh, autojump_clock):
    a, b, c = (mesh.add(name) for name in "ABC")
    await a.start()
    await until_reasons(mesh, a, "peer B is down", "peer C is down")
    assert await readyz(a) == (503, "peer B is down\npeer C is down\n")
    await b.start()
    await until_reasons(mesh, a, "peer C is down")
    await b.crash()
    await c.start()
    await until_reasons(mesh, a)
    assert trio.current_time() < a.daemon.initial_sync_ends


async def test_a_peer_that_does_not_run_is_waited_for_no_longer_than_hold_time(
    mesh, autojump_clock
):
    a, _ = mesh.add("A", "hold_time = 7 s"), mesh.add("B")
    await a.start()
    await until_reasons(mesh, a, "peer B is down")
    began = a.daemon.started_at
    await until_reasons(mesh, a)
    assert trio.current_time() - began == pytest.approx(7, abs=0.1)


async def test_what_becomes_of_peers_and_tunnels_later_does_not_count(mesh, autojump_clock):
    a, b, c = await started(mesh)
    b.connect("host2", HOST2)
    await until_reasons(mesh, a)
    seen: list[list[str]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, a, seen)
        await b.crash()
        await c.crash()
        a.kernel.remove_link("to-C")
        await mesh.until(lambda: {p.session.state for p in a.daemon.peers.values()} == {"down"})
        await b.start()  # its snapshot is received anew
        await mesh.until(lambda: a.session("B").state == "up")
        nursery.cancel_scope.cancel()
    assert seen == [[]]


async def watch(server, seen):
    """Note each change of the reasons."""
    while True:
        now = reasons(server)
        if [now] != seen[-1:]:
            seen.append(now)
        await trio.sleep(0.01)


async def test_a_node_whose_openvpn_ends_is_not_ready_until_that_is_back(mesh, autojump_clock):
    a, *_ = await started(mesh)
    a.connect("host1", HOST1)
    await until_reasons(mesh, a)
    a.openvpn.stop()
    refused = "openvpn is waiting: 127.0.0.1 port 5656: Connection refused"
    assert await until_reasons(mesh, a, refused) < 1
    assert await readyz(a) == (503, f"{refused}\n")
    assert reasons_not_ready(a.daemon, details=False) == ["openvpn is waiting"]
    a.openvpn.start()
    assert await until_reasons(mesh, a) < 3


async def test_an_openvpn_that_does_not_answer_or_restarts_is_not_ready(mesh, autojump_clock):
    a, *_ = await started(mesh)
    await until_reasons(mesh, a)
    a.openvpn.fall_silent()
    await until_reasons(
        mesh, a, "openvpn is silent: OpenVPN does not answer; its sessions are kept"
    )
    a.openvpn.wake_up()
    await until_reasons(mesh, a)
    a.openvpn.restart()
    await until_reasons(mesh, a, "openvpn is waiting: OpenVPN is reconnecting: SIGUSR1")
    a.openvpn.restarted()
    await until_reasons(mesh, a)


async def test_until_the_first_complete_listing_a_node_is_not_ready(mesh, autojump_clock):
    a, *_ = (mesh.add(name) for name in "AB")
    a.connect("host1", HOST1)
    a.openvpn.cut_after = 0
    await mesh.start()
    await trio.sleep(10)
    (why,) = reasons(a)
    assert why.startswith("openvpn: its clients are not known yet")
    a.openvpn.cut_after = None
    await until_reasons(mesh, a)
    a.openvpn.cut_after = 0  # later it is enough that its clients were known
    await trio.sleep(60)
    assert reasons(a) == []


async def test_without_its_tun_device_a_node_is_not_ready(mesh, autojump_clock):
    a, *_ = await started(mesh)
    await until_reasons(mesh, a)
    a.kernel.remove_link("tun0")
    await until_reasons(mesh, a, "interface tun0 is missing or down")


async def test_one_of_two_openvpn_processes_can_be_asked_for(mesh, autojump_clock):
    a, _ = mesh.add("A"), mesh.add("B")
    a.kernel.add_tunnel("tun3")
    a.openvpns.clear()
    a.add_openvpn("udp")
    tcp = a.add_openvpn("tcp")
    a.sections = [
        "[openvpn udp]\ndata_interface = tun0\nmgmt_port = 5656",
        "[openvpn tcp]\ndata_interface = tun3\nmgmt_port = 5658",
        "[peer B]\nmgmt_interface = to-B\nmgmt_ip = 10.200.200.2",
    ]
    await mesh.start()
    await until_reasons(mesh, a)
    tcp.stop()
    await mesh.until(lambda: reasons(a) != [])
    assert await readyz(a, "?openvpn=udp") == READY
    assert (await readyz(a, "?openvpn=tcp"))[0] == 503
    assert (await readyz(a))[0] == 503
    with pytest.raises(HttpError, match="no OpenVPN process sctp; known are: udp, tcp") as refused:
        await readyz(a, "?openvpn=sctp")
    assert refused.value.status == 404


async def test_the_only_process_is_named_as_in_status(mesh, autojump_clock):
    a, *_ = await started(mesh)
    await until_reasons(mesh, a)
    assert await readyz(a, "?openvpn=openvpn") == READY


async def test_a_daemon_that_stops_is_not_ready(mesh, autojump_clock):
    a, *_ = await started(mesh)
    await until_reasons(mesh, a)
    await a.stop()
    assert "cuberouted is stopping" in reasons(a)
