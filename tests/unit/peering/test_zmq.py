"""The transport over real ZeroMQ, on loopback. No root: every address is in 127.0.0.0/8."""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing
import zmq

from cuberouted.config.keypair import generate
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerLost, PeerState, PeerUpdate, RoutesChanged, RoutesReplaced
from cuberouted.peering.messages import MAX_MESSAGE
from cuberouted.peering.session import PeerSession
from cuberouted.peering.tasks import PeerReceiver, PublisherTask
from cuberouted.peering.transport import (
    ConnectionState,
    PeerEndpoint,
    PeerSocket,
    SubscriberFrame,
    Transport,
)
from cuberouted.peering.zmq import subscriber
from cuberouted.peering.zmq.transport import MAX_REQUEST, SEND_QUEUE, ZmqTransport, open_transport
from cuberouted.peering.zmq.wait import ZmqReadable
from cuberouted.peering.zmq.zap import MAX_TOPICS, packed
from tests.unit.peering.samples import LIMITS, clients

LOOPBACK = socket.inet_aton("127.0.0.1")
LOOPBACK6 = socket.inet_pton(socket.AF_INET6, "::1")
SOON = 10
"""Seconds within which has to come what is waited for, or the test fails."""
TOPIC = b"s/" + b"0" * 16


def free_port() -> int:
    """A port that nobody listens on, at any address of either family."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port: int = server.getsockname()[1]
        return port


@asynccontextmanager
async def publishing(port: int, address: bytes = LOOPBACK) -> AsyncIterator[ZmqTransport]:
    """A transport that listens on *port* and admits loopback as "b"."""
    async with open_transport(port, hold_time=3.0) as bus:
        bus.allow({LOOPBACK: "b", LOOPBACK6: "b"})
        assert bus.bind([address]) == ()
        yield bus


def end(port: int, address: bytes = LOOPBACK, device: str | None = None) -> PeerEndpoint:
    return PeerEndpoint("a", address, port, device)


async def next_request(bus: Transport) -> SubscriberFrame:
    with trio.fail_after(SOON):
        while (request := bus.receive()) is None:
            await bus.readable(inf)
        return request


async def next_message(peer: PeerSocket) -> list[bytes]:
    with trio.fail_after(SOON):
        while (frames := peer.receive()) is None:
            await peer.readable(inf)
        return list(frames)


async def next_link(peer: PeerSocket) -> ConnectionState:
    with trio.fail_after(SOON):
        return await peer.link_change()


@contextmanager
def stranger(port: int, source: str, kind: int = zmq.SUB) -> Iterator[zmq.Socket[bytes]]:
    """A raw socket that connects from *source*."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    raw = context.socket(kind)
    raw.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    try:
        raw.connect(f"tcp://{source}:0;127.0.0.1:{port}")
        yield raw
    finally:
        context.destroy(linger=0)


async def until_turned_away(raw: zmq.Socket[bytes]) -> None:
    with trio.fail_after(SOON):
        await ZmqReadable(raw.get_monitor_socket()).readable()


@pytest.mark.parametrize(
    ("address", "device"),
    [(LOOPBACK, None), (LOOPBACK, "lo"), (LOOPBACK6, None)],
    ids=["IPv4", "on a device", "IPv6"],
)
async def test_what_is_published_is_heard(address: bytes, device: str | None) -> None:
    port = free_port()
    async with publishing(port, address) as a, open_transport(free_port(), 3.0) as b:
        with b.open(end(port, address, device)) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.CONNECTED
            assert await next_request(a) == ("b", b"\x01u")
            a.publish(b"x", b"not subscribed to")
            a.publish(b"u", b"hello")
            assert await next_message(peer) == [b"u", b"hello"]
            assert peer.receive() is None


async def test_every_subscription_is_told_also_one_that_another_peer_has() -> None:
    port = free_port()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        with b.open(end(port)) as one, b.open(end(port)) as two:
            for peer in (one, two):
                peer.subscribe(TOPIC)
                assert await next_request(a) == ("b", b"\x01" + TOPIC)
            one.unsubscribe(TOPIC)
            two.unsubscribe(TOPIC)
            assert (await next_request(a)).frame == b"\x00" + TOPIC


