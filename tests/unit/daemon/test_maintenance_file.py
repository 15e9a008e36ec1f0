"""The file in which the state of maintenance is kept, on a real file system."""

from __future__ import annotations

import os
import stat
import threading

import pytest
import trio

from cuberouted.daemon import maintenance_file
from cuberouted.daemon.maintenance_file import FILE, RecordFile
from cuberouted.maintenance.record import MaintenanceRecord, RecordError
from cuberouted.model import NodeState

RECORD = MaintenanceRecord(
    state=NodeState.DRAINING, by="root", since=5, until=7, reason="caf\u00e9 \u2603", interval=0.5
)
ACTIVE = MaintenanceRecord(by="root", since=9)


async def test_what_is_written_is_read_again_and_nothing_else_is_left(tmp_path):
    store = RecordFile()
    assert store.read(tmp_path) == MaintenanceRecord()
    for record in (RECORD, MaintenanceRecord(state=NodeState.MAINTENANCE, force=True)):
        await store.write(tmp_path, record)
        assert store.read(tmp_path) == record
        assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) & 0o600 == 0o600


async def test_an_active_node_has_no_file(tmp_path):
    store = RecordFile()
    await store.write(tmp_path, ACTIVE)
    await store.write(tmp_path, RECORD)
    await store.write(tmp_path, ACTIVE)
    assert list(tmp_path.iterdir()) == []
    assert store.read(tmp_path) == MaintenanceRecord()


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b'{"state": "asleep"}', b'{"since": -1}', b'{"interval": "x"}', b"[]"],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / FILE).write_bytes(text)
    with pytest.raises(RecordError, match=rf"{FILE}: malformed: "):
        RecordFile().read(tmp_path)


def test_something_else_in_its_place_is_an_error(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(RecordError, match="Is a directory"):
        RecordFile().read(tmp_path)


async def test_what_cannot_be_written_is_an_error_and_keeps_the_old_one(tmp_path, monkeypatch):
    store = RecordFile()
    with pytest.raises(RecordError, match="No such file or directory"):
        await store.write(tmp_path / "missing", RECORD)
    await store.write(tmp_path, RECORD)

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RecordError, match="No space left on device"):
        await store.write(tmp_path, MaintenanceRecord(state=NodeState.MAINTENANCE))
    assert store.read(tmp_path) == RECORD
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


async def test_a_disk_that_hangs_is_waited_for_some_seconds_only(tmp_path, monkeypatch):
    store, release, keep, done = RecordFile(), threading.Event(), maintenance_file._keep, []

    def hang(path, record):
        release.wait(30)
        keep(path, record)
        done.append(record)

    monkeypatch.setattr(maintenance_file, "WRITE_TIMEOUT", 0.05)
    monkeypatch.setattr(maintenance_file, "_keep", hang)
    for record in (RECORD, MaintenanceRecord(state=NodeState.MAINTENANCE), ACTIVE):
        with pytest.raises(RecordError, match="not written in"):
            await store.write(tmp_path, record)
    release.set()
    with trio.fail_after(10):
        while ACTIVE not in done:  # noqa: ASYNC110 - a thread sets no trio event
            await trio.sleep(0.01)
    assert len(done) == 2  # the one that had begun, and the last one
    assert list(tmp_path.iterdir()) == []
