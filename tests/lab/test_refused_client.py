"""A client that OpenVPN refuses after announcing it must not cost another its session.

OpenVPN announces a session by ``>CLIENT:ESTABLISHED`` even when a client-connect script
then refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import ping
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes
from tests.lab.openvpn import READY, Options

SCRIPT = "/etc/openvpn/refuse"
REFUSING = Options(lines=("script-security 2", f"client-connect {SCRIPT}"))
REFUSED = "Failed running command (--client-connect)"
ACCEPT_ALL = "#!/bin/sh\n"
REFUSE_HOST2 = '#!/bin/sh\n[ "$common_name" != host2 ]\n'


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(options=REFUSING, start=False) as lab:
        for server in lab.servers:
            server.host.write(SCRIPT, ACCEPT_ALL, 0o755)
        lab.start()
        yield lab


def test_a_refused_twin_does_not_end_the_session_on_the_other_server(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    _, two = where
    a, b = lab.servers
    a.host.write(SCRIPT, REFUSE_HOST2, 0o755)
    twin = lab.client("twin", twin_of=two)
    for _ in range(2):
        twin.start(a)
        twin.openvpn.process.wait()
    assert a.openvpn.process.log.count(REFUSED) == 2
    wait_routes(lab, where)
    assert_all_reach_all(where)
    assert two.openvpn.process.log.count(READY) == 1
    assert "CMD 'kill" not in b.openvpn.process.log
    assert "CMD 'client-kill" not in b.openvpn.process.log


def test_the_route_of_a_refused_client_is_removed(lab: Lab) -> None:
    where = share(lab, {"host1": 0})
    one = next(iter(where))
    b = lab.servers[1]
    b.host.write(SCRIPT, REFUSE_HOST2, 0o755)
    two = lab.client("host2")
    two.start(b)
    two.openvpn.process.wait()
    assert REFUSED in b.openvpn.process.log
    wait_routes(lab, where)
    assert not ping.reaches(one.host, two.data)