async def test_a_subscription_that_comes_while_we_publish_is_not_overlooked() -> None:
    port = free_port()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        with b.open(end(port)) as peer:
            await next_link(peer)
            async with trio.open_nursery() as nursery:
                got = trio.Event()

                async def wait() -> None:
                    await next_request(a)
                    got.set()

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                peer.subscribe(b"u")
                while not got.is_set():
                    a.publish(b"u", b"takes in what has come")
                    await trio.lowlevel.checkpoint()


async def test_a_stranger_is_turned_away_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    async with publishing(port) as a:
        a.allow({socket.inet_aton("127.0.0.2"): "b"})
        for _ in range(3):
            with stranger(port, "127.0.0.3") as raw:
                raw.subscribe(b"u")
                await until_turned_away(raw)
        with stranger(port, "127.0.0.2") as raw:
            raw.subscribe(b"u")
            assert await next_request(a) == ("b", b"\x01u")
        assert a.rejected_connections == 3
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert lines == ["rejected a connection from 127.0.0.3: not a peer's mgmt_ip"]


OURS, THEIRS, OTHER = (generate() for _ in range(3))
"""Key pairs of node a, of node b, and of somebody else: each public and secret."""


@asynccontextmanager
async def encrypting(port: int, admitted: bytes = THEIRS[0]) -> AsyncIterator[ZmqTransport]:
    """Node a's transport on *port*, which has `OURS` and knows b by *admitted*."""
    async with open_transport(port, 3.0, OURS[1]) as bus:
        bus.allow({admitted: "b"})
        assert bus.bind([LOOPBACK]) == ()
        yield bus


def locked(port: int, *keys: bytes) -> PeerEndpoint:
    return PeerEndpoint("a", LOOPBACK, port, None, keys)


async def test_with_keys_peers_hear_each_other_and_know_who_asks() -> None:
    port = free_port()
    async with encrypting(port) as a, open_transport(free_port(), 3.0, THEIRS[1]) as b:
        with b.open(locked(port, OURS[0])) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.CONNECTED
            assert await next_request(a) == ("b", b"\x01u")
            a.publish(b"u", b"hello")
            assert await next_message(peer) == [b"u", b"hello"]
        assert a.rejected_connections == 0


async def test_who_has_no_peers_key_is_turned_away_counted_and_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    async with encrypting(port) as a, open_transport(free_port(), 3.0, OTHER[1]) as b:
        with b.open(locked(port, OURS[0])) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.KEY_REFUSED
        assert a.rejected_connections == 1
        assert a.receive() is None
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert lines == ["rejected a connection from 127.0.0.1: not a peer's public key"]


async def test_a_peer_that_does_not_have_the_key_it_should_have_is_not_believed() -> None:
    port = free_port()
    async with encrypting(port) as a, open_transport(free_port(), 3.0, THEIRS[1]) as b:
        with b.open(locked(port, OTHER[0])) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.NO_HANDSHAKE
            with trio.fail_after(SOON):
                while not a.rejected_connections:
                    await trio.lowlevel.checkpoint()
            assert (a.receive(), peer.receive()) == (None, None)


@pytest.mark.parametrize("encrypts", ["they", "we"])
async def test_encryption_on_one_side_only_connects_nobody(encrypts: str) -> None:
    port = free_port()
    they = encrypting(port) if encrypts == "they" else publishing(port)
    async with (
        they as a,
        open_transport(free_port(), 3.0, THEIRS[1] if encrypts == "we" else None) as b,
    ):
        with b.open(end(port) if encrypts == "they" else locked(port, OURS[0])) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.NO_HANDSHAKE
            assert (a.receive(), peer.receive()) == (None, None)


