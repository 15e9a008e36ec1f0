import attrs
import pytest

from cuberouted.model import Kind, Prefix
from cuberouted.routing.policy import REASON_LABELS, Policy, reason_label

POLICY = Policy(
    allowed=tuple(map(Prefix.parse, ("10.100.100.0/24", "192.168.50.0/24", "fd00:9::/64"))),
    own_addresses=frozenset({Prefix.parse("10.100.100.1").address}),
    management=frozenset({Prefix.parse("10.100.100.250").address}),
    servers={Prefix.parse("10.100.100.101"): "vpnsrvB"},
)
WITH_SERVICES = attrs.evolve(
    POLICY,
    services={
        Prefix.parse(address).address: name
        for address, name in (
            ("10.100.100.200", "db"),
            ("10.55.0.1", "web"),
            ("fd00:55::1", "web6"),
            ("10.55.0.250", "clash"),
        )
    },
    management=POLICY.management | {Prefix.parse("10.55.0.250").address},
)


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("10.100.100.12", None),
        ("fd00:9::12", None),
        ("192.168.50.0/24", None),
        ("10.100.100.128/26", None),
        ("10.100.101.12", "outside allowed_networks"),
        ("10.100.0.0/16", "outside allowed_networks"),
        ("0.0.0.0/0", "outside allowed_networks"),
        ("10.100.100.1", "an address of this host"),
        ("10.100.100.0/28", "an address of this host"),
        ("10.100.100.250", "a peer's management address"),
        ("10.100.100.240/28", "a peer's management address"),
        ("10.100.100.101", None),
    ],
)
def test_only_prefixes_of_clients_are_believed(prefix, why):
    assert POLICY.refusal(Prefix.parse(prefix), Kind.CLIENT, "vpnsrvB") == why


def test_a_configured_data_address_belongs_to_that_peer_alone():
    refusal = POLICY.refusal(Prefix.parse("10.100.100.101"), Kind.CLIENT, "vpnsrvC")
    assert refusal == "the data address of peer vpnsrvB"


def test_every_refusal_has_one_of_few_labels():
    prefixes = {
        "10.100.101.12": "outside_allowed_networks",
        "10.100.100.1": "own_address",
        "10.100.100.250": "management_address",
        "10.100.100.101": "data_address",
    }
    everywhere = Policy(allowed=(Prefix.parse("0.0.0.0/0"),))
    found = [
        *(POLICY.refusal(Prefix.parse(prefix), Kind.CLIENT, "vpnsrvC") for prefix in prefixes),
        *(
            everywhere.refusal(Prefix.parse(p), Kind.CLIENT, "vpnsrvC")
            for p in ("127.0.0.1", "0.0.0.0/0")
        ),
    ]
    labels = [reason_label(why) for why in found if why is not None]
    assert labels == [*prefixes.values(), "not_unicast", "default_route"]
    of_service = WITH_SERVICES.refusal(Prefix.parse("10.100.100.200"), Kind.CLIENT, "")
    labels.append(reason_label(str(of_service)))
    assert labels[-1] == "service_address"
    assert set(labels) == set(REASON_LABELS)


def test_we_may_claim_our_own_address():
    assert POLICY.refusal(Prefix.parse("10.100.100.1"), Kind.CLIENT, "") is None


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("0.0.0.0/0", "a default route"),
        ("::/0", "a default route"),
        ("127.0.0.1", "not a unicast address"),
        ("224.0.0.5", "not a unicast address"),
        ("255.255.255.255", "not a unicast address"),
        ("169.254.1.1", "not a unicast address"),
        ("::1", "not a unicast address"),
        ("fe80::1", "not a unicast address"),
        ("ff02::1", "not a unicast address"),
        ("10.0.0.1", None),
        ("2001:db8::1", None),
    ],
)
def test_even_where_everything_is_allowed_some_prefixes_never_are(prefix, why):
    everything = Policy(allowed=(Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0")))
    assert everything.refusal(Prefix.parse(prefix), Kind.CLIENT, "vpnsrvB") == why


@pytest.mark.parametrize("peer", ["", "vpnsrvB"])
@pytest.mark.parametrize(
    ("prefix", "service"), [("10.100.100.200", "db"), ("10.55.0.1", "web"), ("fd00:55::1", "web6")]
)
def test_the_address_of_a_service_of_this_node_is_for_claims_to_it_alone(prefix, service, peer):
    found = {k: WITH_SERVICES.refusal(Prefix.parse(prefix), k, peer) for k in Kind}
    assert found.pop(Kind.SERVICE) is None
    assert set(found.values()) == {f"the address of service {service}"}


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("10.100.100.201", None),  # a service that this node does not have
        ("10.55.0.2", "outside allowed_networks"),
        ("10.55.0.0/31", "outside allowed_networks"),
        ("10.100.100.101", "the data address of peer vpnsrvB"),
        ("10.100.100.1", "an address of this host"),
        ("10.55.0.250", "a peer's management address"),
    ],
)
def test_claims_to_services_are_accepted_like_clients_otherwise(prefix, why):
    assert WITH_SERVICES.refusal(Prefix.parse(prefix), Kind.SERVICE, "vpnsrvC") == why


def test_a_network_around_the_address_of_a_service_is_accepted():
    assert WITH_SERVICES.refusal(Prefix.parse("10.100.100.200/29"), Kind.NETWORK, "C") is None
