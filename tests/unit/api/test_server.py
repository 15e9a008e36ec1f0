"""The control socket, on real Unix sockets."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from cuberouted.api import client, server
from cuberouted.api.client import ask, is_served
from cuberouted.api.protocol import MAX_REQUEST, TIMEOUT, ControlError, NotRunningError
from cuberouted.api.server import MAX_CLIENTS, listening, reply, serve
from cuberouted.util.ratelimit import LogRateLimit


class Greeting(msgspec.Struct):
    hello: str
    since: float = 0.0


class FailingError(Exception):
    """A bug in a handler."""


async def parts(*items: bytes | Exception) -> AsyncGenerator[bytes]:
    for item in items:
        await trio.lowlevel.checkpoint()
        if isinstance(item, Exception):
            raise item
        yield item


def fail():
    raise FailingError("a bug")


RUNNING = "another cuberouted is running"

HANDLERS = {
    "status": lambda: Greeting("wörld"),
    "size": lambda: Greeting("x" * 3_000_000),
    "parts": lambda: parts(b'{"hello":', b'"in parts"', b"}"),
    "fails": fail,
    "fails later": lambda: parts(b'{"hello":', FailingError("a bug")),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "control.sock"


@asynccontextmanager
async def served(path, handlers=HANDLERS):
    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, handlers)
            yield
            nursery.cancel_scope.cancel()


async def query(path, request, kind=Greeting):
    return await trio.to_thread.run_sync(ask, path, request, kind)


async def send_raw(path, data, *, end=True):
    """What is received until the end, or until a reset."""
    stream = await trio.open_unix_socket(path)
    received = b""
    async with stream:
        try:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            async for part in stream:
                received += bytes(part)
        except (trio.BrokenResourceError, OSError):
            pass
    return received


# -- replies --


async def reply_to(line, handlers=HANDLERS):
    return b"".join([part async for part in reply(line, handlers, LogRateLimit())])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"ask": "status"}\n', {"hello": "wörld", "since": 0.0}),
        (b'{"ask": "status", "more": [1]}', {"hello": "wörld", "since": 0.0}),
        (b'{"ask": "parts"}', {"hello": "in parts"}),
        (
            b'{"ask": "stats"}',
            {"error": "unknown request; known are: status, size, parts, fails, fails later"},
        ),
        (b"", {"error": "malformed request: Input data was truncated"}),
        (b'{"ask": 1}', {"error": "malformed request: Expected `str`, got `int` - at `$.ask`"}),
        (b"[]", {"error": "malformed request: Expected `object`, got `array`"}),
    ],
)
async def test_a_request_gets_its_reply_or_an_error(line, expected):
    assert json.loads(await reply_to(line)) == expected


GARBAGE = (
    b"\xff\xfe\n",
    b'{"ask": "\xff"}',
    b"GET / HTTP/1.1\r\n",
    b"\0",
    b'{"x": ' + b"[" * 2 * MAX_REQUEST,
)


@pytest.mark.parametrize("line", GARBAGE, ids=range(len(GARBAGE)))
async def test_malformed_requests_get_an_error(line):
    assert json.loads(await reply_to(line))["error"].startswith("malformed request: ")


async def test_a_failing_handler_is_an_error_reply_and_one_traceback_in_the_log(caplog):
    limit = LogRateLimit()
    for _ in range(3):
        failed = [part async for part in reply(b'{"ask": "fails"}', HANDLERS, limit)]
        assert json.loads(b"".join(failed)) == {"error": "internal error; see the daemon's log"}
    (record,) = caplog.records
    assert record.message == "control: request 'fails' failed"
    assert record.exc_info[0] is FailingError


async def test_a_handler_that_fails_amid_its_reply_ends_the_reply(path, caplog):
    async with served(path):
        assert await send_raw(path, b'{"ask": "fails later"}\n') == b'{"hello":'
        assert await query(path, "status") == Greeting("wörld")
        with pytest.raises(ControlError, match="internal error"):
            await query(path, "fails")
    assert len(caplog.records) == 2


# -- over the socket --


async def test_a_client_gets_the_reply(path):
    async with served(path):
        assert await query(path, "status") == Greeting("wörld")
        assert len((await query(path, "size")).hello) == 3_000_000
        assert is_served(path)


async def test_a_reply_of_another_version_is_an_error(path):
    async with served(path, {"status": lambda: parts(b'{"hello": 1}')}):
        with pytest.raises(ControlError, match=r"malformed reply.*: Expected `str`"):
            await query(path, "status")
        with pytest.raises(ControlError, match="unknown request; known are: status"):
            await query(path, "unknown")


async def test_whatever_clients_send_the_next_one_is_served(path):
    async with served(path):
        for garbage in GARBAGE:
            await send_raw(path, garbage)
        assert b"error" in await send_raw(path, b"{}\n{}\n", end=False)
        await send_raw(path, b"x" * 10 * MAX_REQUEST)
        assert b"error" in await send_raw(path, b"")
        (await trio.open_unix_socket(path)).socket.close()
        stream = await trio.open_unix_socket(path)
        await stream.send_all(b'{"ask": "size"}\n')
        await stream.aclose()  # without having read its answer
        assert await query(path, "status") == Greeting("wörld")


async def test_a_request_may_arrive_in_pieces(path):
    async with served(path):
        stream = await trio.open_unix_socket(path)
        async with stream:
            for byte in b'{"ask": "status"}\n':
                await stream.send_all(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
            assert json.loads(b"".join([bytes(part) async for part in stream]))["hello"] == "wörld"


async def test_a_silent_client_is_disconnected(path, autojump_clock):
    async with served(path):
        began = trio.current_time()
        assert await send_raw(path, b"", end=False) == b""
        assert trio.current_time() - began == pytest.approx(TIMEOUT)


async def test_silent_clients_do_not_block_the_others_for_long(path, autojump_clock):
    async with served(path), trio.open_nursery() as nursery:
        for _ in range(MAX_CLIENTS):
            nursery.start_soon(send_raw, path, b"")
            nursery.start_soon(lambda: send_raw(path, b"", end=False))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(2 * TIMEOUT):
            assert b"hello" in await send_raw(path, b'{"ask": "status"}\n')


# -- the socket --


async def test_the_socket_is_for_root_and_its_group_and_removed_at_the_end(path):
    async with served(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()
    assert not is_served(path)


async def test_a_second_daemon_on_one_socket_is_refused_and_leaves_the_first_alone(path):
    with listening(path):
        with pytest.raises(ControlError, match=RUNNING) as caught, listening(path):
            pass
        assert str(path) in str(caught.value)
        assert is_served(path)
        path.unlink()  # even if the socket is gone, the lock is held
        with pytest.raises(ControlError, match=RUNNING), listening(path):
            pass


def test_of_many_daemons_started_together_one_runs(path):
    code = (
        "import sys, time, pathlib\n"
        "from cuberouted.api.protocol import ControlError\n"
        "from cuberouted.api.server import listening\n"
        "import trio\n"
        "async def main():\n"
        "    with listening(pathlib.Path(sys.argv[1])):\n"
        "        print('running', flush=True)\n"
        "        sys.stdin.read()\n"
        "try:\n"
        "    trio.run(main)\n"
        "except ControlError:\n"
        "    print('refused', flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    daemons = [
        subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(5)
    ]
    try:
        lines = [daemon.stdout.readline().strip() for daemon in daemons if daemon.stdout]
        assert sorted(lines) == [*["refused"] * 4, "running"]
        assert is_served(path)
    finally:
        for daemon in daemons:
            daemon.communicate("")
    assert not path.exists()


async def test_a_socket_on_which_another_program_listens_is_not_replaced(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with pytest.raises(ControlError, match="another program listens"), listening(path):
            pass
        assert is_served(path)


async def test_the_socket_of_a_later_daemon_is_not_removed(path):
    with listening(path):
        path.unlink()
        path.with_name("control.sock.lock").unlink()
        with listening(path):
            later = path.stat().st_ino
    assert not path.exists()
    with listening(path) as first:
        path.unlink()
        path.touch()
        assert first.group == path.stat().st_gid
    assert path.exists()
    assert later


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_lock_file_that_root_has_left_behind_is_no_obstacle(path):
    with listening(path):
        pass
    os.chown(path.parent, 65534, -1)
    for directory in path.parents[:-1]:
        directory.chmod(directory.stat().st_mode | 0o011)
    with as_nobody(), listening(path):
        assert is_served(path)


async def test_connections_beyond_the_limit_are_not_accepted(path):
    with listening(path) as control:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, control, HANDLERS)
            streams = [await trio.open_unix_socket(path) for _ in range(MAX_CLIENTS + 5)]
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            assert _accepted(path) == MAX_CLIENTS
            for stream in streams:
                await stream.aclose()
            nursery.cancel_scope.cancel()


def _accepted(path):
    """Number of this process's connections on the server's side of *path*."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    # path, state 03 (SS_CONNECTED): a queued connection has inode 0 (unix(7), net/unix/af_unix.c)
    return sum(
        fields[5] == "03" and fields[6] != "0"
        for fields in map(str.split, lines)
        if fields[-1] == str(path)
    )


