"""Roles: OpenVPN servers that the next server takes over, as docs/services.md describes it.

Three servers with the example's files. There is no systemd in the lab's namespaces: a script in the
place of `systemctl` starts and stops OpenVPN.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.lab import ping
from tests.lab.client import Client
from tests.lab.configs import shipped
from tests.lab.lab import Lab
from tests.lab.mesh import start_daemons
from tests.lab.openvpn import OpenVPN, Options, client_config, client_entry, server_config
from tests.lab.server import Server
from tests.lab.services import AddressWatch, addresses_of, lose_power, phases
from tests.lab.waiting import wait_for

SYSTEMCTL = """#!/bin/sh
# start or stop openvpn-server@NAME
name=${2#openvpn-server@}
file=/run/openvpn-server-$name.pid
case $1 in
start)
    exec openvpn --config /etc/openvpn/server/$name.conf --daemon openvpn-$name \
        --writepid $file --log-append /run/log/$name.log ;;
stop)
    [ -e $file ] || exit 0
    pid=$(cat $file)
    rm $file
    kill $pid || exit 0
    while [ -e /proc/$pid ]; do sleep 0.02; done ;;
esac
"""

FENCE = """#!/bin/sh
# off: this file is there once the server has no power, for certain
echo "$CUBEROUTED_NODE $CUBEROUTED_PEER $([ -e {off} ] && echo off)" >>{log}
[ -e {off} ]
"""

CLIENT_TIMEOUT = 30.0
"""Seconds until a client has found the server that has its role."""


@attrs.frozen
class Role:
    """One role: its service address, and the OpenVPN server that its holder runs."""

    name: str
    address: str
    data: str
    device: str
    port: int
    other_subnet: str

    def config(self) -> str:
        """OpenVPN's configuration, the same on every server."""
        options = Options(
            management=f"/run/openvpn-management/{self.name}.sock unix",
            lines=(
                f'push "route {self.other_subnet} 255.255.255.0"',
                "explicit-exit-notify 1",  # clients look for the next server at once
            ),
        )
        text = server_config(self.data, options)
        text = text.replace("dev tun0", f"dev {self.device}")
        text = text.replace("port 1194", f"port {self.port}")
        text = text.replace("keepalive 2 10", "keepalive 1 3")
        return "\n".join(line for line in text.splitlines() if "ifconfig-ipv6" not in line)

    def client_address(self, client: Client) -> str:
        """The client's address in the role's subnet."""
        return f"{self.data.rpartition('.')[0]}.{client.data.rpartition('.')[2]}"


ONE = Role("frontend1", "10.100.100.250", "10.100.100.1", "tun11", 1194, "10.100.101.0")
TWO = Role("frontend2", "10.100.101.250", "10.100.101.1", "tun12", 1195, "10.100.100.0")


class Roles:
    """The servers, a client of each role, and what fences."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.servers = lab.servers
        self.off = directory / "off"
        self.fences = directory / "fences"
        self.fences.touch()
        for server in lab.servers:
            self._install(server)
        self.watch = AddressWatch(lab, (ONE.address, TWO.address))
        self.clients = {ONE: lab.client("host1"), TWO: lab.client("host2")}
        self.vpns = {role: self._openvpn(role) for role in self.clients}

    def _install(self, server: Server) -> None:
        host = server.host
        for tunnel in server.tunnels.values():
            tunnel.openvpn.start()
        for role in (ONE, TWO):
            host.write(f"/etc/openvpn/server/{role.name}.conf", role.config())
        host.write("/run/systemctl", SYSTEMCTL, 0o755)
        host.write("/run/sbin/fence", FENCE.format(off=self.off, log=self.fences), 0o755)
        host.run("mount", "--bind", "/run/systemctl", "/usr/bin/systemctl")
        host.run("mount", "--bind", "/run/sbin", "/usr/local/sbin")

    def _openvpn(self, role: Role) -> OpenVPN:
        client = self.clients[role]
        entry = client_entry(role.client_address(client), "subnet", ())
        [address, *_] = entry.splitlines()
        for server in self.servers:
            server.host.write(f"/etc/openvpn/ccd/{client.name}", address + "\n")
        config = client_config(client.name, "SERVER").replace(
            "remote SERVER 1194",
            "\n".join(f"remote {server.internet} {role.port}" for server in self.servers),
        )
        return OpenVPN(client.host, "client", f"{config}server-poll-timeout 2\n")

    def start(self) -> None:
        """Starts cuberouted everywhere, and the clients once somebody has the roles."""
        start_daemons(self.servers, lambda server: shipped(server, "roles"))
        a, b, _ = self.servers
        self.wait(a, b)
        for vpn in self.vpns.values():
            vpn.start()

    def wait(self, one: Server, two: Server) -> None:
        """Waits until these servers have the roles, and no other."""
        self.watch.wait_holder(one, address=ONE.address, timeout=CLIENT_TIMEOUT)
        self.watch.wait_holder(two, address=TWO.address, timeout=CLIENT_TIMEOUT)

    def wait_clients(self) -> float:
        """Waits until the clients reach each other and both roles: how long it took."""
        begun = time.monotonic()
        for role, client in self.clients.items():
            others = [r.client_address(c) for r, c in self.clients.items() if c is not client]
            for address in (*others, ONE.address, TWO.address):
                what = f"{client.name} of {role.name}"
                wait_for(f"{what} to reach {address}", reach(client, address), CLIENT_TIMEOUT)
        return time.monotonic() - begun

    def fenced(self) -> list[str]:
        """What was fenced, in order: by which server, which peer, and whether it was off."""
        return self.fences.read_text().splitlines()

    def running(self, role: Role) -> list[str]:
        """The servers on which the role's OpenVPN runs."""
        return [s.name for s in self.servers if has_device(s, role.device)]


