"""What a daemon finds out about its peers, on fakes."""

from __future__ import annotations

import pytest
import trio

from cuberouted.api.report_peers import SharedFile
from cuberouted.daemon.peer_check import check_peers, clock_offset
from cuberouted.model import FileKind, format_address
from cuberouted.peering.messages import Direct, FactsReply, FactsRequest, direct_topic, encode
from tests.unit.daemon.meshes import started

CCD, CRL, TLS_KEY, TOKEN_SECRET = FileKind


async def checked(server):
    """What is found, by peer."""
    report = await check_peers(server.daemon)
    assert report.node == server.name
    return {one.name: one for one in report.peers}


async def test_each_peer_answers_with_what_it_has_and_sees(mesh, autojump_clock):
    a, b, c = await started(mesh)
    for server in (a, b, c):
        server.probe.files = {CCD: {b"host1": b"x"}, CRL: {b"crl-verify": b"1"}}
    b.probe.mtus["to-A"] = 1400
    found = await checked(a)
    assert found.keys() == {"B", "C"}
    one = found["B"]
    assert (one.interface, one.address) == ("to-B", format_address(b.address))
    assert (one.state, one.connection, one.port, one.subscribed) == ("up", "", "", True)
    assert (one.answer.state, one.answer.mtu, one.mtu) == ("up", 1400, 1500)
    assert one.answer.files == [SharedFile("ccd", "", "same"), SharedFile("crl", "", "same")]
    assert abs(one.answer.clock_offset) < 0.01


@pytest.mark.parametrize("skew", [-60.0, 0.0, 3600.0])
async def test_a_clock_is_compared(mesh, autojump_clock, skew):
    for name in "AB":
        mesh.add(name)
    mesh["B"].skew = skew
    await mesh.start()
    answer = (await checked(mesh["A"]))["B"].answer
    assert answer.clock_offset == pytest.approx(skew, abs=0.01)
    assert answer.clock_error < 0.01


async def test_a_repetition_makes_the_offset_uncertain_and_not_wrong(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    for lost in ((a, b), (b, a)):
        mesh.network.lose(lost[0].address, lost[1].address, 1)
        answer = (await checked(a))["B"].answer
        assert abs(answer.clock_offset) <= answer.clock_error + 0.01
        await trio.sleep(5)


def test_the_error_of_an_offset_is_half_of_what_the_messages_took():
    reply = FactsReply(
        cuberouted="", received_at=107_000_000, sent_at=108_000_000, state="", detail="", mtu=0
    )
    assert clock_offset(100.0, reply, 105.0) == (5.0, 2.0)


async def test_files_that_differ_are_found(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    a.probe.files = {CCD: {b"host1": b"x", b"host2": b"y"}, CRL: {b"crl-verify": b"1"}}
    b.probe.files = {CCD: {b"host1": b"x"}}
    b.probe.unreadable = {TLS_KEY: "tc.key: Permission denied"}
    answer = (await checked(a))["B"].answer
    assert [(file.kind, file.verdict) for file in answer.files] == [
        ("ccd", "differs"),
        ("crl", "differs"),
        ("tls_key", "unknown"),
    ]


async def test_a_stopped_peer_is_not_asked(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    await b.stop()
    a.probe.ports["B"] = "connection refused"
    await trio.sleep(5)
    began = trio.current_time()
    found = await checked(a)
    assert trio.current_time() - began < 1
    assert (found["B"].port, found["B"].answer) == ("connection refused", None)
    assert found["B"].connection == "no connection"
    assert found["C"].answer is not None


async def test_a_peer_whose_answers_are_lost_is_silent_and_delays_no_other(mesh, autojump_clock):
    a, b, _ = await started(mesh, "ABC", "hold_time = 60s")
    mesh.network.block(b.address, a.address)
    found = await checked(a)
    assert found["B"].answer is None
    assert found["C"].answer is not None


async def test_a_flood_of_requests_does_not_keep_a_peer_reading_files(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    b.probe.takes = 0.1
    for number in range(10_000):
        request = FactsRequest(nonce=bytes(16))
        flood = Direct(node="A", epoch=1, seq=1, id=number.to_bytes(8), body=request)
        a.transport.publish(direct_topic("B"), encode(flood))
        if number % 1000 == 0:
            await trio.sleep(1)
    await trio.sleep(20)
    assert b.probe.reads <= 31  # one second each: 0.1 s of reading, and nine times that of pause
    assert mesh.is_up()


async def test_a_peer_that_reconnects_is_subscribed_again(mesh, autojump_clock):
    a, b = await started(mesh, "AB")
    mesh.network.disconnect(a.address, b.address)
    await trio.sleep(2)
    assert (await checked(a))["B"].answer is not None
