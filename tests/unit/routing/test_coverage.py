import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Prefix
from cuberouted.routing.coverage import Coverage


def prefix_of(number, length, size=4):
    behind = 8 * size - length
    return Prefix((number >> behind << behind).to_bytes(size), length)


# few bits differ, so that prefixes lie inside each other; IPv6 ones begin with IPv4's bytes
NESTED = st.one_of(
    st.builds(prefix_of, st.integers(0x0A000000, 0x0A00000F), st.sampled_from([8, 24, 28, 30, 32])),
    st.builds(
        lambda low, length: prefix_of(0x0A << 120 | low, length, 16),
        st.integers(0, 15),
        st.sampled_from([8, 24, 32, 64, 124, 128]),
    ),
)
STEPS = st.lists(st.tuples(st.sampled_from(["local", "network"]), NESTED))


@given(st.sets(NESTED), STEPS)
def test_it_finds_what_comparing_every_prefix_with_every_network_finds(before, steps):
    coverage, local, networks = Coverage(), set(before), set[Prefix]()
    coverage.start(before)
    for what, prefix in steps:
        chosen = local if what == "local" else networks
        present = prefix not in chosen
        (chosen.add if present else chosen.remove)(prefix)
        change = coverage.set_local if what == "local" else coverage.set_network
        change(prefix, present)
        inside = {p for p in local if prefix.contains(p) and p != prefix}
        assert set(coverage.inside(prefix)) == inside
        for one in local | networks:
            wider = any(n.contains(one) and n != one for n in networks)
            assert coverage.covers(one) == wider


def test_before_the_start_nothing_is_collected():
    coverage = Coverage()
    host, network = Prefix.parse("10.0.0.1"), Prefix.parse("10.0.0.0/24")
    coverage.set_local(host, present=True)
    assert not coverage.in_use
    assert not coverage.inside(network)
    assert not coverage.covers(host)


@pytest.mark.parametrize("network", ["0.0.0.0/1", "::/1"])
def test_the_widest_networks_cover_their_family_alone(network):
    coverage = Coverage()
    coverage.set_network(Prefix.parse(network), present=True)
    covered = [p for p in ("10.0.0.1", "fd00::1", "::1") if coverage.covers(Prefix.parse(p))]
    assert covered == (["10.0.0.1"] if "." in network else ["::1"])
