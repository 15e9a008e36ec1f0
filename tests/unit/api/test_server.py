"""The control socket, on real Unix sockets."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager

import msgspec
import pytest
import trio

from cuberouted.api.client import get, is_served
from cuberouted.api.http import Endpoint, Endpoints, HttpError
from cuberouted.api.http_server import HttpServer
from cuberouted.api.protocol import ControlError
from cuberouted.api.server import identify, listening, serve


class Greeting(msgspec.Struct):
    hello: str


async def greet(request):
    await trio.lowlevel.checkpoint()
    return Greeting(request.user)


RUNNING = "another cuberouted is running"
ENDPOINTS = (
    Endpoint("GET", "/hello", greet),
    Endpoint("POST", "/hello", greet, changes=True),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "control.sock"


@asynccontextmanager
async def served(path, endpoints=ENDPOINTS):
    with listening(path) as control:
        async with trio.open_nursery() as nursery:
            server = HttpServer(endpoints, lambda _event: None, "control socket")
            nursery.start_soon(serve, control, server)
            yield
            nursery.cancel_scope.cancel()


async def query(path, target="/hello", kind=Greeting):
    return await trio.to_thread.run_sync(get, path, target, kind)


async def test_a_client_gets_the_reply(path):
    async with served(path):
        assert await query(path) == Greeting("root" if os.geteuid() == 0 else f"uid {os.geteuid()}")
        assert is_served(path)


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


# -- who may do what --


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
                get(path, "/hello", Greeting)
            with pytest.raises(ControlError, match="permission denied"):
                is_served(path)
    assert str(caught.value) == (
        f"{path}: permission denied; be root or in the group of that socket"
    )


@contextmanager
def connected_as(uid, gid, groups):
    """Our end of a connection of such a process."""
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
        yield ours


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become others")
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "may"),
    [
        (0, 0, [], "change"),
        (65534, 65534, [], ""),
        (65534, 65534, [4711], ""),
        (65534, 777, [], "read"),
        (65534, 65534, [4711, 777], "read"),
        (65534, 65534, [777, 888], "change"),
        (65534, 888, [], "change"),
    ],
)
async def test_the_kernels_credentials_decide_who_may_do_what(uid, gid, groups, may):
    with connected_as(uid, gid, groups) as sock:
        client = await identify(sock, 777, 888)
    assert (client.reads, client.changes) == (bool(may), may == "change")
    names = {"change": "uid 65534 (nobody)", "read": "uid 65534", "": "uid 65534"}
    assert client.user == ("root" if uid == 0 else names[may])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become others")
async def test_without_the_group_for_changes_only_root_may_change():
    with connected_as(65534, 777, []) as sock:
        client = await identify(sock, 777, None)
    assert (client.reads, client.changes) == (True, False)
    with pytest.raises(HttpError) as caught:
        Endpoints(ENDPOINTS).find("POST", "/hello", b"", client)
    assert caught.value.status == 403
    assert caught.value.text == "permission denied; be root or in the group cuberouted-admin"
    with connected_as(65534, 65534, []) as sock:
        client = await identify(sock, 777, None)
    with pytest.raises(HttpError) as caught:
        Endpoints(ENDPOINTS).find("GET", "/hello", b"", client)
    assert caught.value.status == 403
    assert caught.value.text == "permission denied; be root or in the group cuberouted"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become others")
async def test_the_name_of_a_user_is_not_waited_for_without_end(monkeypatch, autojump_clock):
    asked, go_on = threading.Event(), threading.Event()

    def slow(uid):
        asked.set()
        go_on.wait()

    monkeypatch.setattr("pwd.getpwuid", slow)
    try:
        with connected_as(65534, 888, []) as sock:
            client = await identify(sock, 777, 888)
    finally:
        go_on.set()
    assert client.user == "uid 65534"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
async def test_roots_socket_is_given_to_the_group(path, monkeypatch):
    given = []
    monkeypatch.setattr("grp.getgrnam", lambda _: type("Group", (), {"gr_gid": 777}))
    monkeypatch.setattr(os, "chown", lambda *args: given.append(args))
    with listening(path):
        assert given == [(path, -1, 777)]
