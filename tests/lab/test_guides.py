"""OpenVPN takes the lines that the guides tell users to add to its configuration."""

from __future__ import annotations

from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons
from tests.lab.openvpn import Options
from tests.lab.waiting import wait_for
from tests.pages import all_blocks

PARTS = [
    block
    for block in all_blocks()
    if block.path == "/etc/openvpn/server/server.conf" and block.is_part
]
STATUS = "/run/openvpn-status/server.log"


def test_openvpn_starts_with_all_lines_of_the_guides_and_cuberouted_reads_its_status_file() -> None:
    assert {part.page.name for part in PARTS} == {"ipv6.md", "networks.md", "status-file.md"}
    lines = [line for part in PARTS for line in part.text.splitlines()[1:]]
    with Lab(options=Options(lines=tuple(lines)), start=False) as lab:
        server, _ = lab.servers
        for each in lab.servers:
            each.host.run("mkdir", "/run/openvpn-status")
        lab.start()
        one = lab.client("host1", ("192.168.50.0/24",))
        one.connect(server)
        text = mesh(server, f"openvpn_status_file = {STATUS}", "route_table = 100")
        management = [line for line in text.splitlines() if line.startswith("openvpn_mgmt_")]
        for line in management:
            text = text.replace(f"{line}\n", "")
        start_daemons([server], lambda _: text)

        def prefixes() -> set[str]:
            return {row["address"] for row in server.daemon.ask("clients")["clients"]}

        wait_for("the client and its network", lambda: prefixes() >= {one.data, *one.networks})
