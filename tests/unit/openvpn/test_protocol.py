from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.openvpn.protocol import (
    _CUT_SHORT,
    _NO_ANSWER,
    LOAD_STATS,
    MAX_LINE,
    STATUS,
    VERSION,
    Banner,
    ClientAuth,
    Command,
    Established,
    Event,
    Fatal,
    HoldEvent,
    LogLine,
    ManagementError,
    ManagementProtocol,
    PasswordPrompt,
    RemoteExit,
    Reply,
    Rows,
    State,
)

BANNER = b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
COUNTED = b"SUCCESS: nclients=3,bytesin=1,bytesout=2\r\n"
COUNT_REPLY = Reply(LOAD_STATS, ok=True, text=b"nclients=3,bytesin=1,bytesout=2")
ESTABLISHED = (
    b">CLIENT:ESTABLISHED,5\r\n"
    b">CLIENT:ENV,time_unix=1795222140\r\n"
    b">CLIENT:ENV,IV_VER=2.6.14\r\n"
    b">CLIENT:ENV,ifconfig_pool_remote_ip=10.9.0.50\r\n"
)
ESTABLISHED_ENV = {b"time_unix": b"1795222140", b"ifconfig_pool_remote_ip": b"10.9.0.50"}
ESTABLISHED_EVENT = Established(5, ESTABLISHED_ENV)
NAMED = b">CLIENT:ENV,common_name=Doe, \xffJohn=END\r\n"
NAMED_EVENT = Established(5, ESTABLISHED_ENV | {b"common_name": b"Doe, \xffJohn=END"})
ENV_END = b">CLIENT:ENV,END\r\n"

CASES: list[tuple[Sequence[Command], bytes, list[Event]]] = [
    ([], b"ENTER PASSWORD:", [PasswordPrompt()]),
    ([], b"ENTER PASSWORD:ENTER PASSWORD:", [PasswordPrompt(), PasswordPrompt()]),
    (
        [],
        b"ENTER PASSWORD:SUCCESS: password is correct\r\n" + BANNER,
        [PasswordPrompt(), Banner(BANNER[6:-2])],
    ),
    ([LOAD_STATS], COUNTED, [COUNT_REPLY]),
    ([LOAD_STATS], b"ERROR: no\r\n", [Reply(LOAD_STATS, ok=False, text=b"no")]),
    ([LOAD_STATS], b"something that nobody asked for\r\n" + COUNTED, [COUNT_REPLY]),
    (
        [VERSION],
        b"OpenVPN Version: OpenVPN 2.6.14\r\nManagement Version: 5\r\nEND\r\n",
        [
            Rows(VERSION, (b"OpenVPN Version: OpenVPN 2.6.14", b"Management Version: 5")),
            Reply(VERSION, ok=True, text=b""),
        ],
    ),
    # notifications stand anywhere, also inside a listing
    (
        [STATUS, LOAD_STATS],
        b"TITLE\ta\r\n>NOTIFY:info,remote-exit,EXIT\r\nTIME\tb\r\nEND\r\n" + COUNTED,
        [
            Rows(STATUS, (b"TITLE\ta",)),
            RemoteExit(),
            Rows(STATUS, (b"TIME\tb",)),
            Reply(STATUS, ok=True, text=b""),
            COUNT_REPLY,
        ],
    ),
    # a listing that was cut short, not answered at all, or refused
    (
        [STATUS, LOAD_STATS],
        b"TITLE\ta\r\nCLIENT_LIST\tEND\r\n" + COUNTED,
        [
            Rows(STATUS, (b"TITLE\ta", b"CLIENT_LIST\tEND")),
            Reply(STATUS, ok=False, text=_CUT_SHORT),
            COUNT_REPLY,
        ],
    ),
    ([STATUS, LOAD_STATS], COUNTED, [Reply(STATUS, ok=False, text=_NO_ANSWER), COUNT_REPLY]),
    (
        [STATUS, LOAD_STATS],
        b"ERROR: not now\r\n" + COUNTED,
        [Reply(STATUS, ok=False, text=b"not now"), COUNT_REPLY],
    ),
    # an environment ends once it has told enough, or with its END, or with whatever comes else
    ([], ESTABLISHED, []),
    ([], ESTABLISHED + NAMED, [NAMED_EVENT]),
    ([], ESTABLISHED + NAMED + b">CLIENT:ENV,time_unix=8\r\n" + ENV_END, [NAMED_EVENT]),
    ([], ESTABLISHED + ENV_END, [ESTABLISHED_EVENT]),
    ([LOAD_STATS], ESTABLISHED + COUNTED, [ESTABLISHED_EVENT, COUNT_REPLY]),
    (
        [],
        ESTABLISHED + b">CLIENT:ESTABLISHED,6\r\n" + ENV_END,
        [ESTABLISHED_EVENT, Established(6, {})],
    ),
    ([], b">CLIENT:ESTABLISHED,x\r\n" + ENV_END, []),
    ([], b">CLIENT:ESTABLISHED," + b"9" * 5000 + b"\r\n" + ENV_END, []),
    ([], b">CLIENT:CONNECT,0,1\r\n>CLIENT:ENV,a=b\r\n" + ENV_END, [ClientAuth()]),
    ([], b">CLIENT:REAUTH,0,1\r\n" + ENV_END, [ClientAuth()]),
    ([], b">CLIENT:ADDRESS,0,10.0.0.1,1\r\n", []),
    # the others
    ([], b">STATE:1,RECONNECTING,SIGUSR1,,,,,\r\n", [State(b"RECONNECTING", b"SIGUSR1")]),
    ([], b">STATE:1\r\n", [State(b"", b"")]),
    ([], b">HOLD:Waiting for hold release:0\r\n", [HoldEvent(b"Waiting for hold release:0")]),
    (
        [],
        b">PASSWORD:Need 'Private Key' password\r\n",
        [HoldEvent(b"PASSWORD:Need 'Private Key' password")],
    ),
    ([], b">PASSWORD:Auth-Token:x\r\n", []),
    ([], b">NEED-OK:Need 'x' confirmation\r\n", [HoldEvent(b"NEED-OK:Need 'x' confirmation")]),
    ([], b">FATAL:no tun\r\n", [Fatal(b"no tun")]),
    ([], b">NOTIFY:info,something,else\r\n", []),
    ([], b">BYTECOUNT_CLI:0,1,2\r\n", []),
    (
        [],
        b">LOG:1,,h/192.0.2.1:4 SIGTERM[soft,x] received, client-instance exiting\r\n",
        [LogLine(b"h/192.0.2.1:4 SIGTERM[soft,x] received, client-instance exiting", 1)],
    ),
    ([], b">LOG:1,D,MANAGEMENT: CMD 'kill \"client-instance exiting\"'\r\n", []),
    ([], b"END\r\nSUCCESS: x\r\n\r\n", []),
]


