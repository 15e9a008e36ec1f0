"""A stand-in for an OpenVPN server: its clients, and its real management protocol.

    openvpn = FakeOpenVPN()
    nursery.start_soon(openvpn.run)
    stream = await openvpn.dial(config)      # it is a Dialer
    cid = openvpn.connect(b"host1", b"10.9.0.50")

It is told what happens to it by plain calls, and serves one management client at a time;
others are taken on and wait, as with the real one. ``serve`` speaks to any trio stream.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TypeAlias

import trio
from trio.testing import memory_stream_pair

from cuberouted.config import OpenVPNConfig
from cuberouted.openvpn.dial import DialError
from tests.fakes.openvpn_answers import answer, established
from tests.fakes.openvpn_listing import Client

CLIENT_KILL_TIME = 5.0
SEND_ON_TIME = 1.0
START = 1_795_222_140

Out: TypeAlias = "trio.MemorySendChannel[bytes]"


class FakeOpenVPN:
    """One OpenVPN server. Its attributes are what may be set or looked at, at any time.

    ``wall`` tells Unix seconds. ``asked``: every command it was given. ``answering``: clear
    it, and it falls silent. ``hold``: it waits for an operator. ``client_auth``: it runs
    with management-client-auth. ``cut_after``: a listing ends after so many rows, without
    END, and with ``hang_up_in_listing`` the connection does too. ``refuse_kill``: ``kill``
    finds nobody. ``on_drop`` is told of each client that was dropped on demand. ``on_sent_on``
    is called with each client that was sent on, once it has left; it is listed some seconds more.
    ``lag``:
    seconds that it takes for each command. ``out``: what is said goes there; None while
    nobody is connected.
    """

    def __init__(
        self,
        version: str = "2.6",
        password: bytes | None = None,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.version = version
        self.password = password
        self.verb = 3
        self.hold = False
        self.client_auth = False
        self.cut_after: int | None = None
        self.hang_up_in_listing = False
        self.refuse_kill = False
        self.on_drop: Callable[[Client], None] = lambda _: None
        self.on_sent_on: Callable[[Client], None] = lambda _: None
        self.lag = 0.0
        self.clients: dict[int, Client] = {}
        self.asked: list[bytes] = []
        self.connections = 0
        self._wall = wall or (lambda: START + trio.current_time() % 1e6)
        self._next_cid = 0
        self._running = False
        self._awake = trio.Event()
        self._awake.set()
        self.state_on = self.log_on = False
        self.out: Out | None = None
        self._streams, self._backlog = trio.open_memory_channel[trio.abc.Stream](math.inf)
        self._nursery: trio.Nursery | None = None
        self._served = trio.CancelScope()

    # -- its life --

    async def run(self) -> None:
        """Accept management connections, one after the other, until cancelled."""
        self._running = True
        try:
            async with trio.open_nursery() as self._nursery:
                async for stream in self._backlog:
                    with trio.CancelScope() as self._served:
                        await self.serve(stream)
        finally:
            self._running = False

    async def dial(self, _config: OpenVPNConfig) -> trio.abc.HalfCloseableStream:
        """A connection to it, as a Dialer gives one."""
        await trio.lowlevel.checkpoint()
        if not self._running:
            raise DialError("127.0.0.1 port 5656: Connection refused")
        ours, theirs = memory_stream_pair()
        self._streams.send_nowait(ours)
        self.connections += 1
        return theirs

    def stop(self) -> None:
        """SIGTERM: it goes, and everybody with it."""
        self._say_state(b"EXITING,SIGTERM")
        self._running = False
        self._forget()
        self._served.cancel()

    def start(self) -> None:
        """It is there again, after `stop`."""
        self._running = True

    def restart(self, signal: bytes = b"SIGUSR1") -> None:
        """SIGUSR1 or SIGHUP: the connection stays, the clients go without a word."""
        self._say_state(b"RECONNECTING," + signal)
        self._forget()

    def restarted(self) -> None:
        """The restart has come to its end."""
        self._say_state(b"CONNECTED,SUCCESS")

    def hang_up(self) -> None:
        """It closes the connection, and goes on with its clients."""
        self._served.cancel()

    def fall_silent(self) -> None:
        """Answer nothing, until `wake_up`; a blocking script, or SIGSTOP."""
        self._awake = trio.Event()

    def wake_up(self) -> None:
        """Answer what was asked meanwhile, and go on."""
        self._awake.set()

    # -- its clients --

    def connect(
        self,
        name: bytes,
        address: bytes,
        *,
        address6: bytes = b"",
        networks: tuple[bytes, ...] = (),
        refused: bool = False,
        quiet: bool = False,
    ) -> int:
        """A client connects; its client id. *refused* by a script; *quiet*: not announced."""
        cid, self._next_cid = self._next_cid, self._next_cid + 1
        since = int(self._wall())
        client = Client(cid, name, address, since, address6, networks, (b"192.0.2.1", 1024 + cid))
        if not refused:
            self.clients[cid] = client
        if self.client_auth:
            self.say(b">CLIENT:CONNECT,%d,0\r\n>CLIENT:ENV,END\r\n" % cid)
        if not quiet:
            self.say(b"".join(line + b"\r\n" for line in established(client)))
        return cid

    def come_back(self, cid: int) -> None:
        """A client with a fixed port comes back to its session, which is still listed."""
        client = self.clients[cid]
        client.renewals += 1
        client.received += 4000
        who = b"%s/%s" % (client.name, client.real_address(self.version))
        handshake = b"TLS: Initial packet from [AF_INET]192.0.2.1:1, sid=1dfa9f 0b3c"
        if self.version in ("2.3", "2.4", "2.5"):
            handshake = b"TLS: new session incoming connection from [AF_INET]192.0.2.1:1"
        self.log(b"%s %s" % (who, handshake))
        reply = b"'PUSH_REPLY,peer-id 0' (status=1)"
        self.log(b"%s SENT CONTROL [%s]: %s" % (who, client.name, reply))

    def log(self, text: bytes) -> None:
        """Log this line."""
        if self.log_on and self.verb >= 3:
            self.say(b">LOG:%d,,%s\r\n" % (self._wall(), text))

    def disconnect(self, cid: int, why: bytes = b"SIGTERM[soft,remote-exit] received") -> None:
        """A client has gone."""
        client = self.clients.pop(cid)
        who = b"%s/%s" % (client.name, client.real_address(self.version))
        self.log(b"%s %s, client-instance exiting" % (who, why))

    def drop(self, cid: int) -> None:
        """A client goes because its manager wants it."""
        client = self.clients[cid]
        self.disconnect(cid)
        self.on_drop(client)

    def _forget(self) -> None:
        self.clients.clear()
        self._next_cid = 0

    # -- its management interface --

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One management client, until it goes."""
        self.out, queue = trio.open_memory_channel[bytes](math.inf)
        self.state_on = self.log_on = False
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, queue, stream)
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._listen(stream)
            self.out = None
            nursery.cancel_scope.cancel()

    async def _listen(self, stream: trio.abc.Stream) -> None:
        admitted = self.password is None
        wrong, rest = 0, b""
        self.say(GREETING if admitted else PROMPT)
        self._say_hold()
        while wrong < 3:
            data = await stream.receive_some()
            if not data:
                return
            *lines, rest = (rest + bytes(data)).split(b"\n")
            for line in lines:
                await self._awake.wait()
                if self.lag:
                    await trio.sleep(self.lag)
                if admitted:
                    self._command(line)
                elif line == self.password:
                    admitted = True
                    self.say(b"SUCCESS: password is correct\r\n" + GREETING)
                    self._say_hold()
                else:
                    wrong += 1
                    self.say(PROMPT)

    def say(self, data: bytes) -> None:
        """Send this to whoever is connected."""
        if self.out is not None:
            self.out.send_nowait(data)

    def _say_hold(self) -> None:
        if self.hold:
            self.say(b">HOLD:Waiting for hold release:0\r\n")

    def _say_state(self, state: bytes) -> None:
        if self.state_on:
            self.say(b">STATE:%d,%s,,,,,\r\n" % (self._wall(), state))

    def _command(self, line: bytes) -> None:
        self.asked.append(line)
        if self.log_on and line != b"load-stats":
            self.say(b">LOG:%d,D,MANAGEMENT: CMD '%s'\r\n" % (self._wall(), line))
        self.say(b"".join(text + b"\r\n" for text in answer(self, line)))

    def end_later(self, cid: int) -> None:
        """``client-kill``: the client is told, and listed some seconds more."""
        assert self._nursery is not None
        self._nursery.start_soon(self._disconnect_later, self.clients[cid])

    def send_on(self, cid: int) -> None:
        """``client-kill CID RESTART``: the client leaves, and is listed some seconds more."""
        assert self._nursery is not None
        self._nursery.start_soon(self._send_on, self.clients[cid])
        self.end_later(cid)

    async def _send_on(self, client: Client) -> None:
        await trio.sleep(SEND_ON_TIME)
        self.on_sent_on(client)

    async def _disconnect_later(self, client: Client) -> None:
        await trio.sleep(CLIENT_KILL_TIME)
        if self.clients.get(client.cid) is client:
            self.drop(client.cid)


GREETING = b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
PROMPT = b"ENTER PASSWORD:"


async def _pump(queue: trio.MemoryReceiveChannel[bytes], stream: trio.abc.Stream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in queue:
            await stream.send_all(data)
