"""The page's pure scripts in Chromium: what they make of a snapshot and the events since."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page

from cuberouted import events
from cuberouted.api.report import (
    ClientRow,
    OpenVPNRow,
    PeerRow,
    RouteCounts,
    Status,
    iso_time,
)
from cuberouted.cli.render_status import status_lines
from cuberouted.cli.terminal import Terminal
from cuberouted.cli.times import format_age, format_duration
from cuberouted.cli.watch.mesh import Mesh, client_of, sort_key
from cuberouted.events import (
    ClientJoined,
    ClientLeft,
    ClientMoved,
    ClientRenewed,
    Event,
    EventsLost,
    NodeProblem,
    RouteChanged,
    RouteTrace,
)
from cuberouted.model import Kind
from tests.browser import scripts
from tests.browser.chromium import Chromium
from tests.browser.recording import record

ONE, TWO, SIX, NET = "10.9.0.1", "10.9.0.2", "fd00::2", "192.168.7.0/24"

RECEIVE = """
(rows, early, late, after) => {
  const mesh = globalThis.tested = new Mesh();
  for (const event of early) mesh.receive(event, 1000);
  mesh.beginSnapshot();
  for (const event of late) mesh.receive(event, 2000);
  mesh.finishSnapshot(rows, []);
  for (const event of after) mesh.receive(event, 3000);
}
"""

WHERE = "() => [...tested.clients.values()].map((client) => [client.address, client.node])"


@pytest.fixture(scope="module")
def page(browser: Chromium) -> Iterator[Page]:
    """A tab with the scripts."""
    with browser.tab() as page:
        scripts.load(page)
        yield page


def row(address: str, node: str, name: str = "host", kind: str = "client") -> ClientRow:
    return ClientRow(address, node, name, kind, "2026-11-27T09:00:00Z", local=node == "A")


def joined(address: str, node: str, **more: Any) -> ClientJoined:
    return ClientJoined(address=address, client="host", to_node=node, since=5, **more)


def moved(address: str, old: str, new: str) -> ClientMoved:
    return ClientMoved(address=address, client="host", from_node=old, to_node=new, since=6)


def left(address: str, node: str) -> ClientLeft:
    return ClientLeft(address=address, client="host", from_node=node)


def in_json(happened: Sequence[Event], first: int = 1) -> list[Any]:
    """The events as the stream has them."""
    return [
        json.loads(events.encode(msgspec.structs.replace(event, number=number, node="A")))
        for number, event in enumerate(happened, first)
    ]


def receive(
    page: Page,
    rows: Sequence[ClientRow],
    late: Sequence[Event] = (),
    after: Sequence[Event] = (),
    early: Sequence[Event] = (),
) -> dict[str, str]:
    """The node of each client, after a snapshot during which *late* came."""
    numbered = in_json([*early, *late, *after])
    a, b = len(early), len(early) + len(late)
    arguments = msgspec.to_builtins(rows), numbered[:a], numbered[a:b], numbered[b:]
    scripts.call(page, RECEIVE, *arguments)
    return where(page)


def where(page: Page) -> dict[str, str]:
    return dict(scripts.call(page, WHERE))


@pytest.mark.parametrize(
    ("rows", "late", "after", "expected"),
    [
        pytest.param([], [], [], {}, id="nothing"),
        pytest.param([row(ONE, "A")], [], [], {ONE: "A"}, id="snapshot alone"),
        pytest.param([], [], [joined(ONE, "B")], {ONE: "B"}, id="joined"),
        pytest.param([row(ONE, "A")], [], [moved(ONE, "A", "B")], {ONE: "B"}, id="moved"),
        pytest.param([row(ONE, "A")], [], [left(ONE, "A")], {}, id="left"),
        pytest.param([row(ONE, "B")], [moved(ONE, "A", "B")], [], {ONE: "B"}, id="in both"),
        pytest.param([row(ONE, "A")], [moved(ONE, "A", "B")], [], {ONE: "B"}, id="newer"),
        pytest.param(
            [row(ONE, "A")], [left(ONE, "A"), joined(ONE, "C")], [], {ONE: "C"}, id="late twice"
        ),
        pytest.param([row(ONE, "A")], [left(ONE, "A")], [], {}, id="left meanwhile"),
        pytest.param(
            [row(ONE, "A")], [], [moved(ONE, "A", "B")] * 3, {ONE: "B"}, id="repeated move"
        ),
        pytest.param([row(ONE, "A")], [], [left(ONE, "A")] * 2, {}, id="repeated end"),
        pytest.param([], [], [moved(ONE, "B", "C")], {ONE: "C"}, id="unknown one moved"),
        pytest.param([row(TWO, "B")], [], [left(ONE, "A")], {TWO: "B"}, id="unknown one left"),
        pytest.param(
            [row(ONE, "A")],
            [],
            [ClientRenewed(address=ONE, client="host", to_node="A", since=9)],
            {ONE: "A"},
            id="renewed",
        ),
        pytest.param(
            [row(TWO, "A"), row(SIX, "A")],
            [],
            [moved(SIX, "A", "B"), moved(TWO, "A", "B")],
            {TWO: "B", SIX: "B"},
            id="two families",
        ),
        pytest.param(
            [row(NET, "A", kind="network"), row("192.168.7.0", "B")],
            [],
            [left("192.168.7.0", "B")],
            {NET: "A"},
            id="a network is another one than its first address",
        ),
        pytest.param(
            [row(ONE, "A")],
            [EventsLost(count=7)],
            [EventsLost(count=9), NodeProblem(what="kernel", why="x")],
            {ONE: "A"},
            id="events about other things",
        ),
        pytest.param(
            [row(ONE, "A")],
            [],
            [RouteChanged(address=ONE, trace=RouteTrace.REMOVED)],
            {ONE: "A"},
            id="a route is no client",
        ),
        pytest.param([], [], [joined("__proto__", "A")], {"__proto__": "A"}, id="strange"),
    ],
)
def test_where_clients_are(
    page: Page,
    rows: list[ClientRow],
    late: list[Event],
    after: list[Event],
    expected: dict[str, str],
) -> None:
    assert receive(page, rows, late, after) == expected


def test_what_came_before_the_snapshot_does_not_outlive_it(page: Page) -> None:
    assert receive(page, [row(ONE, "A")], early=[joined(TWO, "B"), left(ONE, "A")]) == {ONE: "A"}


def test_a_snapshot_after_lost_events_replaces_everything_and_keeps_the_changes(page: Page) -> None:
    receive(page, [row(ONE, "A")], after=[moved(ONE, "A", "B"), joined(TWO, "B")])
    scripts.call(
        page,
        "(rows) => { tested.beginSnapshot(); tested.finishSnapshot(rows, []); }",
        msgspec.to_builtins([row(ONE, "B"), row(SIX, "C")]),
    )
    assert where(page) == {ONE: "B", SIX: "C"}
    change = "(address) => { const c = tested.clients.get(address); return [c.change, c.changed]; }"
    assert scripts.call(page, change, ONE) == ["moved from A", 3000]
    assert scripts.call(page, change, SIX) == ["", 0]


def test_networks_and_second_addresses_are_no_further_clients(page: Page) -> None:
    receive(
        page,
        [row(ONE, "A"), row("fd00::1", "A"), row(TWO, "A"), row(NET, "A", kind="network")],
        after=[
            moved(TWO, "A", "B"),
            joined("10.7.0.0/16", "B", kind=Kind.NETWORK),
            joined(SIX, "B"),
        ],
    )
    counted = "(node) => tested.clientsAt({name: node, clients: 77})"
    assert [scripts.call(page, counted, node) for node in "ABC"] == [1, 1, 0]


def test_without_names_the_numbers_are_those_of_the_nodes(page: Page) -> None:
    counted = """() => {
      const mesh = new Mesh();
      mesh.unnamed = "web_names = no";
      mesh.beginSnapshot();
      mesh.finishSnapshot(null, []);
      return mesh.clientsAt({name: "A", clients: 77});
    }"""
    assert scripts.call(page, counted) == 77


def test_the_events_are_bounded_and_each_is_shown_once(page: Page) -> None:
    kept = """(events, stored) => {
      const mesh = new Mesh();
      mesh.beginSnapshot();
      for (const event of events) mesh.receive(event, 0);
      mesh.finishSnapshot([], stored);
      const numbers = mesh.events.map((event) => event.number);
      for (let number = 10; number < 10000; number++)
        mesh.receive({type: "node_problem", level: "warning", number, text: ""}, 0);
      return [numbers, mesh.events.length, mesh.events.at(-1).number];
    }"""
    debug = RouteChanged(address=ONE, trace=RouteTrace.ADDED)
    happened = in_json([joined(ONE, "A"), debug, left(ONE, "A")], first=3)
    numbers, length, last = scripts.call(page, kept, happened, happened[:1])
    assert numbers == [3, 5]
    assert length <= 2000
    assert last == 9999


def test_another_run_of_the_daemon_begins_its_events_anew(page: Page) -> None:
    numbers = """(before, after) => {
      const mesh = new Mesh();
      for (const events of [before, after]) {
        mesh.beginSnapshot();
        mesh.finishSnapshot([], events);
      }
      return mesh.events.map((event) => event.number);
    }"""
    problems = [NodeProblem(what="kernel", why=str(number)) for number in range(5)]
    assert scripts.call(page, numbers, in_json(problems), in_json(problems[:2])) == [1, 2]
    assert scripts.call(page, numbers, in_json(problems), in_json(problems, 6)) == [*range(1, 11)]


def test_20000_clients(page: Page) -> None:
    made = """() => {
      const rows = [];
      for (let i = 0; i < 20000; i++)
        rows.push({address: `10.${i >> 16}.${i >> 8 & 255}.${i & 255}`, name: `host${i}`,
          node: "ABC"[i % 3], kind: "client", since: "2026-11-27T09:00:00Z"});
      const times = [];
      const measure = (work) => {
        const began = performance.now();
        const result = work();
        times.push(performance.now() - began);
        return result;
      };
      const mesh = new Mesh();
      mesh.beginSnapshot();
      measure(() => mesh.finishSnapshot(rows, []));
      const found = measure(() => findClients(mesh.clients.values(), "host1999", ""));
      measure(() => sortClients([...mesh.clients.values()], "name", false));
      measure(() => {
        for (const row of rows)
          mesh.receive({type: "client_moved", level: "info", number: 1, address: row.address,
            client: row.name, kind: "client", from_node: row.node, to_node: "C", since: 1}, 0);
      });
      return [mesh.clients.size, found.length, mesh.clientsAt({name: "C"}), times];
    }"""
    clients, found, at_c, times = scripts.call(page, made)
    assert (clients, found, at_c) == (20_000, 11, 20_000)
    names = "snapshot", "search", "sort", "20,000 events"
    print(", ".join(f"{n} {t:.0f} ms" for n, t in zip(names, times, strict=True)))
    assert max(times) < 1000


# -- the same as the commands --


@pytest.mark.parametrize("seed", range(5))
def test_random_events_give_what_watch_has(page: Page, seed: int) -> None:
    rng = random.Random(seed)
    addresses = [ONE, TWO, SIX, NET, "10.9.0.3", "fd00::/64"]

    def anything() -> Event:
        address, node, other = rng.choice(addresses), rng.choice("ABC"), rng.choice("ABC")
        return rng.choice(
            [
                joined(address, node),
                moved(address, node, other),
                left(address, node),
                ClientRenewed(address=address, client="host", to_node=node),
                EventsLost(count=1),
                RouteChanged(address=address, trace=RouteTrace.MOVED),
            ]
        )

    for _ in range(20):
        rows = [row(a, rng.choice("ABC")) for a in addresses if rng.random() < 0.5]
        late, after = ([anything() for _ in range(rng.randrange(8))] for _ in range(2))
        watch = Mesh()
        watch.begin_snapshot()
        for event in late:
            watch.receive(event, 1.0)
        watch.finish_snapshot({r.address: client_of(r) for r in rows}, 1.0)
        for event in after:
            watch.receive(event, 1.0)
        expected = {c.address: c.node for c in watch.clients.values() if not c.gone}
        assert receive(page, rows, late, after) == expected


REPLAY = """
(events, snapshots) => snapshots.map(({first, rows, last}) => {
  const mesh = new Mesh();
  for (const event of events.slice(0, first)) mesh.receive(event, 0);
  mesh.beginSnapshot();
  for (const event of events.slice(first, last)) mesh.receive(event, 0);
  mesh.finishSnapshot(rows, []);
  for (const event of events.slice(last)) mesh.receive(event, 0);
  return [...mesh.clients.values()].map(({address, name, node}) => [address, name, node]);
})
"""

LOSE = """
(events, snapshots) => {
  const mesh = new Mesh();
  let received = 0;
  for (const {first, rows, last} of snapshots) {
    // what came since the last snapshot is lost, in part
    for (const event of events.slice(received, first)) if (event.number % 3) mesh.receive(event, 0);
    mesh.beginSnapshot();
    for (const event of events.slice(first, last)) mesh.receive(event, 0);
    mesh.finishSnapshot(rows, events.slice(Math.max(0, last - 20), last));
    received = Math.max(received, last);
  }
  for (const event of events.slice(received)) mesh.receive(event, 0);
  return [...mesh.clients.values()].map(({address, name, node}) => [address, name, node]);
}
"""


@pytest.mark.parametrize("seed", range(3))
def test_snapshots_and_events_of_daemons_give_their_clients(page: Page, seed: int) -> None:
    rng = random.Random(seed)
    for recording in record(seed):
        events = recording.events
        truth = sorted([c.address, c.name, c.node] for c in recording.snapshots[-1].clients)
        snapshots = [
            {
                "first": max(taken.begun - rng.randrange(6), 0),
                "rows": msgspec.to_builtins(taken.clients),
                "last": taken.finished + rng.randrange(6),
            }
            for taken in recording.snapshots
        ]
        for clients in scripts.call(page, REPLAY, events, snapshots):
            assert sorted(clients) == truth
        assert sorted(scripts.call(page, LOSE, events, snapshots)) == truth


SUMMARY_OF = """(status, now) => {
  const found = findings(status, now);
  return {summary: summaryOf(status), verdict: verdictOf(found), ...found};
}"""

NOW = 1_795_222_140.0
SINCE, UNTIL = iso_time(NOW - 300), iso_time(NOW + 9000)

DOWN = PeerRow("B", "down", 0, 33.0, "hold timer expired", known_as="B (10.200.200.2)")
STATUSES = {
    "well": Status(
        "A",
        5.04,
        [OpenVPNRow("openvpn", "connected", "2.6.3", 1)],
        [PeerRow("B", "up", 20_000, 0.2)],
        RouteCounts(3, 3, 0),
    ),
    "on standby": Status(
        "A",
        60.0,
        [OpenVPNRow("one", "standby", None, 0, "service one is at B")],
        [PeerRow("B", "up", 1, 0.2)],
        RouteCounts(1, 1, 0),
    ),
    "alone": Status("A", 0.0, [], [], RouteCounts(0, 0, 0)),
    "ill": Status(
        "A",
        90_061.0,
        [
            OpenVPNRow("udp", "waiting", None, 0, "Connection refused"),
            OpenVPNRow("tcp", "waiting", None, 0, "OpenVPN asks for a password"),
            OpenVPNRow("tap", "connected", "2.5", 3, "2 clients are of a tap device", 5),
            OpenVPNRow("new", "connecting", None, 0),
        ],
        [
            DOWN,
            PeerRow("C", "down", 0, None),
            PeerRow("D", "down", 0, 3.5, "it left"),
            PeerRow("E", "incompatible", 0, 1.0, "version 2, ours is 3"),
            PeerRow("F", "syncing", 0, 1.0),
            PeerRow("G", "up", 1, 1.0, "it has not taken our snapshot"),
        ],
        RouteCounts(1, 0, 1),
        ["route 10.9.0.1: refused", "another `problem`"],
        warnings=["a warning"],
    ),
    "away": Status(
        "A",
        60.0,
        [],
        [
            PeerRow("B", "up", 1, 1.0, maintenance="maintenance", since=SINCE, by="root"),
            PeerRow("C", "up", 1, 1.0, "it has not taken our snapshot", maintenance="draining"),
            PeerRow("D", "down", 0, 33.0, maintenance="maintenance", since=SINCE, until=UNTIL),
            PeerRow("E", "up", 0, 1.0, maintenance=""),
        ],
        RouteCounts(1, 1, 0),
        maintenance="draining",
        since=SINCE,
        until=UNTIL,
        by="anna",
        reason="a new kernel: `reboot`",
    ),
    "warned": Status("A", 60.0, [], [], RouteCounts(1, 1, 0), warnings=["one", "two"]),
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
def test_findings_are_those_of_the_command(page: Page, status: Status) -> None:
    terminal = Terminal()
    lines = status_lines(status, terminal, NOW)
    found = scripts.call(page, SUMMARY_OF, msgspec.to_builtins(status), NOW * 1000)
    assert lines[0] == f"{status.node}: {found['summary']}"
    assert lines[-1] == found["verdict"]
    for kind in ("problem", "warning"):
        shown = [line.removeprefix(f"{kind}: ") for line in lines if line.startswith(f"{kind}: ")]
        assert found[f"{kind}s"] == shown


SECONDS = [0, 0.04, 5, 59.94, 59.96, 60, 61, 119, 120, 3599, 3600, 7199, 7200, 90061, 172799, 9e6]


def test_times_are_those_of_the_commands(page: Page) -> None:
    written = "(all) => all.map((seconds) => [duration(seconds), age(seconds)])"
    expected = [[format_duration(s), format_age(s)] for s in SECONDS]
    assert scripts.call(page, written, SECONDS) == expected
    assert scripts.call(page, "() => age(-5)") == format_age(-5)


ADDRESSES = [
    *("10.9.0.2", "10.9.0.10", "10.9.0.0/24", "10.9.0.0/25", "9.255.0.1", "192.168.0.0/16"),
    *("fd00::2", "fd00::10", "fd00::/64", "fd00:0:0:1::1", "::1", "::ffff:1.2.3.4"),
]


def test_addresses_are_sorted_as_numbers(page: Page) -> None:
    order = """(addresses) => {
      const found = addresses.map((address) => makeClient(
        {address, name: "h", node: "A", kind: "client"}, 0, "", 0));
      sortClients(found, "address", false);
      return found.map((client) => client.address);
    }"""
    known = [address for address in ADDRESSES if "ffff" not in address]
    shuffled = random.Random(1).sample(known, len(known))
    assert scripts.call(page, order, shuffled) == sorted(known, key=sort_key)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"10.9.0.2", "10.9.0.20", "10.9.0.0/24", "fd00::2"}),
        ("10.9.0.2", {"10.9.0.2", "10.9.0.20", "10.9.0.0/24"}),
        ("10.9.0.0/24", {"10.9.0.2", "10.9.0.20", "10.9.0.0/24"}),
        ("10.9.0.16/28", {"10.9.0.20", "10.9.0.0/24"}),
        ("fd00::/64", {"fd00::2"}),
        ("ANNA", {"10.9.0.2", "fd00::2"}),
        ("anna 10.", {"10.9.0.2"}),
        ("vpnsrvb", {"10.9.0.20"}),
        ("nobody", set()),
        ("10.9.0.0/33", set()),
        ("a.*", set()),
    ],
)
def test_search(page: Page, text: str, expected: set[str]) -> None:
    rows = [
        row("10.9.0.2", "vpnsrvA", "anna-laptop"),
        row("10.9.0.20", "vpnsrvB", "host1"),
        row("10.9.0.0/24", "vpnsrvC", "office", "network"),
        row("fd00::2", "vpnsrvA", "anna-laptop"),
    ]
    receive(page, rows)
    search = "(text) => findClients(tested.clients.values(), text, '').map((c) => c.address)"
    assert set(scripts.call(page, search, text)) == expected
