"""The alternative that is measured beside: BIRD 2, fed by OpenVPN's scripts.

OpenVPN runs a script for each client that connects or leaves; it adds or deletes the client's
/32 route. BIRD learns that route from the kernel and advertises it to the other server by iBGP.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.lab import Lab
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.waiting import wait_for

SCRIPT = "/etc/openvpn/client"
CONFIG, SOCKET = "/run/bird.conf", "/run/bird.ctl"
OPTIONS = Options(
    lines=("script-security 2", f"client-connect {SCRIPT}", f"client-disconnect {SCRIPT}")
)
SCRIPT_TEXT = """#!/bin/sh
case "$script_type" in
client-connect) exec ip route replace "$ifconfig_pool_remote_ip/32" dev "$dev" ;;
client-disconnect) ip route del "$ifconfig_pool_remote_ip/32" dev "$dev"; exit 0 ;;
esac
"""


def installed() -> bool:
    """Whether this machine has it."""
    return shutil.which("bird") is not None


@contextmanager
def bird_lab() -> Iterator[Lab]:
    """Two servers with BIRD between them, their session established."""
    with Lab(options=OPTIONS, start=False) as lab:
        for server in lab.servers:
            server.host.write(SCRIPT, SCRIPT_TEXT, 0o755)
        lab.start()
        for server in lab.servers:
            server.host.write(CONFIG, _config(server))
            server.host.start("bird", "bird", "-f", "-c", CONFIG, "-s", SOCKET)
        for server in lab.servers:
            wait_for("BIRD's session", lambda server=server: _established(server), 30.0)  # type: ignore[misc]
        yield lab


def _established(server: Server) -> bool:
    return "Established" in server.host.try_run("birdc", "-s", SOCKET, "show protocols").stdout


def _config(server: Server) -> str:
    """The timers are the shortest that BGP allows for a hold time of 3 s."""
    [tunnel] = server.tunnels.values()
    return f"""
router id {server.data};
protocol device {{ }}
protocol kernel {{
    learn;
    ipv4 {{
        import where net ~ [ 10.100.100.0/24{{32,32}} ];
        export where source = RTS_BGP;
    }};
}}
protocol bgp peer {{
    local {tunnel.ours} as 65000;
    neighbor {tunnel.theirs} as 65000;
    direct;
    hold time 3;
    keepalive time 1;
    connect delay time 1;
    ipv4 {{
        import all;
        export where source = RTS_INHERIT;
        next hop self;
    }};
}}
"""
