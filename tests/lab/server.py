"""A server: a host with OpenVPN for clients on tun0, and tunnels to the other servers."""

from __future__ import annotations

import attrs

from tests.lab import addresses
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.openvpn import OpenVPN, Options, client_entry, server_config, tunnel_config
from tests.lab.waiting import wait_for

FORWARD = "cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding"
SECOND_DEVICE = "tun9"
"""The device of a server's second OpenVPN process for clients."""

PASSWORD = "the lab's password"


@attrs.frozen
class Tunnel:
    """Our end of the tunnel to server ``peer``: ``device`` with ``ours`` and ``theirs``."""

    peer: Server
    device: str
    ours: str
    theirs: str
    openvpn: OpenVPN


class Server:
    """A machine as the article has it: tun0 for clients, tun1 and so on to its peers.

    ``internet`` is its address outside the tunnels, ``data`` and ``data6`` those in the
    clients' subnet.
    """

    def __init__(self, host: Host, number: int, internet: str, options: Options) -> None:
        self.host = host
        self.name = host.name
        self.number = number
        self.internet = internet
        self.options = options
        self.data = addresses.server_data(number)
        self.data6 = addresses.ipv6(self.data)
        self.tunnels: dict[str, Tunnel] = {}
        self.daemon = Daemon(host)
        host.write("/etc/openvpn/pass", PASSWORD + "\n", 0o600)
        host.path("/etc/openvpn/ccd").mkdir()
        host.path("/run/openvpn").mkdir()
        host.path("/run/openvpn-management").mkdir()
        host.path("/run/cuberouted-state").mkdir()
        host.run("sh", "-c", FORWARD)
        self.openvpn = OpenVPN(host, "server", server_config(self.data, options))

    def second(self, options: Options) -> OpenVPN:
        """Another OpenVPN for the same clients, on SECOND_DEVICE and with an address of its own."""
        config = server_config(addresses.second_data(self.number), options, SECOND_DEVICE)
        return OpenVPN(self.host, "second", config)

    def tunnel_to(self, peer: Server, key: str) -> None:
        """Configures our end of the tunnel to *peer*."""
        device = f"tun{len(self.tunnels) + 1}"
        ours, theirs, port = addresses.tunnel(self.number, peer.number)
        config = tunnel_config(device, (ours, theirs), port, peer.internet, key)
        openvpn = OpenVPN(self.host, device, config)
        self.tunnels[peer.name] = Tunnel(peer, device, ours, theirs, openvpn)

    def allow(self, common_name: str, data: str, networks: tuple[str, ...] = ()) -> None:
        """Gives *common_name* its address, and the networks behind it."""
        entry = client_entry(data, self.options.topology, networks)
        self.host.write(f"/etc/openvpn/ccd/{common_name}", entry)

    def start(self) -> None:
        """Starts OpenVPN and the tunnels, without waiting."""
        for tunnel in self.tunnels.values():
            tunnel.openvpn.start()
        self.openvpn.start()

    def ready(self) -> None:
        """Waits until OpenVPN takes clients, and every tunnel has its address."""
        self.openvpn.ready()
        wait_for(f"the tunnels of {self.name}", self._tunnels_are_up)

    def _tunnels_are_up(self) -> bool:
        addresses = self.host.run("ip", "-o", "-4", "address")
        for tunnel in self.tunnels.values():
            assert tunnel.openvpn.process.running, tunnel.openvpn.process.log
            assert f" {tunnel.ours} peer " in addresses, f"{tunnel.device} is down"
        return True

    def device(self, peer: Server) -> str:
        """The device of the tunnel to *peer*."""
        return self.tunnels[peer.name].device
