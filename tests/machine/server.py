"""A server: a machine that is set up as docs/install.md says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.lab import addresses, pki
from tests.lab.openvpn import tunnel_config
from tests.machine.machine import Machine
from tests.machine.published import block, drop_in

UNIT = "cuberouted.service"
PROTOCOL = "201"
TUNNEL = "tun1"
CONFIGURATION = "/etc/cuberouted.conf"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
RELEASES = {"bookworm": "deb12", "trixie": "deb13"}


class Server:
    """The article's vpnsrvA (number 1) or vpnsrvB (2): OpenVPN on tun0, a tunnel to the other.

    The tunnel is another OpenVPN: a machine that shares this host's kernel may have no WireGuard.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.name = machine.name
        self.number = machine.number
        self.data = addresses.server_data(self.number)

    def set_up(self, peer: Server, key: str, clients: dict[str, str]) -> None:
        """Does the steps of docs/install.md, after `install`."""
        machine = self.machine
        machine.write("/etc/sysctl.d/50-cuberouted.conf", block("# /etc/sysctl.d/50-cuberouted"))
        machine.run("systemctl", "restart", "systemd-sysctl")
        machine.write("/etc/openvpn/pass", "the machines' password\n", 0o600)
        machine.write("/etc/openvpn/server/server.conf", self._openvpn())
        machine.write(f"/etc/openvpn/server/{TUNNEL}.conf", self._tunnel(peer, key), 0o600)
        for name, data in clients.items():
            machine.write(f"/etc/openvpn/server/ccd/{name}", _ccd(data))
        networkd = block("# /etc/systemd/networkd.conf.d/cuberouted.conf")
        machine.write("/etc/systemd/networkd.conf.d/cuberouted.conf", networkd)
        machine.run("systemctl", "restart", "systemd-networkd")
        units = ("openvpn-server@server", f"openvpn-server@{TUNNEL}")
        machine.run("systemctl", "enable", "--quiet", "--now", *units)
        machine.write(f"{DROP_INS}/openvpn-password.conf", drop_in("openvpn-password"))
        self.set_configuration(self.configuration(peer))
        machine.run("systemctl", "daemon-reload")
        self.systemctl("start")

    def configuration(self, peer: Server, *more: str) -> str:
        """The documented seven lines, and *more*, which come first."""
        _, theirs, _ = addresses.tunnel(self.number, peer.number)
        text = block(f"# {CONFIGURATION}\nmgmt_interface = ")
        text = re.sub("(?m)^remote_mgmt_ip = .*", f"remote_mgmt_ip = {theirs}", text)
        text = re.sub("(?m)^remote_data_ip = .*", f"remote_data_ip = {peer.data}", text)
        return "".join(f"{line}\n" for line in more) + text

    def _openvpn(self) -> str:
        """The documented lines, "besides those for the port, the keys and the certificates"."""
        authority, own = pki.authority(), pki.certificate(self.name)
        # for everybody to read, without the keys: `check --peers` compares some of it
        parts = {"ca": authority.certificate, "cert": own.certificate, "key": own.key}
        for part, pem in parts.items():
            self.machine.write(f"/etc/openvpn/server/{part}.pem", pem, 0o600)
        keys = "".join(f"{part} {part}.pem\n" for part in parts)
        lines = re.sub(r"\s*#.*", "", block("dev tun0 "))
        lines = lines.replace(addresses.server_data(1), self.data)
        return f"port 1194\ndh none\n{lines}{keys}"

    def _tunnel(self, peer: Server, key: str) -> str:
        ours, theirs, port = addresses.tunnel(self.number, peer.number)
        return tunnel_config(TUNNEL, (ours, theirs), port, peer.machine.address, key)

    def install(self, package: Path, *options: str) -> None:
        """Installs the package, without a network. It does not start without a configuration."""
        self.machine.copy_in(package, "/root/cuberouted.deb")
        argv = ("apt-get", "install", "-qq", *options, "/root/cuberouted.deb")
        self.machine.run(*argv, timeout=60)

    def routes(self) -> dict[str, str]:
        """cuberouted's routes: destination -> device."""
        argv = ("ip", "-j", "route", "show", "table", "all", "proto", PROTOCOL)
        return {route["dst"]: route["dev"] for route in json.loads(self.machine.run(*argv))}

    def set_configuration(self, text: str) -> None:
        """Writes /etc/cuberouted.conf; a reload or a restart applies it."""
        self.machine.write(CONFIGURATION, text)

    def cuberouted(self, *argv: str) -> str:
        """The output of a command that must end well."""
        return self.machine.run("cuberouted", *argv)

    def systemctl(self, verb: str, *argv: str) -> str:
        """The output of a `systemctl` on the unit that must end well."""
        return self.machine.run("systemctl", verb, *argv, UNIT)

    def property(self, name: str) -> str:
        """One of the unit's properties."""
        return self.systemctl("show", "--value", "-p", name).strip()

    def journal(self) -> str:
        """The log of the unit, since the machine was booted last."""
        return self.machine.run("journalctl", "--no-pager", "-b", "-o", "cat", "-u", UNIT)

    def wait_well(self) -> None:
        """Waits until `status` finds no problem."""
        self.machine.wait_for("well", lambda: self.cuberouted("status"), 20)


def _ccd(data: str) -> str:
    """A client's file in the client-config-dir: that of host1 in the page, with another address."""
    return block("# /etc/openvpn/server/ccd/host1").replace(addresses.client_data(1), data)
