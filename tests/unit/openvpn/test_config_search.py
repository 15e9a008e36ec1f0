from __future__ import annotations

import os
from pathlib import Path

import pytest

from cuberouted.config import OpenVPNConfig
from cuberouted.openvpn.config_search import SearchError, find_options, read_file

TCP = OpenVPNConfig(mgmt_port=5656)
UNIX = OpenVPNConfig(mgmt_socket=Path("/run/m.sock"))
STATUS = OpenVPNConfig(status_file=Path("/run/status.log"))


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc/server").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    return tmp_path / "etc"


def process(tmp_path: Path, pid: int, command: str, namespace: str = "net:[1]") -> None:
    folder = tmp_path / "proc" / str(pid)
    (folder / "ns").mkdir(parents=True)
    (folder / "comm").write_text(command.split()[0] + "\n")
    (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    (folder / "ns/net").symlink_to(namespace)
    (folder / "cwd").symlink_to(tmp_path / "etc/server")


def find(tmp_path: Path, config: OpenVPNConfig) -> str:
    """The ``port`` in the configuration that is found."""
    port = find_options(config, tmp_path / "proc", tmp_path / "etc").get("port")
    return port.arguments[0] if port else ""


def test_a_file_is_found_by_what_names_the_process(tmp_path: Path, etc: Path) -> None:
    (etc / "server/a.conf").write_text("port 1\nmanagement 127.0.0.1 5656 /etc/pass\n")
    (etc / "server/b.conf").write_text("port 2\nmanagement /run/m.sock unix\n")
    (etc / "c.conf").write_text("port 3\nstatus /run/status.log 5\n")
    (etc / "d.conf").write_text("port 4\nmanagement 127.0.0.1 5657\n")
    assert [find(tmp_path, config) for config in (TCP, UNIX, STATUS)] == ["1", "2", "3"]


def test_behind_a_pass_through_it_is_found_by_its_device(tmp_path: Path, etc: Path) -> None:
    (etc / "server/a.conf").write_text("port 1\ndev tun5\nmanagement 127.0.0.1 5656\n")
    (etc / "server/b.conf").write_text("port 2\ndev tun0\nmanagement /run/x.sock unix\n")
    shared = OpenVPNConfig(mgmt_port=5656, mgmt_shared=True, data_interface="tun0")
    assert find(tmp_path, shared) == "2"


def test_a_running_process_goes_before_the_files(tmp_path: Path, etc: Path) -> None:
    (etc / "server/a.conf").write_text("port 1\nmanagement 127.0.0.1 5656\n")
    (etc / "server/live").write_text("port 2\nmanagement 127.0.0.1 5656\n")
    process(tmp_path, 7, "sh -c x --management 127.0.0.1 5656")
    process(tmp_path, 8, "openvpn --port 3 --management 127.0.0.1 5656", "net:[2]")
    process(tmp_path, 9, "openvpn --status x --config live")
    process(tmp_path, 10, "openvpn")
    (tmp_path / "proc/self").symlink_to("9")
    assert find(tmp_path, TCP) == "2"


def test_what_is_not_found_is_told_with_what_could_not_be_read(tmp_path: Path, etc: Path) -> None:
    os.mkfifo(etc / "server/pipe.conf")
    (etc / "server/z.conf").write_text("config z.conf\n")
    with pytest.raises(SearchError, match=r"management port 5656 .*pipe.conf: not a regular file"):
        find(tmp_path, TCP)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(1000))
    assert len(read_file(tmp_path / "big", 10)) == 11
