"""A network of buses in memory, for trio's MockClock.

Each `FakeBus` keeps the promises of `cuberouted.sharing.port.Transport` that ZeroMQ keeps: a
new connection repeats all subscriptions, messages of one publisher come in order, a
subscriber that is too slow loses messages, and who is not admitted hears nothing.

The hooks of a test are on `FakeNetwork`.
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
RECONNECT = 0.1
MOST_REPEATED = 8


class FakeNetwork:
    """Buses by their address (packed).

    ``delay``: seconds that everything takes. ``taken``: addresses at which another program
    has the port, and what is said of that.
    """

    def __init__(self, delay: float = 0.001) -> None:
        self.delay = delay
        self.taken: dict[bytes, str] = {}
        self._buses: dict[bytes, FakeTransport] = {}
        self._sockets: list[FakePeerSocket] = []
        self._cut: set[tuple[bytes, bytes]] = set()

    def bus(self, address: bytes) -> FakeTransport:
        """The transport of the node at *address*; a second one takes the place of the first."""
        old = self._buses.get(address)
        if old is not None:
            self.stop(address)
        self._buses[address] = FakeTransport(self, address)
        return self._buses[address]

    def stop(self, address: bytes) -> None:
        """The process at *address* is gone: its connections end, and what it has yet to hear."""
        del self._buses[address]
        for socket in self._sockets:
            if socket.end.address == address:
                socket.disconnect()
        self._sockets = [s for s in self._sockets if s.home.address != address]

    def partition(self, a: bytes, b: bytes) -> None:
        """Nothing passes between *a* and *b*, and nobody is told."""
        self._cut |= {(a, b), (b, a)}

    def block(self, sender: bytes, receiver: bytes) -> None:
        """Nothing passes from *sender* to *receiver*; the other way is open."""
        self._cut.add((sender, receiver))

    def heal(self, a: bytes, b: bytes) -> None:
        """The path is back; connections are made anew."""
        self._cut -= {(a, b), (b, a)}
        self.disconnect(a, b)

    def disconnect(self, a: bytes, b: bytes) -> None:
        """The connections between *a* and *b* end; they come back after `RECONNECT`."""
        for socket in self._sockets:
            if {socket.home.address, socket.end.address} == {a, b}:
                socket.disconnect()

    def lose(self, publisher: bytes, subscriber: bytes, count: int) -> None:
        """The next *count* messages that *publisher* sends to *subscriber* are lost."""
        for socket in self._between(publisher, subscriber):
            socket.to_lose = count

    def repeat(self, publisher: bytes, subscriber: bytes, count: int) -> None:
        """Their next connection begins with the last *count* messages of the one before."""
        for socket in self._between(publisher, subscriber):
            socket.to_repeat = count

    def drop_in_flight(self, publisher: bytes, subscriber: bytes) -> None:
        """What is on its way from *publisher* to *subscriber* never arrives."""
        for socket in self._between(publisher, subscriber):
            socket.drop_in_flight()

    def passes(self, sender: bytes, receiver: bytes) -> bool:
        """Whether the path from *sender* to *receiver* is whole."""
        return (sender, receiver) not in self._cut

    def _between(self, publisher: bytes, subscriber: bytes) -> list[FakePeerSocket]:
        ends = publisher, subscriber
        return [s for s in self._sockets if (s.end.address, s.home.address) == ends]

    def find(self, address: bytes) -> FakeTransport | None:
        """The transport that listens at *address* now."""
        bus = self._buses.get(address)
        return bus if bus is not None and bus.listening else None

    def attach(self, socket: FakePeerSocket) -> None:
        self._sockets.append(socket)

    def detach(self, socket: FakePeerSocket) -> None:
        self._sockets = [s for s in self._sockets if s is not socket]

    def subscribers(self, address: bytes) -> list[FakePeerSocket]:
        """Who is connected to the transport at *address*."""
        return [s for s in self._sockets if s.end.address == address and s.connected]


class Inbox(Generic[T]):
    """Things that arrive, each at its time, in order."""

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

    def clear_later(self) -> None:
        """Remove what has not arrived yet."""
        now = trio.current_time()
        self._items = deque(item for item in self._items if item[0] <= now)

    async def ready(self) -> None:
        while not self._items or self._items[0][0] > trio.current_time():
            self._changed = trio.Event()
            with trio.move_on_at(self._items[0][0] if self._items else math.inf):
                await self._changed.wait()


class FakeTransport:
    """One node's transport, made by `FakeNetwork.transport`."""

    def __init__(self, network: FakeNetwork, address: bytes) -> None:
        self.address = address
        self.network = network
        self.listening = False
        self.peers: dict[bytes, str] = {}
        self.inbox: Inbox[SubscriberFrame] = Inbox()
        self._rejected: set[bytes] = set()

    @property
    def rejected_connections(self) -> int:
        return len(self._rejected)

    def allow(self, peers: Mapping[bytes, str]) -> None:
        self.peers = dict(peers)

    def allows(self, address: bytes) -> bool:
        if address in self.peers:
            return True
        self._rejected.add(address)
        return False

    def bind(self, addresses: Iterable[bytes]) -> tuple[BindProblem, ...]:
        problems = [self._bind(address) for address in addresses]
        return tuple(problem for problem in problems if problem is not None)

    def _bind(self, address: bytes) -> BindProblem | None:
        if address != self.address:
            return BindProblem(address, "this host does not have the address (now)")
        if address in self.network.taken and not self.listening:
            return BindProblem(address, self.network.taken[address])
        self.listening = True
        return None

    def publish(self, topic: bytes, payload: bytes) -> None:
        for socket in self.network.subscribers(self.address):
            socket.deliver((topic, payload))

    def receive(self) -> SubscriberFrame | None:
        return self.inbox.get()

    async def readable(self, deadline: float) -> None:
        with trio.move_on_at(deadline):
            await self.inbox.ready()

    @contextmanager
    def open(self, end: PeerEndpoint) -> Iterator[FakePeerSocket]:
        socket = FakePeerSocket(self, end)
        self.network.attach(socket)
        try:
            yield socket
        finally:
            socket.disconnect()
            self.network.detach(socket)