async def test_what_a_killed_daemon_left_behind_is_replaced(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert path.exists()
    assert not is_served(path)
    with listening(path):
        assert is_served(path)


async def test_a_file_that_is_not_a_socket_is_not_removed(path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ControlError, match="cannot create the control socket"), listening(path):
        pass
    assert path.read_text() == "precious"


@pytest.mark.parametrize("where", ["/proc/cuberouted/control.sock", "/dev/null/control.sock"])
async def test_a_socket_that_cannot_be_created_is_an_error(where, tmp_path):
    path = type(tmp_path)(where)
    with pytest.raises(ControlError, match="cannot create the control socket: "), listening(path):
        pass


# -- clients --


def test_without_a_daemon_a_client_gets_an_error(path):
    with pytest.raises(NotRunningError, match="cuberouted is not running"):
        ask(path, "status", Greeting)
    with pytest.raises(NotRunningError):
        ask(type(path)("/dev/null/control.sock"), "status", Greeting)
    with pytest.raises(ControlError, match="path too long"):
        ask(path.with_name("x" * 120), "status", Greeting)


def test_a_daemon_that_does_not_answer_is_an_error(path, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT", 0.01)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with pytest.raises(ControlError, match="the daemon does not answer"):
            ask(path, "status", Greeting)


@contextmanager
def as_nobody():
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_socket_that_cannot_be_removed_at_the_end_is_left(path):
    with listening(path):
        path.unlink()
        path.with_name("control.sock.lock").unlink()
        path.parent.rmdir()
        path.parent.write_text("in its way")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_an_unauthorized_user_gets_an_error_and_cannot_know_whether_a_daemon_runs(path):
    with listening(path):
        path.chmod(0o600)
        with as_nobody():
            with pytest.raises(ControlError) as caught:
                ask(path, "status", Greeting)
            with pytest.raises(ControlError, match="permission denied"):
                is_served(path)
    assert str(caught.value) == (
        f"{path}: permission denied; be root or in the group of that socket"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become others")
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "may"),
    [
        (0, 0, [], True),
        (65534, 65534, [], False),
        (65534, 65534, [4711], False),
        (65534, 777, [], True),
        (65534, 65534, [4711, 777], True),
    ],
)
def test_the_kernels_credentials_decide_who_may_ask(uid, gid, groups, may):
    before = os.getgroups()
    try:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        ours, theirs = socket.socketpair(socket.AF_UNIX)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
    with ours, theirs:
        assert server._is_authorized(ours, 777) is may


async def test_an_unauthorized_client_is_told_who_may_ask():
    received = json.loads(await reply_to(b'{"ask": "status"}', {}))
    assert received == {"error": "permission denied; be root or in the group cuberouted"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
async def test_roots_socket_is_given_to_the_group(path, monkeypatch):
    given = []
    monkeypatch.setattr("grp.getgrnam", lambda _: type("Group", (), {"gr_gid": 777}))
    monkeypatch.setattr(os, "chown", lambda *args: given.append(args))
    with listening(path):
        assert given == [(path, -1, 777)]
