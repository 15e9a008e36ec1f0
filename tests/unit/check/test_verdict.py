from __future__ import annotations

import pytest

from cuberouted.check.finding import Finding
from cuberouted.check.verdict import report, select, verdict, worst
from tests.unit.check.hosts import OK, PROBLEM, UNSEEN, WARNING

WELL = Finding(OK, "forwarding-off", "IPv4 forwarding", "is on")
UNKNOWN = Finding(UNSEEN, "forward-filter", "firewall", "only root")
DOUBTFUL = Finding(WARNING, "rp-filter-strict", "tun1", "is strict")
WAITING = Finding(WARNING, "interface-missing", "tun0", "does not exist")
WRONG = Finding(PROBLEM, "port-taken", "10.0.0.1 port 5657", "is in use", "stop it", "kill 7")


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        ([WELL], "cuberouted would work on this host"),
        ([WELL, DOUBTFUL], "cuberouted would work on this host; 1 warning"),
        ([UNKNOWN], "cuberouted would work on this host; 1 not looked at"),
        (
            [WAITING, DOUBTFUL, UNKNOWN],
            "cuberouted would start on this host, and wait: tun0; 2 warnings; 1 not looked at",
        ),
        ([WRONG, WELL, WAITING], "1 problem: 10.0.0.1 port 5657; 1 warning"),
        ([WRONG, WRONG], "2 problems: 10.0.0.1 port 5657"),
    ],
)
def test_the_verdict_answers_the_question(findings, text):
    assert verdict(findings, complete=True) == text


def test_a_part_of_the_checks_does_not_answer_it():
    assert verdict([WELL], complete=False) == "no problem in the checks that were made"
    assert verdict([WAITING], complete=False).endswith("that were made; 1 warning")
    assert verdict([WRONG], complete=False) == "1 problem: 10.0.0.1 port 5657"


def test_a_verdict_does_not_name_everything():
    many = [Finding(PROBLEM, "port-taken", f"port {n}", "is in use") for n in range(6)]
    assert verdict(many, complete=True) == "6 problems: port 0, port 1, port 2, port 3, port 4, ..."


def test_checks_are_selected_by_their_ids():
    findings = [WELL, UNKNOWN, DOUBTFUL]
    assert select(findings, (), ()) == findings
    assert select(findings, ("forward-filter", "port-taken"), ()) == [UNKNOWN]
    assert select(findings, (), ("forward-filter",)) == [WELL, DOUBTFUL]
    assert select(findings, ("forward-filter",), ("forward-filter",)) == []


def test_the_worst_level_counts():
    assert [worst(f) for f in ([], [WELL], [UNKNOWN, WELL], [WRONG, WAITING])] == [
        OK,
        OK,
        UNSEEN,
        PROBLEM,
    ]


def test_the_report_has_what_is_known_of_each_finding():
    made = report([WELL, WRONG], complete=True)
    assert (made.version, made.level) == (1, "problem")
    assert made.counts == {"ok": 1, "could not look": 0, "warning": 0, "problem": 1}
    row = made.findings[1]
    assert (row.level, row.id, row.subject, row.text) == (
        "problem",
        "port-taken",
        "10.0.0.1 port 5657",
        "is in use",
    )
    assert (row.advice, row.command) == ("stop it", "kill 7")
    assert row.anchor == "docs/checks.md#port-taken"
    assert row.title
    assert row.why.startswith("Peers cannot connect")


def test_a_finding_has_a_known_id():
    with pytest.raises(ValueError, match="must be in"):
        Finding(OK, "forwarding", "IPv4 forwarding", "is on")
