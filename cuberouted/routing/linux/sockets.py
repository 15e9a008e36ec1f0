"""Netlink sockets: one for requests and changes, one that monitors notifications.

The kernel handles a request inside the send, so that its answer is readable when the send
returns: an exchange never waits, and cannot be cancelled halfway.
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
from cuberouted.routing.linux.monitor import INSTRUCTION_SIZE, EventBuffer, own_changes_filter
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

_SOL_NETLINK = 270  # linux/netlink.h and asm/socket.h; Python does not define these
_NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK = 1, 10
_NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 11, 12
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_GROUPS = (1, 5, 7, 8, 9, 11, 19, 32)
"""LINK; IPV4: IFADDR, ROUTE, RULE; IPV6: IFADDR, ROUTE, RULE; NEXTHOP (linux/rtnetlink.h)."""
_KERNEL_PORT = 0

RECEIVE_SIZE = 1 << 16
"""Bytes of one receive. The kernel sends a dump in parts of half that size."""

REPLY_BUFFER = 1 << 21
"""Bytes. All errors of one send have to fit, or some are lost."""

EVENT_BUFFER = 1 << 25
"""Bytes: room for some 30,000 routes that another process changes at once."""

MAX_EVENTS = 1000
"""Receives before other tasks run: about ten milliseconds of work."""

MAX_DISCARDED = 1_000_000
"""Receives that are discarded after an overflow before we give up on an endless stream."""

MAX_DUMP_TRIES = 8
"""How often an interrupted dump is repeated."""

T = TypeVar("T")


class _OverflowError(Exception):
    """The kernel has dropped notifications, because the receive buffer was full."""


class NetlinkSocket:
    """Sends requests and changes. ``port`` marks the notifications of its changes."""

    def __init__(self) -> None:
        self._socket = _open(REPLY_BUFFER)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            _set_option(self._socket, option, 1)
        self.port: int = self._socket.getsockname()[0]
        self._seq = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def next_seqs(self, count: int) -> range:
        """Sequence numbers that no recent request has used."""
        if self._seq + count >= 1 << 31:
            self._seq = 0
        first, self._seq = self._seq + 1, self._seq + count
        return range(first, first + count)

    def change(self, requests: Sequence[bytes], seqs: range) -> list[Ack]:
        """Send *requests*, which have the numbers *seqs*, at once. Return the errors.

        Raises:
          KernelError: the answer was lost, so that the outcome is unknown.
        """
        [end] = self.next_seqs(1)
        self._send(b"".join([*requests, ack_barrier(end)]))
        errors: list[Ack] = []
        while True:
            for message in self._receive():
                if message.type == NLMSG_ERROR and message.seq == end:
                    return errors
                if message.type == NLMSG_ERROR and message.seq in seqs:
                    errors.append(read_ack(message))

    def ask(self, request: Callable[[int], bytes]) -> NetlinkMessage:
        """The one message that answers *request*; an NLMSG_ERROR if it failed."""
        [seq] = self.next_seqs(1)
        self._send(request(seq))
        while True:
            for message in self._receive():
                if message.seq == seq:
                    return message

    async def dump(
        self, request: Callable[[int], bytes], read: Callable[[NetlinkMessage], T | None]
    ) -> list[T]:
        """What *read* returns for each message of the dump, without None.

        Raises:
          KernelError: the kernel refused it, or changes interrupted it again and again.
        """
        for attempt in range(MAX_DUMP_TRIES):
            await trio.sleep(attempt * 0.01)
            rows: list[T] = []
            if await self._dump_once(request, read, rows):
                return rows
        raise KernelError(f"a dump was interrupted by changes {MAX_DUMP_TRIES} times in a row")

    async def _dump_once(
        self,
        request: Callable[[int], bytes],
        read: Callable[[NetlinkMessage], T | None],
        rows: list[T],
    ) -> bool:
        """Fill *rows*. Return whether no change interrupted the dump (NLM_F_DUMP_INTR)."""
        [seq] = self.next_seqs(1)
        self._send(request(seq))
        consistent, end = True, None
        try:
            while end is None:
                part, end = self._receive_part(seq)
                consistent = consistent and not any(m.flags & NLM_F_DUMP_INTR for m in part)
                rows += [row for m in part if m is not end and (row := read(m)) is not None]
                await trio.lowlevel.checkpoint()
        finally:
            # the kernel refuses another dump on this socket before this one has been read
            with trio.CancelScope(shield=True):
                while end is None:
                    _, end = self._receive_part(seq)
                    await trio.lowlevel.checkpoint()
        ack = read_ack(end)
        if ack.errno:
            raise KernelError(f"the kernel refused a dump: {ack.reason}", ack.errno)
        return consistent

    def _receive_part(self, seq: int) -> tuple[list[NetlinkMessage], NetlinkMessage | None]:
        """The next messages of a dump, and the last of them if it ends the dump."""
        part = [message for message in self._receive() if message.seq == seq]
        ended = part and part[-1].type in (NLMSG_DONE, NLMSG_ERROR)
        return part, part[-1] if ended else None

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            what = f"cannot send to the kernel: {error.strerror}"
            raise KernelError(what, error.errno or 0) from error

    def _receive(self) -> list[NetlinkMessage]:
        try:
            data, (sender, _) = self._socket.recvfrom(RECEIVE_SIZE)
            return list(messages(data)) if sender == _KERNEL_PORT else []
        except OSError as error:
            what = f"the kernel's answer was lost: {error.strerror}"
            raise KernelError(what, error.errno or 0) from error


class NetlinkMonitor:
    """Receives rtnetlink notifications, except those caused by port *exclude_port*."""

    def __init__(self, exclude_port: int, protocol: int) -> None:
        self._socket = _open(EVENT_BUFFER)
        self._attach(own_changes_filter(exclude_port, protocol))
        for group in _GROUPS:
            _set_option(self._socket, _NETLINK_ADD_MEMBERSHIP, group)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def collect(self, events: EventBuffer) -> None:
        """Wait for a notification, and put all that have come into *events*."""
        await trio.lowlevel.wait_readable(self._socket)
        try:
            for _ in range(MAX_EVENTS):
                data = self._receive()
                if data is None:
                    return
                events.receive(data)
        except _OverflowError:
            events.overflowed()
            await self._discard()

    async def _discard(self) -> None:
        # after an overflow the kernel drops new notifications, without another error, until the
        # buffer is empty; so everything up to there has to count as lost
        with trio.CancelScope(shield=True):
            for left in range(MAX_DISCARDED, 0, -1):
                with suppress(_OverflowError):
                    if self._receive() is None:
                        return
                if left % MAX_EVENTS == 0:
                    await trio.lowlevel.checkpoint()

    def _receive(self) -> bytes | None:
        try:
            data, (sender, _) = self._socket.recvfrom(RECEIVE_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise _OverflowError from error
            raise KernelError(f"cannot receive notifications: {error.strerror}") from error
        return data if sender == _KERNEL_PORT else b""

    def _attach(self, program: bytes) -> None:
        instructions = ctypes.create_string_buffer(program, len(program))
        count, address = len(program) // INSTRUCTION_SIZE, ctypes.addressof(instructions)
        fprog = struct.pack("HP", count, address)  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _open(buffer: int) -> socket.socket:
    try:
        opened = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
    except OSError as error:
        raise KernelError(f"cannot open a netlink socket: {error.strerror}") from error
    opened.bind((0, 0))
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
    except PermissionError:  # without CAP_NET_ADMIN: up to net.core.rmem_max
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return opened


def _set_option(opened: socket.socket, option: int, value: int) -> None:
    try:
        opened.setsockopt(_SOL_NETLINK, option, value)
    except OSError as error:
        opened.close()
        raise KernelError(
            f"netlink option {option}: {error.strerror}; Linux 5.3 or newer is needed"
        ) from error