class FakePeerSocket:
    """What one peer's transport publishes, as heard by *home*."""

    def __init__(self, home: FakeTransport, end: PeerEndpoint) -> None:
        self.home = home
        self.end = end
        self.connected = False
        self.to_lose = 0
        self.to_repeat = 0
        self._latest: deque[tuple[bytes, bytes]] = deque(maxlen=MOST_REPEATED)
        self._topics: set[bytes] = set()
        self._inbox: Inbox[Sequence[bytes]] = Inbox()
        self._notified: ConnectionState | None = None
        self._ended = trio.Event()

    def subscribe(self, topic: bytes) -> None:
        self._topics.add(topic)
        self._tell(b"\x01" + topic)

    def unsubscribe(self, topic: bytes) -> None:
        self._topics.discard(topic)
        self._tell(b"\x00" + topic)

    def receive(self) -> Sequence[bytes] | None:
        return self._inbox.get()

    async def readable(self, deadline: float) -> None:
        with trio.move_on_at(deadline):
            await self._inbox.ready()

    async def link_change(self) -> ConnectionState:
        while True:
            if self.connected:
                await self._ended.wait()
            elif self._notified is not None:
                await trio.sleep(RECONNECT)
            link = self._connect()
            if link is not self._notified:
                self._notified = link
                return link

    def deliver(self, frames: tuple[bytes, bytes]) -> None:
        """What the peer publishes, unless it is lost."""
        if frames[0] not in self._topics or not self._hears():
            return
        if self.to_lose or len(self._inbox) >= SEND_QUEUE:
            self.to_lose = max(0, self.to_lose - 1)
            return
        self._inbox.put(frames, self.home.network.delay)
        self._latest.append(frames)

    def disconnect(self) -> None:
        """The connection ends. What has arrived can still be read."""
        self.connected = False
        self._ended.set()

    def drop_in_flight(self) -> None:
        """What has not arrived yet never does."""
        self._inbox.clear_later()

    def _hears(self) -> bool:
        return self.home.network.passes(self.end.address, self.home.address)

    def _is_heard(self) -> bool:
        return self.home.network.passes(self.home.address, self.end.address)

    def _connect(self) -> ConnectionState:
        """One attempt, after telling of a connection that has ended."""
        if self._notified is ConnectionState.CONNECTED:
            return ConnectionState.DISCONNECTED
        remote = self.home.network.find(self.end.address)
        if remote is None or not (self._hears() and self._is_heard()):
            return ConnectionState.DISCONNECTED
        if not remote.allows(self.home.address):
            return ConnectionState.TURNED_AWAY
        self.connected, self._ended = True, trio.Event()
        for topic in sorted(self._topics):
            self._tell(b"\x01" + topic)
        for frames in list(self._latest)[len(self._latest) - self.to_repeat :]:
            self._inbox.put(frames, self.home.network.delay)
        self.to_repeat = 0
        return ConnectionState.CONNECTED

    def _tell(self, frame: bytes) -> None:
        remote = self.home.network.find(self.end.address)
        if self.connected and remote is not None and self._is_heard():
            peer = remote.peers.get(self.home.address)
            remote.inbox.put(SubscriberFrame(peer, frame), self.home.network.delay)
