"""`cuberouted check` says what the kernel does, and what the daemon's user may do."""

from __future__ import annotations

import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuberouted.cli.render_check import COLUMN
from tests.lab import ping
from tests.lab.configs import STATE_DIRECTORY, mesh
from tests.lab.daemon import CONFIG
from tests.lab.host import PROJECT, Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share
from tests.lab.openvpn import Options
from tests.lab.server import Server
from tests.lab.software import FRR, Frr
from tests.lab.waiting import wait_for
from tests.openapi.validation import validate

UNSEEN = "could not look"

NETWORKD = Path("/usr/lib/systemd/systemd-networkd")

DAEMON, MEMBER = 64201, 64202
"""User ids: of the daemon, and of somebody in its group."""

USERS = f"""
cp /etc/passwd /etc/group /run
echo 'cuberouted:x:{DAEMON}:{DAEMON}::/:/bin/false' >> /run/passwd
echo 'cuberouted:x:{DAEMON}:' >> /run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
install -d -o {DAEMON} -g {DAEMON} {STATE_DIRECTORY}
"""

CHECK_AS = """
import os, sys
from click.testing import CliRunner
from cuberouted.cli.main import main

command = ["-c", sys.argv[1], "check", "-v"]
CliRunner().invoke(main, command)  # loads all modules, which that user might not be able to read
os.setgroups([int(sys.argv[3])])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
main(command)
"""


def check(server: Server) -> subprocess.CompletedProcess[str]:
    done = server.daemon.command("check", "-v")
    assert done.stdout, done.stderr
    return done


