"""The transport over real ZeroMQ, on loopback. No root: every address is in 127.0.0.0/8."""

from __future__ import annotations

import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing
import zmq

from cuberouted.config.keypair import generate
from cuberouted.events import ConnectionRejected, Emit, Event, NodeProblem, PeerWarning
from cuberouted.peering.adj_rib_out import Publisher
from cuberouted.peering.events import PeerLost, PeerState, PeerUpdate, RoutesChanged, RoutesReplaced
from cuberouted.peering.messages import MAX_MESSAGE, MAX_SNAPSHOT_PARTS, Direct
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
from cuberouted.peering.zmq.subscriber import ConnectionTracker, Subscriber
from cuberouted.peering.zmq.transport import (
    MAX_REQUEST,
    SEND_QUEUE,
    UPDATE_QUEUE,
    ZmqTransport,
    open_transport,
)
from cuberouted.peering.zmq.wait import ZmqReadable
from cuberouted.peering.zmq.zap import (
    FAILED_HANDSHAKE_TEXT,
    MAX_REJECTION_EVENTS,
    MAX_TOPICS,
    ZAP_ENDPOINT,
    ZapAuthenticator,
    parse_address,
)
from tests.unit.peering.samples import LIMITS, clients

LOOPBACK = socket.inet_aton("127.0.0.1")
LOOPBACK6 = socket.inet_pton(socket.AF_INET6, "::1")
SOON = 10
"""Seconds after which a wait fails the test."""
TOPIC = b"s/" + b"0" * 16


_reserved: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _release_ports() -> Iterator[None]:
    yield
    while _reserved:
        _reserved.pop().close()


def free_port() -> int:
    """A port that is free at every address of either family, and that no other program is given.

    A socket stays bound to it until the test ends. It does not listen, so with SO_REUSEADDR, which
    ZeroMQ sets, others can listen there; the kernel assigns the port to nobody who asks for any.
    """
    reserved = socket.socket(socket.AF_INET6)
    _reserved.append(reserved)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    reserved.bind(("::", 0))
    port: int = reserved.getsockname()[1]
    return port


def ignore(_event: Event) -> None:
    """For tests of something else than events."""


opened = partial(open_transport, emit=ignore)


@asynccontextmanager
async def publishing(
    port: int, address: bytes = LOOPBACK, *, emit: Emit = ignore
) -> AsyncIterator[ZmqTransport]:
    """A transport that listens on *port* and allows loopback as "b"."""
    async with opened(port, hold_time=3.0, emit=emit) as transport:
        transport.allow({LOOPBACK: "b", LOOPBACK6: "b"})
        transport.listen([address])
        assert transport.bind_problems == ()
        yield transport


def endpoint(port: int, address: bytes = LOOPBACK, device: str | None = None) -> PeerEndpoint:
    return PeerEndpoint("a", address, port, device)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(SOON):
        while not condition():  # noqa: ASYNC110 - changed by libzmq's threads
            await trio.sleep(0.001)


async def allow(transport: Transport, peers: Mapping[bytes, str]) -> None:
    """Allow *peers* only, and wait until the transport listens again."""
    transport.allow(peers)
    await until(lambda: transport.bind_problems == ())


async def next_request(transport: Transport) -> SubscriberFrame:
    with trio.fail_after(SOON):
        while (request := transport.receive()) is None:
            await transport.readable(inf)
        return request


async def next_message(peer: PeerSocket) -> list[bytes]:
    with trio.fail_after(SOON):
        while (frames := peer.receive()) is None:
            await peer.readable(inf)
        return list(frames)


async def next_state(peer: PeerSocket) -> ConnectionState:
    with trio.fail_after(SOON):
        return await peer.connection_change()


