"""Netlink sockets: one that asks, one that listens.

The kernel works on a request inside the send, so that its answer is there when the send
returns: an exchange waits for nothing, and no cancellation can cut it in two.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import trio

from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.linux import bpf
from cuberouted.routing.linux.monitor import EventBuffer
from cuberouted.routing.linux.netlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Ack,
    NetlinkMessage,
    ack_barrier,
    messages,
    read_ack,
)

_SOL_NETLINK = 270  # linux/netlink.h and asm/socket.h; Python has no names for these
_ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 1, 10, 11, 12
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_GROUPS = (1, 5, 7, 8, 9, 11, 19, 32)
"""LINK; IPV4: IFADDR, ROUTE, RULE; IPV6: IFADDR, ROUTE, RULE; NEXTHOP (linux/rtnetlink.h)."""
_KERNEL = 0  # the port that the kernel sends from

RECEIVE = 1 << 16
"""Bytes a receive; the kernel's parts of a dump are half of it."""

REPLY_BUFFER = 1 << 21
"""Buffer for answers, in bytes. All refusals of one send must fit, or some are lost."""

EVENT_BUFFER = 1 << 25
"""Buffer for notices, in bytes: some 30,000 routes that somebody changes at once."""

MAX_EVENTS = 1000
"""Taken before other tasks have their turn: about ten milliseconds of work."""

MAX_DISCARDED = 1_000_000
"""Dropped after an overflow, before we let somebody be who changes routes without end."""

MAX_DUMP_TRIES = 8
"""How often a dump is asked for before we say that the tables never stand still."""

T = TypeVar("T")


class _OverflowedError(Exception):
    """The kernel had more to tell than the buffer holds."""


class NetlinkSocket:
    """Asks the kernel, and changes it. ``port`` marks the notices of what we changed."""

    def __init__(self) -> None:
        self._socket = _opened(REPLY_BUFFER)
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):
            _set(self._socket, option, 1)
        self.port: int = self._socket.getsockname()[0]
        self._seq = 0

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def next_seqs(self, count: int) -> range:
        """Sequence numbers that no recent request has had."""
        if self._seq + count >= 1 << 31:
            self._seq = 0
        first, self._seq = self._seq + 1, self._seq + count
        return range(first, first + count)

    def change(self, requests: Sequence[bytes], seqs: range) -> list[Ack]:
        """Send *requests*, numbered *seqs*, in one go. Returns the refusals among them.

        Raises:
          KernelError: the answer was lost, and with it what became of them.
        """
        [end] = self.next_seqs(1)
        self._send(b"".join([*requests, ack_barrier(end)]))
        refused: list[Ack] = []
        while True:
            for message in self._receive():
                if message.kind == NLMSG_ERROR and message.seq == end:
                    return refused
                if message.kind == NLMSG_ERROR and message.seq in seqs:
                    refused.append(read_ack(message))

    def ask(self, request: Callable[[int], bytes]) -> NetlinkMessage:
        """The one message that answers this, which is an NLMSG_ERROR where it failed."""
        [seq] = self.next_seqs(1)
        self._send(request(seq))
        while True:
            for message in self._receive():
                if message.seq == seq:
                    return message

    async def dump(
        self, request: Callable[[int], bytes], read: Callable[[NetlinkMessage], T | None]
    ) -> list[T]:
        """What *read* makes of each message of the dump, where it makes anything.

        Raises:
          KernelError: refused, or interrupted by changes time and again.
        """
        for round_ in range(MAX_DUMP_TRIES):
            await trio.sleep(round_ * 0.01)
            rows: list[T] = []
            if await self._dump_once(request, read, rows):
                return rows
        raise KernelError(f"a table changed while it was read, {MAX_DUMP_TRIES} times in a row")

    async def _dump_once(
        self,
        request: Callable[[int], bytes],
        read: Callable[[NetlinkMessage], T | None],
        rows: list[T],
    ) -> bool:
        [seq] = self.next_seqs(1)
        self._send(request(seq))
        intact, end = True, None
        try:
            while end is None:
                part, end = self._part(seq)
                intact = intact and not any(message.flags & NLM_F_DUMP_INTR for message in part)
                rows += [r for m in part if m is not end and (r := read(m)) is not None]
                await trio.lowlevel.checkpoint()
        finally:
            # else the kernel, which still has the rest to send, refuses the next dump
            with trio.CancelScope(shield=True):
                while end is None:
                    _, end = self._part(seq)
                    await trio.lowlevel.checkpoint()
        result = read_ack(end)
        if result.errno:
            raise KernelError(f"the kernel refused a dump: {result.said}", result.errno)
        return intact

    def _part(self, seq: int) -> tuple[list[NetlinkMessage], NetlinkMessage | None]:
        """The next messages of a dump, and the last of them if it ends the dump."""
        part = [message for message in self._receive() if message.seq == seq]
        ended = part and part[-1].kind in (NLMSG_DONE, NLMSG_ERROR)
        return part, part[-1] if ended else None

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError(
                f"cannot ask the kernel: {error.strerror}", error.errno or 0
            ) from error

    def _receive(self) -> list[NetlinkMessage]:
        try:
            data, (sender, _) = self._socket.recvfrom(RECEIVE)
            return list(messages(data)) if sender == _KERNEL else []
        except OSError as error:
            raise KernelError(
                f"the kernel's answer was lost: {error.strerror}", error.errno or 0
            ) from error