def merged(events: Iterable[Event]) -> list[Event]:
    """The events, with neighbouring rows in one."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, Rows) and isinstance(last, Rows) and last.command == event.command:
            whole[-1] = Rows(event.command, last.lines + event.lines)
        else:
            whole.append(event)
    return whole


def events_of(asked: Sequence[Command], chunks: Iterable[bytes]) -> list[Event]:
    management = ManagementProtocol()
    for command in asked:
        management.send(command)
    return merged(event for chunk in chunks for event in management.receive(chunk))


@pytest.mark.parametrize(("asked", "data", "expected"), CASES)
def test_each_thing_openvpn_says_is_understood(
    asked: Sequence[Command], data: bytes, expected: list[Event]
) -> None:
    assert events_of(asked, [data]) == expected
    assert events_of(asked, [data[i : i + 1] for i in range(len(data))]) == expected


PIECES = st.sampled_from([data for _, data, _ in CASES] + [b"END\r\n", b"TITLE\t1\r\n", b">LOG:\n"])


@given(
    asked=st.lists(st.sampled_from([LOAD_STATS, STATUS, VERSION]), max_size=6),
    pieces=st.lists(PIECES | st.binary(max_size=40), max_size=12),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_the_events_are_the_same_however_the_bytes_are_cut(
    asked: list[Command], pieces: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(pieces)
    ends = sorted(min(cut, len(data)) for cut in cuts)
    chunks = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    assert events_of(asked, chunks) == events_of(asked, [data])


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_nothing_but_its_own_error_comes_out_of_garbage(chunks: list[bytes]) -> None:
    with contextlib.suppress(ManagementError):
        events_of([STATUS, LOAD_STATS, VERSION], chunks)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_end_is_not_collected_for_ever(end: bytes) -> None:
    with pytest.raises(ManagementError, match="more than 32768 bytes"):
        ManagementProtocol().receive(b"x" * (MAX_LINE + 1) + end)


def test_commands_are_sent_as_lines_and_answered_in_order() -> None:
    management = ManagementProtocol()
    assert management.send(STATUS) == b"status 3\n"
    assert management.send(LOAD_STATS) == b"load-stats\n"
    assert management.receive(b"END\r\n") == [Reply(STATUS, ok=True, text=b"")]
    assert management.receive(COUNTED) == [COUNT_REPLY]