@contextmanager
def raw_subscriber(port: int, source: str, kind: int = zmq.SUB) -> Iterator[zmq.Socket[bytes]]:
    """A raw socket that connects from *source*."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    raw = context.socket(kind)
    raw.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    try:
        raw.connect(f"tcp://{source}:0;127.0.0.1:{port}")
        yield raw
    finally:
        context.destroy(linger=0)


async def until_rejected(raw: zmq.Socket[bytes]) -> None:
    with trio.fail_after(SOON):
        await ZmqReadable(raw.get_monitor_socket()).readable()


@pytest.mark.parametrize(
    ("address", "device"),
    [(LOOPBACK, None), (LOOPBACK, "lo"), (LOOPBACK6, None)],
    ids=["IPv4", "on a device", "IPv6"],
)
async def test_a_published_message_is_received(address: bytes, device: str | None) -> None:
    port = free_port()
    async with publishing(port, address) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port, address, device)) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.CONNECTED
            assert await next_request(a) == ("b", b"\x01u")
            a.publish(b"x", b"not subscribed to")
            a.publish(b"u", b"hello")
            assert await next_message(peer) == [b"u", b"hello"]
            assert peer.receive() is None


async def test_every_subscription_is_received_even_if_another_peer_has_it() -> None:
    port = free_port()
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as one, b.connect(endpoint(port)) as two:
            for peer in (one, two):
                peer.subscribe(TOPIC)
                assert await next_request(a) == ("b", b"\x01" + TOPIC)
            one.unsubscribe(TOPIC)
            two.unsubscribe(TOPIC)
            assert (await next_request(a)).frame == b"\x00" + TOPIC


async def test_a_subscription_that_comes_while_we_publish_is_received() -> None:
    port = free_port()
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as peer:
            await next_state(peer)
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


async def test_a_connection_from_another_address_is_rejected_counted_and_is_one_event() -> None:
    emitted: list[Event] = []
    port = free_port()
    async with publishing(port, emit=emitted.append) as a:
        await allow(a, {socket.inet_aton("127.0.0.2"): "b"})
        for _ in range(3):
            with raw_subscriber(port, "127.0.0.3") as raw:
                raw.subscribe(b"u")
                await until_rejected(raw)
        with raw_subscriber(port, "127.0.0.2") as raw:
            raw.subscribe(b"u")
            assert await next_request(a) == ("b", b"\x01u")
        assert a.rejected_connections == 3
    why = "a connection from 127.0.0.3: not a peer's mgmt_ip"
    assert emitted == [ConnectionRejected(why=why)]


OURS, THEIRS, OTHER = (generate() for _ in range(3))
"""Key pairs of node a, of node b, and of another: each public and secret."""


@asynccontextmanager
async def encrypting(
    port: int, allowed: bytes = THEIRS[0], *, emit: Emit = ignore
) -> AsyncIterator[ZmqTransport]:
    """Node a's transport on *port*, which has `OURS` and knows b by *allowed*."""
    async with opened(port, 3.0, OURS[1], emit=emit) as transport:
        transport.allow({allowed: "b"})
        transport.listen([LOOPBACK])
        assert transport.bind_problems == ()
        yield transport


def locked(port: int, *keys: bytes) -> PeerEndpoint:
    return PeerEndpoint("a", LOOPBACK, port, None, keys)


async def test_with_keys_messages_arrive_and_the_sender_is_known() -> None:
    port = free_port()
    async with encrypting(port) as a, opened(free_port(), 3.0, THEIRS[1]) as b:
        with b.connect(locked(port, OURS[0])) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.CONNECTED
            assert await next_request(a) == ("b", b"\x01u")
            a.publish(b"u", b"hello")
            assert await next_message(peer) == [b"u", b"hello"]
        assert a.rejected_connections == 0


async def test_an_unknown_key_is_rejected_counted_and_the_reason_reported() -> None:
    emitted: list[Event] = []
    port = free_port()
    async with encrypting(port, emit=emitted.append) as a, opened(free_port(), 3.0, OTHER[1]) as b:
        with b.connect(locked(port, OURS[0])) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.KEY_REJECTED
        assert a.rejected_connections == 1
        assert a.receive() is None
    why = "a connection from 127.0.0.1: not a peer's public key"
    assert emitted == [ConnectionRejected(why=why)]


