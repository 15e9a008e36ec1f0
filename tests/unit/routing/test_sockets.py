"""What an exchange makes of the kernel's answers, told by a script of them."""

from __future__ import annotations

import errno
import struct
from contextlib import closing

import pytest
import trio
import trio.testing

from cuberouted.routing.kernel_api import KernelError
from cuberouted.routing.linux import netlink
from cuberouted.routing.linux.netlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Ack,
    NetlinkMessage,
)
from cuberouted.routing.linux.sockets import MAX_DUMP_TRIES, NetlinkSocket

ROW = 24


class Scripted(NetlinkSocket):
    """Answers from a script instead of the kernel; each part is what one receive gives."""

    def __init__(self, *script: list[NetlinkMessage]) -> None:
        super().__init__()
        self.close()
        self.sent: list[bytes] = []
        self._script = list(script)

    def _send(self, data: bytes) -> None:
        self.sent.append(data)

    def _receive(self) -> list[NetlinkMessage]:
        if not self._script:
            raise KernelError("the kernel's answer was lost")
        return self._script.pop(0)


def row(seq: int, body: bytes, flags: int = 0) -> NetlinkMessage:
    return NetlinkMessage(ROW, flags, seq, 0, body)


def done(seq: int, code: int = 0, flags: int = 0) -> NetlinkMessage:
    return NetlinkMessage(NLMSG_DONE, flags, seq, 0, struct.pack("=i", -code))


def refusal(seq: int, code: int) -> NetlinkMessage:
    return NetlinkMessage(NLMSG_ERROR, 0x100, seq, 0, struct.pack("=i", -code) + bytes(16))


async def dumped(requests: NetlinkSocket) -> list[bytes]:
    return await requests.dump(lambda seq: bytes([seq]), lambda message: message.body or None)


async def test_a_dump_is_gathered_from_its_parts() -> None:
    requests = Scripted([row(1, b"a"), row(1, b"")], [], [row(1, b"b"), done(1)])
    assert await dumped(requests) == [b"a", b"b"]
    assert requests.sent == [b"\1"]


async def test_answers_to_other_questions_are_no_part_of_a_dump() -> None:
    requests = Scripted([row(9, b"x"), done(9), row(1, b"a")], [done(9)], [done(1)])
    assert await dumped(requests) == [b"a"]


async def test_an_interrupted_dump_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests = Scripted(
        [row(1, b"a")],
        [row(1, b"b", NLM_F_DUMP_INTR), done(1)],
        [row(2, b"c"), done(2, flags=NLM_F_DUMP_INTR)],
        [row(3, b"d"), done(3)],
    )
    assert await dumped(requests) == [b"d"]


async def test_a_dump_that_is_always_interrupted_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests = Scripted(*[[done(n + 1, flags=NLM_F_DUMP_INTR)] for n in range(MAX_DUMP_TRIES)])
    with pytest.raises(KernelError, match="interrupted by changes"):
        await dumped(requests)
    assert len(requests.sent) == MAX_DUMP_TRIES


@pytest.mark.parametrize("end", [done(1, errno.ENOENT), refusal(1, errno.ENOENT)])
async def test_a_refused_dump_tells_the_errno(end: NetlinkMessage) -> None:
    with pytest.raises(KernelError, match="No such file or directory") as caught:
        await dumped(Scripted([row(1, b"a")], [end]))
    assert caught.value.errno == errno.ENOENT


async def test_a_cancelled_dump_is_read_to_its_end() -> None:
    requests = Scripted([row(1, b"a")], [row(1, b"b")], [done(1)], [row(2, b"c"), done(2)])
    with trio.CancelScope() as scope:

        def read(message: NetlinkMessage) -> bytes:
            scope.cancel()
            return message.body

        await requests.dump(lambda seq: bytes([seq]), read)
    assert scope.cancelled_caught
    assert await dumped(requests) == [b"c"]


async def test_a_dump_whose_reader_fails_is_read_to_its_end() -> None:
    def read(message: NetlinkMessage) -> bytes:
        raise ValueError(message.body)

    requests = Scripted([row(1, b"a")], [done(1)], [row(2, b"c"), done(2)])
    with pytest.raises(ValueError, match="a"):
        await requests.dump(lambda seq: bytes([seq]), read)
    assert await dumped(requests) == [b"c"]


async def test_changes_end_with_a_fence_whose_answer_is_the_last() -> None:
    requests = Scripted(
        [refusal(77, errno.EPERM), refusal(2, errno.EEXIST)],
        [refusal(3, errno.ESRCH), refusal(4, 0)],
    )
    seqs = requests.next_seqs(3)
    assert requests.change([b"one", b"two", b"three"], seqs) == [
        Ack(2, errno.EEXIST, ""),
        Ack(3, errno.ESRCH, ""),
    ]
    assert requests.sent == [b"onetwothree" + netlink.ack_barrier(4)]


async def test_a_lost_answer_is_an_error_and_no_wait() -> None:
    requests = Scripted([refusal(1, errno.EEXIST)])
    with pytest.raises(KernelError, match="lost"):
        requests.change([b"one"], requests.next_seqs(1))
    with closing(NetlinkSocket()) as real, pytest.raises(KernelError, match="answer was lost"):
        real.ask(lambda seq: netlink.frame(seq, netlink.NLMSG_NOOP, 0, b""))
    with pytest.raises(KernelError, match="cannot send to the kernel"):
        real.ask(lambda seq: netlink.frame(seq, netlink.NLMSG_NOOP, 0, b""))


async def test_numbers_begin_anew_before_they_run_out() -> None:
    requests = Scripted()
    assert requests.next_seqs(2**31 - 3) == range(1, 2**31 - 2)
    assert requests.next_seqs(2) == range(2**31 - 2, 2**31)
    assert requests.next_seqs(2) == range(1, 3)
