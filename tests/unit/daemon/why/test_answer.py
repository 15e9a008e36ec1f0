"""`why` on whole daemons in memory."""

from __future__ import annotations

import pytest

from cuberouted.daemon.why.answer import MAX_EXPLAINED, MAX_MATCHES, why
from cuberouted.model import MAIN_TABLE, Advertisement, Kind, Prefix
from cuberouted.routing.rib import Origin, Source
from tests.fakes.mesh import section_of
from tests.unit.daemon.meshes import HOST1, HOST2, HOST3, started
from tests.unit.longest_step import longest_step

NETWORK = "192.168.50.0/24"
LOCAL = Source(Origin.LOCAL, "")
ALLOWED = "allowed_networks = 10.100.100.0/24, 192.168.0.0/16"


async def connected(mesh, name, address, *networks, at):
    at.connect(name, address, *networks)
    others = [server for server in mesh.servers if server is not at]
    await mesh.until(lambda: all(address in other.clients for other in others))


@pytest.fixture
async def two(mesh, autojump_clock):
    a, b = await started(mesh, "AB", ALLOWED)
    await connected(mesh, "host1", HOST1, at=a)
    await connected(mesh, "host2", HOST2, NETWORK, at=b)
    await mesh.until(lambda: NETWORK in a.clients)
    return a, b


async def test_a_client_elsewhere_by_address_and_by_name(mesh, two, autojump_clock):
    a, _ = two
    answer = await why(a.daemon, HOST2)
    assert (answer.reached, answer.node, answer.target) == (True, "A", HOST2)
    [one] = answer.addresses
    assert answer.verdict == one.verdict
    assert one.verdict.startswith(f"{HOST2} is reached through to-B by B: host2 connected there")
    assert [(c.prefix, c.node, c.best) for c in one.claims] == [(f"{HOST2}/32", "B", True)]
    assert one.peer is not None
    assert (one.peer.name, one.peer.state) == ("B", "up")
    assert [(r.owner, r.used, r.trace) for r in one.routes] == [
        ("cuberouted", True, "added"),
        ("kernel", False, ""),
    ]
    assert [(p.origin, p.source, p.right) for p in one.lookups] == [
        ("", "", True),
        ("tun0", HOST1, True),
    ]
    by_name = await why(a.daemon, "host2")
    assert by_name.reached
    assert [one.address for one in by_name.addresses] == [HOST2, NETWORK]


async def test_a_client_here_is_looked_up_from_its_peers_too(mesh, two, autojump_clock):
    a, b = two
    [one] = (await why(a.daemon, HOST1)).addresses
    assert one.verdict.startswith(f"{HOST1} is reached through tun0: host1 connected here")
    assert [(p.origin, p.source, p.right) for p in one.lookups] == [
        ("", "", True),
        ("tun0", "10.100.100.254", True),
        ("to-B", b.data_address, True),
    ]


async def test_an_address_in_a_network_and_the_servers(mesh, two, autojump_clock):
    a, b = two
    inside = await why(a.daemon, "192.168.50.7")
    assert "it is in 192.168.50.0/24 behind host2" in inside.verdict
    for target in ("B", b.data_address):
        answer = await why(a.daemon, target)
        assert answer.reached
        assert answer.verdict == (
            f"{b.data_address} is reached through to-B: it is the data address of B"
        )
    own = await why(a.daemon, a.data_address)
    assert own.verdict.startswith(f"{a.data_address} is an address of this host itself")
    management = await why(a.daemon, "10.200.200.2")
    assert management.verdict == "10.200.200.2 is reached through to-B: the management address of B"


async def test_the_first_line_of_a_name_is_of_the_address_that_is_not_reached(
    mesh, two, autojump_clock
):
    a, _ = two
    a.kernel.add_blackhole(NETWORK, 20)
    answer = await why(a.daemon, "host2")
    assert not answer.reached
    assert answer.verdict.startswith(f"{NETWORK} is not reached")
    assert [one.reached for one in answer.addresses] == [False, True]