async def test_a_peer_without_the_configured_key_is_not_connected() -> None:
    port = free_port()
    async with encrypting(port) as a, opened(free_port(), 3.0, THEIRS[1]) as b:
        with b.connect(locked(port, OTHER[0])) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.NO_HANDSHAKE
            with trio.fail_after(SOON):
                while not a.rejected_connections:
                    await trio.lowlevel.checkpoint()
            assert (a.receive(), peer.receive()) == (None, None)


@pytest.mark.parametrize("encrypts", ["they", "we"])
async def test_encryption_on_one_side_only_makes_no_connection(encrypts: str) -> None:
    port = free_port()
    they = encrypting(port) if encrypts == "they" else publishing(port)
    async with (
        they as a,
        opened(free_port(), 3.0, THEIRS[1] if encrypts == "we" else None) as b,
    ):
        with b.connect(endpoint(port) if encrypts == "they" else locked(port, OURS[0])) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.NO_HANDSHAKE
            assert (a.receive(), peer.receive()) == (None, None)


@pytest.mark.parametrize("order", [0, 1], ids=["its key comes first", "its key comes second"])
async def test_of_two_keys_the_one_in_use_is_found(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "RECONNECT_DELAY", 0.05)
    port = free_port()
    keys = (OURS[0], OTHER[0])[:: -1 if order else 1]
    async with encrypting(port) as a, opened(free_port(), 3.0, THEIRS[1]) as b:
        with b.connect(locked(port, *keys)) as peer:
            peer.subscribe(b"u")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.readable, inf)
                while await next_state(peer) is not ConnectionState.CONNECTED:
                    pass
                assert (await next_request(a)).frame == b"\x01u"
                nursery.cancel_scope.cancel()


async def test_a_peer_that_changes_its_key_is_connected_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "RECONNECT_DELAY", 0.05)
    port = free_port()
    async with opened(free_port(), 3.0, THEIRS[1]) as b, trio.open_nursery() as nursery:
        with b.connect(locked(port, OURS[0], OTHER[0])) as peer:
            peer.subscribe(b"u")
            nursery.start_soon(peer.readable, inf)
            for _, secret in (OURS, OTHER, OURS):
                async with opened(port, 3.0, secret) as a:
                    await allow(a, {THEIRS[0]: "b"})
                    a.listen([LOOPBACK])
                    while await next_state(peer) is not ConnectionState.CONNECTED:
                        pass
            nursery.cancel_scope.cancel()


async def test_missing_keys_never_lead_to_an_unencrypted_connection() -> None:
    async with opened(free_port(), 3.0, OURS[1]) as transport:
        with pytest.raises(ValueError, match="one side"), transport.connect(endpoint(1)):
            pass
    async with opened(free_port(), 3.0) as transport:
        with pytest.raises(ValueError, match="one side"), transport.connect(locked(1, OURS[0])):
            pass


async def test_connections_without_a_handshake_are_counted() -> None:
    emitted: list[Event] = []
    port = free_port()
    async with encrypting(port, emit=emitted.append) as a:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", port)).close()
        with trio.fail_after(SOON):
            while a.rejected_connections < 3:
                await trio.lowlevel.checkpoint()
    assert emitted == [ConnectionRejected(why=FAILED_HANDSHAKE_TEXT)]


async def test_rejections_from_many_addresses_are_few_events_with_their_number(
    autojump_clock: trio.testing.MockClock,
) -> None:
    emitted: list[Event] = []
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    authenticator = ZapAuthenticator(context, emitted.append)
    raw = context.socket(zmq.REQ)
    raw.connect(ZAP_ENDPOINT)

    async def reject(number: int) -> None:
        address = socket.inet_ntoa(number.to_bytes(4)).encode()
        raw.send_multipart([b"1.0", b"1", b"cuberouted", address, b"", b"NULL"])
        with trio.fail_after(SOON):
            while not raw.poll(0):  # noqa: ASYNC110 - changed by libzmq's threads
                await trio.sleep(0.001)
        assert raw.recv_multipart()[2] == b"400"

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(authenticator.serve)
            for number in range(5000):
                await reject(number)
            await trio.sleep(60)
            await reject(5000)
            nursery.cancel_scope.cancel()
    finally:
        raw.close(linger=0)
        authenticator.close()
        context.destroy()
    assert len(emitted) == MAX_REJECTION_EVENTS + 1
    why = "a connection from 0.0.19.136: not a peer's mgmt_ip"
    assert emitted[-1] == ConnectionRejected(why=why, count=5001 - MAX_REJECTION_EVENTS)


