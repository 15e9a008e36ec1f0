from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cuberouted.openvpn
from cuberouted.config import parse
from cuberouted.openvpn.management_source import ManagementSource
from cuberouted.openvpn.source import open_source
from cuberouted.openvpn.status_file import StatusFileSource
from tests.fakes.openvpn import FakeOpenVPN
from tests.unit.openvpn.watched import INTERVALS, Told

ROOM = Path(cuberouted.openvpn.__file__).parent
SHELLS = {"connection", "outage", "status_file", "watch", "watcher"}
PURE = sorted(path for path in ROOM.glob("*.py") if path.stem not in SHELLS)

CONFIG = """
mgmt_interface = tun1
data_interface = tun0
remote_mgmt_ip = 10.200.200.5
"""


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("openvpn_mgmt_port = 5656", ManagementSource),
        ("openvpn_status_file = /x", StatusFileSource),
    ],
)
def test_a_status_file_is_watched_where_one_is_configured(key: str, kind: type) -> None:
    config = parse(f"{CONFIG}\n{key}\n", Path("x"), "vpnsrvA")
    watcher = open_source(config.openvpns[0], INTERVALS, FakeOpenVPN(), lambda: 0.0, Told().on_news)
    assert isinstance(watcher, kind)
    status = watcher.status()
    assert (status.name, status.state, status.clients) == ("openvpn", "connecting", 0)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.stem)
def test_what_only_computes_knows_no_sockets_and_no_clock(path: Path) -> None:
    imported: set[str | None] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    forbidden = {"trio", "time", "zmq", "pyroute2"}
    assert not imported & (forbidden | {f"cuberouted.openvpn.{shell}" for shell in SHELLS})
