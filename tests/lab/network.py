"""The lab's Internet: one bridge, to which every host's eth0 is plugged."""

from __future__ import annotations

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

    def close(self) -> None:
        """Ends the bridge."""
        self.bridge.close()


def cut(host: Host) -> None:
    """Pulls the plug of eth0."""
    host.ip("link set eth0 down")


def lose(host: Host, percent: int) -> None:
    """Drops so many of the packets that come in through eth0, at random."""
    chain = "type filter hook input priority 0;"
    rule = f"iifname eth0 numgen random mod 100 < {percent} drop"
    host.run("nft", f"table inet lab {{ chain input {{ {chain} {rule}; }}; }}")


def mend(host: Host) -> None:
    """Puts it in again."""
    host.ip("link set eth0 up")
