from __future__ import annotations

import datetime as dt

import pytest

from cuberouted import events
from cuberouted.daemon.hook_queue import (
    MAX_LINE,
    MAX_VALUE,
    MAX_WAITING,
    HookFailures,
    HookQueue,
    environment,
)
from cuberouted.events import RouteTrace
from cuberouted.util.command import CommandEnd

MOVED = events.ClientMoved(
    number=7,
    time=dt.datetime(2026, 11, 27, 9, 30, tzinfo=dt.UTC),
    node="vpnsrvA",
    address="10.100.100.14",
    client="host2",
    from_node="vpnsrvB",
    to_node="vpnsrvC",
    routed_after=0.0019,
)
REQUESTED = events.DisconnectRequested(client="host2", at_node="vpnsrvB", by="root")
DEBUG = events.RouteChanged(address="10.100.100.14", trace=RouteTrace.ADDED)


def taken(queue):
    return list(iter(queue.take, None))


def test_events_leave_in_order_without_debug_events():
    queue = HookQueue()
    assert [queue.put(event) for event in (MOVED, DEBUG, REQUESTED)] == [True, False, True]
    assert taken(queue) == [MOVED, REQUESTED]


def test_only_events_of_the_chosen_types_wait():
    queue = HookQueue(["client_moved"])
    assert [queue.put(event) for event in (REQUESTED, MOVED)] == [False, True]
    assert taken(queue) == [MOVED]


@pytest.mark.parametrize("types", [(), ("node_problem",)])
def test_the_hook_is_never_run_for_its_own_failure(types):
    queue = HookQueue(types)
    assert not queue.put(events.NodeProblem(what="hook", why="exit status 1"))
    assert queue.put(events.NodeProblem(what="kernel", why="full"))


def test_the_oldest_events_are_lost_and_counted_in_one_event_a_minute():
    queue = HookQueue()
    numbered = [
        events.DisconnectRequested(number=number, client="c", at_node="n", by="root")
        for number in range(MAX_WAITING + 3)
    ]
    assert queue.loss(0.0) is None
    for event in numbered:
        queue.put(event)
    assert str(queue.loss(0.0)) == "hook: 3 events lost: the command is too slow"
    assert queue.loss(1.0) is None
    queue.put(MOVED)
    assert queue.loss(59.0) is None
    assert str(queue.loss(60.0)) == "hook: 1 event lost: the command is too slow"
    assert taken(queue) == [*numbered[4:], MOVED]


def test_the_environment_has_every_field_of_the_event():
    assert environment(MOVED) == {
        "CUBEROUTED_TYPE": b"client_moved",
        "CUBEROUTED_NUMBER": b"7",
        "CUBEROUTED_TIME": b"2026-11-27T09:30:00Z",
        "CUBEROUTED_NODE": b"vpnsrvA",
        "CUBEROUTED_ADDRESS": b"10.100.100.14",
        "CUBEROUTED_CLIENT": b"host2",
        "CUBEROUTED_KIND": b"client",
        "CUBEROUTED_FROM_NODE": b"vpnsrvB",
        "CUBEROUTED_TO_NODE": b"vpnsrvC",
        "CUBEROUTED_SINCE": b"0",
        "CUBEROUTED_ROUTED_AFTER": b"0.0019",
        "CUBEROUTED_LEVEL": b"info",
        "CUBEROUTED_TEXT": str(MOVED).encode(),
    }


def test_lists_truth_values_and_null_in_the_environment():
    joined = events.ClientJoined(address="10.1.1.1", client="c", to_node="a", found=True)
    found = environment(joined)
    assert (found["CUBEROUTED_FOUND"], found["CUBEROUTED_ROUTED_AFTER"]) == (b"true", b"")
    networks = events.AllowedNetworksChanged(networks=("10.0.0.0/8", "fd00::/8"))
    assert environment(networks)["CUBEROUTED_NETWORKS"] == b"10.0.0.0/8 fd00::/8"


@pytest.mark.parametrize("name", ["a\0b", "\udce9", "x" * 200_000, "ü" * 200_000])
def test_no_name_of_a_client_breaks_the_environment(name):
    value = environment(events.ClientLeft(address="10.1.1.1", client=name, from_node="a"))
    assert b"\0" not in value["CUBEROUTED_CLIENT"]
    assert 0 < len(value["CUBEROUTED_CLIENT"]) <= MAX_VALUE


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (CommandEnd(3), "ended with exit status 3 for client_moved"),
        (CommandEnd(1, stderr=b"x\n no disk \n\n"),
         "ended with exit status 1 for client_moved: no disk"),
        (CommandEnd(-11), "was ended by SIGSEGV for client_moved"),
        (CommandEnd(-15, timed_out=True), "was killed after hook_timeout for client_moved"),
        (CommandEnd(0, timed_out=True), "was killed after hook_timeout for client_moved"),
        (CommandEnd(None, stderr=b"Permission denied"),
         "could not be started for client_moved: Permission denied"),
        (CommandEnd(1, stderr=b"\x1b[31mred\xff"),
         r"ended with exit status 1 for client_moved: \x1b[31mred\xff"),
    ],
)  # fmt: skip
def test_the_event_of_a_failure_has_its_reason(end, text):
    assert str(HookFailures().event("/bin/x", MOVED, end, 0.0)) == f"hook: /bin/x {text}"


def test_a_long_line_of_standard_error_is_cut():
    event = HookFailures().event("/bin/x", MOVED, CommandEnd(1, stderr=b"y" * 4096), 0.0)
    assert event is not None
    assert event.why.endswith("client_moved: " + "y" * MAX_LINE)


def test_failures_are_reported_once_a_minute_with_the_number_of_the_others():
    failures = HookFailures()
    assert failures.event("/bin/x", MOVED, CommandEnd(0), 0.0) is None
    reported = [
        failures.event("/bin/x", MOVED, CommandEnd(1), now) for now in (0.0, 1.0, 2.0, 61.0)
    ]
    assert [event is not None for event in reported] == [True, False, False, True]
    assert failures.count == 4
    assert str(reported[-1]).endswith("for client_moved (2 similar messages suppressed)")
