from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.samples import ETH0, THREE_SERVERS, TUN0, TUN1, TUN2, TWO_SERVERS, link
from tests.unit.check.hosts import OK, PROBLEM, WARNING, bad, found


def test_where_all_is_well_every_check_that_looked_has_passed():
    findings = found()
    assert {finding.level for finding in findings} == {OK}
    assert list(dict.fromkeys(finding.id for finding in findings)) == [
        "interface-missing",
        "tunnel-shared",
        "peer-is-self",
        "peer-off-link",
        "networks-unknown",
        "peer-outside-networks",
        "forwarding-off",
        "rp-filter-strict",
        "forward-filter",
        "nat-between-servers",
        "nexthops-unsupported",
        "openvpn-absent",
    ]


def test_interfaces_that_are_away_or_down_are_waited_for():
    said = bad(links=(ETH0, TUN1, link("tun2", running=False)))
    assert said == {
        "tun0": (WARNING, "does not exist"),
        "tun2": (WARNING, "is down, or has no carrier"),
    }


def test_a_data_interface_without_an_address_leaves_the_networks_unknown():
    said = bad(links=(ETH0, link("tun0"), TUN1, TUN2))
    assert said == {"allowed_networks": (WARNING, "is empty until the data interface is up")}


def test_two_peers_behind_one_tunnel_are_a_problem():
    findings = found(THREE_SERVERS.replace("tun2", "tun1"))
    said = [f.text for f in findings if (f.level, f.subject) == (PROBLEM, "peer C")]
    assert len(said) == 1
    assert "tun1 already leads to peer B" in said[0]


def test_a_peer_at_our_own_address_is_a_problem():
    said = bad(TWO_SERVERS.replace("10.200.200.5", "192.0.2.1"))
    assert said["peer 192.0.2.1"] == (PROBLEM, "its address 192.0.2.1 is this host's own")


def test_a_peer_whose_data_address_is_our_own_is_a_problem():
    said = bad(THREE_SERVERS.replace("10.100.100.102", "10.100.100.101"))
    text = "its data address 10.100.100.101 is this host's own"
    assert said == {"peer B": (PROBLEM, text)}


def test_a_peer_in_no_network_of_its_interface_is_doubtful():
    level, text = bad(TWO_SERVERS.replace("10.200.200.5", "10.200.200.6"))["peer 10.200.200.6"]
    assert level is WARNING
    assert text == "10.200.200.6 is in no network of tun1"


def test_a_data_address_outside_the_networks_is_doubtful():
    level, text = bad(THREE_SERVERS.replace("10.100.100.102", "10.9.0.1"))["peer B"]
    assert level is WARNING
    assert text == "its data address 10.9.0.1 is outside allowed_networks"


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
