"""`drain`, `resume` and `rebalance` as users type them; the daemon is a control socket."""

from __future__ import annotations

import datetime as dt
import time

import msgspec
import pytest

from cuberouted.api.http import Endpoint, HttpError
from cuberouted.api.report_drain import (
    DrainClientRow,
    DrainOrder,
    DrainQuery,
    DrainReport,
    RebalanceOrder,
    RebalanceReport,
    ResumeOrder,
)
from cuberouted.cli import drain as command
from cuberouted.cli import render_drain
from cuberouted.cli.context import PROBLEM, WRONG_USAGE
from cuberouted.cli.terminal import Terminal
from cuberouted.cli.until import parse_until
from tests.unit.cli.test_cli import place

__all__ = ["place"]


def report(state="draining", finished=False, rows=(), moved=None, **changes) -> DrainReport:
    outcomes: dict[str, int] = {"moved": sum((moved or {}).values())} if moved else {}
    for row in rows:
        outcomes[row.outcome] = outcomes.get(row.outcome, 0) + 1
    values = {
        "node": "A",
        "state": state,
        "by": "root",
        "since": "2026-11-27T18:00:00Z",
        "until": "",
        "reason": "",
        "finished": finished,
        "total": sum(outcomes.values()),
        "moved": moved or {},
        "clients": list(rows),
        "outcomes": outcomes,
    }
    return DrainReport(**values | changes)


def row(name, outcome, returns=0, why=""):
    return DrainClientRow(name, "10.9.0.1", outcome, returns=returns, why=why)


BACK = [row("host7", "came_back", 3), row("host9", "came_back", 1), row("host12", "came_back", 2)]
DONE = report("maintenance", True, BACK, {"vpnsrvC": 17, "vpnsrvB": 20})


class Daemon:
    """Serves `reports` one after the other, the last one for ever; ``orders``: what it was sent."""

    def __init__(self, *reports, refuse=""):
        self.reports = list(reports)
        self.refuse = refuse
        self.orders = []
        self.asked = []

    @property
    def endpoints(self):
        return [
            Endpoint("POST", "/v1/drain", self.post, body=DrainOrder),
            Endpoint("GET", "/v1/drain", self.get, parameters=DrainQuery),
            Endpoint("POST", "/v1/resume", self.resume, body=ResumeOrder),
        ]

    async def post(self, request):
        self.orders.append(request.json(DrainOrder))
        if self.refuse:
            raise HttpError(409, self.refuse)
        return self._next()

    async def get(self, request):
        self.asked.append(request.parameters(DrainQuery).all)
        return self._next()

    async def resume(self, request):
        assert request.json(ResumeOrder)
        return self._next()

    def _next(self):
        return self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)


def run(place, daemon, *arguments):
    with place.daemon(more=daemon.endpoints):
        return place.run(*arguments)


def test_the_order_is_sent_as_it_was_typed(place):
    daemon = Daemon(report(rows=[row("x", "waiting")] * 3, interval=40.0))
    done = run(
        place, daemon, "drain", "--over", "2m", "--force", "--reason", "disk", "--until", "2h"
    )
    [order] = daemon.orders
    assert (order.over, order.force, order.reason, order.dry_run) == (120.0, True, "disk", False)
    assert order.until > 0
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "A is draining: 3 clients to be sent on, within 120 s",
        "`cuberouted drain --wait` waits for the end",
    ]


@pytest.mark.parametrize(("interval", "pace"), [(0.2, "five a second"), (60.0, "within 180 s")])
def test_who_only_waits_is_told_the_pace_of_the_drain_that_goes_on(place, interval, pace):
    daemon = Daemon(report(rows=[row("x", "waiting")] * 3, interval=interval), DONE)
    done = run(place, daemon, "drain", "--wait")
    assert done.stdout.splitlines()[0] == f"A is draining: 3 clients to be sent on, {pace}"


