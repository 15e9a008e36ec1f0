"""ICMP redirects: a server forwards between its own clients, and sends what is for a client that is
connected nowhere back out of tun0."""

from __future__ import annotations

from tests.lab import addresses, ping
from tests.lab.client import Client
from tests.lab.host import PROJECT, Host
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, share, wait_routes

NOBODY = addresses.client_data(40)
SETTING = "net.ipv4.conf.{}.send_redirects"


def test_redirects_are_sent_without_the_documented_settings_and_do_no_harm(lab: Lab) -> None:
    a, b = lab.servers
    where = share(lab, {"host1": 0, "host2": 0, "host3": 1})
    one, two, three = where
    page = (PROJECT / "docs/install.md").read_text()
    assert f"\n{SETTING.format('all')} = 0\n" in page
    assert f"\n{SETTING.format('default')} = 0\n" in page

    # what a new host has; the kernel sends them if either is on
    set_redirects(a.host, all=1, tun0=1)
    assert {told(one, NOBODY), told(one, two.data)} == {True}
    assert not told(one, three.data)
    two.roam(b)  # host1 was redirected for its address, and for that of host3 it was not
    where[two] = b
    wait_routes(lab, where)
    assert_all_reach_all(where)

    set_redirects(a.host, all=0, tun0=0)
    two.roam(a)
    where[two] = a
    wait_routes(lab, where)
    assert {told(one, NOBODY), told(one, two.data)} == {False}
    assert ping.reaches(one.host, two.data)


def set_redirects(host: Host, **values: int) -> None:
    for where, value in values.items():
        host.run("sysctl", "-w", f"{SETTING.format(where)}={value}")


def told(client: Client, address: str) -> bool:
    """Whether *client* is sent a redirect when it sends to *address*."""
    shown = client.host.try_run("ping", "-n", "-c", "3", "-i", "0.2", "-W", "0.5", address)
    return "Redirect Host" in shown.stdout
