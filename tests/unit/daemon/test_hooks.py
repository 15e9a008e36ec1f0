"""The hook with real programs, by the real clock."""

from __future__ import annotations

import json
import stat
import textwrap
import time
from pathlib import Path

import pytest
import trio

from cuberouted import events
from cuberouted.config import parse
from cuberouted.daemon import hooks
from cuberouted.daemon.hooks import Hooks
from cuberouted.event_ring import EventRing
from cuberouted.util.command import run_command

LINES = "mgmt_interface = tun1\ndata_interface = tun0\nremote_mgmt_ip = 10.200.200.5\n"


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(stat.S_IRWXU)
    return path


def config(*lines: str):
    return parse(LINES + "\n".join(lines) + "\n", Path("c"), "vpnsrvA")


class Scene:
    """A ring of events, and a hook that listens to it."""

    def __init__(self, *lines: str) -> None:
        self.ring = EventRing("vpnsrvA", 5000, time.time)
        self.hooks = Hooks(config(*lines), run_command, self.ring.publish)
        self.ring.listeners.append(self.hooks.put)

    def join(self, client: str) -> None:
        self.ring.publish(
            events.ClientJoined(address="10.100.100.14", client=client, to_node="vpnsrvB")
        )

    @property
    def problems(self) -> list[str]:
        return [str(e) for e in self.ring.after(0, 5000) if isinstance(e, events.NodeProblem)]

    async def handle_all(self) -> None:
        """Run the hook for the events so far."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hooks.run)
            with trio.fail_after(20):
                await self.hooks.finish()


async def test_the_command_gets_variables_and_json_and_no_shell_sees_them(tmp_path):
    command = script(
        tmp_path / "hook",
        """
        echo "$1|$CUBEROUTED_TYPE|$CUBEROUTED_CLIENT|$PWD|$NOTIFY_SOCKET" >>"$2"
        cat >>"$2"
        """,
    )
    out = tmp_path / "out"
    scene = Scene(f"hook = {command} 'two words' {out}")
    evil = "$(touch /tmp/evil); 'host2' \"\n"
    scene.join(evil)
    await scene.handle_all()
    first, json_line = out.read_text().rsplit("\n", 2)[:2]
    assert first == f"two words|client_joined|{evil}|/|"
    assert json.loads(json_line)["client"] == evil
    assert scene.problems == []


async def test_commands_run_one_at_a_time_in_the_order_of_the_events(tmp_path):
    out = tmp_path / "out"
    command = script(
        tmp_path / "hook",
        f"""
        mkdir {tmp_path}/running || echo overlap >>{out}
        echo "$CUBEROUTED_CLIENT" >>{out}
        rmdir {tmp_path}/running
        """,
    )
    scene = Scene(f"hook = {command}")
    for number in range(20):
        scene.join(f"host{number}")
    await scene.handle_all()
    assert out.read_text().split() == [f"host{number}" for number in range(20)]


async def test_a_command_that_reads_nothing_and_writes_much_is_fine(tmp_path):
    command = script(tmp_path / "hook", "yes | head -c 1000000 >&2; yes | head -c 1000000")
    scene = Scene(f"hook = {command}")
    scene.join("host1")
    await scene.handle_all()
    assert scene.problems == []


async def test_a_failure_is_an_event_that_does_not_run_the_hook(tmp_path):
    out = tmp_path / "out"
    command = script(tmp_path / "hook", f"echo x >>{out}; echo first >&2; echo no disk >&2; exit 4")
    scene = Scene(f"hook = {command}")
    scene.join("host1")
    await scene.handle_all()
    assert scene.problems == [
        f"hook: {command} ended with exit status 4 for client_joined: no disk"
    ]
    assert out.read_text().split() == ["x"]


@pytest.mark.parametrize(
    ("mode", "why"), [(None, "No such file or directory"), (0o600, "Permission denied")]
)
async def test_a_command_that_cannot_be_executed_is_an_event(tmp_path, mode, why):
    command = tmp_path / "hook"
    if mode is not None:
        script(command, "exit 0").chmod(mode)
    scene = Scene(f"hook = {command}")
    scene.join("host1")
    await scene.handle_all()
    assert scene.problems == [f"hook: {command} could not be started for client_joined: {why}"]


async def test_the_next_command_runs_after_one_that_was_killed_at_its_time_limit(tmp_path):
    out = tmp_path / "out"
    command = script(
        tmp_path / "hook",
        f"""
        [ "$CUBEROUTED_CLIENT" = host1 ] || {{ echo next >{out}; exit 0; }}
        exec sleep 300
        """,
    )
    scene = Scene(f"hook = {command}", "hook_timeout = 500ms")
    scene.join("host1")
    scene.join("host2")
    await scene.handle_all()
    assert scene.problems == [f"hook: {command} was killed after hook_timeout for client_joined"]
    assert out.read_text() == "next\n"


async def test_at_the_end_a_command_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "FINISH_TIMEOUT", 0.3)
    pid = tmp_path / "pid"
    command = script(tmp_path / "hook", f"echo $$ >{pid}; exec sleep 300")
    scene = Scene(f"hook = {command}")
    scene.join("host1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.hooks.run)
        with trio.fail_after(10):
            while not pid.exists() or not pid.read_text():  # noqa: ASYNC110 - a file
                await trio.sleep(0.01)
            await scene.hooks.finish()
        assert running(int(pid.read_text()))
        nursery.cancel_scope.cancel()
    assert not running(int(pid.read_text()))


async def test_a_reload_changes_and_removes_the_command(tmp_path):
    out = tmp_path / "out"
    first = script(tmp_path / "first", f"echo first $CUBEROUTED_CLIENT >>{out}")
    second = script(tmp_path / "second", f"echo second $CUBEROUTED_CLIENT >>{out}")
    scene = Scene(f"hook = {first}")

    async def written(count: int) -> None:
        with trio.fail_after(10):
            while not out.exists() or out.read_text().count("\n") < count:  # noqa: ASYNC110
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.hooks.run)
        scene.join("a")
        await written(1)
        scene.hooks.reconfigure(config())
        scene.join("b")
        scene.hooks.reconfigure(config(f"hook = {second}", "hook_events = client_joined"))
        scene.ring.publish(events.PoolConflictEnded(address="10.1.1.1"))
        scene.join("c")
        await written(2)
        await scene.hooks.finish()
    assert out.read_text() == "first a\nsecond c\n"


def running(pid: int) -> bool:
    """Whether it runs, and is not a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
