from __future__ import annotations

import itertools

import pytest

from cuberouted.check.catalogue import CHECKS
from cuberouted.check.causes import EXPLAINS, without_consequences
from cuberouted.check.finding import Finding, Level
from tests.unit.check.hosts import OK, PROBLEM, UNSEEN, WARNING

PAIRS = [(cause, other) for cause, explained in EXPLAINS.items() for other in sorted(explained)]


def finding(id_, level=WARNING, *about):
    return Finding(level, id_, "it", "is so", about=frozenset(about))


@pytest.mark.parametrize(("cause", "other"), PAIRS)
def test_a_consequence_is_no_finding_of_its_own(cause, other):
    first, second = finding(cause, WARNING, "tun1", "B"), finding(other, WARNING, "tun1")
    assert without_consequences([second, first]) == [first]


def test_what_has_another_cause_stays():
    cause = finding("interface-missing", WARNING, "interface tun1")
    for other in (
        finding("peer-not-up", WARNING, "interface tun2"),
        finding("peer-not-up", WARNING),
        finding("peer-not-up", OK, "interface tun1"),
        finding("peer-not-up", PROBLEM, "interface tun1"),  # an incompatible one, for example
        finding("forwarding-off", WARNING, "interface tun1"),
    ):
        assert without_consequences([cause, other]) == [cause, other]


def test_what_is_right_explains_nothing():
    cause = finding("interface-missing", OK, "interface tun1")
    other = finding("peer-not-up", WARNING, "interface tun1")
    assert without_consequences([cause, other]) == [cause, other]


def test_the_consequence_of_a_consequence_has_the_first_cause():
    first = finding("openvpn-absent", WARNING, "openvpn", "interface tun0")
    second = finding("interface-missing", WARNING, "interface tun0")
    third = finding("daemon-reports", WARNING, "interface tun0")
    for order in itertools.permutations((first, second, third)):
        assert without_consequences(order) == [first]


@pytest.mark.parametrize(("level", "other"), list(itertools.product(Level, Level)))
def test_the_worst_finding_is_as_bad_without_the_consequences(level, other):
    findings = [
        finding("interface-missing", level, "tun1"),
        finding("peer-not-up", other, "tun1"),
    ]
    left = without_consequences(findings)
    assert max(f.level.severity for f in left) == max(level.severity, other.severity)


def test_no_finding_is_its_own_cause():
    assert EXPLAINS.keys() | {other for _, other in PAIRS} <= CHECKS.keys()

    def causes(id_, seen):
        assert id_ not in seen
        for cause, other in PAIRS:
            if other == id_:
                causes(cause, seen | {id_})

    for id_ in CHECKS:
        causes(id_, frozenset())


def test_levels_are_ordered():
    assert sorted(Level, key=lambda level: level.severity) == [OK, UNSEEN, WARNING, PROBLEM]
