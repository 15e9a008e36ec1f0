"""A user ends the sessions of a client, wherever in the mesh it is."""

from __future__ import annotations

import random

import pytest
import trio

from cuberouted.api.report_disconnect import DisconnectReport, NodeDisconnected
from cuberouted.daemon.disconnect import DisconnectError, disconnect
from cuberouted.events import ClientKilled, DisconnectRequested, PeerWarning
from cuberouted.model import Prefix, printable_name
from cuberouted.peering.messages import Direct, DisconnectRequest, direct_topic, encode
from cuberouted.peering.requests import REPEAT_DELAYS
from tests.unit.daemon.meshes import HOST1, HOST2, HOST3, started, two_server_form

ALLOWED = "allow_remote_disconnect = yes"


async def order(server, client, node=None, by="root") -> DisconnectReport:
    return await disconnect(server.daemon, client, node, by)


def done(report):
    """What was done: node -> outcome and client ids."""
    return {row.node: (row.outcome, row.client_ids) for row in report.nodes}


def kills(server):
    return [line for line in server.openvpn.asked if line.startswith((b"kill", b"client-kill"))]


def events(server, kind):
    return [str(event) for event in server.daemon.events.after(0, 10_000) if type(event) is kind]


async def known(mesh, *addresses):
    """Wait until every server routes these."""
    prefixes = [Prefix.parse(address) for address in addresses]
    await mesh.until(lambda: all(s.daemon.node.rib.best(p) for s in mesh.servers for p in prefixes))


async def test_a_client_of_this_server_is_disconnected(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    a.connect("host1", HOST1)
    await known(mesh, HOST1)
    report = await order(a, "host1")
    assert report == DisconnectReport("host1", [NodeDisconnected("A", "ended", [0])])
    assert report.is_done
    assert report.sentences() == ["host1: 1 session ended at A (client id 0)"]
    await mesh.until(lambda: b.clients == {})
    assert events(a, DisconnectRequested) == ["disconnect of host1 at A requested by root"]
    [killed] = events(a, ClientKilled)
    assert killed.startswith(f"openvpn: killing the session of host1 ({HOST1}), client id 0: ")
    assert killed.endswith(": disconnect requested by root")


async def test_a_client_of_another_server_is_disconnected_there(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    report = await order(a, "host2", by="uid 1000 (anna)")
    assert done(report) == {"A": ("not_found", []), "B": ("ended", [0])}
    assert report.is_done
    assert report.sentences() == ["host2: 1 session ended at B (client id 0)"]
    await mesh.until(lambda: a.clients == {})
    assert kills(b) == [b'kill "host2"']
    asked = "disconnect of host2 at B requested by uid 1000 (anna)"
    assert events(a, DisconnectRequested) == [asked]
    assert events(b, DisconnectRequested) == [asked + " at A"]
    assert "disconnect requested by uid 1000 (anna) at A" in events(b, ClientKilled)[0]


async def test_without_permission_a_peer_refuses(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    for _ in range(3):
        report = await order(a, "host2")
        assert not report.is_done
        assert report.sentences() == ["B refuses: allow_remote_disconnect is not set there"]
    assert kills(b) == []
    assert len(b.openvpn.clients) == 1
    [warning] = events(b, PeerWarning)
    assert "its request to disconnect host2 was refused" in warning


async def test_a_reload_gives_and_takes_the_permission(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    b.settings = [ALLOWED]
    await b.reload()
    assert (await order(a, "host2")).is_done
    b.settings = []
    await b.reload()
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    assert not (await order(a, "host2")).is_done


async def test_a_client_on_two_servers_is_disconnected_on_both(mesh, autojump_clock):
    a, b, c = await started(mesh, "ABC", ALLOWED, "kill_superseded_sessions = no")
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    c.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "C"})
    assert done(await order(a, "host2")) == {
        "A": ("not_found", []),
        "B": ("ended", [0]),
        "C": ("ended", [0]),
    }
    await mesh.until(lambda: a.clients == {})


async def test_from_a_node_only_that_one_acts(mesh, autojump_clock):
    a, b, c = await started(mesh, "ABC", ALLOWED, "kill_superseded_sessions = no")
    for server in (a, b, c):
        server.connect("host2", HOST2)
        await trio.sleep(1)
    assert done(await order(a, "host2", "B")) == {"B": ("ended", [0])}
    assert [len(kills(server)) for server in (a, b, c)] == [0, 1, 0]
    assert done(await order(a, "host2", "A")) == {"A": ("ended", [0])}
    assert [len(kills(server)) for server in (a, b, c)] == [1, 1, 0]
    report = await order(a, "host2", "B")
    assert (report.is_done, report.sentences()) == (False, ["nobody at B has host2"])


async def test_two_servers_without_sections_disconnect_for_each_other(mesh, autojump_clock):
    a, b = mesh.add("A", ALLOWED), mesh.add("B", ALLOWED)
    a.settings, b.settings = [*a.settings, *two_server_form(b)], [*b.settings, *two_server_form(a)]
    a.sections = b.sections = []
    await mesh.start()
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    assert done(await order(a, "host2")) == {"A": ("not_found", []), "B": ("ended", [0])}
    assert done(await order(a, "host2", "B")) == {"B": ("not_found", [])}


async def test_a_name_that_nobody_has_is_told(mesh, autojump_clock):
    a, _, _ = await started(mesh, "ABC", ALLOWED)
    a.connect("host1", HOST1)
    report = await order(a, "host")
    assert (report.is_done, report.sentences()) == (False, ["nobody has host"])


async def test_an_unknown_node_and_impossible_names_are_refused(mesh, autojump_clock):
    a, _, _ = await started(mesh)
    for client, node, text in (
        ("host1", "D", "there is no node D; known are: A, B, C"),
        ("UNDEF", None, "without a name"),
        ("", None, "1 to 512 bytes, not 0"),
        ("x" * 513, None, "1 to 512 bytes, not 513"),
    ):
        with pytest.raises(DisconnectError, match=text):
            await order(a, client, node)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"b\xc3\xbc", b"a\\b", b'a"b', "\u202ex".encode(), b"a:b:\xff"]
)
async def test_a_name_is_given_as_it_is_shown_and_meant_exactly(mesh, autojump_clock, name):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.openvpn.connect(name, HOST2.encode())
    b.connect("other", HOST3)
    await known(mesh, HOST2, HOST3)
    assert done(await order(a, printable_name(name)))["B"] == ("ended", [0])
    await mesh.until(lambda: a.clients == {HOST3: "B"})


