"""The control socket, on real Unix sockets."""

from __future__ import annotations

import json
import os
import socket
import stat
from contextlib import asynccontextmanager, contextmanager

import msgspec
import pytest
import trio

from cuberouted.api import server
from cuberouted.api.server import (
    MAX_CLIENTS,
    MAX_REQUEST,
    TIMEOUT,
    ControlError,
    NotRunningError,
    answer,
    ask,
    is_served,
    listening,
    serve,
)


class Greeting(msgspec.Struct):
    hello: str
    since: float = 0.0


ANSWERS = {"status": lambda: Greeting("wörld"), "size": lambda: Greeting("x" * 3_000_000)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "control.sock"


@asynccontextmanager
async def served(path, answers=ANSWERS):
    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, answers)
            yield
            nursery.cancel_scope.cancel()


async def asked(path, question, kind=Greeting):
    return await trio.to_thread.run_sync(ask, path, question, kind)


async def said_to(path, data, *, end=True):
    """What comes back until the end, or until it is reset."""
    stream = await trio.open_unix_socket(path)
    said = b""
    async with stream:
        try:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            async for part in stream:
                said += bytes(part)
        except (trio.BrokenResourceError, OSError):
            pass
    return said


# -- what is answered --


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"ask": "status"}\n', {"hello": "wörld", "since": 0.0}),
        (b'{"ask": "status", "more": [1]}', {"hello": "wörld", "since": 0.0}),
        (b'{"ask": "stats"}', {"error": "ask for one of: status, size"}),
        (b"", {"error": "not a question: Input data was truncated"}),
        (b'{"ask": 1}', {"error": "not a question: Expected `str`, got `int` - at `$.ask`"}),
        (b"[]", {"error": "not a question: Expected `object`, got `array`"}),
    ],
)
def test_a_question_gets_its_answer_or_hears_what_is_wrong_with_it(line, expected):
    assert json.loads(answer(line, ANSWERS)) == expected


GARBAGE = (
    b"\xff\xfe\n",
    b'{"ask": "\xff"}',
    b"GET / HTTP/1.1\r\n",
    b"\0",
    b'{"x": ' + b"[" * 2 * MAX_REQUEST,
)


@pytest.mark.parametrize("line", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_answered_too(line):
    assert json.loads(answer(line, ANSWERS))["error"].startswith("not a question: ")


# -- over the socket --


async def test_a_client_gets_what_the_daemon_answers(path):
    async with served(path):
        assert await asked(path, "status") == Greeting("wörld")
        assert len((await asked(path, "size")).hello) == 3_000_000
        assert is_served(path)


async def test_an_answer_of_another_version_is_told_as_such(path):
    async with served(path, {"status": lambda: {"hello": 1}}):
        with pytest.raises(ControlError, match="an answer that makes no sense: Expected `str`"):
            await asked(path, "status")
        with pytest.raises(ControlError, match="an answer that makes no sense"):
            await asked(path, "unknown")


async def test_whatever_clients_send_the_next_one_is_served(path):
    async with served(path):
        for garbage in GARBAGE:
            await said_to(path, garbage)
        assert b"error" in await said_to(path, b"{}\n{}\n", end=False)
        await said_to(path, b"x" * 10 * MAX_REQUEST)
        assert b"error" in await said_to(path, b"")
        (await trio.open_unix_socket(path)).socket.close()
        stream = await trio.open_unix_socket(path)
        await stream.send_all(b'{"ask": "size"}\n')
        await stream.aclose()  # without having read its answer
        assert await asked(path, "status") == Greeting("wörld")


async def test_a_question_may_come_in_pieces(path):
    async with served(path):
        stream = await trio.open_unix_socket(path)
        async with stream:
            for byte in b'{"ask": "status"}\n':
                await stream.send_all(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
            assert json.loads(b"".join([bytes(part) async for part in stream]))["hello"] == "wörld"


async def test_a_client_that_says_nothing_is_sent_away(path, autojump_clock):
    async with served(path):
        began = trio.current_time()
        assert await said_to(path, b"", end=False) == b""
        assert trio.current_time() - began == pytest.approx(TIMEOUT)


async def test_clients_that_say_nothing_do_not_keep_the_others_away_for_long(path, autojump_clock):
    async with served(path), trio.open_nursery() as nursery:
        for _ in range(MAX_CLIENTS):
            nursery.start_soon(said_to, path, b"")
            nursery.start_soon(lambda: said_to(path, b"", end=False))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(2 * TIMEOUT):
            assert b"hello" in await said_to(path, b'{"ask": "status"}\n')


# -- the socket --


async def test_the_socket_is_for_root_and_its_group_and_goes_at_the_end(path):
    async with served(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()
    assert not is_served(path)


async def test_a_second_daemon_on_one_socket_is_refused_and_leaves_the_first_alone(path):
    with listening(path):
        with (
            pytest.raises(ControlError, match="a cuberouted runs already") as caught,
            listening(path),
        ):
            pass
        assert str(path) in str(caught.value)
        assert is_served(path)


async def test_what_a_killed_daemon_left_behind_is_replaced(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert path.exists()
    assert not is_served(path)
    with listening(path):
        assert is_served(path)


async def test_a_file_that_is_no_socket_is_not_removed(path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ControlError, match="cannot make the control socket"), listening(path):
        pass
    assert path.read_text() == "precious"


@pytest.mark.parametrize("where", ["/proc/cuberouted/control.sock", "/dev/null/control.sock"])
async def test_a_socket_that_cannot_be_made_is_told(where, tmp_path):
    path = type(tmp_path)(where)
    with pytest.raises(ControlError, match="cannot make the control socket: "), listening(path):
        pass


# -- who asks --


def test_without_a_daemon_a_client_is_told_so(path):
    with pytest.raises(NotRunningError, match="no cuberouted is running here"):
        ask(path, "status", Greeting)
    with pytest.raises(NotRunningError):
        ask(type(path)("/dev/null/control.sock"), "status", Greeting)
    with pytest.raises(ControlError, match="path too long"):
        ask(path.with_name("x" * 120), "status", Greeting)


def test_a_daemon_that_does_not_answer_is_told(path, monkeypatch):
    monkeypatch.setattr(server, "TIMEOUT", 0.01)
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
        path.parent.rmdir()
        path.parent.write_text("in its way")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_who_may_not_ask_is_told_why_and_cannot_know_whether_a_daemon_runs(path):
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
def test_who_may_ask_is_the_kernels_word(uid, gid, groups, may):
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


def test_who_may_not_ask_is_told_who_may():
    said = json.loads(answer(b'{"ask": "status"}', {}))
    assert said == {"error": "be root or in the group cuberouted to ask"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
async def test_roots_socket_is_given_to_the_group(path, monkeypatch):
    given = []
    monkeypatch.setattr("grp.getgrnam", lambda _: type("Group", (), {"gr_gid": 777}))
    monkeypatch.setattr(os, "chown", lambda *args: given.append(args))
    with listening(path):
        assert given == [(path, -1, 777)]