def lines(done: subprocess.CompletedProcess[str], level: str) -> list[str]:
    """What was found of this level."""
    mark = level.ljust(COLUMN)
    found = (line for line in done.stdout.splitlines() if line.startswith(mark))
    return [line.removeprefix(mark) for line in found]


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The commands that mend what was found."""
    indent = " " * (COLUMN + 4)
    return [line.strip() for line in done.stdout.splitlines() if line.startswith(indent)]


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[-1]


def set_sysctls(host: Host, values: dict[str, int]) -> None:
    host.run("sysctl", "-q", "-w", *(f"{name}={value}" for name, value in values.items()))


ALL = "net.ipv4.ip_forward"
IPV4 = "net.ipv4.conf.{}.forwarding"
FORCED = "net.ipv6.conf.{}.force_forwarding"
IPV6 = "net.ipv6.conf.all.forwarding"

Settings = list[tuple[dict[str, int], list[str]]]
"""What is set, and the interfaces that do not forward then."""

IPV4_SETTINGS: Settings = [
    # a change of ip_forward sets every interface, so it stands first
    ({ALL: 0}, ["tun0", "tun1"]),
    ({ALL: 0, IPV4.format("tun0"): 1, IPV4.format("tun1"): 1}, []),
    ({ALL: 1, IPV4.format("tun1"): 0}, ["tun1"]),
    ({ALL: 1}, ["tun1"]),  # no change
    ({IPV4.format("tun0"): 0, IPV4.format("tun1"): 1}, ["tun0"]),
    ({IPV4.format("tun0"): 1}, []),
]

FORCED_SETTINGS: Settings = [
    ({IPV6: 0, FORCED.format("tun0"): 1}, ["tun1"]),
    ({FORCED.format("tun1"): 1}, []),
    ({FORCED.format("tun0"): 0, FORCED.format("tun1"): 0}, ["tun0", "tun1"]),
    ({FORCED.format("all"): 1, FORCED.format("tun0"): 0}, ["tun0"]),
]
"""From Linux 6.17 on."""


def test_check_finds_forwarding_off_where_packets_do_not_pass(lab: Lab) -> None:
    one, two = share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    forced = a.host.path("/proc/sys/net/ipv6/conf/all/force_forwarding").exists()
    ipv6 = [({IPV6: 0}, ["tun0", "tun1"]), *(FORCED_SETTINGS if forced else ()), ({IPV6: 1}, [])]
    for family, address, settings in (
        ("IPv4", two.data, IPV4_SETTINGS),
        ("IPv6", two.data6, ipv6),
    ):
        for values, off in settings:
            set_sysctls(a.host, values)
            assert ping.reaches(one.host, address) == (not off), values
            done = check(a)
            text = f"{family} forwarding: is off for what arrives on {', '.join(off)}"
            assert lines(done, "problem") == ([text] if off else [])
            assert done.returncode == bool(off)
    for values, address in (
        ({ALL: 0}, two.data),
        ({IPV4.format("tun1"): 0}, two.data),
        ({IPV6: 0} | ({FORCED.format("all"): 0} if forced else {}), two.data6),
    ):
        set_sysctls(a.host, values)
        (command,) = commands(check(a))
        a.host.run("sh", "-c", command)
        assert ping.reaches(one.host, address), command
        assert lines(check(a), "problem") == []


def test_a_healthy_server_has_no_finding_at_all(lab: Lab) -> None:
    a, b = lab.servers
    a.daemon.configure(mesh(a))
    before = a.daemon.command("check", "--strict")
    share(lab, {"host1": 0, "host2": 1})
    for server in (a, b):
        after = server.daemon.command("check", "--strict")
        for done in (before, after):
            passed, answer = done.stdout.splitlines()
            assert passed.endswith(" checks passed"), done.stdout
            assert answer == "cuberouted would work on this host"
            assert done.returncode == 0


def test_a_firewall_that_drops_is_told_and_the_daemon_s_report_is_repeated(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, b = lab.servers
    chain = "chain FORWARD of table ip filter"
    ways = "packets tun0 -> tun0, tun0 <-> tun1"
    a.host.run("nft", "add table ip filter")
    a.host.run(
        "nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
    )
    a.host.run("nft", "add chain ip filter OTHER { type filter hook input priority 0; }")
    assert not ping.reaches(one.host, two.data)
    done = check(a)
    assert lines(done, "warning") == [f"firewall: {chain} drops {ways}"]
    assert done.returncode == 0
    # what depends on marks cannot be known
    a.host.run("nft", "add rule ip filter FORWARD meta mark 7 accept")
    assert lines(check(a), UNSEEN) == [f"firewall: {chain} may drop {ways}"]
    (command,) = commands(check(a))
    a.host.run("sh", "-c", command)
    assert_all_reach_all(where)
    assert "firewall: drops nothing between clients" in lines(check(a), "ok")
    # the documented rule
    both = '{ "tun0", "tun1" }'
    assert f"iifname {both} oifname {both} accept" in (PROJECT / "docs/install.md").read_text()
    assert f"iifname {both} oifname {both} accept" in command
    # as firewalld has it
    a.host.run(
        "nft", "flush chain ip filter FORWARD; add chain ip filter FORWARD { policy accept; }"
    )
    a.host.run("nft", "add rule ip filter FORWARD ct state established,related accept")
    a.host.run("nft", "add rule ip filter FORWARD counter reject")
    assert lines(check(a), "warning") == [f"firewall: {chain} drops {ways}"]
    a.host.run("nft", "flush ruleset")
    b.daemon.stop()

    def says_that_b_is_down() -> bool:
        return any("reports: peer vpnsrvB is" in line for line in lines(check(a), "warning"))

    wait_for("check to repeat that B is down", says_that_b_is_down)


def test_masquerading_between_servers_is_told(lab: Lab) -> None:
    one, two = share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    a.host.run("nft", "add table ip nat")
    a.host.run("nft", "add chain ip nat POST { type nat hook postrouting priority srcnat; }")
    a.host.run("nft", "add rule ip nat POST ip saddr 10.100.100.0/24 counter masquerade")
    done = check(a)
    text = "rewrites the source address of packets tun0 <-> tun1"
    assert lines(done, "warning") == [f"firewall: chain POST of table ip nat {text}"]
    assert not ping.reaches(one.host, two.data)
    (command,) = commands(done)
    a.host.run("sh", "-c", command)
    assert ping.reaches(one.host, two.data)
    assert lines(check(a), "warning") == []
    # as it should be written
    a.host.run("nft", "flush chain ip nat POST")
    a.host.run("nft", 'add rule ip nat POST ip saddr 10.100.100.0/24 oifname "eth0" masquerade')
    assert lines(check(a), "warning") == []


def test_a_tunnel_that_is_too_small_for_the_clients_is_told(lab: Lab) -> None:
    one, two = share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers

    def a_whole_packet_arrives() -> bool:
        ping4 = "ping", "-c1", "-W1", "-Mdo", "-s1472", str(two.data)
        return one.host.try_run(*ping4).returncode == 0

    assert a_whole_packet_arrives()
    a.host.ip("link set dev tun1 mtu 1400")
    assert not a_whole_packet_arrives()
    done = check(a)
    text = "tun1: carries packets of at most 1400 bytes, and clients send up to 1500"
    assert lines(done, "warning") == [text]
    (command,) = commands(done)
    a.host.run("sh", "-c", command)
    one.host.run("ip", "route", "flush", "cache")
    assert a_whole_packet_arrives()
    assert lines(check(a), "warning") == []


def test_clients_send_what_a_small_tunnel_carries_where_openvpn_has_its_mtu() -> None:
    with Lab(options=Options(lines=("tun-mtu 1400",))) as lab:
        one, two = share(lab, {"host1": 0, "host2": 1})
        for server in lab.servers:
            server.host.ip("link set dev tun1 mtu 1400")
            assert lines(check(server), "warning") == []
        for client, other in ((one, two), (two, one)):  # OpenVPN 2.6 pushes it
            assert " mtu 1400 " in client.host.run("ip", "link", "show", "tun0")
            whole = "ping", "-c1", "-W1", "-Mdo", "-s1372", str(other.data)
            assert client.host.try_run(*whole).returncode == 0


HOLD = "import socket, sys; s = socket.{}; s.connect({!r}); print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    ("management", "kind", "address"),
    [
        ("127.0.0.1 5656 /etc/openvpn/pass", "socket()", ("127.0.0.1", 5656)),
        ("/run/openvpn-management/s unix", "socket(socket.AF_UNIX)", "/run/openvpn-management/s"),
    ],
)
def test_who_has_the_management_interface_is_named(
    management: str, kind: str, address: object
) -> None:
    with Lab(options=Options(management=management)) as lab:
        a, _ = lab.servers
        a.host.run("chmod", "700", "/run/openvpn-management")
        a.daemon.configure(mesh(a))
        assert "openvpn: nobody else is connected to its management interface" in lines(
            check(a), "ok"
        )
        code = f"{HOLD.format(kind, address)}; import time; time.sleep(600)"
        holder = a.host.start("holder", sys.executable, "-c", code)
        wait_for("the other program to be connected", lambda: "\n" in holder.log)
        done = check(a)
        (line,) = lines(done, "problem")
        assert re.fullmatch(
            r"openvpn: python\S* \(process \d+\) is connected to its management interface", line
        )
        assert verdict(done) == "1 problem: openvpn"
        a.daemon.start()  # it waits, and what it reports is the consequence

        def is_busy() -> bool:
            status = a.daemon.command("status", "--json").stdout
            return '"busy"' in status or '"connecting"' in status

        wait_for("the daemon to be kept out", is_busy)
        assert lines(check(a), "problem") == [line]
        holder.end(signal.SIGKILL)
        a.daemon.ready()
        wait_for("the daemon to be connected", lambda: lines(check(a), "problem") == [])


OPTIONS = (
    "duplicate-cn",
    "verb 5",
    "management-signal",
    "max-clients 1",
    "client-to-client",
    "ifconfig-pool 10.100.100.2 10.100.100.200",
    "ifconfig-ipv6-pool fd00:100::1000/64",
)
"""All of them a running OpenVPN accepts."""


def test_options_of_openvpn_that_do_harm_are_told() -> None:
    with Lab() as lab:
        a, b = lab.servers
        for name, last in (("host1", 11), ("host2", 12)):
            a.host.write(
                f"/etc/openvpn/ccd/{name}", f"ifconfig-push 10.100.100.{last} 255.255.255.0\n"
            )
        a.daemon.configure(mesh(a, "kill_superseded_sessions = no"))
        assert lines(check(a), "warning") == []
        for option in OPTIONS:
            a.host.run("sh", "-c", f"echo '{option}' >> /etc/openvpn/server.conf")
        a.openvpn.restart()
        a.openvpn.ready()
        report = validate("check", a.daemon.command("check", "--json").stdout)
        found = {f["id"]: f["text"] for f in report["findings"] if f["level"] != "ok"}
        assert found == {
            "ipv6-from-pool": "2 of 2 clients in /etc/openvpn/ccd have ifconfig-push and no"
            " ifconfig-ipv6-push (host1, host2), so they get an IPv6 address from"
            " ifconfig-ipv6-pool",
            "pool-overlap": "gives clients addresses from 10.100.100.2 to 10.100.100.200, where the"
            f" servers {b.data} are",
            "max-clients-low": "takes 1 clients, and 2 clients have a file in /etc/openvpn/ccd",
            "verb-high": "logs with verb 5",
            "management-signal": "has management-signal",
            "duplicate-names": "has duplicate-cn",
            "client-to-client": "has client-to-client, and cuberouted ends no superseded session"
            " with kill_superseded_sessions = no",
        }


@pytest.mark.skipif(not FRR.exists(), reason="frr is not installed")
def test_an_frr_that_makes_nexthop_objects_is_told(lab: Lab) -> None:
    a, _ = lab.servers
    a.daemon.configure(mesh(a))
    frr = Frr(a.host)
    frr.start()
    done = check(a)
    assert lines(done, "warning") == ["FRR: zebra runs and makes nexthop objects"]
    (command,) = commands(done)
    a.host.run("sh", "-c", command)
    assert lines(check(a), "warning") == []
    assert "FRR: makes no nexthop objects" in lines(check(a), "ok")
    frr.end(signal.SIGTERM)


@pytest.fixture
def users() -> Iterator[Lab]:
    """Two servers; the first has the user and group cuberouted."""
    with Lab() as lab:
        lab.servers[0].host.run("sh", "-ec", USERS)
        yield lab


def test_root_finds_what_the_user_cuberouted_cannot_read(users: Lab) -> None:
    a, _ = users.servers
    cannot = "cannot be read by the user cuberouted: Permission denied"
    a.host.write(CONFIG, mesh(a), 0o600)
    done = check(a)
    assert done.returncode == 1
    found = lines(done, "problem")
    assert [line.split(" (")[0] for line in found] == [
        f"{CONFIG}: {cannot}",
        f"/etc/openvpn/pass: {cannot}",
    ]
    a.host.run("chmod", "640", CONFIG, "/etc/openvpn/pass")
    a.host.run("chgrp", "cuberouted", CONFIG, "/etc/openvpn/pass")
    done = check(a)
    assert (done.returncode, lines(done, "problem")) == (0, [])
    # Debian's unit writes its status file below this directory
    a.host.run("install", "-d", "-m", "0710", "/run/openvpn-server")
    a.host.write("/run/openvpn-server/status.log", "", 0o600)
    text = mesh(a).splitlines()
    status = [line for line in text if not line.startswith("openvpn_mgmt")]
    status.insert(0, "openvpn_status_file = /run/openvpn-server/status.log")
    a.daemon.configure("\n".join(status) + "\n")
    done = check(a)
    (line,) = lines(done, "problem")
    assert "(/run/openvpn-server has mode 0710, root:root)" in line
    assert "systemd/openvpn-status.tmpfiles" in done.stdout
    # the way out: that file, and OpenVPN writes to what it creates
    tmpfiles = PROJECT / "systemd/openvpn-status.tmpfiles"
    a.host.run("systemd-tmpfiles", "--create", str(tmpfiles))
    written = "/run/openvpn-status/server.log"
    a.host.run("sh", "-c", f"echo 'status {written} 1' >> /etc/openvpn/server.conf")
    a.openvpn.restart()
    a.openvpn.ready()
    wait_for("OpenVPN's status file", lambda: "END" in a.host.path(written).read_text())
    status[0] = f"openvpn_status_file = {written}"
    a.daemon.configure("\n".join(status) + "\n")
    done = check(a)
    assert (done.returncode, lines(done, "problem")) == (0, []), done.stdout
    assert "openvpn: status file found" in lines(done, "ok")
    assert stat.S_IMODE(a.host.path(written).stat().st_mode) == 0o640


def test_a_member_of_the_group_has_no_false_problems(users: Lab) -> None:
    a, _ = users.servers
    a.daemon.run(mesh(a))
    ids = (str(MEMBER), str(DAEMON))
    done = a.host.try_run(sys.executable, "-c", CHECK_AS, CONFIG, *ids)
    assert (done.returncode, lines(done, "problem")) == (0, []), done.stdout + done.stderr
    assert "cuberouted: is running with this control socket" in lines(done, "ok")
    assert [line.split(":")[0] for line in lines(done, UNSEEN)] == ["firewall", "/etc/openvpn/pass"]
    # a stranger may not even ask, and is told who has the port
    done = a.host.try_run(sys.executable, "-c", CHECK_AS, CONFIG, str(MEMBER), str(MEMBER))
    assert (done.returncode, lines(done, "problem")) == (0, []), done.stdout + done.stderr
    assert [line.split(": ")[:2] for line in lines(done, UNSEEN)] == [
        ["firewall", "only root sees whether it drops what is forwarded"],
        ["/etc/openvpn/pass", "this user may not look at it"],
        ["cuberouted", "/run/cuberouted/control.sock"],
        [
            f"{a.tunnels['vpnsrvB'].ours} port 5657",
            "Address already in use; root can see by which program",
        ],
    ]


def test_openvpn_is_there_only_where_the_daemon_connects_to() -> None:
    with Lab(options=Options(management="::1 5656 /etc/openvpn/pass")) as lab:
        a, _ = lab.servers
        text = mesh(a)
        a.daemon.configure(text)
        assert "openvpn: management interface found" in lines(check(a), "ok")
        a.daemon.configure(text.replace("openvpn_mgmt_host = ::1\n", ""))
        (line,) = lines(check(a), "warning")
        assert line.endswith("one on ::1: if that is OpenVPN, set openvpn_mgmt_host = ::1")


def test_a_management_socket_that_others_can_reach_is_told() -> None:
    with Lab(options=Options(management="/run/openvpn/server.sock unix")) as lab:
        a, _ = lab.servers
        a.host.run("sh", "-ec", USERS)
        a.daemon.configure(mesh(a))
        done = check(a)
        (line,) = lines(done, "warning")
        assert "every local user can connect to /run/openvpn/server.sock" in line
        assert done.returncode == 0
        a.host.run("chmod", "750", "/run/openvpn")
        done = check(a)
        (line,) = lines(done, "problem")
        assert "(/run/openvpn has mode 0750, root:root)" in line
        assert (done.returncode, lines(done, "warning")) == (1, [])
        a.host.run("chgrp", "cuberouted", "/run/openvpn")
        done = check(a)
        assert (done.returncode, lines(done, "warning"), lines(done, "problem")) == (0, [], [])


@pytest.mark.skipif(not NETWORKD.exists(), reason="systemd-networkd is not installed")
def test_a_networkd_that_removes_our_routes_is_told_with_the_lines_to_write(lab: Lab) -> None:
    a, _ = lab.servers
    a.daemon.configure(mesh(a))
    assert lines(check(a), "warning") == []
    networkd = a.host.start("networkd", str(NETWORKD))
    networkd.wait_log("Enumeration completed")
    done = check(a)
    (line,) = lines(done, "warning")
    assert line.startswith("systemd-networkd: does not have ManageForeignRoutes=no")
    assert done.returncode == 0
    (command,) = commands(done)
    write, restart = command.rsplit(" && ", 1)
    assert restart == "systemctl restart systemd-networkd"  # there is no systemd here
    a.host.run("mount", "-t", "tmpfs", "lab", "/etc/systemd")
    a.host.run("sh", "-ec", write)
    assert lines(check(a), "warning") == []
