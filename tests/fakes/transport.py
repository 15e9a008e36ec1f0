"""A network in memory with a transport for each node, for trio's MockClock.

Each `FakeTransport` behaves as the one over ZeroMQ does: a new connection repeats all
subscriptions, messages of one publisher arrive in order, a subscriber that is too slow loses
messages, and a node that is not allowed receives nothing.

Tests inject faults through `FakeNetwork`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

from cuberouted.peering.transport import BindProblem, ConnectionState, PeerEndpoint, SubscriberFrame

T = TypeVar("T")

SEND_QUEUE = 1000
RECONNECT_DELAY = 0.1
MAX_REPEATED = 8


class FakeNetwork:
    """Transports by their address (packed).

    ``delay``: seconds that each frame takes. ``port_in_use``: addresses at which another
    program has the port, and the reason to report.
    """

    def __init__(self, delay: float = 0.001) -> None:
        self.delay = delay
        self.port_in_use: dict[bytes, str] = {}
        self._transports: dict[bytes, FakeTransport] = {}
        self._sockets: list[FakePeerSocket] = []
        self._cut: set[tuple[bytes, bytes]] = set()

    def transport(self, address: bytes, hold_time: float = 3.0) -> FakeTransport:
        """The transport of the node at *address*; a second one takes the place of the first."""
        old = self._transports.get(address)
        if old is not None:
            self.stop(address)
        self._transports[address] = FakeTransport(self, address, hold_time)
        return self._transports[address]

    def stop(self, address: bytes) -> None:
        """End the process at *address*: its connections, and what is on the way to it."""
        del self._transports[address]
        for socket in self._sockets:
            if socket.endpoint.address == address:
                socket.disconnect()
        self._sockets = [s for s in self._sockets if s.home.address != address]

    def partition(self, a: bytes, b: bytes) -> None:
        """Drop everything between *a* and *b*. The connections stay, as with a cut cable."""
        self._cut |= {(a, b), (b, a)}

    def block(self, sender: bytes, receiver: bytes) -> None:
        """Drop everything from *sender* to *receiver*; the other direction works."""
        self._cut.add((sender, receiver))

    def heal(self, a: bytes, b: bytes) -> None:
        """Restore the path between *a* and *b*; the connections are made anew."""
        self._cut -= {(a, b), (b, a)}
        self.disconnect(a, b)

    def disconnect(self, a: bytes, b: bytes) -> None:
        """End the connections between *a* and *b*; they are made anew after `RECONNECT_DELAY`."""
        for socket in self._sockets:
            if {socket.home.address, socket.endpoint.address} == {a, b}:
                socket.disconnect()

    def disconnect_all(self, address: bytes) -> None:
        """End all connections to and from *address*; what is on the way is lost."""
        for socket in self._sockets:
            if address in (socket.home.address, socket.endpoint.address):
                socket.drop_in_flight()
                socket.disconnect()

    def lose(self, publisher: bytes, subscriber: bytes, count: int) -> None:
        """Drop the next *count* messages from *publisher* to *subscriber*."""
        for socket in self._between(publisher, subscriber):
            socket.to_lose = count

    def repeat(self, publisher: bytes, subscriber: bytes, count: int) -> None:
        """Begin their next connection with the last *count* messages of the one before."""
        for socket in self._between(publisher, subscriber):
            socket.to_repeat = count

    def drop_in_flight(self, publisher: bytes, subscriber: bytes) -> None:
        """Drop the messages that are on the way from *publisher* to *subscriber*."""
        for socket in self._between(publisher, subscriber):
            socket.drop_in_flight()

    def passes(self, sender: bytes, receiver: bytes) -> bool:
        """Whether frames from *sender* reach *receiver*."""
        return (sender, receiver) not in self._cut

    def _between(self, publisher: bytes, subscriber: bytes) -> list[FakePeerSocket]:
        pair = publisher, subscriber
        return [s for s in self._sockets if (s.endpoint.address, s.home.address) == pair]

    def find(self, address: bytes) -> FakeTransport | None:
        """The transport that listens at *address* now."""
        transport = self._transports.get(address)
        return transport if transport is not None and transport.listening else None

    def attach(self, socket: FakePeerSocket) -> None:
        self._sockets.append(socket)

    def detach(self, socket: FakePeerSocket) -> None:
        self._sockets = [s for s in self._sockets if s is not socket]

    def subscribers(self, address: bytes) -> list[FakePeerSocket]:
        """The sockets that are connected to the transport at *address*."""
        return [s for s in self._sockets if s.endpoint.address == address and s.connected]


class Inbox(Generic[T]):
    """A queue whose items arrive after a delay, in order."""

    def __init__(self) -> None:
        self._items: deque[tuple[float, T]] = deque()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, delay: float) -> None:
        due = trio.current_time() + delay
        if self._items:
            due = max(due, self._items[-1][0])
        self._items.append((due, item))
        self._changed.set()

    def get(self) -> T | None:
        if not self._items or self._items[0][0] > trio.current_time():
            return None
        return self._items.popleft()[1]

    def clear(self) -> None:
        self._items.clear()

    def drop_in_flight(self) -> None:
        """Remove the items that have not arrived yet."""
        now = trio.current_time()
        self._items = deque(item for item in self._items if item[0] <= now)

    async def ready(self) -> None:
        while not self._items or self._items[0][0] > trio.current_time():
            self._changed = trio.Event()
            with trio.move_on_at(self._items[0][0] if self._items else math.inf):
                await self._changed.wait()


class FakeTransport:
    """One node's transport, made by `FakeNetwork.transport`."""

    def __init__(self, network: FakeNetwork, address: bytes, hold_time: float) -> None:
        self.address = address
        self.hold_time = hold_time
        self.network = network
        self.peers: dict[bytes, str] | None = None
        self.inbox: Inbox[SubscriberFrame] = Inbox()
        self._addresses: frozenset[bytes] = frozenset()
        self._rejected: set[bytes] = set()

    @property
    def rejected_connections(self) -> int:
        return len(self._rejected)

    def allow(self, peers: Mapping[bytes, str]) -> None:
        self.peers = dict(peers)

    def peer(self, address: bytes) -> str | None:
        """The key of the peer at *address*, if it is allowed."""
        return (self.peers or {}).get(address)

    def allows(self, address: bytes) -> bool:
        if self.peer(address) is not None:
            return True
        self._rejected.add(address)
        return False

    @property
    def bind_problems(self) -> tuple[BindProblem, ...]:
        return tuple(
            BindProblem(address, self.network.port_in_use.get(address, "no such address"))
            for address in sorted(self._addresses)
            if address != self.address or address in self.network.port_in_use
        )

    @property
    def listening(self) -> bool:
        return self.address in self._addresses and self.address not in self.network.port_in_use

    def listen(self, addresses: Iterable[bytes]) -> None:
        assert self.peers is not None, "peers that connect before `allow` would be rejected"
        self._addresses = frozenset(addresses)

    def reconfigure(self, hold_time: float) -> None:
        if hold_time != self.hold_time:
            self.hold_time = hold_time
            self.network.disconnect_all(self.address)

    def publish(self, topic: bytes, payload: bytes) -> None:
        for socket in self.network.subscribers(self.address):
            socket.deliver((topic, payload))

    def receive(self) -> SubscriberFrame | None:
        return self.inbox.get()

    async def readable(self, deadline: float) -> None:
        with trio.move_on_at(deadline):
            await self.inbox.ready()

    @contextmanager
    def connect(self, endpoint: PeerEndpoint) -> Iterator[FakePeerSocket]:
        socket = FakePeerSocket(self, endpoint)
        self.network.attach(socket)
        try:
            yield socket
        finally:
            socket.disconnect()
            self.network.detach(socket)


