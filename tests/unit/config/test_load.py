from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cuberouted.config import ConfigError, load
from cuberouted.config.load import MAX_SIZE, named_tables

GOOD = b"node = a\nmgmt_interface = tun1\ndata_interface = tun0\nremote_mgmt_ip = 10.1.1.1\n"


def problem(path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def test_valid_file_is_loaded(tmp_path):
    path = tmp_path / "c.conf"
    path.write_bytes(GOOD.replace(b"node = a\n", b"# j\xc3\xbcrg\r\n"))
    config = load(path)
    assert (config.path, config.node) == (path, socket.gethostname())


def test_file_that_cannot_be_read_is_reported(tmp_path):
    missing = tmp_path / "c.conf"
    assert problem(missing) == f"{missing}: cannot be read: No such file or directory"
    assert problem(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_endless_file_is_not_read_to_the_end():
    assert (
        problem(Path("/dev/zero"))
        == "/dev/zero: is larger than 256 KiB: this is not a configuration file"
    )


def test_number_of_reported_problems_is_limited(tmp_path):
    path = tmp_path / "c.conf"
    path.write_bytes(b"\n".join(b"abc%05x=1" % line for line in range(MAX_SIZE // 11)))
    assert len(problem(path).splitlines()) == 100


def test_bytes_that_are_not_text_are_reported_with_their_line(tmp_path):
    path = tmp_path / "c.conf"
    path.write_bytes(GOOD + b"# j\xfcrg\n")
    assert problem(path) == f"{path}:5: byte 0xfc is not UTF-8: save the file as UTF-8"
    path.write_bytes(b"\x7fELF\0\0")
    assert problem(path) == f"{path}:1: NUL byte: this is not a text file"


def test_names_of_routing_tables_are_read_from_iproute2_s_files(tmp_path):
    tables = tmp_path / "rt_tables"
    tables.write_text("# x\n255\tlocal\n254\tmain\n0\tunspec\n100 vpn # y\n0x64 hex\nbad line\n")
    more = tmp_path / "rt_tables.d"
    more.mkdir()
    (more / "a.conf").write_text("101 office\n")
    (more / "a.conf~").write_text("102 old\n")
    broken = tmp_path / "broken"
    broken.write_bytes(b"103 j\xfcrg\n")
    assert named_tables((tables, more, broken, tmp_path / "none")) == {
        "main": 254,
        "default": 253,
        "vpn": 100,
        "hex": 100,
        "office": 101,
    }
