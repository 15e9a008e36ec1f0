"""The alerts and the dashboard on Debian's Prometheus, which scrapes real servers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.lab import routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.daemon import CONFIG, Daemon
from tests.lab.host import PROJECT
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.network import drop_replies, stop_dropping
from tests.lab.openvpn import OpenVPN, Options, client_config
from tests.lab.prometheus import PORT, RULES, Prometheus
from tests.lab.server import Server
from tests.lab.waiting import wait_for

TESTS = sorted((PROJECT / "tests/prometheus").glob("*.test.yml"))
DASHBOARD = PROJECT / "conf/grafana/cuberouted.json"

WINDOW = "20s"
"""In place of the minutes over which rules and panels look back."""

LISTING_INTERVAL = "status_interval = 3s"
OLD_LISTING = "8"
"""Seconds, in place of the rule's, after which a listing is too old."""

OTHER_VERSION = (
    "import cuberouted, runpy; cuberouted.__version__ = '9.9.9';"
    " runpy.run_module('cuberouted', run_name='__main__')"
)
NAMELESS = Options(
    lines=(
        "verify-client-cert optional",
        "auth-user-pass-optional",
        "auth-user-pass-verify /bin/true via-file",
        "script-security 2",
    )
)
"""Servers that accept clients without a certificate: they have no common name."""

LOSES_CAPABILITIES = """
import ctypes, runpy, signal

def drop(*_):
    version = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(version, 0), (ctypes.c_uint32 * 6)())

signal.signal(signal.SIGUSR2, drop)
runpy.run_module("cuberouted", run_name="__main__")
"""
"""A daemon that has no capabilities any more after SIGUSR2."""