@pytest.mark.parametrize("order", [0, 1], ids=["its key comes first", "its key comes second"])
async def test_of_two_keys_the_one_in_force_is_found(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "REVIVE_AFTER", 0.05)
    port = free_port()
    keys = (OURS[0], OTHER[0])[:: -1 if order else 1]
    async with encrypting(port) as a, open_transport(free_port(), 3.0, THEIRS[1]) as b:
        with b.open(locked(port, *keys)) as peer:
            peer.subscribe(b"u")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.readable, inf)
                while await next_link(peer) is not ConnectionState.CONNECTED:
                    pass
                assert (await next_request(a)).frame == b"\x01u"
                nursery.cancel_scope.cancel()


async def test_a_peer_that_changes_its_key_is_heard_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber, "REVIVE_AFTER", 0.05)
    port = free_port()
    async with open_transport(free_port(), 3.0, THEIRS[1]) as b, trio.open_nursery() as nursery:
        with b.open(locked(port, OURS[0], OTHER[0])) as peer:
            peer.subscribe(b"u")
            nursery.start_soon(peer.readable, inf)
            for _, secret in (OURS, OTHER, OURS):
                async with open_transport(port, 3.0, secret) as a:
                    a.allow({THEIRS[0]: "b"})
                    assert a.bind([LOOPBACK]) == ()
                    while await next_link(peer) is not ConnectionState.CONNECTED:
                        pass
            nursery.cancel_scope.cancel()


async def test_a_bus_never_makes_up_for_missing_keys_by_not_encrypting() -> None:
    async with open_transport(free_port(), 3.0, OURS[1]) as bus:
        with pytest.raises(ValueError, match="one side"), bus.open(end(1)):
            pass
    async with open_transport(free_port(), 3.0) as bus:
        with pytest.raises(ValueError, match="one side"), bus.open(locked(1, OURS[0])):
            pass


async def test_who_connects_and_says_nothing_or_nonsense_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    async with encrypting(port) as a:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", port)).close()
        with trio.fail_after(SOON):
            while a.rejected_connections < 3:
                await trio.lowlevel.checkpoint()
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "without a handshake" in lines[0]


async def test_a_peer_admitted_later_is_heard_although_it_was_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "REVIVE_AFTER", 0.05)
    port = free_port()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        a.allow({})
        with b.open(end(port)) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.TURNED_AWAY
            a.allow({LOOPBACK: "b"})
            assert await next_link(peer) is ConnectionState.CONNECTED
            assert await next_request(a) == ("b", b"\x01u")


async def test_a_message_too_large_ends_the_connection_only_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "REVIVE_AFTER", 0.05)
    port = free_port()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        with b.open(end(port)) as peer:
            peer.subscribe(b"u")
            await next_request(a)
            async with trio.open_nursery() as nursery:
                messages: list[list[bytes]] = []

                async def hear() -> None:
                    messages.append(await next_message(peer))

                nursery.start_soon(hear)
                assert await next_link(peer) is ConnectionState.CONNECTED
                a.publish(b"u", bytes(MAX_MESSAGE + 1))
                assert await next_link(peer) is ConnectionState.DISCONNECTED
                assert await next_link(peer) is ConnectionState.CONNECTED
                while (await next_request(a)).frame != b"\x01u":
                    pass
                a.publish(b"u", b"again")
            assert messages == [[b"u", b"again"]]


async def test_a_request_too_large_or_of_several_parts_harms_nobody() -> None:
    port = free_port()
    async with publishing(port) as a:
        with stranger(port, "127.0.0.1", zmq.XSUB) as raw:
            raw.send(b"\x01" + bytes(MAX_REQUEST))
            raw.send_multipart([b"\x02what", b"\x00u", b"\x01u"])
        with stranger(port, "127.0.0.1", zmq.XSUB) as raw:
            raw.send_multipart([b"\x02what", b"\x00u", b"\x01u"])
            while (await next_request(a)).frame != b"\x01u":
                pass


