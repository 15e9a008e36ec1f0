"""What `check` says of the web listener: whether it can be reached, and by whom."""

from __future__ import annotations

import pytest

from tests.fakes.samples import THREE_SERVERS
from tests.unit.check.hosts import OK, UNSEEN, WARNING, bad, cures, found

INSTALL = "/opt/cuberouted/bin/pip install prometheus_client"
READS = "can be read by everybody who reaches"


def of_web(listen, **other):
    """What is not all right with ``web_listen = LISTEN``: level and text of each finding."""
    return list(bad(text(listen), **other).values())


def text(listen):
    return f"web_listen = {listen}\n{THREE_SERVERS}"


def test_without_a_web_listener_nothing_is_said_of_it():
    ids = {finding.id for finding in found(no_metrics=INSTALL, web_busy="in use")}
    assert ids.isdisjoint({"web-unusable", "web-exposed", "metrics-missing"})


@pytest.mark.parametrize("listen", ["127.0.0.1:9657", "[::1]:9657"])
def test_on_loopback_it_is_well(listen):
    assert of_web(listen) == []
    (finding,) = (f for f in found(text(listen)) if f.id == "web-exposed")
    assert finding.level is OK


def test_clients_are_refused_and_the_firewall_decides_on_others():
    for listen in ("10.200.200.1:9657", "10.100.100.101:9657", "[fd00:1::101]:9657"):
        (finding,) = (f for f in found(text(listen)) if f.id == "web-exposed")
        assert (finding.level, finding.text) == (
            OK,
            f"clients are refused, and the firewall decides who else reaches {listen}",
        )


@pytest.mark.parametrize("listen", ["0.0.0.0:9657", "[::]:9657"])
def test_where_strangers_may_reach_it_that_is_told(listen):
    assert of_web(listen) == [(WARNING, f"{READS} port 9657 of any address of this host")]
    ((advice, _),) = cures(text(listen)).values()
    assert advice.startswith("listen on 127.0.0.1")


@pytest.mark.parametrize(
    ("listen", "where"),
    [
        ("10.200.200.1:9657", "10.200.200.1:9657"),
        ("0.0.0.0:9657", "port 9657 of any address of this host"),
    ],
)
def test_clients_that_are_admitted_are_told(listen, where):
    why = f"{READS} {where}, clients among them (web_clients = yes)"
    assert of_web(f"{listen}\nweb_clients = yes") == [(WARNING, why)]
    assert of_web("127.0.0.1:9657\nweb_clients = yes") == []


def test_a_public_address_is_told_and_one_that_is_not_here():
    exposed, unusable = "which is a public address", "8.8.8.8 is no address of this host now"
    findings = [f.text for f in found(text("8.8.8.8:9657")) if f.level is WARNING]
    assert findings[0] == unusable
    assert findings[1].endswith(exposed)


def test_a_port_that_another_program_has_is_told():
    why = "127.0.0.1 port 9657: Address already in use by nginx (process 7)"
    assert of_web("127.0.0.1:9657", web_busy=why) == [
        (WARNING, f"cannot listen on 127.0.0.1:9657: {why}")
    ]


def test_a_low_port_needs_a_right_until_the_daemon_shows_that_it_has_it():
    ((level, why),) = of_web("127.0.0.1:80")
    assert level is UNSEEN
    assert "port 80 needs CAP_NET_BIND_SERVICE" in why
    assert of_web("127.0.0.1:80", daemon=True) == []


def test_without_prometheus_client_there_are_no_metrics():
    assert bad(text("127.0.0.1:9657"), no_metrics=INSTALL).keys() == {"/metrics"}
    assert cures(text("127.0.0.1:9657"), no_metrics=INSTALL)["/metrics"] == ("", INSTALL)
