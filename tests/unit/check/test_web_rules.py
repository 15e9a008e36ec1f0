"""What `check` says of the web listener: whether it can be reached, and by whom."""

from __future__ import annotations

import pytest

from tests.fakes.samples import THREE_SERVERS
from tests.unit.check.hosts import OK, UNSEEN, WARNING, bad, cures, found

READS = "can be read by everybody who reaches"


def of_web(listen, **other):
    """What is not all right with ``web_listen = LISTEN``: level and text of each finding."""
    return list(bad(text(listen), **other).values())


def text(listen):
    return f"web_listen = {listen}\n{THREE_SERVERS}"


def test_without_a_web_listener_nothing_is_said_of_it():
    ids = {finding.id for finding in found(metrics=False, web_busy="in use")}
    assert ids.isdisjoint({"web-unusable", "web-exposed", "metrics-missing"})


@pytest.mark.parametrize("listen", ["127.0.0.1:9657", "[::1]:9657", "10.200.200.1:9657"])
def test_on_loopback_and_in_a_network_of_servers_it_is_well(listen):
    assert of_web(listen) == []
    (finding,) = (f for f in found(text(listen)) if f.id == "web-exposed")
    assert finding.level is OK


@pytest.mark.parametrize(
    ("listen", "who"),
    [
        ("0.0.0.0:9657", "port 9657 of any address of this host, clients among them"),
        ("[::]:9657", "port 9657 of any address of this host, clients among them"),
        ("10.100.100.101:9657", "10.100.100.101:9657, which is this host's address for clients"),
        ("[fd00:1::101]:9657", "[fd00:1::101]:9657, which is this host's address for clients"),
    ],
)
def test_where_clients_and_strangers_reach_it_that_is_told(listen, who):
    assert of_web(listen) == [(WARNING, f"{READS} {who}")]
    ((advice, _),) = cures(text(listen)).values()
    assert advice.startswith("listen on 127.0.0.1")


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
    assert bad(text("127.0.0.1:9657"), metrics=False).keys() == {"/metrics"}
    advice, _ = cures(text("127.0.0.1:9657"), metrics=False)["/metrics"]
    assert "python3-prometheus-client" in advice
