"""The lab's Internet: a bridge that connects every host's eth0."""

from __future__ import annotations

import json

from tests.lab.host import Host


class Network:
    """A host that is the bridge; addresses are 192.0.2.0/24 (RFC 5737, for documentation)."""

    def __init__(self) -> None:
        self.bridge = Host("internet")

    def wait_ready(self) -> None:
        """Waits for the namespace, and makes the bridge."""
        self.bridge.wait_ready()
        self.bridge.ip("link add br0 type bridge", "link set br0 up")

    def plug(self, host: Host, number: int) -> str:
        """Gives *host* an eth0 on the bridge. Its address: 192.0.2.NUMBER."""
        address = f"192.0.2.{number}"
        self.bridge.ip(
            f"link add port{number} type veth peer name eth0 netns {host.pid}",
            f"link set port{number} master br0 up",
        )
        host.ip(f"address add {address}/24 dev eth0", "link set eth0 up")
        return address

    def namespace_id(self, number: int) -> int:
        """The bridge's id of the network namespace of the host with that number."""
        [port] = json.loads(self.bridge.run("ip", "-j", "link", "show", f"port{number}"))
        return int(port["link_netnsid"])

    def close(self) -> None:
        """Ends the bridge."""
        self.bridge.close()


def cut(host: Host) -> None:
    """Take eth0 down."""
    host.ip("link set eth0 down")


def restore(host: Host) -> None:
    """Take eth0 up again, after `cut`."""
    host.ip("link set eth0 up")


def drop_packets(host: Host, percent: int, device: str = "eth0") -> None:
    """Drop *percent* of the packets received on *device*, at random."""
    _drop(host, "losses", f"iifname {device} numgen random mod 100 < {percent}")


def drop_large_packets(host: Host, size: int, device: str) -> None:
    """Drop every packet received on *device* that is longer than *size* bytes, in silence."""
    _drop(host, "losses", f"iifname {device} meta length > {size}")


def drop_pings(host: Host, device: str) -> None:
    """Drop every ping received on *device*, in silence."""
    _drop(host, "losses", f"iifname {device} icmp type echo-request")


def drop_replies(host: Host, port: int, device: str) -> None:
    """Drop what is received on *device* from TCP port *port*, in silence."""
    _drop(host, "losses", f"iifname {device} tcp sport {port}")


def stop_dropping(host: Host) -> None:
    """End `drop_packets`, `drop_large_packets`, `drop_pings` or `drop_replies`."""
    host.run("nft", "delete table inet losses")


def block(host: Host, address: str) -> None:
    """Drop all packets received on eth0 from *address*."""
    _drop(host, "blocked", f"iifname eth0 ip saddr {address}")


def unblock(host: Host) -> None:
    """End `block`."""
    host.run("nft", "delete table inet blocked")


def throttle(host: Host, device: str, rate: str) -> None:
    """Limit what *device* sends to *rate*, such as ``1mbit``."""
    shape = ("rate", rate, "burst", "16k", "latency", "300ms")
    host.run("tc", "qdisc", "replace", "dev", device, "root", "tbf", *shape)


def _drop(host: Host, table: str, what: str) -> None:
    chain = "type filter hook input priority 0;"
    host.run("nft", f"table inet {table} {{ chain input {{ {chain} {what} drop; }}; }}")
