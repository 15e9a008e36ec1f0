"""The examples in conf/ are all right on hosts that are as they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuberouted.check.facts import Device, ServerFacts
from cuberouted.check.rules import run_checks
from cuberouted.config import load
from cuberouted.daemon.host import interfaces
from cuberouted.model import format_address
from cuberouted.openvpn.config_file import OpenVPNOptions, parse_file
from tests.fakes.samples import link
from tests.unit.check.hosts import OK, facts
from tests.unit.test_readme import block

CONF = Path(__file__).parents[3] / "conf"
EXAMPLES = sorted(CONF.glob("*/*.conf"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_example_has_no_finding(path):
    config = load(path)
    links = [
        link(openvpn.data_interface, f"10.100.{100 + number}.251/24")
        for number, openvpn in enumerate(config.openvpns)
    ]
    for peer in config.peers:
        theirs = format_address(peer.mgmt_ip)
        ours = f"{theirs.rpartition('.')[0]}.251"
        links.append(link(peer.mgmt_interface, f"{ours} peer {theirs}/32"))
    options = OpenVPNOptions(tuple(parse_file(block("dev tun0").encode())), Path("/etc/openvpn"))
    servers = {
        openvpn.name: ServerFacts(options, version="OpenVPN 2.6.14") for openvpn in config.openvpns
    }
    findings = run_checks(
        config,
        facts(
            config,
            links,
            servers=servers,
            devices={name: Device("tun", 1500) for name in interfaces(config)},
            zebra=False,
            networkd=(),
        ),
    )
    assert [f for f in findings if f.level is not OK] == []
    assert len(findings) > 20


def test_there_are_examples():
    assert len(EXAMPLES) == 10
