"""The secret key's file, and the command that makes it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cuberouted.cli.main import main
from cuberouted.config import ConfigError, keypair, parse
from tests.fakes.cli import cli_runner

CONFIG = "mgmt_interface = tun1\ndata_interface = tun0\nremote_mgmt_ip = 10.200.200.5\n"


def config(path: Path, public: bytes):
    text = f"{CONFIG}secret_key_file = {path}\nremote_public_key = {public.decode()}\n"
    return parse(text, Path("c.conf"), "a")


def write_new_key(path: Path) -> bytes:
    _, secret = keypair.generate()
    keypair.write_secret(path, secret)
    return secret


def test_keygen_writes_a_private_file_and_prints_the_public_key(tmp_path):
    path = tmp_path / "new" / "key"
    done = cli_runner().invoke(main, ["keygen", "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert keypair.public_of(keypair.read_secret(path)).decode() == done.stdout.strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text().strip() not in done.output


@pytest.mark.parametrize("kind", ["file", "link"])
def test_keygen_overwrites_no_file(tmp_path, kind):
    path = tmp_path / "key"
    if kind == "file":
        path.write_text("dear")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    done = cli_runner().invoke(main, ["keygen", "--out", str(path)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "not overwritten" in done.stderr
    assert not (tmp_path / "elsewhere").exists()
    assert kind == "link" or path.read_text() == "dear"


def test_keygen_reports_why_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    done = cli_runner().invoke(main, ["keygen", "--out", str(tmp_path / "file" / "key")])
    assert done.exit_code == 1
    assert "cannot be created" in done.stderr


def test_generated_public_key_does_not_look_like_a_comment(monkeypatch):
    pairs = iter([(b"#" * 40, b"a"), (b"x" * 40, b"b")])
    monkeypatch.setattr("zmq.curve_keypair", lambda: next(pairs))
    assert keypair.generate() == (b"x" * 40, b"b")


def test_secret_key_is_read_from_the_configured_file(tmp_path):
    secret = write_new_key(tmp_path / "key")
    public, _ = keypair.generate()
    assert keypair.with_secret_key(config(tmp_path / "key", public)).secret_key == secret
    plain = parse(CONFIG, Path("c.conf"), "a")
    assert keypair.with_secret_key(plain) is plain


def test_own_public_key_of_a_peer_is_reported(tmp_path):
    secret = write_new_key(tmp_path / "key")
    with pytest.raises(ConfigError, match=r"peer 10\.200\.200\.5 is configured with this node"):
        keypair.with_secret_key(config(tmp_path / "key", keypair.public_of(secret)))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o622])
def test_key_file_that_other_users_can_access_is_rejected(tmp_path, mode):
    write_new_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        keypair.with_secret_key(config(tmp_path / "key", keypair.generate()[0]))


def test_group_bits_of_a_key_file_with_an_acl_are_accepted(tmp_path, monkeypatch):
    write_new_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o440)
    monkeypatch.setattr(os, "getxattr", lambda *_: b"\x02\0\0\0")
    assert keypair.read_secret(tmp_path / "key")


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "garbage", "long", "empty"])
def test_unusable_key_file_is_reported_without_its_content(tmp_path, kind):
    path = tmp_path / "key"
    if kind == "directory":
        path.mkdir(0o700)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind != "missing":
        path.write_bytes({"garbage": b"h\xfcsh", "long": b"a" * 10_000, "empty": b""}[kind])
        path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        keypair.with_secret_key(config(path, keypair.generate()[0]))
    message = str(caught.value)
    assert message.startswith(f"c.conf: secret_key_file: {path}: ")
    assert "aaa" not in message.removeprefix(f"c.conf: secret_key_file: {path}")


def test_nothing_is_left_of_a_key_that_could_not_be_written(tmp_path, monkeypatch):
    def full(_file, _mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "key"
    monkeypatch.setattr("cuberouted.config.keypair.os.fdopen", full)
    with pytest.raises(keypair.KeyFileError, match="cannot be written: No space left"):
        keypair.write_secret(path, b"x" * 40)
    assert not path.exists()