async def test_two_names_that_look_alike_are_not_guessed_at(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.openvpn.connect(b"a\\xff", HOST2.encode())
    b.openvpn.connect(b"a\xff", HOST3.encode())
    await known(mesh, HOST2, HOST3)
    with pytest.raises(DisconnectError, match="2 common names are shown as"):
        await order(a, "a\\xff")
    assert len(b.openvpn.clients) == 2


async def test_a_peer_that_does_not_answer_is_told(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED, "hold_time = 60s")
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    mesh.network.block(b.address, a.address)
    began = trio.current_time()
    report = await order(a, "host2")
    assert trio.current_time() - began < sum(REPEAT_DELAYS) + 1
    assert not report.is_done
    assert report.sentences()[0].startswith("B: no answer; it may still end the session")


async def test_messages_that_are_lost_delay_it_only(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    mesh.network.lose(a.address, b.address, 1)
    assert (await order(a, "host2")).is_done
    assert kills(b) == [b'kill "host2"']


async def test_a_lost_reply_does_not_kill_the_client_that_came_back(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    b.openvpn.on_drop = lambda _: mesh.network.lose(b.address, a.address, 2)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def come_back():
            await mesh.until(lambda: len(kills(b)) == 1)
            b.openvpn.on_drop = lambda _: None
            b.connect("host2", HOST2)

        assert (await order(a, "host2")).is_done
    assert kills(b) == [b'kill "host2"']
    assert len(b.openvpn.clients) == 1


async def test_a_status_file_and_an_absent_openvpn_are_told(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    b.openvpn.hang_up()
    b.openvpn._running = False
    await trio.sleep(0.2)
    [line] = (await order(a, "host2")).sentences()
    assert line.startswith("B: openvpn: OpenVPN is not connected (waiting); ")


async def test_a_flood_of_a_peer_s_requests_is_bounded(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", ALLOWED)
    b.connect("host2", HOST2)
    await known(mesh, HOST2)
    rng = random.Random(3)
    listings = b.openvpn.asked.count(b"status 3")
    for _ in range(20):
        for _ in range(500):
            request = DisconnectRequest(client=b"nobody%d" % rng.randrange(10**6), by="x")
            flood = Direct(node="A", epoch=1, seq=1, id=rng.randbytes(8), body=request)
            a.transport.publish(direct_topic("B"), encode(flood))
        await trio.sleep(0.5)
    assert b.openvpn.asked.count(b"status 3") - listings < 300
    assert mesh.is_up()
    assert len(b.openvpn.clients) == 1
