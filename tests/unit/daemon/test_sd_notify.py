"""What systemd hears, on a real socket of its kind."""

from __future__ import annotations

import socket

import pytest

from cuberouted.daemon.sd_notify import Notifier


@pytest.fixture
def systemd():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        yield sock


def heard(sock):
    said = []
    while True:
        try:
            said.append(sock.recv(4096).decode())
        except BlockingIOError:
            return said


def say_everything(notifier):
    notifier.ready()
    notifier.watchdog()
    notifier.status("3 clients; waiting for jürg")
    notifier.stopping()


EVERYTHING = ["READY=1", "WATCHDOG=1", "STATUS=3 clients; waiting for jürg", "STOPPING=1"]


def test_systemd_is_told_what_it_waits_for(systemd, tmp_path):
    path = str(tmp_path / "notify")
    systemd.bind(path)
    say_everything(Notifier.from_environment({"NOTIFY_SOCKET": path}))
    assert heard(systemd) == EVERYTHING


def test_an_abstract_socket_is_written_with_an_at_sign(systemd, tmp_path):
    name = str(tmp_path)
    systemd.bind("\0" + name)
    say_everything(Notifier.from_environment({"NOTIFY_SOCKET": "@" + name}))
    assert heard(systemd) == EVERYTHING


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_systemd_nothing_is_told(environment):
    notifier = Notifier.from_environment(environment)
    assert notifier.address is None
    say_everything(notifier)


def test_a_systemd_that_is_gone_or_does_not_read_holds_nobody_up(systemd, tmp_path):
    path = str(tmp_path / "notify")
    systemd.bind(path)
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": path})
    for _ in range(10_000):
        notifier.watchdog()
    assert 0 < len(heard(systemd)) < 10_000
    systemd.close()
    say_everything(notifier)
