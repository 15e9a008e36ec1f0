"""Other software on a host of the lab: BIRD, FRR, systemd-networkd and dnsmasq.

Their packages are frr, bird2, systemd and dnsmasq-base. /run is the host's own, so nothing outside
is touched.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from tests.lab.host import Host
from tests.lab.process import Process
from tests.lab.routes import routes
from tests.lab.waiting import wait_for

STATIC4, STATIC6 = "198.51.100.0/24", "2001:db8:77::/64"
"""The routes of the other software: the first by the router at GATEWAY, the other by tun1."""

GATEWAY = "192.0.2.200"

FRR = Path("/usr/lib/frr")
NETWORKD = Path("/usr/lib/systemd/systemd-networkd")


class Router(Protocol):
    """A routing daemon with two static routes."""

    def start(self) -> None:
        """Starts it, and waits until its routes are in the kernel."""
        ...

    def end(self, number: signal.Signals) -> None:
        """Ends it by a signal."""
        ...


def own_routes(host: Host) -> set[str]:
    """Which of STATIC4 and STATIC6 the kernel has."""
    return {route.destination for route in routes(host)} & {STATIC4, STATIC6}


def _wait_installed(host: Host) -> None:
    wait_for("the static routes", lambda: own_routes(host) == {STATIC4, STATIC6})


class Bird:
    """BIRD, which learns foreign routes and sends all of its own to the kernel.

    ``imported`` and ``exported`` are what its kernel protocol takes and gives. ``more`` are
    further prefixes that it routes to GATEWAY.
    """

    def __init__(
        self, host: Host, imported: str = "all", exported: str = "all", more: Sequence[str] = ()
    ) -> None:
        self._host = host
        kernel = f"import {imported}; export {exported};"
        to_gateway = "; route ".join(f"{prefix} via {GATEWAY}" for prefix in (STATIC4, *more))
        static = {4: to_gateway, 6: f'{STATIC6} via "tun1"'}
        families = "".join(
            f"""
protocol kernel {{ learn; scan time 1; ipv{family} {{ {kernel} }}; }}
protocol static {{ ipv{family}; route {route}; }}"""
            for family, route in static.items()
        )
        header = "log stderr all;\nrouter id 192.0.2.1;\nprotocol device { scan time 1; }"
        host.write("/run/bird/bird.conf", header + families + "\n")

    def start(self) -> None:
        """See `Router`."""
        self._process = self._host.start("bird", "bird", "-f", "-c", "/run/bird/bird.conf")
        _wait_installed(self._host)

    def end(self, number: signal.Signals) -> None:
        """See `Router`."""
        self._process.end(number)

    def knows(self) -> str:
        """Its routes, as `birdc` shows them."""
        return self._host.run("birdc", "show", "route", "all")


class Frr:
    """FRR: zebra and staticd. ``lines``: more lines of its configuration."""

    DAEMONS: ClassVar = {"mgmtd": "mgmtd.vty", "zebra": "zserv.api", "staticd": "staticd.vty"}
    """In the order of their start, with the socket of each; FRR 8 has no mgmtd."""

    def __init__(self, host: Host, lines: Sequence[str] = ()) -> None:
        self._host = host
        static = f"ip route {STATIC4} {GATEWAY}", f"ipv6 route {STATIC6} tun1"
        self._lines = (*lines, *static)
        self._processes: list[Process] = []
        host.run("install", "-d", "-o", "frr", "-g", "frr", "/run/frr")

    def start(self) -> None:
        """See `Router`."""
        self._host.run("sh", "-c", "rm -f /run/frr/*")  # the sockets of one that was killed
        for name, socket in self.DAEMONS.items():
            if (FRR / name).exists():
                argv = str(FRR / name), "-f", "/dev/null", "--log", "stdout"
                process = self._host.start(name, *argv)
                self._processes.append(process)
                process.wait_for("to listen", self._host.path(f"run/frr/{socket}").exists)
        wait_for("staticd to connect to zebra", self._connected)
        self._host.run("vtysh", *(f"-c{line}" for line in ("configure terminal", *self._lines)))
        _wait_installed(self._host)

    def _connected(self) -> bool:
        shown = self._host.try_run("vtysh", "-c", "show zebra client summary")
        return re.search(r"^static\b", shown.stdout, re.MULTILINE) is not None

    def end(self, number: signal.Signals) -> None:
        """See `Router`."""
        while self._processes:
            self._processes.pop().end(number)


class Networkd:
    """systemd-networkd, which manages a device for each of `manage`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._devices: set[str] = set()
        host.run("install", "-d", "-o", "systemd-network", "/run/systemd/netif", "/run/udev/data")
        for index in host.run("sh", "-c", "cat /sys/class/net/*/ifindex").split():
            # it waits for udev's word that the link is ready, and udev does not run here
            host.write(f"/run/udev/data/n{index}", "I:1\n")

    def manage(self, device: str, *address: str) -> None:
        """From its next start, it manages *device*; *address* are the lines of the address."""
        self._devices.add(device)
        network = "IPv6AcceptRA=no", "LinkLocalAddressing=no", "[Address]", *address
        text = "\n".join(("[Match]", f"Name={device}", "[Network]", *network)) + "\n"
        self._host.write(f"/run/systemd/network/{device}.network", text)

    def unmanage(self, device: str) -> None:
        """From its next start, it leaves *device* alone."""
        self._devices.remove(device)
        self._host.run("rm", f"/run/systemd/network/{device}.network")

    def settings(self, *lines: str) -> None:
        """Writes a drop-in of networkd.conf; it is read at the next start."""
        text = "\n".join(("[Network]", *lines)) + "\n"
        self._host.write("/run/systemd/networkd.conf.d/cuberouted.conf", text)

    def start(self) -> None:
        """Starts it, and waits until it has configured its links."""
        level = {"SYSTEMD_LOG_LEVEL": "debug"}
        self._process = self._host.start("networkd", str(NETWORKD), env=level)
        for device in self._devices:
            self._process.wait_log(f"{device}: State changed: configuring -> configured")

    def end(self) -> None:
        """Ends it."""
        self._process.end(signal.SIGTERM)


class Dnsmasq:
    """dnsmasq as docs/names.md sets it up, without other sources of names."""

    DOMAIN = "vpn.example.org"
    DIRECTORY = "/run/cuberouted-hosts"

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run("install", "-d", self.DIRECTORY)
        lines = f"hostsdir={self.DIRECTORY}", f"local=/{self.DOMAIN}/", "no-resolv", "no-hosts"
        host.write("/run/dnsmasq.conf", "\n".join(lines) + "\n")

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        argv = "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--pid-file"
        self._process = self._host.start("dnsmasq", *argv, "--conf-file=/run/dnsmasq.conf")
        self._process.wait_log("started, version")