@pytest.mark.parametrize(
    "arguments", [["--over", "soon"], ["--until", "1999-01-01"], ["--until", "25:00"]]
)
def test_wrong_times_are_wrong_usage(place, arguments):
    done = place.run("drain", *arguments)
    assert done.exit_code == WRONG_USAGE
    assert arguments[1] in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["drain", "--dry-run", "--wait"], "--dry-run and --wait cannot be given together"),
        (["rebalance", "--per-minute", "x"], "'x' is not a valid number"),
        (["rebalance", "--per-minute", "0"], "0.0 is not in the range 0.01<=x<=6000"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(place, arguments, why):
    done = place.run(*arguments)
    assert done.exit_code == WRONG_USAGE
    assert why in done.stderr


def test_a_refusal_is_told(place):
    done = run(place, Daemon(DONE, refuse="no other node takes clients: B is down"), "drain")
    assert (done.exit_code, done.stdout) == (PROBLEM, "")
    assert "no other node takes clients: B is down" in done.stderr


def test_it_waits_and_tells_who_went_where(place):
    first = report(rows=[row("x", "waiting"), row("y", "sent")], moved={"vpnsrvB": 1})
    daemon = Daemon(first, first, first, DONE)
    done = run(place, daemon, "drain", "--wait")
    assert done.exit_code == PROBLEM
    lines = done.stdout.splitlines()
    assert lines[1] == "A draining: 1 of 3 clients moved, 1 waiting, 1 on their way"
    assert lines[2] == (
        "37 of 40 clients moved to vpnsrvB (20), vpnsrvC (17); 3 came back:"
        " host7 (only this server in its configuration?), host9,"
        " host12 (only this server in its configuration?)"
    )
    assert lines[3].startswith("stop OpenVPN now")
    assert "explicit-exit-notify 2" in lines[3]
    assert "`cuberouted resume` puts A into service again" in lines[4]


def test_all_have_moved(place):
    done = run(place, Daemon(report("maintenance", True, moved={"B": 2})), "drain", "--wait")
    assert done.exit_code == 0
    assert "2 of 2 clients moved to B (2)" in done.stdout


def test_in_json_the_last_report_has_all_clients(place):
    daemon = Daemon(report(), DONE)
    done = run(place, daemon, "drain", "--wait", "--json")
    assert msgspec.json.decode(done.stdout, type=DrainReport) == DONE
    assert daemon.asked[-1] is True
    assert done.exit_code == PROBLEM


def test_what_it_would_do_is_told(place):
    planned = report("active", total=40, outcomes={"waiting": 40}, services=["db"])
    done = run(place, Daemon(planned), "drain", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout == (
        "A is active; would send 40 clients on, in some 8 s, and hand over: db\n"
    )
    planned.refused = ["no other node takes clients: none is configured"]
    done = run(place, Daemon(planned), "drain", "--dry-run")
    assert done.exit_code == PROBLEM
    assert done.stdout.startswith("refused without --force: no other node")


def test_ctrl_c_ends_the_waiting_and_not_the_drain(place, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    done = run(place, Daemon(report()), "drain", "--wait")
    assert done.exit_code == command.INTERRUPTED
    assert "A goes on draining" in done.stderr


def test_somebody_resumes_meanwhile(place):
    done = run(place, Daemon(report(), report("active")), "drain", "--wait")
    assert done.exit_code == PROBLEM
    assert "was resumed before" in done.stderr


def test_a_daemon_that_does_not_come_back_is_not_waited_for_for_ever(place, monkeypatch):
    clock = iter(range(0, 100000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    daemon = Daemon(report())
    with place.daemon(more=daemon.endpoints):
        pass  # the socket is gone afterwards
    with pytest.raises(SystemExit):
        command._wait(place.socket, report(), show=False)


def test_resume(place):
    done = run(place, Daemon(report("active", problems=["this node was active already"])), "resume")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["note: this node was active already", "A is active"]


def test_rebalance(place):
    orders = []

    async def handler(request):
        orders.append(request.json(RebalanceOrder))
        return RebalanceReport("A", 30, 20.0, 10, 3, True, "", "sends 5 clients a minute on")

    endpoint = Endpoint("POST", "/v1/rebalance", handler, body=RebalanceOrder)
    with place.daemon(more=[endpoint]):
        done = place.run("rebalance", "--per-minute", "5")
        stopped = place.run("rebalance", "--stop")
    assert orders == [RebalanceOrder(5.0), RebalanceOrder(10.0, stop=True)]
    assert done.stdout == "A has 30 clients, its share is 20: sends 5 clients a minute on\n"
    assert stopped.stdout.splitlines()[1] == "3 clients sent on"


def test_a_reason_in_odd_bytes_is_sent_printable(place):
    daemon = Daemon(report())
    run(place, daemon, "drain", "--reason", "caf\u00e9 \udcff\n" + "x" * 600)
    [order] = daemon.orders
    assert order.reason.startswith("caf\u00e9 \\xff\\nxxx")
    assert len(order.reason) == 500


def test_on_a_terminal_one_line_is_written_again_and_again(capsys):
    display = command._Display(Terminal(width=30))
    display.update("A draining: 1 of 40 clients moved, 39 waiting", 0.0)
    display.update("A draining: 2 of 40", 1.0)
    display.clear()
    display.clear()
    assert capsys.readouterr().out == (
        "\r\x1b[KA draining: 1 of 40 client...\r\x1b[KA draining: 2 of 40\r\x1b[K"
    )


def test_in_a_pipe_lines_are_few(capsys):
    display = command._Display(Terminal())
    for second in range(60):
        display.update(f"{second} of 60", float(second))
        display.update(f"{second} of 60", float(second))
    display.clear()
    shown = capsys.readouterr().out.splitlines()
    assert shown == [f"{second} of 60" for second in range(0, 60, 10)]


def test_what_holds_it_up_is_told_once_while_it_waits(place):
    nobody = "other nodes: nobody is sent on"
    first = report(rows=[row("x", "waiting")], problems=["kept: not written"])
    stuck = report(rows=[row("x", "waiting")], problems=["kept: not written", nobody])
    done = run(place, Daemon(first, stuck, stuck, stuck, DONE), "drain", "--wait")
    lines = done.stdout.splitlines()
    assert lines[0] == "note: kept: not written"
    assert lines[2:4] == [f"note: {nobody}", "A draining: 0 of 1 client moved, 1 waiting"]
    assert lines.count(f"note: {nobody}") == 1


def test_many_names_are_not_all_shown():
    rows = [row(f"host{n}", "left") for n in range(30)]
    [line] = render_drain.result(report(rows=rows))
    assert line.endswith("host19, and 10 more (--json has all)")
    kept = report("maintenance", True, [row("a", "kept", why="OpenVPN is silent")], services=["db"])
    lines = render_drain.result(kept)
    assert lines[0] == "0 of 1 client moved; 1 kept: a (OpenVPN is silent)"
    assert lines[1] == "services that are still here: db"
    assert render_drain.result(report("maintenance", True))[0] == "A had no clients"


def test_services_that_nobody_else_can_have_are_told_and_are_not_well(place):
    kept = "services that stay here, no other node can have them: db"
    changes = {"services": ["db", "web"], "kept_services": ["db"]}
    first = report(rows=[row("x", "waiting")], **changes)
    done = report("maintenance", True, moved={"B": 1}, services=["db"], kept_services=["db"])
    lines = render_drain.begun(first)
    assert lines[1:] == ["services that are handed over: web", kept]
    assert kept in render_drain.result(done)
    assert not render_drain.is_well(done)
    planned = render_drain.planned(first, None)
    assert planned == [
        "A is draining; would send 1 client on, in some 1 s, and hand over: web",
        kept,
    ]
    assert run(place, Daemon(first, done), "drain", "--wait").exit_code == PROBLEM


def test_services_that_are_being_handed_over_are_waited_for(place):
    late = report("maintenance", True, moved={"B": 1}, services=["db"])
    done = run(
        place,
        Daemon(late, late, late, report("maintenance", True, moved={"B": 1})),
        "drain",
        "--wait",
    )
    assert done.exit_code == 0
    assert "services still here: db" in done.stdout


def test_a_dry_run_while_a_drain_goes_on_counts_those_who_wait():
    going = report(rows=[row("x", "waiting")] * 2, moved={"B": 8}, interval=60.0)
    [line] = render_drain.planned(going, None)
    assert line == "A is draining; would send 2 clients on, in some 120 s"
    [line] = render_drain.planned(report("maintenance", True), None)
    assert line == "A is in maintenance; would send no client on"


def test_the_end_is_told_in_local_time():
    until = dt.datetime(2026, 11, 27, 18, 0).astimezone(dt.UTC)
    [line] = render_drain.begun(report(until=f"{until:%Y-%m-%dT%H:%M:%SZ}"))
    assert line == "A is draining until 2026-11-27 18:00"


NOW = dt.datetime(2026, 11, 27, 17, 0).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18:00", dt.datetime(2026, 11, 27, 18, 0)),
        ("17:00", dt.datetime(2026, 11, 28, 17, 0)),
        ("6:30", dt.datetime(2026, 11, 28, 6, 30)),
        ("2026-11-28 06:00", dt.datetime(2026, 11, 28, 6, 0)),
        ("2026-11-29", dt.datetime(2026, 11, 29)),
        ("2026-11-28T06:00+03:00", dt.datetime(2026, 11, 28, 3, 0, tzinfo=dt.UTC)),
        ("2h", dt.datetime(2026, 11, 27, 19, 0)),
        ("90m", dt.datetime(2026, 11, 27, 18, 30)),
        ("3d", dt.datetime(2026, 11, 30, 17, 0)),
    ],
)
def test_times_are_understood(text, expected):
    assert parse_until(text, NOW) == int(expected.timestamp())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soon", "is not a time"),
        ("24:00", "not a time of day"),
        ("2026-11-27 16:59", "is over"),
        ("0s", "is over"),
        ("9999-01-01", "more than a year"),
        ("400d", "more than a year"),
        ("", "is not a time"),
    ],
)
def test_other_times_are_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parse_until(text, NOW)