def promtool(*argv: str | Path) -> None:
    """Runs `promtool`, which must end well."""
    done = subprocess.run(["promtool", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_example_and_the_rules() -> None:
    promtool("check", "config", RULES.with_name("prometheus.yml"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_alerts_begin_when_they_must_and_end(file: Path) -> None:
    promtool("test", "rules", file)


@attrs.frozen
class Site:
    """Three servers that Prometheus on the first one scrapes, with a client each."""

    lab: Lab
    prometheus: Prometheus
    where: dict[Client, Server]

    @property
    def targets(self) -> dict[str, str]:
        """The address where each server has its metrics."""
        return {server.name: address(server) for server in self.lab.servers}


def address(server: Server) -> str:
    """Where Prometheus on the first server reaches the metrics of *server*."""
    return server.tunnels["vpnsrvA"].ours if "vpnsrvA" in server.tunnels else "127.0.0.1"


def config(server: Server, interval: str = LISTING_INTERVAL) -> str:
    """The configuration of *server*."""
    return mesh(server, f"web_listen = {address(server)}:{PORT}", interval)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """All is well, and no alert fires."""
    with Lab(("vpnsrvA", "vpnsrvB", "vpnsrvC"), NAMELESS) as lab:
        where = connect(lab, {"host1": 0, "host2": 1, "host3": 2})
        start_daemons(lab.servers, config)
        wait_routes(lab, where)
        prometheus = Prometheus(lab.servers[0].host, WINDOW, old_listing=OLD_LISTING)
        site = Site(lab, prometheus, where)
        prometheus.target(site.targets)
        prometheus.start()
        wait_for("all targets", lambda: len(prometheus.query("up == 1")) == 3)
        prometheus.wait_firing()
        yield site


def all_up(server: Server) -> bool:
    """Whether all peers of *server* are up."""
    return all(peer["state"] == "up" for peer in server.daemon.ask("status")["peers"])


def without_certificate(name: str, server: Server) -> str:
    """The configuration of a client that has only a user name."""
    text = client_config(name, server.internet)
    certificate_and_key = r"(?s)<(cert|key)>.*?</\1>\n"
    return (
        re.sub(certificate_and_key, "", text) + "<auth-user-pass>\nuser\nword\n</auth-user-pass>\n"
    )


def restart(daemon: Daemon, *argv: str) -> None:
    """Stops *daemon*, and starts *argv* in its place, or the same again."""
    daemon.stop()
    daemon.argv = argv or Daemon.argv
    daemon.start()
    daemon.ready()


def test_a_server_without_cuberouted_is_one_alert(site: Site) -> None:
    _, _, c = site.lab.servers
    c.daemon.crash()
    site.prometheus.wait_firing("Down vpnsrvC")
    gone = 'cuberouted_peer_up{peer="vpnsrvC"} == 0'
    wait_for("both peers to miss it", lambda: len(site.prometheus.query(gone)) == 2)
    assert site.prometheus.firing() == {"Down vpnsrvC"}
    c.daemon.start()
    site.prometheus.wait_firing()


def test_a_server_without_openvpn_is_one_alert(site: Site) -> None:
    _, b, _ = site.lab.servers
    b.openvpn.process.end()
    site.prometheus.wait_firing("OpenVPNDown vpnsrvB")
    wait_for("/readyz", lambda: len(site.prometheus.query("cuberouted_ready == 0")) == 1)
    assert site.prometheus.firing() == {"OpenVPNDown vpnsrvB"}
    b.openvpn.start()
    b.openvpn.ready()
    site.prometheus.wait_firing()


def test_lasting_faults_are_alerts_until_they_end(site: Site) -> None:
    a, b, c = site.lab.servers
    one = next(client for client in site.where if client.name == "host1")
    route = f"{one.data}/32 dev {a.device(c)}"
    a.host.ip(f"route add {route}")
    a.daemon.reload(config(a, "status_interval = 10m"))
    drop_replies(a.host, 5657, a.device(b))
    b.daemon.reload("nonsense")
    # the address of IPv6 stays
    c.host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/tun0/keep_addr_on_down")
    c.host.ip("link set tun0 down")
    site.prometheus.wait_firing(
        "RouteConflict vpnsrvA",
        "NoListing vpnsrvA",
        "PeerDown vpnsrvA vpnsrvB",
        "Problem vpnsrvB",
        "NotReady vpnsrvC",
    )
    a.host.ip(f"route del {route}")
    a.daemon.reload(config(a))
    one.roam(a)  # an event, and with it a listing: the interval applies from the next one on
    stop_dropping(a.host)
    b.daemon.reload(config(b))
    c.host.ip("link set tun0 up")
    site.prometheus.wait_firing()


def test_clients_that_are_not_as_they_should_be_and_an_unfinished_update(site: Site) -> None:
    a, b, _ = site.lab.servers
    two = next(client for client in site.where if client.name == "host2")
    four, stranger = site.lab.client("host4"), site.lab.client("host5")
    a.allow("host4", two.data)
    four.connect(a)
    b.allow("DEFAULT", stranger.data)
    unnamed = OpenVPN(stranger.host, "client", without_certificate("host5", b))
    unnamed.start()
    restart(b.daemon, sys.executable, "-c", OTHER_VERSION, CONFIG)
    site.prometheus.wait_firing(
        *(f"PoolConflict {server.name}" for server in site.lab.servers),
        "SessionsOmitted vpnsrvB",
        "VersionMix",
    )
    four.leave()
    unnamed.process.end()
    restart(b.daemon)
    site.prometheus.wait_firing()


def test_what_happens_again_and_again(site: Site) -> None:
    a, b, c = site.lab.servers
    one = next(client for client in site.where if client.name == "host1")
    for server in (b, a, b, a):
        one.roam(server)
        restart(c.daemon)
        wait_for("its peers to have it back", lambda: all(map(all_up, (a, b))))
    a.host.ip(*(f"route del {to}" for to in routes.towards(a.host)))
    site.prometheus.wait_fired(
        "ClientsFlapping vpnsrvA",
        "ClientsFlapping vpnsrvB",
        "PeerFlapping vpnsrvA vpnsrvC",
        "PeerFlapping vpnsrvB vpnsrvC",
        "Restarting vpnsrvC",
        "RoutesRestored vpnsrvA",
    )
    site.prometheus.wait_firing()


def test_a_kernel_that_refuses_routes(site: Site) -> None:
    _, b, c = site.lab.servers
    three = next(client for client in site.where if client.name == "host3")
    restart(b.daemon, sys.executable, "-c", LOSES_CAPABILITIES, CONFIG)
    wait_routes(site.lab, site.where)
    b.daemon.process.send(signal.SIGUSR2)
    three.leave()
    site.prometheus.wait_firing("KernelErrors vpnsrvB", "RoutesMissing vpnsrvB")
    restart(b.daemon)
    three.connect(c)
    wait_routes(site.lab, site.where)
    site.prometheus.wait_firing()


def test_no_server_at_all(site: Site) -> None:
    site.prometheus.target({})
    site.prometheus.wait_firing("Absent")
    site.prometheus.target(site.targets)
    site.prometheus.wait_firing()


def expressions() -> list[tuple[str, str]]:
    """Each query of the dashboard, with the title of its panel."""
    values = {"$job": "cuberouted.*", "$instance": ".*", "$__rate_interval": WINDOW}
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            query = re.sub(r"\$\w+", lambda name: values[name[0]], target["expr"])
            found.append((panel["title"], query))
    return found


SERVICE = "[service db]\naddress = 10.100.100.200\ncheck = /bin/true\ncheck_interval = 500ms\n"


def test_every_rule_can_be_evaluated_and_every_panel_shows_something(site: Site) -> None:
    for server in site.lab.servers[:2]:
        server.daemon.reload(config(server) + SERVICE)
    three = next(client for client in site.where if client.name == "host3")
    three.roam(site.lab.servers[1])
    three.roam(site.lab.servers[2])
    wait_routes(site.lab, site.where)

    def look() -> bool:
        assert empty_panels(site.prometheus) == []
        held = site.prometheus.query("sum by (service) (cuberouted_service_held)")
        assert [series["value"][1] for series in held] == ["1"]
        return True

    wait_for("all panels, and a holder", look, 30.0)
    assert site.prometheus.rule_errors() == []


def empty_panels(prometheus: Prometheus) -> list[str]:
    """The queries of the dashboard without a number in the last seconds.

    Those that show nothing as long as all is well must have no error.
    """
    empty = []
    for title, query in expressions():
        found = prometheus.query_range(query, 10)
        numbers = [value for series in found for _, value in series["values"] if value != "NaN"]
        if not (numbers or query.endswith("> 0") or "ALERTS" in query):
            empty.append(f"{title}: {query}")
    return empty
