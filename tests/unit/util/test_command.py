"""Commands with real programs, by the real clock."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest
import trio

from cuberouted.util import command
from cuberouted.util.command import MAX_STDERR, CommandEnd, run_command

LONG = 30.0


def shell(text: str) -> tuple[str, str, str]:
    return "/bin/sh", "-c", text


async def run(text: str, *, time_limit: float = LONG, **env: str) -> CommandEnd:
    return await run_command(shell(text), env=env, time_limit=time_limit)


async def test_a_command_gets_its_variables_input_and_nothing_else_of_the_daemon(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    out = tmp_path / "out"
    text = f'echo "$A|$NOTIFY_SOCKET|$PWD|$(ps -o sid= -p $$)" >{out}; cat >>{out}'
    end = await run_command(
        shell(text), env={"A": "a b;$(x)", "PATH": os.environ["PATH"]}, stdin=b"in", time_limit=LONG
    )
    assert end == CommandEnd(0)
    assert not end.failed
    line, rest = out.read_text().split("\n")
    got, sid = line.rsplit("|", 1)
    assert (got, rest) == ("a b;$(x)||/", "in")
    assert int(sid) != os.getsid(0)


async def test_its_status_and_the_end_of_its_standard_error_are_kept():
    end = await run("yes x | head -c 100000 >&2; yes | head -c 100000; echo no disk >&2; exit 4")
    assert (end.status, end.failed, len(end.stderr)) == (4, True, MAX_STDERR)
    assert end.last_line == b"no disk"
    assert end.how("timeout") == "ended with exit status 4"
    assert (await run("kill -9 $$")).how("timeout") == "was ended by SIGKILL"
    assert (await run("kill -40 $$")).how("timeout") == "was ended by signal 40"


@pytest.mark.parametrize(
    ("argv", "why"),
    [(["/nonexistent"], b"No such file or directory"), (["/etc/passwd"], b"Permission denied")],
)
async def test_one_that_cannot_be_executed_has_no_status_but_a_reason(argv, why):
    end = await run_command(argv, env={}, time_limit=LONG)
    assert end == CommandEnd(None, stderr=why)
    assert end.how("timeout") == "could not be started"


async def test_after_the_time_limit_the_command_and_its_children_are_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "KILL_DELAY", 0.1)
    pids = tmp_path / "pids"
    end = await run(
        f"trap '' TERM; sleep 300 & echo $$ $! >{pids}; wait; sleep 300", time_limit=0.5
    )
    assert end.timed_out
    assert end.failed
    assert end.how("check_timeout") == "was killed after check_timeout"
    await ended([int(pid) for pid in pids.read_text().split()])


async def test_a_command_that_may_not_be_killed_has_timed_out(monkeypatch):
    # as with sudo: the kernel refuses signals to the processes of another user
    def refuse(_group: int, _number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refuse)
    end = await run("exec sleep 0.5", time_limit=0.1)
    assert (end.timed_out, end.status) == (True, 0)


async def test_when_cancelled_the_command_and_its_children_are_killed(tmp_path):
    pids = tmp_path / "pids"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, f"sleep 300 & echo $$ $! >{pids}; wait")
        with trio.fail_after(LONG):
            while not pids.exists() or not pids.read_text():  # noqa: ASYNC110 - a file
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    await ended([int(pid) for pid in pids.read_text().split()])


async def test_a_child_that_keeps_standard_error_open_does_not_hold_up_its_end(tmp_path):
    pid = tmp_path / "pid"
    try:
        with trio.fail_after(LONG):
            assert not (await run(f"sleep 300 & echo $! >{pid}")).failed
        assert running(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def ended(pids: list[int]) -> None:
    """Wait until all *pids* have ended: the kernel needs a moment to end what it has killed."""
    with trio.fail_after(LONG):
        while any(running(pid) for pid in pids):  # noqa: ASYNC110 - no child of ours
            await trio.sleep(0.01)


def running(pid: int) -> bool:
    """Whether it runs, and is not a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
