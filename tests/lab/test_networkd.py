"""systemd-networkd is restarted on the host of a server, as updates do."""

from __future__ import annotations

import json
import re
import signal
from datetime import datetime

import pytest

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.host import PROJECT, Host
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.software import NETWORKD, Networkd
from tests.lab.waiting import wait_for

TABLE = "100"
RULE = f"lookup {TABLE}"
OURS = re.compile(rf"^\[(\S+)\] ?(Deleted )?(.*\bproto {routes.PROTOCOL}\b.*)", re.MULTILINE)


class Changes:
    """Monitors what happens to our routes, nexthop objects and rules on *host*."""

    def __init__(self, host: Host) -> None:
        self._monitor = host.start("changes", "ip", "-ts", "monitor", "route", "nexthop", "rule")
        wait_for("ip to monitor", lambda: self._sees_a_mark(host))

    def deleted(self) -> dict[str, datetime]:
        """What has been deleted, and when first."""
        events = self._events()
        return {what: when for when, gone, what in reversed(events) if gone}

    def seconds(self) -> float:
        """From the first deletion until all that was deleted was back.

        Raises:
          AssertionError: something is not.
        """
        deleted, added = self.deleted(), {w: when for when, gone, w in self._events() if not gone}
        assert deleted.keys() <= added.keys(), deleted.keys() - added.keys()
        back = max(added[what] for what in deleted)
        return (back - min(deleted.values())).total_seconds()

    def end(self) -> None:
        """Stops monitoring; what was seen stays."""
        self._monitor.end(signal.SIGTERM)

    def _events(self) -> list[tuple[datetime, str, str]]:
        return [
            (datetime.fromisoformat(when), gone, re.sub(r"id \d+ ", "", what))
            for when, gone, what in OURS.findall(self._monitor.log)
        ]

    def _sees_a_mark(self, host: Host) -> bool:
        host.ip("route add blackhole 192.0.2.222", "route del blackhole 192.0.2.222")
        return "192.0.2.222" in self._monitor.log


@pytest.mark.skipif(not NETWORKD.exists(), reason="systemd-networkd is not installed")
def test_what_a_restart_of_networkd_deletes_is_back_and_with_the_drop_in_nothing_is_deleted(
    lab: Lab,
) -> None:
    where = connect(lab, {"host1": 0, "host2": 1, "host3": 1})
    start_daemons(lab.servers, lambda server: mesh(server, f"route_table = {TABLE}"))
    wait_routes(lab, where, table=TABLE)
    a, b = lab.servers
    one, _, three = where
    rules = json.dumps(routes.rules(a.host))
    tunnel = a.tunnels[b.name]
    networkd = Networkd(a.host)
    networkd.manage("eth0", f"Address={a.internet}/24")
    networkd.manage(tunnel.device, f"Address={tunnel.ours}/32", f"Peer={tunnel.theirs}/32")
    networkd.start()
    wait_back(lab, where, rules)

    def restart(how: str) -> Changes:
        """What changes until a second later. Prints how many pings, at 100 a second, are lost."""
        changes, stream = Changes(a.host), ping.Stream(one.host, three.data)
        wait_for("pings", stream.replies)
        networkd.end()
        networkd.start()
        wait_back(lab, where, rules)
        begin = len(stream.replies())
        wait_for("pings for a second", lambda: len(stream.replies()) > begin + 100)
        stream.end()
        if changes.deleted():
            took = wait_for("everything to be back", changes.seconds)
            print(f"{how}: all back after {took * 1000:.0f} ms, {stream.lost()} pings lost")
            assert took < 1.0
        else:
            print(f"{how}: nothing deleted, {stream.lost()} pings lost")
            assert stream.lost() == 0
        changes.end()
        return changes

    gone = restart("no drop-in").deleted()
    assert any(RULE in what for what in gone), gone
    assert any("src" in what for what in gone), gone  # a route
    assert any("scope" in what for what in gone), gone  # a nexthop object

    assert (
        "systemd-networkd: does not have ManageForeignRoutes=no" in a.daemon.command("check").stdout
    )

    networkd.settings(*drop_in())
    # before version 256 it deletes nexthop objects nevertheless, and their routes go with them
    gone = restart("drop-in").deleted()
    assert not any(RULE in what for what in gone)
    told = f"{tunnel.device}: is managed by a systemd-networkd" in a.daemon.command("check").stdout
    assert told is bool(gone)

    networkd.unmanage(tunnel.device)
    assert restart("drop-in, tunnel unmanaged").deleted() == {}
    assert "networkd" not in a.daemon.command("check").stdout


def wait_back(lab: Lab, where: dict[Client, Server], rules: str) -> None:
    wait_routes(lab, where, table=TABLE)
    host = lab.servers[0].host
    wait_for("the rules", lambda: json.dumps(routes.rules(host)) == rules)


def drop_in() -> list[str]:
    """The documented settings for networkd."""
    page = (PROJECT / "docs/other-routers.md").read_text()
    found = re.findall(r"^ManageForeign\w+=no$", page, re.MULTILINE)
    assert len(found) == 3, found
    return found