async def test_a_client_that_roamed_shows_where_it_was(mesh, two, autojump_clock):
    a, b = two
    b.connect("host1", HOST1)
    await mesh.until(lambda: a.clients.get(HOST1) == "B")
    [one] = (await why(a.daemon, HOST1)).addresses
    assert one.reached
    assert [(c.node, c.why) for c in one.claims] == [
        ("B", ""),
        ("A", "its session is older than the one at B"),
    ]
    assert one.notes[0].startswith("the session of host1 here is")


async def test_a_foreign_route_is_named_with_its_cure(mesh, two, autojump_clock):
    a, _ = two
    a.kernel.add_route(f"{HOST2}/32", "tun0", 20)
    await mesh.until(lambda: a.daemon.foreign_routes.conflicts)
    [one] = (await why(a.daemon, HOST2)).addresses
    assert not one.reached
    assert "follow 10.100.100.12/32 dev tun0 in table main" in one.verdict
    assert "`ip route del 10.100.100.12/32 dev tun0 table main metric 20`" in one.advice
    assert [(r.owner, r.used) for r in one.routes] == [
        ("cuberouted", False),
        ("foreign", True),
        ("kernel", False),
    ]


async def test_a_missing_tunnel_and_a_peer_that_is_down(mesh, two, autojump_clock):
    a, b = two
    a.kernel.set_up("to-B", False)
    await mesh.until(lambda: not a.routes)
    [one] = (await why(a.daemon, HOST2)).addresses
    assert one.verdict.endswith("it is host2 at B, and the interface to-B is down")
    assert one.advice.startswith("`ip link set to-B up`")
    a.kernel.set_up("to-B", True)
    await mesh.until(lambda: HOST2 in a.clients)
    await b.crash()
    await mesh.until(lambda: HOST2 not in a.clients)
    [one] = (await why(a.daemon, HOST2)).addresses
    assert not one.reached
    assert one.verdict.endswith("B is down, so its clients are not known")
    by_name = await why(a.daemon, "B")
    assert not by_name.reached
    assert "the management address of B" in by_name.verdict


async def test_overlapping_pools_and_the_name_of_the_one_that_lost(mesh, two, autojump_clock):
    a, b = two
    b.connect("host3", HOST1)
    await mesh.until(lambda: a.clients.get(HOST1) == "B")
    answer = await why(a.daemon, HOST1)
    assert answer.reached
    assert "their address pools overlap" in answer.addresses[0].notes[0]
    lost = await why(a.daemon, "host1")
    assert not lost.reached
    assert lost.verdict.startswith(f"host1 is not reached: host3 at B has {HOST1}, too")


async def test_a_refused_prefix_tells_who_has_it_and_why(mesh, autojump_clock):
    a, b = mesh.add("A", ALLOWED), mesh.add("B", f"{ALLOWED}, 10.55.0.0/16")
    await mesh.start()
    b.connect("host9", "10.55.0.9")
    a.connect("host8", "10.66.0.8")
    rib = a.daemon.node.rib
    await mesh.until(lambda: all(rib.refused(s) for s in (Source(Origin.PEER, "B"), LOCAL)))
    for address, name, place in (("10.55.0.9", "host9", "at B"), ("10.66.0.8", "host8", "here")):
        for target in (address, name):
            answer = await why(a.daemon, target)
            assert not answer.reached
            assert answer.verdict == (
                f"{address} is not reached: {name} {place} has it, but it is refused: outside"
                " allowed_networks"
            )


@pytest.mark.parametrize(
    ("asked", "near"), [("hos", ["host1", "host2"]), ("hots2", ["host2"]), ("nobody", [])]
)
async def test_an_unknown_name_shows_those_that_are_like_it(mesh, two, autojump_clock, asked, near):
    a, _ = two
    answer = await why(a.daemon, asked)
    assert (answer.reached, answer.addresses) == (False, [])
    assert answer.verdict.startswith(f"no client, server or service is called {asked}")
    assert ("did you mean" in answer.verdict) == bool(near)
    names = [match.name for match in answer.matches]
    assert names[: len(near)] == near
    assert bool(names) == bool(near)


async def test_a_name_may_have_escapes_as_the_listings_print_them(mesh, two, autojump_clock):
    a, b = two
    b.connect("odd\u00a0na\\me", HOST3)
    await mesh.until(lambda: HOST3 in a.clients)
    assert (await why(a.daemon, "odd\\xa0na\\me")).reached


