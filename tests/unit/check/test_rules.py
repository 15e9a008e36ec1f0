from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.check.rules import HostFacts, Level, run_checks, sysctls_to_read
from cuberouted.daemon.host import HostState, evaluate_links
from tests.fakes.samples import (
    ETH0,
    LINKS,
    THREE_SERVERS,
    TUN0,
    TUN1,
    TWO_SERVERS,
    config,
    link,
)

OK, WAIT, WARNING, PROBLEM = Level


def facts(configuration, links=LINKS, **other):
    """Those of a host where all is well."""
    sysctls = dict.fromkeys(sysctls_to_read(configuration), "0")
    sysctls |= {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
    well = HostFacts(
        links=tuple(links),
        host=evaluate_links(configuration, links, {}, HostState()),
        missing_capability=None,
        sysctls=sysctls,
        openvpn={openvpn.name: None for openvpn in configuration.openvpns},
        busy={},
        unreadable={},
        daemon=False,
    )
    return attrs.evolve(well, **other)


def found(text=THREE_SERVERS, links=LINKS, **other):
    configuration = config(text)
    return run_checks(configuration, facts(configuration, links, **other))


def bad(*args, **other):
    """What is not all right, by subject."""
    return {f.subject: (f.level, f.text) for f in found(*args, **other) if f.level is not OK}


def test_where_all_is_well_every_good_news_is_told():
    findings = found()
    assert {finding.level for finding in findings} == {OK}
    assert [finding.subject for finding in findings] == [
        "tun0",
        "tun1",
        "tun2",
        "allowed_networks",
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "openvpn",
    ]


def test_a_missing_privilege_is_a_problem():
    level, text = bad(missing_capability="CAP_NET_ADMIN")["privileges"]
    assert level is PROBLEM
    assert text == "CAP_NET_ADMIN is missing: run as root, or by the systemd unit"


def test_interfaces_that_are_away_or_down_are_waited_for():
    said = bad(links=(ETH0, TUN1, link("tun2", running=False)))
    assert (
        said["tun0"]
        == said["tun2"]
        == (
            WAIT,
            "is missing or down; cuberouted will wait for it",
        )
    )
    assert said["allowed_networks"][0] is WAIT
    assert "tun1" not in said
    assert "net.ipv4.ip_forward" not in said  # for what family is not known yet


def test_two_peers_behind_one_tunnel_are_a_problem():
    findings = found(THREE_SERVERS.replace("tun2", "tun1"))
    said = [f.text for f in findings if (f.level, f.subject) == (PROBLEM, "peer C")]
    assert len(said) == 1
    assert "tun1 already leads to peer B" in said[0]


def test_a_peer_at_our_own_address_is_a_problem():
    said = bad(TWO_SERVERS.replace("10.200.200.5", "192.0.2.1"))
    assert said["peer 192.0.2.1"] == (PROBLEM, "192.0.2.1 is this host's own address")


def test_a_peer_in_no_network_of_its_interface_is_doubtful():
    level, text = bad(TWO_SERVERS.replace("10.200.200.5", "10.200.200.6"))["peer 10.200.200.6"]
    assert level is WARNING
    assert text.startswith("10.200.200.6 is in no network of tun1")


def test_a_data_address_outside_the_networks_is_doubtful():
    level, text = bad(THREE_SERVERS.replace("10.100.100.102", "10.9.0.1"))["peer B"]
    assert level is WARNING
    assert text == "its data address 10.9.0.1 is outside allowed_networks"


@pytest.mark.parametrize("value", ["0", None])
def test_a_host_that_does_not_forward_is_a_problem_for_the_families_that_it_serves(value):
    said = bad(sysctls={"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": value})
    assert said.keys() == {"net.ipv6.conf.all.forwarding"}
    level, text = said["net.ipv6.conf.all.forwarding"]
    assert level is PROBLEM
    assert text.endswith("sysctl -w net.ipv6.conf.all.forwarding=1")
    only_ipv4 = (link("tun0", "10.100.100.101/24"), *LINKS[2:])
    assert bad(links=only_ipv4, sysctls={"net/ipv4/ip_forward": "1"}) == {}


@pytest.mark.parametrize(
    ("everywhere", "here", "strict"),
    [
        ("0", "0", False),
        ("0", "1", True),
        ("1", "0", True),
        ("1", "2", False),
        ("2", "1", False),
        ("2", "2", False),
        (None, None, False),
    ],
)
def test_a_strict_reverse_path_filter_is_doubtful(everywhere, here, strict):
    sysctls = {
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
        "net/ipv4/conf/all/rp_filter": everywhere,
        **{f"net/ipv4/conf/{name}/rp_filter": here for name in ("tun0", "tun1", "tun2")},
    }
    subjects = {f"net.ipv4.conf.{name}.rp_filter" for name in ("tun0", "tun1", "tun2")}
    assert bad(sysctls=sysctls).keys() == (subjects if strict else set())


def test_an_openvpn_that_cannot_be_used_is_waited_for():
    said = bad(openvpn={"": "no process listens on TCP port 5656"})
    assert said == {"openvpn": (WAIT, "no process listens on TCP port 5656")}
    several = "[openvpn one]\n[openvpn two]\nmgmt_port = 1\ndata_interface = eth0\n"
    said = bad(several + THREE_SERVERS, openvpn={"one": None, "two": "no"})
    assert said == {"openvpn two": (WAIT, "no")}


def test_a_file_that_cannot_be_read_is_a_problem():
    text = "openvpn_mgmt_pass_file = /etc/openvpn/pass\n" + THREE_SERVERS
    path = Path("/etc/openvpn/pass")
    said = bad(text, unreadable={path: "cannot be read: Permission denied"})
    assert said == {str(path): (PROBLEM, "cannot be read: Permission denied")}


def test_a_key_is_told_and_one_that_cannot_be_used_is_a_problem():
    (finding,) = (f for f in found(public_key="x" * 40) if f.subject == "encryption")
    assert (finding.level, finding.text) == (OK, f"is on; our public key is {'x' * 40}")
    path = Path("/etc/cuberouted.key")
    configuration = attrs.evolve(config(THREE_SERVERS), secret_key_file=path)
    findings = run_checks(configuration, facts(configuration, unreadable={path: "is no key"}))
    (finding,) = (f for f in findings if f.subject == "secret_key_file")
    assert (finding.level, finding.text) == (PROBLEM, "is no key")


def test_a_port_that_is_taken_is_a_problem_and_a_running_daemon_is_none():
    said = bad(busy={"10.200.200.1 port 5657": "Address already in use"})
    assert said == {
        "10.200.200.1 port 5657": (
            PROBLEM,
            (
                "cannot listen: Address already in use;"
                " stop the other program, or set cube_routed_port"
            ),
        )
    }
    (finding,) = (f for f in found(daemon=True) if f.subject == "cuberouted")
    assert (finding.level, finding.text) == (OK, "is running with this control socket")


text = st.text(max_size=20)


@given(
    st.permutations([TUN0, TUN1, ETH0, link("tun1"), link("tun2", "fd00::1/64")]),
    st.integers(0, 5),
    st.dictionaries(text, text),
    st.none() | text,
    text,
)
def test_whatever_the_facts_are_something_is_found(links, count, busy, why, name):
    findings = found(
        links=tuple(links[:count]), busy=busy, missing_capability=why, openvpn={"": why}
    )
    assert findings
    assert found(TWO_SERVERS, links[:count], unreadable={Path(name): name})


@pytest.mark.parametrize(("daemon", "level"), [(False, WAIT), (True, PROBLEM)])
def test_a_credential_is_waited_for_while_the_unit_does_not_run(daemon, level):
    path = "/run/credentials/cuberouted.service/openvpn-pass"
    text = f"openvpn_mgmt_pass_file = {path}\n{THREE_SERVERS}"
    [(subject, (said, _))] = bad(text, unreadable={Path(path): "gone"}, daemon=daemon).items()
    assert (subject, said) == (path, level)
