"""A client with a fixed port comes back to a server that still lists its dead session.

OpenVPN goes on with that session: its client id and start stay, and nothing is announced.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab import ping
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, start_daemons, wait_routes
from tests.lab.openvpn import READY, Options

REPLIED = "SENT CONTROL [fixed]: 'PUSH_REPLY"


@pytest.fixture
def renewal_lab() -> Iterator[Lab]:
    """Dead sessions stay listed for two minutes."""
    with Lab(options=Options(lines=("keepalive 2 60",))) as lab:
        yield lab


def test_a_client_that_comes_back_to_its_session_is_reached_at_once(renewal_lab: Lab) -> None:
    lab = renewal_lab
    where = connect(lab, {"host2": 0, "host3": 1})
    a, b = lab.servers
    one = lab.client("fixed")
    one.fixed_port = True
    one.connect(a)
    where[one] = a
    settings = "kill_superseded_sessions = no", "status_interval = 500ms"
    start_daemons(lab.servers, lambda server: mesh(server, *settings))
    wait_routes(lab, where)
    one.roam(b)
    where[one] = b
    wait_routes(lab, where)
    # OpenVPN sends the configuration once in 30 s, so it takes as long until it is connected
    one.vanish()
    one.start(a)
    one.openvpn.process.wait_log(READY, timeout=45)
    connected = one.openvpn.logged_at(READY)
    where[one] = a
    for other in list(where)[:2]:
        ping.wait_reaches(other.host, one.data, 5)
        print(f"reached from {other.name} {time.time() - connected:.3f} s after it was connected")
    assert a.openvpn.process.log.count(REPLIED) == 2
    assert a.openvpn.process.log.count("[fixed] Peer Connection Initiated") == 1
    wait_routes(lab, where)
    assert_all_reach_all(where)
