"""The hosts file: what is in it, when it is written, and what keeps it from that."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest
import trio

from cuberouted import events
from cuberouted.config import parse
from cuberouted.daemon import hosts_file
from cuberouted.daemon.hosts_file import (
    INTERVAL,
    LOOK_INTERVAL,
    MAX_RETRY_DELAY,
    SETTLE_DELAY,
    HostsFile,
    replace_file,
)
from cuberouted.daemon.hosts_text import HEADER
from cuberouted.event_ring import EventRing
from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.routing.policy import Policy
from cuberouted.routing.rib import Origin, Rib, Source
from tests.unit.longest_step import longest_step

LINES = "mgmt_interface = tun1\ndata_interface = tun0\nremote_mgmt_ip = 10.200.200.5\n"
HOLD_TIME = 3.0
PEER = Source(Origin.PEER, "B")


def config(path: Path | None, domain: str = ""):
    lines = [f"hosts_file = {path}"] if path else []
    lines += [f"hosts_domain = {domain}"] if domain else []
    return parse(LINES + "\n".join(lines) + "\n", Path("c"), "vpnsrvA")


class Disk:
    """Counts the writes, and does them without a thread, so that the clock can jump."""

    def __init__(self, monkeypatch) -> None:
        self.writes: list[float] = []
        self.error: OSError | None = None
        monkeypatch.setattr(trio.to_thread, "run_sync", self._run)

    async def _run(self, function, path, text, **options):
        assert list(options.values()) == [True]  # to abandon the thread when cancelled
        await trio.lowlevel.checkpoint()
        if self.error:
            raise self.error
        before = path.stat().st_ino if path.exists() else 0
        function(path, text)
        if path.stat().st_ino != before:
            self.writes.append(trio.current_time())


class Scene:
    def __init__(self, path: Path | None, domain: str = "") -> None:
        self.rib = Rib(Policy(allowed=(Prefix.parse("10.0.0.0/8"),)))
        self.ring = EventRing("A", 1000, time.time)
        self.file = HostsFile(config(path, domain), self.rib, self.ring.publish)
        self.ring.listeners.append(self.file.put)
        self.version = 0

    def join(self, name: str, address: str) -> None:
        self.version += 1
        advertisement = Advertisement(
            Prefix.parse(address), Kind.CLIENT, name.encode(), self.version, confirmed=True
        )
        self.rib.update(PEER, "B", [advertisement])
        self.ring.publish(events.ClientJoined(address=address, client=name, to_node="B"))

    def leave(self, address: str) -> None:
        self.rib.update(PEER, "B", (), [Prefix.parse(address)])
        self.ring.publish(events.ClientLeft(address=address, client="", from_node="B"))

    @property
    def problems(self) -> list[str]:
        kinds = events.NodeProblem | events.NodeProblemEnded
        return [str(event) for event in self.ring.after(0) if isinstance(event, kinds)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clients"


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def content(path: Path) -> list[str]:
    text = path.read_bytes()
    assert text.startswith(HEADER)
    return text[len(HEADER) :].decode().splitlines()


async def test_clients_come_and_go_within_a_second(path, disk, nursery, autojump_clock):
    scene = Scene(path, "vpn.example.org")
    scene.join("host2", "10.0.0.2")
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME + 2 * SETTLE_DELAY)
    assert content(path) == ["10.0.0.2 host2.vpn.example.org host2"]
    scene.join("host1", "10.0.0.1")
    await trio.sleep(INTERVAL + 0.1)
    assert content(path)[0].startswith("10.0.0.1 host1.")
    scene.leave("10.0.0.1")
    scene.leave("10.0.0.2")
    await trio.sleep(INTERVAL + 0.1)
    assert content(path) == []


async def test_what_an_earlier_run_has_written_stays_until_the_peers_have_advertised(
    path, disk, nursery, autojump_clock
):
    path.write_bytes(HEADER + b"10.0.0.2 host2\n")
    scene = Scene(path)
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME - 0.1)
    assert content(path) == ["10.0.0.2 host2"]
    scene.join("host2", "10.0.0.2")
    await trio.sleep(1)
    assert disk.writes == []


async def test_a_storm_of_events_causes_one_write_a_second(path, disk, nursery, autojump_clock):
    scene = Scene(path)
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME + 2)
    before = len(disk.writes)
    for number in range(200):
        scene.join(f"host{number}", f"10.0.0.{number}")
        await trio.sleep(0.05)
    await trio.sleep(1)
    assert 10 <= len(disk.writes) - before <= 12
    assert min(b - a for a, b in zip(disk.writes, disk.writes[1:], strict=False)) >= INTERVAL
    assert len(content(path)) == 200


async def test_both_addresses_of_a_client_come_in_one_write(path, disk, nursery, autojump_clock):
    scene = Scene(path)
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME + 5)
    before = len(disk.writes)
    scene.join("host2", "10.0.0.2")
    await trio.sleep(SETTLE_DELAY / 2)
    scene.join("host2", "10.0.0.3")
    await trio.sleep(SETTLE_DELAY)
    assert len(disk.writes) == before + 1
    assert len(content(path)) == 2


async def test_a_roam_to_the_same_address_writes_nothing(path, disk, nursery, autojump_clock):
    scene = Scene(path)
    scene.join("host2", "10.0.0.2")
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME + 1)
    writes = list(disk.writes)
    scene.join("host2", "10.0.0.2")
    await trio.sleep(5)
    assert disk.writes == writes


async def test_a_file_that_somebody_removes_is_written_again(path, disk, nursery, autojump_clock):
    scene = Scene(path)
    scene.join("host2", "10.0.0.2")
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME + 1)
    path.unlink()
    await trio.sleep(LOOK_INTERVAL + 1)
    assert content(path) == ["10.0.0.2 host2"]


async def test_a_problem_is_one_event_when_it_begins_and_one_when_it_ends(
    path, disk, nursery, autojump_clock
):
    scene = Scene(path)
    disk.error = OSError(28, "No space left on device")
    nursery.start_soon(scene.file.run)
    await trio.sleep(60)
    scene.join("host2", "10.0.0.2")
    await trio.sleep(60)
    assert scene.problems == [f"hosts file: {path}: No space left on device"]
    disk.error = None
    await trio.sleep(MAX_RETRY_DELAY + INTERVAL + 0.1)
    assert content(path) == ["10.0.0.2 host2"]
    assert scene.problems[1:] == ["hosts file: works again"]


async def test_a_missing_directory_is_a_problem_until_it_is_there(
    tmp_path, disk, nursery, autojump_clock
):
    path = tmp_path / "hosts" / "clients"
    scene = Scene(path)
    nursery.start_soon(scene.file.run)
    await trio.sleep(10)
    (problem,) = scene.problems
    assert problem.startswith(
        f"hosts file: {path}: No such file or directory; the daemon's user must be able to write"
    )
    path.parent.mkdir()
    await trio.sleep(MAX_RETRY_DELAY + INTERVAL + 0.1)
    assert content(path) == []


async def test_a_reload_moves_the_file_and_ends_it(tmp_path, disk, nursery, autojump_clock):
    first, second = tmp_path / "first", tmp_path / "second"
    scene = Scene(None)
    scene.join("host2", "10.0.0.2")
    nursery.start_soon(scene.file.run)
    await trio.sleep(HOLD_TIME + 10)
    scene.file.reconfigure(config(first))
    await trio.sleep(INTERVAL + 0.1)
    assert content(first) == ["10.0.0.2 host2"]
    scene.file.reconfigure(config(second, "vpn"))
    await trio.sleep(INTERVAL + 0.1)
    assert content(second) == ["10.0.0.2 host2.vpn host2"]
    scene.file.reconfigure(config(None))
    scene.leave("10.0.0.2")
    await trio.sleep(LOOK_INTERVAL + 10)
    assert content(first) == ["10.0.0.2 host2"]
    assert content(second) == ["10.0.0.2 host2.vpn host2"]
    assert scene.problems == []


# -- the file system --


def test_everybody_may_read_the_file_whatever_the_umask_is(path):
    before = os.umask(0o077)
    try:
        replace_file(path, HEADER)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_reader_never_finds_a_part(path):
    old, new = (HEADER + line * 20_000 for line in (b"10.0.0.1 host1\n", b"10.0.0.2 host22\n"))
    replace_file(path, old)
    seen: set[bytes] = set()
    ended = threading.Event()

    def read():
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        replace_file(path, new)
        replace_file(path, old)
    ended.set()
    reader.join()
    assert seen <= {old, new}
    assert len(seen) == 2


def test_only_a_file_with_a_dot_is_there_before_the_whole_one(path, monkeypatch):
    found: list[str] = []
    rename = Path.replace

    def replace(self, target):
        found.extend(entry.name for entry in path.parent.iterdir())
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    replace_file(path, HEADER)
    assert found == [".clients.tmp"]
    assert [entry.name for entry in path.parent.iterdir()] == ["clients"]


@pytest.mark.parametrize("text", [b"127.0.0.1 localhost\n", b"\n"])
def test_a_file_of_somebody_else_is_not_replaced(path, text):
    path.write_bytes(text)
    with pytest.raises(OSError, match="was not written by cuberouted"):
        replace_file(path, HEADER)
    assert path.read_bytes() == text


def test_an_empty_file_is_replaced(path):
    path.touch()
    replace_file(path, HEADER)
    assert path.read_bytes() == HEADER


def test_a_pipe_and_a_directory_in_its_place_hold_nothing_up(path):
    os.mkfifo(path)
    with pytest.raises(OSError, match="was not written by cuberouted"):
        replace_file(path, HEADER)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match=r"Is a directory|was not written"):
        replace_file(path, HEADER)
    assert [entry.name for entry in path.parent.iterdir()] == ["clients"]


def test_a_link_in_place_of_the_new_file_is_not_followed(path):
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    path.with_name(".clients.tmp").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(path, HEADER)
    assert victim.read_bytes() == b"precious"
    replace_file(path, HEADER)  # the link is gone
    assert path.read_bytes() == HEADER


# -- many clients --


async def test_20000_clients_hold_the_loop_for_no_more_than_20_ms(path, monkeypatch):
    monkeypatch.setattr(hosts_file, "INTERVAL", 0.0)
    rib = Rib(Policy(allowed=(Prefix.parse("10.0.0.0/8"),)))
    rib.update(
        PEER,
        "B",
        (
            Advertisement(
                Prefix.host(bytes((10, 1, n >> 8, n & 255))), Kind.CLIENT, b"Host %d" % n, 5, True
            )
            for n in range(20_000)
        ),
    )
    file = HostsFile(config(path), rib, lambda _event: None)
    file._settling = 0.0
    async with trio.open_nursery() as nursery:
        with longest_step() as longest, trio.fail_after(20):
            nursery.start_soon(file.run)
            while not path.exists():  # noqa: ASYNC110 - a file
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert len(content(path)) == 20_000
    assert longest.seconds < 0.02