async def test_of_many_addresses_only_a_list_comes(mesh, two, autojump_clock):
    a, _ = two
    rib, source = a.daemon.node.rib, Source(Origin.PEER, "B")
    prefixes = [Prefix.parse(f"192.168.7.{n}") for n in range(1, MAX_MATCHES + 10)]
    for count in (MAX_EXPLAINED, len(prefixes)):
        advertise = [Advertisement(p, Kind.CLIENT, b"many", 5, True) for p in prefixes[:count]]
        rib.update(source, "B", advertise)
        answer = await why(a.daemon, "many")
        if count == MAX_EXPLAINED:
            assert len(answer.addresses) == count
            continue
        assert (answer.reached, answer.addresses) == (False, [])
        assert answer.verdict == f"many has {count} addresses"
        assert len(answer.matches) == MAX_MATCHES
        assert answer.matches[0].address == "192.168.7.1"


async def test_a_foreign_table_s_routes_are_shown_with_the_rule(mesh, two, autojump_clock):
    a, _ = two
    a.kernel.add_route("10.100.100.0/24", "tun0", 0, table=77)
    a.kernel.add_rule(100, 77)
    await mesh.until(lambda: a.daemon.foreign_routes.conflicts)
    [one] = (await why(a.daemon, HOST2)).addresses
    assert not one.reached
    assert one.rules == ["100: all packets, table 77"]
    assert MAIN_TABLE != 77


async def test_a_search_by_name_among_20_000_clients_holds_the_loop_shortly(
    mesh, two, autojump_clock
):
    a, _ = two
    rib, source = a.daemon.node.rib, Source(Origin.PEER, "B")
    prefixes = [Prefix((0xC0A80000 + n).to_bytes(4), 32) for n in range(20_000)]
    rib.update(
        source,
        "B",
        [Advertisement(p, Kind.CLIENT, b"client%d" % n, 5, True) for n, p in enumerate(prefixes)],
    )
    for target, matches in (("client19999", 0), ("client", MAX_MATCHES), ("clent19998", 1)):
        with longest_step() as longest:
            answer = await why(a.daemon, target)
        assert len(answer.matches) >= matches
        assert longest.seconds < 0.02, target


async def test_with_a_table_of_our_own_the_rule_and_its_route_are_shown(mesh, autojump_clock):
    a, b = mesh.add("A", ALLOWED, table=1000), mesh.add("B", ALLOWED)
    await mesh.start()
    await connected(mesh, "host2", HOST2, at=b)
    a.kernel.add_route(f"{HOST2}/32", "tun0", 20)  # in the main table, which comes later
    foreign = a.daemon.foreign_routes
    await mesh.until(lambda: len(foreign.around(Prefix.parse(HOST2))) == 2)
    [one] = (await why(a.daemon, HOST2)).addresses
    assert one.reached
    assert one.rules == ["5657: all packets, table 1000, without default routes"]
    assert one.routes[0].text.startswith(f"{HOST2}/32 dev to-B in table 1000 (protocol 201")
    assert [route.used for route in one.routes] == [True, False, False]
    assert one.lookups[0].text == f"{HOST2}/32 dev to-B in table 1000"


async def test_of_several_openvpn_processes_the_one_that_has_the_client_counts(
    mesh, autojump_clock
):
    a, b = mesh.add("A", ALLOWED), mesh.add("B", ALLOWED)
    a.kernel.add_tunnel("tun9")
    tcp = a.add_openvpn("tcp")
    a.openvpns["udp"] = a.openvpns.pop("")
    a.sections = [
        section_of(b),
        "[openvpn udp]",
        "[openvpn tcp]\nmgmt_port = 5658\ndata_interface = tun9",
    ]
    await mesh.start()
    tcp.connect(b"host1", HOST1.encode())
    await mesh.until(lambda: b.clients == {HOST1: "A"} and a.clients == {HOST1: "tun9"})
    [one] = (await why(a.daemon, HOST1)).addresses
    assert one.verdict.startswith(f"{HOST1} is reached through tun9: host1 connected here")
    assert all(lookup.right for lookup in one.lookups)