def reach(client: Client, address: str) -> Callable[[], bool]:
    """Whether the client reaches it, to be asked again and again."""
    return lambda: ping.reaches(client.host, address)


def has_device(server: Server, device: str) -> bool:
    """Whether an interface of that name exists."""
    return not server.host.try_run("ip", "link", "show", "dev", device).returncode


def well_on_standby(server: Server, *details: str) -> None:
    """Waits until all is well on it, although none of its OpenVPN processes runs."""

    def look() -> bool:
        rows = server.daemon.ask("status")["openvpn"]
        return [(r["state"], r["detail"]) for r in rows] == [("standby", d) for d in details]

    wait_for(f"both roles to be on standby at {server.name}", look)
    shown = server.daemon.command("status")
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "all is well"), shown.stdout
    found = json.loads(server.daemon.command("check", "--json").stdout)
    complaints = [f for f in found["findings"] if f["level"] in ("warning", "problem")]
    assert not [f for f in complaints if re.search("tun1[12]|frontend", str(f))], complaints


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Three servers that run their tunnels only."""
    with Lab(("vpnsrvA", "vpnsrvB", "vpnsrvC"), start=False) as lab:
        yield lab


@pytest.fixture
def roles(lab: Lab, tmp_path: Path) -> Roles:
    return Roles(lab, tmp_path)


def test_the_next_server_takes_over_the_role_of_the_one_before(roles: Roles) -> None:
    a, b, c = roles.servers
    roles.start()
    roles.wait_clients()
    assert roles.running(ONE) == [a.name]
    assert roles.running(TWO) == [b.name]
    assert roles.fenced() == []
    well_on_standby(c, f"service frontend1 is at {a.name}", f"service frontend2 is at {b.name}")

    roles.off.touch()
    lost = time.time()
    lose_power(a)
    roles.wait(b, c)
    one, two = (
        max(change.at for change in roles.watch.changes() if change.address == role.address)
        for role in (ONE, TWO)
    )
    took = roles.wait_clients()
    print(
        f"power lost: B has frontend1 after {one - lost:.1f} s, C frontend2 after"
        f" {two - lost:.1f} s; all reach each other {took:.1f} s later"
    )
    assert roles.running(ONE) == [b.name]
    assert roles.running(TWO) == [c.name]
    assert f"{b.name} {a.name} off" in roles.fenced()
    assert not [line for line in roles.fenced() if line.split()[1] != a.name]
    assert roles.watch.overlaps(ONE.address) == roles.watch.overlaps(TWO.address) == []


def test_a_role_is_not_taken_before_the_lost_server_is_fenced(roles: Roles) -> None:
    a, b, c = roles.servers
    roles.start()
    roles.wait_clients()
    lose_power(a)
    wait_for("two attempts to fence", lambda: len(roles.fenced()) >= 2, CLIENT_TIMEOUT)
    assert roles.watch.holders(ONE.address) == frozenset()
    assert roles.running(ONE) == []
    waits = phases(b, "frontend1")
    assert waits[b.name] in ("unfit", "acquiring"), waits
    shown = b.daemon.command("services")
    assert shown.returncode == 1
    print(shown.stdout)

    switched_off = time.time()
    roles.off.touch()
    wait_for("a role's owner", lambda: roles.watch.holders(ONE.address), CLIENT_TIMEOUT)
    [*_, taken] = [c for c in roles.watch.changes() if c.address == ONE.address]
    assert taken.at > switched_off
    assert taken.server in (b.name, c.name)
    print(f"taken by {taken.server} {taken.at - switched_off:.1f} s after the fence could work")
    *failed, succeeded = [line for line in roles.fenced() if line.startswith(taken.server)]
    assert succeeded == f"{taken.server} {a.name} off"
    assert set(failed) <= {f"{taken.server} {a.name} "}
    roles.wait_clients()
    assert roles.watch.overlaps(ONE.address) == roles.watch.overlaps(TWO.address) == []


def test_a_daemon_that_is_stopped_hands_its_role_over(roles: Roles) -> None:
    a, b, c = roles.servers
    roles.start()
    roles.wait_clients()
    stopped = time.time()
    assert a.daemon.stop() == 0
    assert not has_device(a, ONE.device)
    assert ONE.address not in addresses_of(a)
    roles.wait(b, c)
    moves = [
        f"{change.at - stopped:.1f} s {change.server} {'has' if change.has_it else 'without'}"
        f" {change.address}"
        for change in roles.watch.changes()
        if change.at > stopped
    ]
    print("after the stop: " + ", ".join(moves))
    roles.wait_clients()
    a.daemon.start()
    a.daemon.ready()
    wait_for("A to be the reserve", lambda: phases(b, "frontend1").get(a.name) == "standby")
    assert phases(b, "frontend2").get(a.name) == "standby"
    assert roles.fenced() == []  # it had said goodbye
    assert roles.watch.holders(ONE.address) == {b.name}
    assert roles.watch.overlaps(ONE.address) == roles.watch.overlaps(TWO.address) == []
