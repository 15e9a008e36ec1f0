"""OpenVPN processes: a server for clients, a client, and a tunnel between two servers.

The configurations are minimal; keys are inline. Every line of the log begins with the time in
microseconds.
"""

from __future__ import annotations

import os
import re
import signal
from ipaddress import IPv4Network, IPv6Network, ip_network

import attrs

from tests.lab import addresses, pki
from tests.lab.host import Host
from tests.lab.process import Process

PROGRAM = os.environ.get("OPENVPN", "openvpn")
"""OpenVPN: a name, or the path of another version (`tests.lab.versions`)."""

READY = "Initialization Sequence Completed"

COMMON = """
verb 3
machine-readable-output
persist-key
"""


@attrs.frozen
class Options:
    """How the lab's OpenVPN servers are set up.

    ``protocol``: ``udp`` or ``tcp``. ``management``: the arguments of OpenVPN's option of that
    name. ``lines``: more lines of configuration, such as ``client-to-client``.
    """

    topology: str = "subnet"
    protocol: str = "udp"
    management: str = "127.0.0.1 5656 /etc/openvpn/pass"
    lines: tuple[str, ...] = ()


class OpenVPN:
    """One OpenVPN process of a host; it can be started again after it has ended."""

    def __init__(self, host: Host, name: str, config: str) -> None:
        self.host = host
        self.name = name
        self._process: Process | None = None
        self._config = f"/etc/openvpn/{name}.conf"
        host.write(self._config, config)

    def start(self) -> None:
        """Starts it, without waiting for anything."""
        self._process = self.host.start(self.name, PROGRAM, "--config", self._config)

    @property
    def process(self) -> Process:
        """The running process, or the last that ran."""
        assert self._process, f"{self.host.name}: OpenVPN {self.name} was never started"
        return self._process

    def ready(self, times: int = 1) -> None:
        """Waits until it has logged that it is up (*times* times)."""
        self.process.wait_log(READY, times)

    def restart(self) -> None:
        """Ends it by SIGTERM, and starts it again."""
        self.process.end(signal.SIGTERM)
        self.start()

    def logged_at(self, text: str) -> float:
        """When it last logged *text*: Unix seconds."""
        lines = [line for line in self.process.log.splitlines() if text in line]
        assert lines, f"{self.process.name} never logged {text!r}"
        stamp = re.match(r"\d+\.\d+", lines[-1])
        assert stamp, lines[-1]
        return float(stamp[0])


PROTOCOLS = {"udp": ("udp4", "udp4"), "tcp": ("tcp4-server", "tcp4-client")}
"""OpenVPN's ``proto`` on a server and on its clients."""


def server_config(data: str, options: Options, device: str = "tun0") -> str:
    """A server for clients on *device* whose own address is *data*."""
    ends = f"{data} {addresses.NETMASK}"
    push = f'push "route-gateway {data}"'
    if options.topology == "net30":
        ends = f"{data} {addresses.other_end(data)}"
        push = f'push "route {addresses.SUBNET} {addresses.NETMASK}"'
        push += f"\nroute {addresses.SUBNET} {addresses.NETMASK}"
    more = "\n".join(options.lines)
    return f"""{COMMON}{_identity("server")}
proto {PROTOCOLS[options.protocol][0]}
mode server
tls-server
dh none
dev {device}
dev-type tun
port 1194
keepalive 2 10
persist-tun
topology {options.topology}
ifconfig {ends}
ifconfig-ipv6 {addresses.ipv6(data)}/64 {addresses.ipv6(addresses.other_end(data))}
push "topology {options.topology}"
{push}
client-config-dir /etc/openvpn/ccd
tmp-dir /run
management {options.management}
{more}
"""


def client_entry(data: str, topology: str, networks: tuple[str, ...]) -> str:
    """The file of one client in a server's client-config-dir; *networks* are behind it."""
    mask = addresses.other_end(data) if topology == "net30" else addresses.NETMASK
    lines = [
        f"ifconfig-push {data} {mask}",
        f"ifconfig-ipv6-push {addresses.ipv6(data)}/64",
        *(_iroute(ip_network(network)) for network in networks),
    ]
    return "\n".join(lines) + "\n"


def _iroute(network: IPv4Network | IPv6Network) -> str:
    if network.version == 6:
        return f"iroute-ipv6 {network}"
    return f"iroute {network.network_address} {network.netmask}"


def client_config(common_name: str, *servers: str, protocol: str = "udp") -> str:
    """A client of the servers at these addresses, which it tries in this order.

    Over UDP it sends an exit notification when it ends.
    """
    goodbye = "explicit-exit-notify 1" if protocol == "udp" else ""
    remotes = "\n".join(f"remote {server} 1194" for server in servers)
    return f"""{COMMON}{_identity(common_name)}
client
proto {PROTOCOLS[protocol][1]}
dev tun0
dev-type tun
{remotes}
nobind
connect-retry 1 1
{goodbye}
"""


def tunnel_config(device: str, ends: tuple[str, str], port: int, remote: str, key: str) -> str:
    """One end of a point-to-point tunnel between servers: *ends* are our address and theirs."""
    return f"""{COMMON}
proto udp4
dev {device}
dev-type tun
remote {remote} {port}
lport {port}
ifconfig {ends[0]} {ends[1]}
cipher AES-256-CBC
ignore-unknown-option allow-deprecated-insecure-static-crypto
allow-deprecated-insecure-static-crypto
<secret>
{key}
</secret>
"""


def _identity(common_name: str) -> str:
    authority, own = pki.authority(), pki.certificate(common_name)
    parts = ("ca", authority.certificate), ("cert", own.certificate), ("key", own.key)
    return "".join(f"<{part}>\n{pem}</{part}>\n" for part, pem in parts)