async def test_a_peer_allowed_later_is_connected_although_it_was_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "RECONNECT_DELAY", 0.05)
    port = free_port()
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        await allow(a, {})
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.ADDRESS_REJECTED
            await allow(a, {LOOPBACK: "b"})
            assert await next_state(peer) is ConnectionState.CONNECTED
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.readable, inf)  # an idle SUB socket does not subscribe
                assert await next_request(a) == ("b", b"\x01u")
                nursery.cancel_scope.cancel()


async def test_after_a_message_too_large_the_connection_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "RECONNECT_DELAY", 0.05)
    port = free_port()
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(b"u")
            await next_request(a)
            async with trio.open_nursery() as nursery:
                messages: list[list[bytes]] = []

                async def receive() -> None:
                    messages.append(await next_message(peer))

                nursery.start_soon(receive)
                assert await next_state(peer) is ConnectionState.CONNECTED
                a.publish(b"u", bytes(MAX_MESSAGE + 1))
                assert await next_state(peer) is ConnectionState.DISCONNECTED
                assert await next_state(peer) is ConnectionState.CONNECTED
                while (await next_request(a)).frame != b"\x01u":
                    pass
                a.publish(b"u", b"again")
            assert messages == [[b"u", b"again"]]


async def test_after_a_frame_too_large_or_of_several_parts_others_are_served() -> None:
    port = free_port()
    async with publishing(port) as a:
        with raw_subscriber(port, "127.0.0.1", zmq.XSUB) as raw:
            raw.send(b"\x01" + bytes(MAX_REQUEST))
            raw.send_multipart([b"\x02what", b"\x00u", b"\x01u"])
        with raw_subscriber(port, "127.0.0.1", zmq.XSUB) as raw:
            raw.send_multipart([b"\x02what", b"\x00u", b"\x01u"])
            while (await next_request(a)).frame != b"\x01u":
                pass


async def test_a_peer_that_is_no_longer_allowed_is_disconnected_and_others_reconnect() -> None:
    port = free_port()
    async with encrypting(port) as a, opened(free_port(), 3.0, THEIRS[1]) as b:
        await allow(a, {THEIRS[0]: "b", OTHER[0]: "c"})
        async with opened(free_port(), 3.0, OTHER[1]) as c:
            with (
                b.connect(locked(port, OURS[0])) as peer,
                c.connect(locked(port, OURS[0])) as other,
            ):
                for one in (peer, other):
                    one.subscribe(b"u")
                    assert (await next_request(a)).frame == b"\x01u"
                    assert await next_state(one) is ConnectionState.CONNECTED
                await allow(a, {OTHER[0]: "c"})
                a.publish(b"u", b"secret")
                while await next_state(peer) is not ConnectionState.KEY_REJECTED:
                    pass
                while await next_state(other) is not ConnectionState.CONNECTED:
                    pass
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(other.readable, inf)  # an idle SUB socket does not subscribe
                    while await next_request(a) != ("c", b"\x01u"):
                        pass
                    nursery.cancel_scope.cancel()
                assert peer.receive() is None


async def test_the_largest_snapshot_waits_for_a_peer_that_is_busy() -> None:
    port = free_port()
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(TOPIC)
            peer.subscribe(b"u")
            while (await next_request(a)).frame != b"\x01u":
                pass
            for number in range(MAX_SNAPSHOT_PARTS):
                a.publish(TOPIC, number.to_bytes(4) + bytes(20_000))
            for number in range(UPDATE_QUEUE):
                a.publish(b"u", number.to_bytes(4))
            for topic, count in ((TOPIC, MAX_SNAPSHOT_PARTS), (b"u", UPDATE_QUEUE)):
                for number in range(count):
                    frames = await next_message(peer)
                    assert (frames[0], int.from_bytes(frames[1][:4])) == (topic, number)