class FakePeerSocket:
    """The socket of the transport *home* for the peer at *endpoint*."""

    def __init__(self, home: FakeTransport, endpoint: PeerEndpoint) -> None:
        self.home = home
        self.endpoint = endpoint
        self.connected = False
        self.to_lose = 0
        self.to_repeat = 0
        self._latest: deque[tuple[bytes, bytes]] = deque(maxlen=MAX_REPEATED)
        self._topics: set[bytes] = set()
        self._inbox: Inbox[Sequence[bytes]] = Inbox()
        self._returned_state: ConnectionState | None = None
        self._ended = trio.Event()

    def subscribe(self, topic: bytes) -> None:
        self._topics.add(topic)
        self._send(b"\x01" + topic)

    def unsubscribe(self, topic: bytes) -> None:
        self._topics.discard(topic)
        self._send(b"\x00" + topic)

    def receive(self) -> Sequence[bytes] | None:
        return self._inbox.get()

    async def readable(self, deadline: float) -> None:
        with trio.move_on_at(deadline):
            await self._inbox.ready()

    async def connection_change(self) -> ConnectionState:
        while True:
            if self.connected:
                await self._ended.wait()
            elif self._returned_state is not None:
                await trio.sleep(RECONNECT_DELAY)
            state = self._connect()
            if state is not self._returned_state:
                self._returned_state = state
                return state

    def deliver(self, frames: tuple[bytes, bytes]) -> None:
        """Deliver a message that the peer publishes, unless it is to be lost."""
        if frames[0] not in self._topics or not self._path_in():
            return
        if self.to_lose or len(self._inbox) >= SEND_QUEUE:
            self.to_lose = max(0, self.to_lose - 1)
            return
        self._inbox.put(frames, self.home.network.delay)
        self._latest.append(frames)

    def disconnect(self) -> None:
        """End the connection. Messages that have arrived can still be received."""
        self.connected = False
        self._ended.set()

    def drop_in_flight(self) -> None:
        """Drop the messages that have not arrived yet."""
        self._inbox.drop_in_flight()

    def _path_in(self) -> bool:
        return self.home.network.passes(self.endpoint.address, self.home.address)

    def _path_out(self) -> bool:
        return self.home.network.passes(self.home.address, self.endpoint.address)

    def _connect(self) -> ConnectionState:
        """Try once to connect, after a lost connection has been reported."""
        if self._returned_state is ConnectionState.CONNECTED:
            return ConnectionState.DISCONNECTED
        remote = self.home.network.find(self.endpoint.address)
        if remote is None or not (self._path_in() and self._path_out()):
            return ConnectionState.DISCONNECTED
        if not remote.allows(self.home.address):
            return ConnectionState.ADDRESS_REJECTED
        self.connected, self._ended = True, trio.Event()
        for topic in sorted(self._topics):
            self._send(b"\x01" + topic)
        for frames in list(self._latest)[len(self._latest) - self.to_repeat :]:
            self._inbox.put(frames, self.home.network.delay)
        self.to_repeat = 0
        return ConnectionState.CONNECTED

    def _send(self, frame: bytes) -> None:
        remote = self.home.network.find(self.endpoint.address)
        if self.connected and remote is not None and self._path_out():
            peer = remote.peer(self.home.address)
            remote.inbox.put(SubscriberFrame(peer, frame), self.home.network.delay)
