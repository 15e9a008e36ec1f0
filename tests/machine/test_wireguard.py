"""WireGuard between the servers, in Debian's kernels: by wg-quick, and by systemd-networkd."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.lab import addresses, ping
from tests.lab.openvpn import OpenVPN, client_config
from tests.machine.published import PROJECT, block
from tests.machine.server import TUNNEL, Server
from tests.machine.site import Site
from tests.pages import blocks

PAGE = PROJECT / "docs/wireguard.md"
OPENVPN = f"openvpn-server@{TUNNEL}"
WG_QUICK = f"wg-quick@{TUNNEL}"
CONFIGURATION = f"/etc/wireguard/{TUNNEL}.conf"
NETDEV, LINK = (
    f"/etc/systemd/network/20-{TUNNEL}.netdev",
    f"/etc/systemd/network/20-{TUNNEL}.network",
)

NETDEV_TEXT = """\
[NetDev]
Name={device}
Kind=wireguard

[WireGuard]
PrivateKeyFile=/etc/wireguard/{device}.key
ListenPort=51820

[WireGuardPeer]
PublicKey={key}
Endpoint={internet}:51820
AllowedIPs={theirs}/32, 10.100.100.0/24
"""

LINK_TEXT = """\
[Match]
Name={device}

[Network]
Address={ours}/24
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """The servers' public keys."""
    return {}


@pytest.fixture
def wireguard(site: Site, keys: dict[str, str]) -> Iterator[Site]:
    """The site with WireGuard's tunnels of docs/wireguard.md instead of OpenVPN's."""
    for server in site.servers.values():
        made = server.machine.run("sh", "-ec", block("(umask 077; wg genkey"))
        keys[server.name] = made.strip()
    for server in site.servers.values():
        server.machine.write(CONFIGURATION, configuration(site, server, keys), 0o600)
        server.machine.run("systemctl", "stop", OPENVPN)
        server.machine.run("systemctl", "start", WG_QUICK)
    site.wait_well()
    yield site
    for server in site.servers.values():
        server.machine.run("systemctl", "stop", WG_QUICK)
        server.machine.run("systemctl", "start", OPENVPN)
    site.wait_well()


def ends(site: Site, server: Server) -> tuple[str, str]:
    """The addresses of its end of the tunnel, and of the other one."""
    ours, theirs, _ = addresses.tunnel(server.number, site.peer(server).number)
    return ours, theirs


def configuration(site: Site, server: Server, keys: dict[str, str]) -> str:
    """The page's file for this server, with real keys."""
    peer = site.peer(server)
    text = [each.text for each in blocks(PAGE) if each.path == CONFIGURATION][server.number - 1]
    assert f"Endpoint = {peer.machine.address}:" in text
    secret = server.machine.read(f"/etc/wireguard/{TUNNEL}.key").strip()
    text = text.replace("CONTENT-OF-TUN1.KEY", secret)
    return text.replace(f"PUBLIC-KEY-OF-{peer.name.upper()}", keys[peer.name])


def test_with_the_documents_tunnels_all_reach_all_and_check_finds_nothing(wireguard: Site) -> None:
    wireguard.wait_all_reach_all()
    for server in wireguard.servers.values():
        assert server.machine.run("ip", "-d", "link", "show", TUNNEL).count("wireguard") == 1
        found = json.loads(server.cuberouted("check", "--strict", "--peers", "--json"))
        assert {row["level"] for row in found["findings"]} == {"ok"}
        shown = server.machine.run("wg", "show", TUNNEL, "transfer").split()
        assert all(int(count) > 0 for count in shown[1:]), shown


def test_a_client_that_roams_is_reached_over_wireguard(wireguard: Site) -> None:
    site = wireguard
    one, two = site.client(site.a), site.client(site.b)
    one.openvpn.process.end(signal.SIGKILL)
    moved = OpenVPN(one.host, "moved", client_config(one.host.name, site.b.machine.address))
    moved.start()
    moved.ready()
    on_b = {site.a.data: "tun1"}
    site.b.machine.wait_for("no route to the client that is there", lambda: site.b.routes() == on_b)
    away = dict.fromkeys((site.b.data, two.data, one.data), "tun1")
    site.a.machine.wait_for("a route to the client", lambda: site.a.routes() == away)
    ping.wait_reaches(two.host, one.data)
    assert site.a.machine.run("ping", "-n", "-c", "1", "-W", "10", one.data)
    moved.process.end(signal.SIGKILL)
    one.connect()
    site.wait_well()
    site.wait_all_reach_all()


def test_networkd_that_made_the_tunnel_is_restarted_and_routes_stay_or_are_back(
    wireguard: Site, server: Server, keys: dict[str, str]
) -> None:
    """Versions before 256 delete our nexthop objects on links that they manage."""
    site, machine = wireguard, server.machine
    ours, theirs = ends(site, server)
    peer = site.peer(server)
    machine.run("systemctl", "stop", WG_QUICK)
    machine.run("chgrp", "systemd-network", "/etc/wireguard", f"/etc/wireguard/{TUNNEL}.key")
    machine.run("chmod", "g+rx", "/etc/wireguard")
    machine.run("chmod", "g+r", f"/etc/wireguard/{TUNNEL}.key")
    text = NETDEV_TEXT.format(
        device=TUNNEL, key=keys[peer.name], internet=peer.machine.address, theirs=theirs
    )
    machine.write(NETDEV, text)
    machine.write(LINK, LINK_TEXT.format(device=TUNNEL, ours=ours))
    machine.run("systemctl", "restart", "systemd-networkd")
    site.wait_well()
    site.wait_all_reach_all()
    version = int(machine.run("networkctl", "--version").split()[1])
    before = server.machine.run("ip", "nexthop", "show", "proto", "201")
    machine.run("systemctl", "restart", "systemd-networkd")
    machine.wait_for("the tunnel", lambda: "configured" in networkctl(server))
    if version >= 256:
        assert server.machine.run("ip", "nexthop", "show", "proto", "201") == before
    site.wait_well()
    site.wait_all_reach_all()
    found = server.machine.try_run("cuberouted", "check").stdout
    assert ("is managed by a systemd-networkd" in found) is (version < 256)
    machine.run("rm", NETDEV, LINK)
    machine.run("networkctl", "delete", TUNNEL)
    machine.run("systemctl", "restart", "systemd-networkd")
    machine.run("systemctl", "start", WG_QUICK)
    site.wait_well()


def networkctl(server: Server) -> list[str]:
    return server.machine.run("networkctl", "--no-legend", "list", TUNNEL).split()