def memory() -> int:
    """MB that we have in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20


async def test_a_subscriber_that_never_reads_costs_a_queue_and_others_nothing() -> None:
    port, size, before, last = free_port(), 4096, memory(), 5 * SEND_QUEUE
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        await allow(a, {LOOPBACK: "b", socket.inet_aton("127.0.0.2"): "c"})
        with raw_subscriber(port, "127.0.0.2") as slow, b.connect(endpoint(port)) as peer:
            slow.setsockopt(zmq.RCVHWM, 1)
            for one in (slow, peer):
                one.subscribe(b"u")
                assert (await next_request(a)).frame == b"\x01u"
            for number in range(last):  # 74 MB
                a.publish(b"u", number.to_bytes(4) + bytes(size))
                while peer.receive():
                    pass
                if number % 100 == 0:
                    await trio.lowlevel.checkpoint()
            assert memory() - before < 60
            received = -1
            while received < last - 1:
                a.publish(b"u", last.to_bytes(4))
                received = int.from_bytes((await next_message(peer))[1][:4])
            numbers = [-1]
            while numbers[-1] < last:
                await trio.lowlevel.checkpoint()
                if not slow.poll(100):  # it has read all there was
                    a.publish(b"u", last.to_bytes(4))
                    continue
                numbers.append(int.from_bytes(slow.recv_multipart()[1][:4]))
    assert len(numbers) < 3 * SEND_QUEUE  # the gap in the numbers shows the loss


async def test_a_peer_that_subscribes_to_too_many_topics_is_disconnected_and_that_is_an_event(
    nursery: trio.Nursery,
) -> None:
    emitted: list[Event] = []
    port = free_port()
    async with publishing(port, emit=emitted.append) as a:
        await allow(a, {LOOPBACK: "b", socket.inet_aton("127.0.0.2"): "c"})
        with (
            raw_subscriber(port, "127.0.0.2") as good,
            raw_subscriber(port, "127.0.0.1", zmq.XSUB) as raw,
        ):
            good.subscribe(b"u")
            assert await next_request(a) == ("c", b"\x01u")
            nursery.start_soon(ZmqReadable(good).readable)  # an idle SUB socket does not reconnect
            for number in range(10 * MAX_TOPICS):
                raw.send(b"\x01%d" % number)
            received = []
            while (request := await next_request(a)) != ("c", b"\x01u"):
                received.append(request)
            await until_rejected(raw)
            nursery.cancel_scope.cancel()
    assert sum(peer == "b" for peer, _ in received) == MAX_TOPICS
    why = "subscribed to more than 100 topics: rejected for 60 s"
    assert emitted == [PeerWarning(peer="b", why=why)]


async def test_without_descriptors_the_old_socket_stays_until_a_new_one_can_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriber, "RECONNECT_DELAY", 0.05)
    attempts: list[Subscriber] = []
    connect = Subscriber._connect

    def counted(self: Subscriber) -> None:
        attempts.append(self)
        connect(self)

    original = ConnectionTracker.handle

    def handle(self: ConnectionTracker, event: zmq.Event) -> None:
        # on a busy machine libzmq may take the rejection for an end, and try again by itself
        if event is not zmq.Event.CONNECT_RETRIED:
            original(self, event)

    port = free_port()
    emitted: list[Event] = []
    async with publishing(port) as a, opened(free_port(), 3.0, emit=emitted.append) as b:
        await allow(a, {})
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.ADDRESS_REJECTED
            monkeypatch.setattr(Subscriber, "_connect", counted)
            async with trio.open_nursery() as waiting:
                with no_descriptors(), monkeypatch.context() as patched:
                    patched.setattr(ConnectionTracker, "handle", handle)
                    waiting.start_soon(peer.connection_change)
                    await until(lambda: len(attempts) == 5)
                waiting.cancel_scope.cancel()
            why = "no socket to connect with: Too many open files"
            assert emitted == [PeerWarning(peer="a", why=why)]  # of five attempts
            await allow(a, {LOOPBACK: "b"})
            assert await next_state(peer) is ConnectionState.CONNECTED


async def test_the_end_of_the_other_side_is_reported_and_its_return(nursery: trio.Nursery) -> None:
    port = free_port()
    async with opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(b"u")
            nursery.start_soon(peer.readable, inf)  # an idle SUB socket does not subscribe again
            assert await next_state(peer) is ConnectionState.DISCONNECTED
            async with publishing(port):
                assert await next_state(peer) is ConnectionState.CONNECTED
            assert await next_state(peer) is ConnectionState.DISCONNECTED
            async with publishing(port) as again:
                assert await next_state(peer) is ConnectionState.CONNECTED
                assert await next_request(again) == ("b", b"\x01u")
            nursery.cancel_scope.cancel()


async def test_without_its_device_no_connection_is_made() -> None:
    port = free_port()
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port, device="cr-none")) as peer:
            peer.subscribe(b"u")
            assert await next_state(peer) is ConnectionState.DISCONNECTED
            assert (a.receive(), a.rejected_connections) == (None, 0)


async def test_bind_problems_are_explained_and_those_that_last_are_events_once() -> None:
    emitted: list[Event] = []
    port = free_port()
    elsewhere, link_local = socket.inet_aton("192.0.2.1"), b"\xfe\x80" + bytes(13) + b"\x01"
    with socket.create_server(("127.0.0.2", port)):
        async with opened(port, 3.0, emit=emitted.append) as transport:
            transport.listen([LOOPBACK, link_local])
            transport.listen([LOOPBACK])
            assert transport.bind_problems == ()
            transport.listen([LOOPBACK, elsewhere, socket.inet_aton("127.0.0.2")])
            problems: dict[bytes, str] = dict(transport.bind_problems)
            await until(lambda: len(emitted) == 2)
            await trio.sleep(0.1)
    assert {socket.inet_ntoa(address): why for address, why in problems.items()} == {
        "127.0.0.2": (
            f"cannot listen on tcp://127.0.0.2:{port}: the port is in use by another program"
        ),
        "192.0.2.1": (
            f"cannot listen on tcp://192.0.2.1:{port}: this host does not have the address (now)"
        ),
    }
    assert emitted == [
        NodeProblem(what="publishing socket", why=f"{why}; trying again")
        for why in problems.values()
    ]


async def test_an_address_whose_port_becomes_free_is_bound() -> None:
    port = free_port()
    async with opened(port, 3.0) as transport:
        with socket.create_server(("127.0.0.1", port)):
            transport.listen([LOOPBACK])
            assert len(transport.bind_problems) == 1
        await until(lambda: transport.bind_problems == ())


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No socket or file can be opened."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def occupy(port: int) -> socket.socket:
    """Listen on *port* as soon as that is free."""
    while True:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", port))


async def test_after_disconnecting_a_peer_it_listens_again_although_that_failed_for_long() -> None:
    emitted: list[Event] = []
    port = free_port()
    async with publishing(port, emit=emitted.append) as a, opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(b"u")
            assert await next_request(a) == ("b", b"\x01u")
            a.allow({LOOPBACK: "another key"})
            while not a.bind_problems:  # ZeroMQ's I/O thread closed the old listener very soon
                a.allow({LOOPBACK: "b"})
                a.allow({LOOPBACK: "another key"})
            with occupy(port):
                await until(lambda: "in use by another program; trying again" in str(emitted[-1:]))
                assert [address for address, _ in a.bind_problems] == [LOOPBACK]
            await until(lambda: a.bind_problems == ())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.readable, inf)  # an idle SUB socket does not reconnect
                while await next_request(a) != ("another key", b"\x01u"):
                    pass
                nursery.cancel_scope.cancel()


class Proxy:
    """Forwards TCP connections to *target*, unless it is frozen: then they stay open, silent."""

    def __init__(self, target: int) -> None:
        self.frozen = False
        self._target = target

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._forward_both, listeners)

    async def _forward_both(self, client: trio.SocketStream) -> None:
        with suppress(OSError):
            server = await trio.open_tcp_stream("127.0.0.1", self._target)
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(self._forward, client, server)
                nursery.start_soon(self._forward, server, client)

    async def _forward(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if self.frozen:
                    await trio.sleep_forever()
                await sink.send_all(data)
        await sink.aclose()


@pytest.mark.parametrize("side", ["subscriber", "subscriber, connected later", "publisher"])
async def test_another_hold_time_applies_to_the_detection_of_lost_connections(
    side: str, nursery: trio.Nursery
) -> None:
    port = free_port()
    async with opened(port, 300.0) as a, opened(free_port(), 300.0) as b:
        a.listen([LOOPBACK])
        a.allow({LOOPBACK: "b"})
        proxy = Proxy(port)
        forwarded = await nursery.start(proxy.run)
        if side == "subscriber, connected later":
            b.reconfigure(0.3)
        with b.connect(endpoint(forwarded)) as peer:
            peer.subscribe(b"u")
            nursery.start_soon(peer.readable, inf)
            assert await next_state(peer) is ConnectionState.CONNECTED
            assert await next_request(a) == ("b", b"\x01u")
            if side == "subscriber":
                b.reconfigure(0.3)
                # the end of the old connection comes before it, or, if the new one is faster, never
                while await next_request(a) != ("b", b"\x01u"):
                    pass
            elif side == "publisher":
                a.reconfigure(0.3)
                assert await next_request(a) == (None, b"\x00u")
                assert await next_request(a) == ("b", b"\x01u")
            proxy.frozen = True
            if side == "publisher":
                assert await next_request(a) == (None, b"\x00u")
            else:
                assert await next_state(peer) is ConnectionState.DISCONNECTED
            nursery.cancel_scope.cancel()


async def test_the_last_message_is_sent_before_the_transport_closes() -> None:
    port = free_port()
    async with opened(free_port(), 3.0) as b:
        with b.connect(endpoint(port)) as peer:
            peer.subscribe(b"u")
            async with publishing(port) as a:
                await next_request(a)
                a.publish(b"u", b"goodbye")
            assert await next_message(peer) == [b"u", b"goodbye"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("::ffff:10.0.0.1", b"\x0a\x00\x00\x01"),
        ("10.0.0.1", b"\x0a\x00\x00\x01"),
        ("::1", LOOPBACK6),
        ("fe80::1%tun1", b"\xfe\x80" + bytes(13) + b"\x01"),
    ],
)
def test_addresses_are_parsed_as_zap_writes_them(text: str, address: bytes) -> None:
    assert parse_address(text) == address


def ignore_direct(_peer: str, _message: Direct) -> None:
    """No node of these tests is sent anything of its own."""


async def test_the_tasks_exchange_routes_over_real_sockets() -> None:
    port = free_port()
    updates_in, updates = trio.open_memory_channel[PeerUpdate](10)
    async with publishing(port) as a, opened(free_port(), 3.0) as b:
        publisher = PublisherTask(a, Publisher("a", 1, 1.0, trio.current_time()), emit=ignore)
        session = PeerSession("a", "a", "b", LIMITS, trio.current_time())
        receiver = PeerReceiver(
            b,
            endpoint(port),
            session,
            updates_in.send,
            ignore_direct,
            emit=ignore,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.run)
            nursery.start_soon(receiver.run)
            publisher.announce(clients(*range(900)), ())
            publisher.initial_sync_done()
            assert await updates.receive() == RoutesReplaced("a", "a", clients(*range(900)))
            assert session.state is PeerState.UP
            publisher.announce(clients(1000), ())
            assert await updates.receive() == RoutesChanged("a", "a", clients(1000), ())
            publisher.goodbye(restarting=False)
            assert await updates.receive() == PeerLost("a", "it shut down")
            nursery.cancel_scope.cancel()
