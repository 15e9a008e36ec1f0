from __future__ import annotations

from pathlib import Path

import pytest

from cuberouted.config import parse
from cuberouted.openvpn.management_source import ManagementSource
from cuberouted.openvpn.sessions import Sessions
from cuberouted.openvpn.source import open_source
from cuberouted.openvpn.status_file import StatusFileSource
from tests.fakes.openvpn import FakeOpenVPN
from tests.unit.openvpn.harness import INTERVALS, Recorder

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
def test_a_configured_status_file_is_the_source(key: str, kind: type) -> None:
    config = parse(f"{CONFIG}\n{key}\n", Path("x"), "vpnsrvA")
    source = open_source(
        config.openvpns[0],
        Sessions(""),
        INTERVALS,
        FakeOpenVPN(),
        lambda: 0.0,
        Recorder().on_update,
        emit=Recorder().events.append,
    )
    assert isinstance(source, kind)
    status = source.status()
    assert (status.name, status.state, status.clients) == ("openvpn", "connecting", 0)
