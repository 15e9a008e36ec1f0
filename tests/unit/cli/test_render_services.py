from __future__ import annotations

from cuberouted.api.report_services import ServiceNodeRow, ServiceRow, Services
from cuberouted.cli.render_services import service_lines
from cuberouted.cli.terminal import Terminal

NOW = 1_795_222_140.0
SINCE = "2026-11-21T00:08:00+00:00"

A = ServiceNodeRow("A", "holding", 200, SINCE, "", local=True, checked=0.71)
B = ServiceNodeRow("B", "unfit", 100, "", "check: it is full", local=False)
DB = ServiceRow(
    "db", "10.100.100.200", "single", ["A"], "A", True, [A, B], "B cannot have it: it is full"
)
WEB = ServiceRow("web", "10.100.100.201", "nearest", [], None, False, [], "", ["nobody has it"])


def test_on_a_terminal_each_service_is_a_block():
    assert service_lines(Services("A", [DB, WEB]), Terminal(width=100), NOW) == [
        "db (10.100.100.200): at A; B cannot have it: it is full",
        "NODE           PHASE    PRIORITY  SINCE       CHECKED  WHY",
        "A (this node)  holding       200  41 min ago  0 s ago  -",
        "B              unfit         100  -           -        check: it is full",
        "",
        "web (10.100.100.201, placement = nearest): nobody has it",
        "NODE  PHASE  PRIORITY  SINCE",
        "problem: nobody has it",
    ]


def test_in_a_pipe_there_is_a_row_for_each_node():
    assert [line.split() for line in service_lines(Services("A", [DB, WEB]), Terminal(), NOW)] == [
        ["NAME", "ADDRESS", "NODE", "PHASE", "PRIORITY", "SINCE", "CHECKED", "WHY"],
        ["db", "10.100.100.200", "A", "holding", "200", SINCE, "0.7", "-"],
        ["db", "10.100.100.200", "B", "unfit", "100", "-", "-", "check:", "it", "is", "full"],
    ]


def test_it_is_well_if_somebody_has_it_and_only_one_unless_everybody_may():
    both = ServiceRow("db", "", "single", ["A", "B"], "A", True, [])
    assert Services("A", [DB]).well
    assert not Services("A", [DB, WEB]).well
    assert not both.well
    both.placement = "nearest"
    assert both.well