async def test_a_peer_that_is_no_longer_admitted_is_cut_off_and_others_come_back() -> None:
    port = free_port()
    async with encrypting(port) as a, open_transport(free_port(), 3.0, THEIRS[1]) as b:
        a.allow({THEIRS[0]: "b", OTHER[0]: "c"})
        async with open_transport(free_port(), 3.0, OTHER[1]) as c:
            with b.open(locked(port, OURS[0])) as peer, c.open(locked(port, OURS[0])) as other:
                for one in (peer, other):
                    one.subscribe(b"u")
                    assert (await next_request(a)).frame == b"\x01u"
                    assert await next_link(one) is ConnectionState.CONNECTED
                a.allow({OTHER[0]: "c"})
                a.publish(b"u", b"secret")
                while await next_link(peer) is not ConnectionState.KEY_REFUSED:
                    pass
                while await next_link(other) is not ConnectionState.CONNECTED:
                    pass
                other.receive()  # who does not listen does not subscribe again
                while await next_request(a) != ("c", b"\x01u"):
                    pass
                assert peer.receive() is None


def memory() -> int:
    """MB that we have in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20


async def test_a_subscriber_that_never_reads_costs_a_queue_and_others_nothing() -> None:
    port, size, before = free_port(), 4096, memory()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        a.allow({LOOPBACK: "b", socket.inet_aton("127.0.0.2"): "c"})
        with stranger(port, "127.0.0.2") as sloth, b.open(end(port)) as peer:
            sloth.setsockopt(zmq.RCVHWM, 1)
            for one in (sloth, peer):
                one.subscribe(b"u")
                assert (await next_request(a)).frame == b"\x01u"
            for number in range(20 * SEND_QUEUE):  # 80 MB
                a.publish(b"u", number.to_bytes(4) + bytes(size))
                while peer.receive():
                    pass
                if number % 100 == 0:
                    await trio.lowlevel.checkpoint()
            assert memory() - before < 60
            heard = -1
            while heard < 20 * SEND_QUEUE - 1:
                a.publish(b"u", (20 * SEND_QUEUE).to_bytes(4))
                heard = int.from_bytes((await next_message(peer))[1][:4])
            numbers = [-1]
            while numbers[-1] < 20 * SEND_QUEUE:
                if not sloth.poll(100):  # it has read all there was
                    a.publish(b"u", (20 * SEND_QUEUE).to_bytes(4))
                    continue
                numbers.append(int.from_bytes(sloth.recv_multipart()[1][:4]))
    assert len(numbers) < 5 * SEND_QUEUE  # so it can tell that it lacks something


async def test_a_peer_that_subscribes_without_end_is_cut_off_and_named(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with publishing(port) as a:
        a.allow({LOOPBACK: "b", socket.inet_aton("127.0.0.2"): "c"})
        with stranger(port, "127.0.0.2") as good, stranger(port, "127.0.0.1", zmq.XSUB) as raw:
            good.subscribe(b"u")
            assert await next_request(a) == ("c", b"\x01u")
            nursery.start_soon(ZmqReadable(good).readable)  # who does not listen is not heard again
            for number in range(10 * MAX_TOPICS):
                raw.send(b"\x01%d" % number)
            heard = []
            while (request := await next_request(a)) != ("c", b"\x01u"):
                heard.append(request)
            await until_turned_away(raw)
            nursery.cancel_scope.cancel()
    assert sum(peer == "b" for peer, _ in heard) == MAX_TOPICS
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert lines == ["peer b: subscribed to more than 100 topics: turned away for 60 s"]


async def test_without_descriptors_the_old_socket_stays_and_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "REVIVE_AFTER", 0.05)
    port = free_port()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        a.allow({})
        with b.open(end(port)) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.TURNED_AWAY
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
            try:
                with trio.move_on_after(0.3):
                    await peer.link_change()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            a.allow({LOOPBACK: "b"})
            assert await next_link(peer) is ConnectionState.CONNECTED


async def test_the_death_of_the_other_side_is_noticed_and_its_return(nursery: trio.Nursery) -> None:
    port = free_port()
    async with open_transport(free_port(), 3.0) as b:
        with b.open(end(port)) as peer:
            peer.subscribe(b"u")
            nursery.start_soon(peer.readable, inf)  # who does not listen does not subscribe again
            assert await next_link(peer) is ConnectionState.DISCONNECTED
            async with publishing(port):
                assert await next_link(peer) is ConnectionState.CONNECTED
            assert await next_link(peer) is ConnectionState.DISCONNECTED
            async with publishing(port) as again:
                assert await next_link(peer) is ConnectionState.CONNECTED
                assert await next_request(again) == ("b", b"\x01u")
            nursery.cancel_scope.cancel()


async def test_without_its_device_a_peer_is_not_sought_elsewhere() -> None:
    port = free_port()
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        with b.open(end(port, device="cr-none")) as peer:
            peer.subscribe(b"u")
            assert await next_link(peer) is ConnectionState.DISCONNECTED
            assert (a.receive(), a.rejected_connections) == (None, 0)


async def test_binding_again_is_harmless_and_what_fails_is_told_in_words() -> None:
    taken = free_port()
    elsewhere, link_local = socket.inet_aton("192.0.2.1"), b"\xfe\x80" + bytes(13) + b"\x01"
    with socket.create_server(("127.0.0.2", taken)):
        async with open_transport(taken, 3.0) as bus:
            assert bus.bind([LOOPBACK, link_local]) == ()
            assert bus.bind([LOOPBACK]) == ()
            problems = bus.bind([LOOPBACK, elsewhere, socket.inet_aton("127.0.0.2")])
    assert {(socket.inet_ntoa(address), why) for address, why in problems} == {
        (
            "127.0.0.2",
            f"cannot listen on tcp://127.0.0.2:{taken}: the port is in use by another program",
        ),
        (
            "192.0.2.1",
            f"cannot listen on tcp://192.0.2.1:{taken}: this host does not have the address (now)",
        ),
    }


async def test_an_address_whose_port_gets_free_is_bound_at_the_next_try() -> None:
    port = free_port()
    async with open_transport(port, 3.0) as bus:
        with socket.create_server(("127.0.0.1", port)):
            assert len(bus.bind([LOOPBACK])) == 1
        assert bus.bind([LOOPBACK]) == ()


async def test_last_words_leave_before_the_bus_closes() -> None:
    port = free_port()
    async with open_transport(free_port(), 3.0) as b:
        with b.open(end(port)) as peer:
            peer.subscribe(b"u")
            async with publishing(port) as a:
                await next_request(a)
                a.publish(b"u", b"goodbye")
            assert await next_message(peer) == [b"u", b"goodbye"]


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("::ffff:10.0.0.1", b"\x0a\x00\x00\x01"),
        ("10.0.0.1", b"\x0a\x00\x00\x01"),
        ("::1", LOOPBACK6),
        ("fe80::1%tun1", b"\xfe\x80" + bytes(13) + b"\x01"),
    ],
)
def test_addresses_are_read_as_zeromq_tells_them(told: str, address: bytes) -> None:
    assert packed(told) == address


async def test_the_tasks_share_routes_over_real_sockets() -> None:
    port = free_port()
    news_in, news = trio.open_memory_channel[PeerUpdate](10)
    async with publishing(port) as a, open_transport(free_port(), 3.0) as b:
        speaker = PublisherTask(a, Publisher("a", 1, 1.0, trio.current_time()))
        session = PeerSession("a", "a", "b", LIMITS, trio.current_time())
        listener = PeerReceiver(b, end(port), session, news_in.send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.run)
            nursery.start_soon(listener.run)
            speaker.say(clients(*range(900)), ())
            speaker.synced()
            assert await news.receive() == RoutesReplaced("a", "a", clients(*range(900)))
            assert session.state is PeerState.UP
            speaker.say(clients(1000), ())
            assert await news.receive() == RoutesChanged("a", "a", clients(1000), ())
            speaker.goodbye(restarting=False)
            assert await news.receive() == PeerLost("a", "it said goodbye")
            nursery.cancel_scope.cancel()
