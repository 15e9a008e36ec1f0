"""Attacks. Each runs as a process: python -m tests.lab.rogue ATTACK ADDRESS VICTIM.

`forbidden_prefixes`, `replay` and `million_prefixes` listen on ADDRESS in place of a peer and
publish what a peer must not; the others connect from ADDRESS to VICTIM. All are bounded: they
end by themselves, or print "done" and wait to be killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from math import inf

import trio
import zmq

from cuberouted.config.keypair import generate
from cuberouted.model import MAX_VERSION, Advertisement, Kind, Prefix
from cuberouted.peering.messages import (
    UPDATES,
    Direct,
    DisconnectRequest,
    Heartbeat,
    SnapshotPart,
    Update,
    direct_topic,
    encode,
    is_snapshot_topic,
)
from cuberouted.peering.zmq.transport import ZmqTransport, open_transport
from cuberouted.util.tasks import run_trio

PORT = 5657
NODE = "vpnsrvB"
VICTIM = "vpnsrvA"
EPOCH = 7
GOOD = "10.100.100.150"
GONE = "10.100.100.151"
FORBIDDEN = (
    "0.0.0.0/0",
    "128.0.0.0/1",
    "10.200.200.1/32",  # the victim's management address
    "10.200.200.5/32",  # our own, which is a peer's
    "10.100.100.1/32",  # the victim's data address
    "10.100.100.201/32",  # another peer's data address
    "10.100.100.0/24",  # with all of these in it
    "127.0.0.1/32",
    "169.254.1.1/32",
    "224.0.0.1/32",
    "::/0",
    "8.8.8.8/32",
)


def advertisement(prefix: str, version: int = 2**52) -> Advertisement:
    return Advertisement(Prefix.parse(prefix), Kind.CLIENT, b"rogue", version, True)


def update(seq: int, advertised: Iterable[Advertisement] = (), gone: Iterable[str] = ()) -> bytes:
    withdraw = tuple(map(Prefix.parse, gone))
    message = Update(
        node=NODE, epoch=EPOCH, seq=seq, advertise=tuple(advertised), withdraw=withdraw
    )
    return encode(message)


def snapshot(seq: int, advertised: list[Advertisement]) -> list[bytes]:
    parts = [tuple(advertised[at : at + 500]) for at in range(0, len(advertised), 500)] or [()]
    return [
        encode(
            SnapshotPart(
                node=NODE, epoch=EPOCH, seq=seq, index=index, count=len(parts), advertisements=part
            )
        )
        for index, part in enumerate(parts)
    ]


class FakePeer:
    """Publishes as the peer does: heartbeats, and the same snapshot for every request."""

    def __init__(self, transport: ZmqTransport, seq: int, parts: list[bytes]) -> None:
        self.transport = transport
        self._seq = seq
        self._parts = parts
        self.answered = trio.Event()

    async def beat(self) -> None:
        while True:
            beat = Heartbeat(node=NODE, epoch=EPOCH, seq=self._seq, syncing=False)
            self.transport.publish(UPDATES, encode(beat))
            await trio.sleep(0.2)

    async def answer(self) -> None:
        while True:
            await self.transport.readable(inf)
            while (request := self.transport.receive()) is not None:
                topic = request.frame[1:]
                if request.frame[:1] == b"\x01" and is_snapshot_topic(topic):
                    for part in self._parts:
                        self.transport.publish(topic, part)
                        await trio.lowlevel.checkpoint()
                    self.answered.set()


async def impersonate(
    address: str, victim: str, seq: int, advertised: list[Advertisement], then: list[bytes]
) -> None:
    """Act as the peer; after the first snapshot publish *then*, in that order."""
    async with (
        open_transport(PORT, 3.0, emit=lambda _event: None) as transport,
        trio.open_nursery() as nursery,
    ):
        transport.allow({socket.inet_aton(victim): "victim"})
        transport.listen([socket.inet_aton(address)])
        assert transport.bind_problems == ()
        peer = FakePeer(transport, seq, snapshot(seq, advertised))
        nursery.start_soon(peer.beat)
        nursery.start_soon(peer.answer)
        await peer.answered.wait()
        for message in then:
            transport.publish(UPDATES, message)
        print("done", flush=True)


def forbidden_prefixes(address: str, victim: str) -> None:
    """Advertises what no peer may, in its snapshot and in updates."""
    good, forbidden = advertisement(f"{GOOD}/32"), [advertisement(prefix) for prefix in FORBIDDEN]
    too_new = update(3, [advertisement(f"{GONE}/32", MAX_VERSION)])
    run_trio(impersonate, address, victim, 1, [good, *forbidden], [update(2, forbidden), too_new])


def replay(address: str, victim: str) -> None:
    """Repeats its stream, and reorders it: a withdrawn client must not come back."""
    updates = [
        update(2, [advertisement(f"{GONE}/32")]),
        update(3, [], [f"{GONE}/32"]),
        update(4, [advertisement(f"{GOOD}/32")]),
    ]
    first, second, third = updates
    again = [first, second, first, third, first, *reversed(updates), first]
    run_trio(
        impersonate, address, victim, 4, [advertisement(f"{GOOD}/32")], [*updates, *again * 50]
    )


def million_prefixes(address: str, victim: str) -> None:
    """Advertises a million prefixes."""
    numbers = range(0x0A000000, 0x0A000000 + 1_000_000)
    million = [
        Advertisement(Prefix(number.to_bytes(4), 32), Kind.CLIENT, b"x", 1, True)
        for number in numbers
    ]
    updates = [
        update(2 + at // 4000, million[at : at + 4000]) for at in range(0, len(million), 4000)
    ]
    run_trio(impersonate, address, victim, 1, million, updates)


REQUESTS = 100_000


async def flood_requests(address: str, victim: str) -> None:
    """Act as the peer, and send requests to end sessions as fast as the victim receives them."""
    async with (
        open_transport(PORT, 3.0, emit=lambda _event: None) as transport,
        trio.open_nursery() as nursery,
    ):
        transport.allow({socket.inet_aton(victim): "victim"})
        transport.listen([socket.inet_aton(address)])
        peer = FakePeer(transport, 1, snapshot(1, []))
        nursery.start_soon(peer.beat)
        nursery.start_soon(peer.answer)
        await peer.answered.wait()
        for number in range(REQUESTS):
            name = b"host1" if number % 2 else b"nobody%d" % number
            request = DisconnectRequest(client=name, by="a flood")
            message = Direct(node=NODE, epoch=EPOCH, seq=1, id=os.urandom(8), body=request)
            transport.publish(direct_topic(VICTIM), encode(message))
            if number % 50 == 0:
                await trio.sleep(0.002)
        print("done", flush=True)


def disconnect_flood(address: str, victim: str) -> None:
    """Asks to end the sessions of clients, tens of thousands of times a second."""
    run_trio(flood_requests, address, victim)


def _connected(address: str, victim: str, kind: int = zmq.SUB) -> zmq.Socket[bytes]:
    raw: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    raw.setsockopt(zmq.LINGER, 0)
    raw.connect(f"tcp://{address}:0;{victim}:{PORT}")
    return raw


def subscribe_to_all(address: str, victim: str) -> None:
    """Subscribes to all topics: without keys, and with keys of its own."""
    _, secret = generate()
    public, _ = generate()
    plain = _connected(address, victim)
    plain.subscribe(b"")
    keyed: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    keyed.curve_secretkey, keyed.curve_publickey = secret, zmq.curve_public(secret)
    keyed.curve_serverkey = public
    keyed.subscribe(b"")
    keyed.connect(f"tcp://{address}:0;{victim}:{PORT}")
    deadline = time.monotonic() + 3
    received = 0
    while time.monotonic() < deadline:
        for raw in (plain, keyed):
            received += bool(raw.poll(20))
    print(f"received {received}", flush=True)


def impersonate_publisher(address: str, _victim: str) -> None:
    """Listens in place of a peer that is down, without its key, and publishes updates."""
    raw: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
    raw.setsockopt(zmq.LINGER, 0)
    raw.bind(f"tcp://{address}:{PORT}")
    keyed: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
    keyed.curve_server, keyed.curve_secretkey = True, generate()[1]
    keyed.setsockopt(zmq.LINGER, 0)
    keyed.bind(f"tcp://{address}:{PORT + 1}")
    print("listening", flush=True)
    deadline = time.monotonic() + 5
    for seq in itertools.count(1):
        for one in (raw, keyed):
            one.send_multipart([UPDATES, update(seq, [advertisement(f"{GOOD}/32")])])
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    print("done", flush=True)


def subscription_flood(address: str, victim: str) -> None:
    """Subscribes to a million topics, and requests snapshots in a loop."""
    raw = _connected(address, victim, zmq.XSUB)
    deadline = time.monotonic() + 5
    for _ in range(1_000_000):
        raw.send(b"\x01s/" + os.urandom(8).hex().encode())
        raw.send(b"\x01" + os.urandom(200))
        if time.monotonic() > deadline:
            break
    print("done", flush=True)


def connection_flood(address: str, victim: str) -> None:
    """Opens as many connections as it can, and sends nothing."""
    held: list[socket.socket] = []
    deadline = time.monotonic() + 5
    while (left := deadline - time.monotonic()) > 0 and len(held) < 900:
        with contextlib.suppress(TimeoutError):  # the victim's kernel accepts no more
            held.append(socket.create_connection((victim, PORT), left, (address, 0)))
    print(f"done with {len(held)}", flush=True)
    time.sleep(3)


ATTACKS: dict[str, Callable[[str, str], None]] = {
    attack.__name__: attack
    for attack in (
        forbidden_prefixes,
        replay,
        million_prefixes,
        subscribe_to_all,
        impersonate_publisher,
        disconnect_flood,
        subscription_flood,
        connection_flood,
    )
}

if __name__ == "__main__":
    ATTACKS[sys.argv[1]](*sys.argv[2:])
