"""The hosts file: dnsmasq resolves the names of all clients, on every server."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab import addresses
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.dns import Watcher
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.software import Dnsmasq
from tests.lab.waiting import wait_for

Told = tuple[str, str | None, str | None]
"""The type of an event of a client, from where, and to where."""

CLIENTS = {"host1": 0, "host2": 1, "host3": 2}
LIMIT = 1.0
"""Seconds from the connection to the answer of every DNS server."""


@pytest.fixture
def named_lab(lab3: Lab) -> Lab:
    """A dnsmasq on every server of the lab."""
    for server in lab3.servers:
        Dnsmasq(server.host).start()
    return lab3


def named(server: Server) -> str:
    return mesh(
        server, f"hosts_file = {Dnsmasq.DIRECTORY}/clients", f"hosts_domain = {Dnsmasq.DOMAIN}"
    )


def watch(lab: Lab, name: str) -> list[Watcher]:
    return [Watcher(server.host, f"{name}.{Dnsmasq.DOMAIN}") for server in lab.servers]


def wait_all(watchers: list[Watcher], *wanted: str) -> None:
    wait_for(
        f"{wanted} on every server",
        lambda: all(watcher.now == frozenset(wanted) for watcher in watchers),
    )


def wait_quiet(lab: Lab) -> None:
    """Waits until no file was written for a second: the next change is written at once."""

    def look() -> bool:
        files = [server.host.path(f"{Dnsmasq.DIRECTORY}/clients") for server in lab.servers]
        return all(time.time() - file.stat().st_mtime > LIMIT for file in files)

    wait_for("a second without a change", look)


def both(client: Client) -> tuple[str, str]:
    return client.data, client.data6


def test_every_server_resolves_every_client_and_server_within_a_second(named_lab: Lab) -> None:
    where = connect(named_lab, CLIENTS)
    start_daemons(named_lab.servers, named)
    for name, wanted in (
        *((client.name, both(client)) for client in where),
        *((server.name.lower(), (server.data, server.data6)) for server in named_lab.servers),
    ):
        wait_all(watch(named_lab, name), *wanted)
    watchers = watch(named_lab, "host4")
    wait_all(watchers)
    wait_quiet(named_lab)
    new = named_lab.client("host4")
    new.connect(named_lab.servers[1])
    connected = new.openvpn.logged_at("Initialization Sequence Completed")
    wait_all(watchers, *both(new))
    delays = [watcher.answered_at(*both(new)) - connected for watcher in watchers]
    assert max(delays) < LIMIT, delays


def test_a_client_that_roams_is_resolved_all_the_time_and_one_that_left_is_not(
    named_lab: Lab,
) -> None:
    where = connect(named_lab, CLIENTS)
    start_daemons(named_lab.servers, named)
    two = next(client for client in where if client.name == "host2")
    watchers = watch(named_lab, "host2")
    wait_all(watchers, *both(two))
    for server in (named_lab.servers[2], named_lab.servers[0]):
        two.roam(server)
        where[two] = server
        wait_routes(named_lab, where)
    for watcher in watchers:
        assert [found for _, found in watcher.answers if found] == [set(both(two))]
        assert watcher.now
    two.leave()
    wait_all(watchers)


def test_a_client_with_another_address_on_each_server_is_resolved_within_a_second(
    named_lab: Lab,
) -> None:
    where = connect(named_lab, CLIENTS)
    start_daemons(named_lab.servers, named)
    two = next(client for client in where if client.name == "host2")
    third = named_lab.servers[2]
    elsewhere = addresses.client_data(20)
    third.allow("host2", elsewhere)
    watchers = watch(named_lab, "host2")
    wait_all(watchers, *both(two))
    wait_quiet(named_lab)
    two.roam(third)
    connected = two.openvpn.logged_at("Initialization Sequence Completed")
    # until OpenVPN drops the dead session, both are listed
    wait_for("the new address", lambda: all(elsewhere in (w.now or ()) for w in watchers))
    delays = [watcher.answered_at(elsewhere) - connected for watcher in watchers]
    assert max(delays) < LIMIT, delays
    wait_for(
        "the old address to go",
        lambda: not any({*both(two)}.intersection(w.now or ()) for w in watchers),
        timeout=40,
    )


def test_names_stay_while_cuberouted_restarts(named_lab: Lab) -> None:
    where = connect(named_lab, CLIENTS)
    start_daemons(named_lab.servers, named)
    watchers = {client: watch(named_lab, client.name)[0] for client in where}
    for client, watcher in watchers.items():
        wait_all([watcher], *both(client))
    counts = {client: len(watcher.answers) for client, watcher in watchers.items()}
    first = named_lab.servers[0]
    first.daemon.stop()
    first.daemon.start()
    first.daemon.ready()
    new = named_lab.client("host4")
    new.connect(named_lab.servers[1])
    wait_all([Watcher(first.host, f"host4.{Dnsmasq.DOMAIN}")], *both(new))
    assert {client: len(watcher.answers) for client, watcher in watchers.items()} == counts


HOOK = """\
#!/bin/sh
cat >>/run/events
"""


def test_the_hook_is_run_on_every_server_for_a_roam_and_a_departure(lab3: Lab) -> None:
    def hooked(server: Server) -> str:
        types = "hook_events = client_joined client_moved client_left"
        return mesh(server, "hook = /run/hook", types)

    for server in lab3.servers:
        server.host.write("/run/hook", HOOK, 0o755)
        server.host.write("/run/events", "")
    start_daemons(lab3.servers, hooked)
    one = lab3.client("host1")
    a, b, _ = (server.name for server in lab3.servers)
    one.connect(lab3.servers[0])
    story: list[Told] = [("client_joined", None, a)]
    wait_for("it on every server", lambda: all(told(s, one) == story for s in lab3.servers))
    one.roam(lab3.servers[1])
    story.append(("client_moved", a, b))
    wait_for("it on every server", lambda: all(told(s, one) == story for s in lab3.servers))
    one.leave()
    story.append(("client_left", b, None))
    wait_for("it on every server", lambda: all(told(s, one) == story for s in lab3.servers))


def told(server: Server, client: Client) -> list[Told]:
    """What the hook on *server* was told of the client's IPv4 address, in order."""
    lines = server.host.path("/run/events").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["address"] == client.data]
    return [(event["type"], event.get("from_node"), event.get("to_node")) for event in events]