class NetlinkMonitor:
    """Hears what changes in the kernel, but for what the socket *deaf_to* changes."""

    def __init__(self, deaf_to: int, protocol: int) -> None:
        self._socket = _opened(EVENT_BUFFER)
        self._attach(bpf.own_changes_filter(deaf_to, protocol))
        for group in _GROUPS:
            _set(self._socket, _ADD_MEMBERSHIP, group)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    async def gather(self, gathering: EventBuffer) -> None:
        """Waits for a notice, then gives *gathering* what has come."""
        await trio.lowlevel.wait_readable(self._socket)
        try:
            for _ in range(MAX_EVENTS):
                data = self._receive()
                if data is None:
                    return
                gathering.take(data)
        except _OverflowedError:
            gathering.overflowed()
            await self._forget()

    async def _forget(self) -> None:
        # once it has overflowed, the kernel drops all that is new, without a further word,
        # until the buffer is empty; so what is told as lost must end here
        with trio.CancelScope(shield=True):
            for left in range(MAX_DISCARDED, 0, -1):
                with suppress(_OverflowedError):
                    if self._receive() is None:
                        return
                if left % MAX_EVENTS == 0:
                    await trio.lowlevel.checkpoint()

    def _receive(self) -> bytes | None:
        try:
            data, (sender, _) = self._socket.recvfrom(RECEIVE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise _OverflowedError from error
            raise KernelError(f"cannot hear the kernel: {error.strerror}") from error
        return data if sender == _KERNEL else b""

    def _attach(self, program: bytes) -> None:
        steps = ctypes.create_string_buffer(program, len(program))
        fprog = struct.pack("HP", len(program) // bpf.STEP, ctypes.addressof(steps))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _opened(buffer: int) -> socket.socket:
    try:
        opened = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
    except OSError as error:
        raise KernelError(f"cannot open a netlink socket: {error.strerror}") from error
    opened.bind((0, 0))
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
    except PermissionError:  # without CAP_NET_ADMIN: as far as net.core.rmem_max goes
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return opened


def _set(opened: socket.socket, option: int, value: int) -> None:
    try:
        opened.setsockopt(_SOL_NETLINK, option, value)
    except OSError as error:
        opened.close()
        raise KernelError(
            f"netlink option {option}: {error.strerror}; Linux 5.3 or later is needed"
        ) from error
