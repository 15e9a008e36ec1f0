"""Reading and writing a client-config-dir."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from cuberouted.ccd.directory import MAX_FILE, TEMPORARY, DirectoryError, open_directory
from cuberouted.ccd.plan import Change


@pytest.fixture
def files(tmp_path):
    with open_directory(tmp_path) as opened:
        yield opened


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_read(tmp_path, files):
    (tmp_path / "host1").write_bytes(b"disable\n")
    (tmp_path / "large").write_bytes(b"#" * (MAX_FILE + 1))
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("host1")
    os.mkfifo(tmp_path / "fifo")
    assert files.read() == {
        "host1": b"disable\n",
        "large": "has more than 65536 bytes",
        "directory": "is a directory",
        "link": "is a symbolic link",
        "fifo": "is no regular file",
    }


def test_a_file_that_may_not_be_read(tmp_path, files, monkeypatch):
    def refuse(name, *arguments, **options):  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    (tmp_path / "host1").touch(0)
    monkeypatch.setattr(os, "open", refuse)
    assert files.read() == {"host1": "cannot be read: Permission denied"}


def test_a_new_file_can_be_read_by_openvpn_whatever_the_umask(tmp_path, files):
    before = os.umask(0o077)
    try:
        files.apply(Change("host1", None, b"x"))
    finally:
        os.umask(before)
    assert (tmp_path / "host1").read_bytes() == b"x"
    assert mode(tmp_path / "host1") == 0o644
    assert names(tmp_path) == ["host1"]


def test_a_file_is_replaced_with_its_mode_and_owner(tmp_path, files):
    path = tmp_path / "host1"
    path.write_bytes(b"x")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    before = path.stat()
    with path.open("rb") as reader:  # OpenVPN, which has just opened it
        files.apply(Change("host1", b"x", b"y"))
        assert reader.read() == b"x"
    after = path.stat()
    assert path.read_bytes() == b"y"
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino


def test_a_file_is_removed(tmp_path, files):
    (tmp_path / "host1").write_bytes(b"x")
    files.apply(Change("host1", b"x", None))
    files.sync()
    assert names(tmp_path) == []


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_that_has_changed_meanwhile_is_not_replaced(tmp_path, files, before):
    (tmp_path / "host1").write_bytes(b"new")
    with pytest.raises(DirectoryError, match="has changed meanwhile"):
        files.apply(Change("host1", before, b"x"))
    assert (tmp_path / "host1").read_bytes() == b"new"


def test_nothing_is_written_through_a_symbolic_link(tmp_path):
    inside, outside = tmp_path / "ccd", tmp_path / "outside"
    inside.mkdir()
    outside.write_bytes(b"x")
    (inside / TEMPORARY).symlink_to(outside)
    (inside / "host1").symlink_to(outside)
    with open_directory(inside) as files:
        with pytest.raises(DirectoryError):
            files.apply(Change("host1", b"x", b"y"))
        files.apply(Change("host2", None, b"y"))
    assert outside.read_bytes() == b"x"
    assert (inside / "host1").is_symlink()
    assert not (inside / "host2").is_symlink()
    assert names(inside) == ["host1", "host2"]


def test_a_temporary_file_that_cannot_be_renamed_is_removed(tmp_path, files, monkeypatch):
    def fail(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.apply(Change("host1", None, b"x"))
    assert names(tmp_path) == []


def test_two_runs_at_a_time(tmp_path, files):
    files.lock()
    with open_directory(tmp_path) as other:
        other.read()
        with pytest.raises(DirectoryError, match="another `cuberouted ccd` is at work"):
            other.lock()


def test_no_directory(tmp_path):
    (tmp_path / "file").touch()
    for name, why in ("nothing", "No such file"), ("file", "Not a directory"):
        with pytest.raises(DirectoryError, match=why), open_directory(tmp_path / name):
            pass
