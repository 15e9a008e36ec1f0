"""The screens in screens/ are what is shown; `WRITE=1 pytest` of this file writes them anew."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from cuberouted.api.report import ClientRow, PeerRow, Status
from cuberouted.cli.watch import keys
from cuberouted.cli.watch.mesh import client_of
from cuberouted.cli.watch.model import Watch
from cuberouted.cli.watch.screen import Look, render
from cuberouted.events import ClientMoved, decode, encode
from tests.unit.cli.watch.samples import (
    AWAY,
    ILL,
    NOW,
    SERVICES,
    STATUS,
    WALL_CLOCK,
    client_row,
    press,
    watching,
)

SCREENS = Path(__file__).with_name("screens")
LOOK = Look(zone=dt.UTC)


def shown(view: Watch, look: Look = LOOK, now: float = NOW) -> list[Text]:
    return render(view, now, WALL_CLOCK + now - NOW, look)


def plain(view: Watch, look: Look = LOOK, now: float = NOW) -> str:
    return "".join(line.plain.rstrip() + "\n" for line in shown(view, look, now))


def line_with(view: Watch, text: str, look: Look = LOOK, now: float = NOW) -> Text:
    return next(line for line in shown(view, look, now) if text in line.plain)


def put(view: Watch, row: ClientRow) -> None:
    view.mesh.clients[row.address] = client_of(row)
    view.mesh.version += 1


def styles(line: Text) -> set[str]:
    return {str(style) for style in (line.style, *(span.style for span in line.spans)) if style}


STATES: dict[str, tuple[Status, list[str]]] = {
    "well": (STATUS, []),
    "ill": (ILL, []),
    "away": (AWAY, []),
    "filter": (STATUS, ["/", *"host11", keys.DOWN]),
    "frozen": (STATUS, ["p", keys.TAB, "k"]),
    "help": (STATUS, ["?"]),
}


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
@pytest.mark.parametrize("state", STATES)
def test_the_screen(state, size):
    status, pressed = STATES[state]
    view = watching(size[0], size[1], status)
    view.mesh.services = SERVICES if state == "away" else []
    press(view, *pressed)
    file = SCREENS / f"{state}_{size[0]}x{size[1]}.txt"
    if os.environ.get("WRITE"):
        file.write_text(plain(view))
    assert plain(view).splitlines() == file.read_text().splitlines()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@given(
    st.integers(1, 220),
    st.integers(1, 60),
    st.lists(
        st.sampled_from(["j", "G", keys.TAB, "/", "?", "s", "p", keys.ENTER, "x"]), max_size=8
    ),
    st.sampled_from([STATUS, ILL, AWAY, None]),
    st.text(max_size=30),
)
def test_every_screen_is_filled_exactly(encoding, width, height, pressed, status, name):
    view = watching(width, height, clients=20)
    view.mesh.status = status
    view.mesh.services = [msgspec.structs.replace(SERVICES[0], name=name, holders=[name])]
    put(view, msgspec.structs.replace(client_row(0), name=name, node=name))
    for key in pressed:
        view.press(key, NOW)
    lines = shown(view, Look(encoding, dt.UTC))
    assert len(lines) == height
    for line in lines:
        assert line.cell_len <= width
        line.plain.encode(encoding)
        assert line.plain.isprintable()


def test_without_utf_8_lines_are_ascii_and_names_are_escaped():
    view = watching(80, 24)
    put(view, msgspec.structs.replace(client_row(0), name="jürg"))
    text = plain(view, Look("ascii", dt.UTC))
    assert "-- clients  412, by address ---" in text
    assert " 10.100.100.1   j\\xfcrg  vpnsrvA " in text


def test_a_client_that_has_moved_is_highlighted_for_a_few_seconds():
    view = watching(80, 24)
    line = line_with(view, "10.100.100.5 ")
    assert line.plain.rstrip().endswith("vpnsrvC  09:18:43  moved from vpnsrvB")
    assert styles(line) == {"bold cyan"}
    line = line_with(view, "10.100.100.5 ", now=NOW + 10)
    assert line.plain.rstrip().endswith("vpnsrvC  09:18:43")
    assert styles(line) == set()


def test_a_frozen_display_keeps_the_highlights():
    view = watching(80, 24)
    press(view, "p")
    assert "moved from vpnsrvB" in line_with(view, "10.100.100.5 ", now=NOW + 10).plain
    assert "frozen; 0 events since" in plain(view, now=NOW + 10)


def test_colours_are_by_state_and_level():
    view = watching(200, 50, ILL)
    assert "red" in styles(line_with(view, "vpnsrvC (10.200.200.9)  down"))
    assert "green" in styles(line_with(view, "vpnsrvB                 up"))
    assert "red" in styles(line_with(view, "reload refused: "))
    assert "red" in styles(line_with(view, "2 problems"))
    assert "green" in styles(line_with(watching(80, 24), "all is well"))


def test_without_a_daemon_the_first_line_says_so():
    view = Watch(80, 24)
    assert plain(view).startswith(" cuberouted  connecting to the daemon ")
    view.trouble = "cuberouted is not running; trying again"
    assert plain(view).startswith(" cuberouted  cuberouted is not running; trying again ")
    view = watching(80, 24)
    view.trouble = "cuberouted is not running; trying again"
    assert plain(view).startswith(" vpnsrvA  cuberouted is not running; trying again ")


def test_of_many_nodes_those_that_are_not_up_are_shown():
    peers = [PeerRow(f"node{n}", "up", 1, 0.1) for n in range(60)]
    peers[50] = PeerRow("node50", "down", 0, None, "nothing received yet")
    view = watching(80, 24, msgspec.structs.replace(STATUS, peers=peers))
    text = plain(view)
    assert " node50   down " in text
    assert "vpnsrvA  running" in text
    assert "60 of 61 nodes up" in text
    assert "57 more not shown" in text


def test_columns_do_not_jump_while_one_moves_through_the_clients():
    view = watching(80, 24)
    press(view, "G")
    after = line_with(view, "ADDRESS").plain
    press(view, "g")
    assert line_with(view, "ADDRESS").plain == after


def test_of_many_problems_the_number_is_shown():
    problems = [f"problem {n}" for n in range(20)]
    view = watching(80, 24, msgspec.structs.replace(STATUS, problems=problems))
    assert " problem 2; 17 more: cuberouted status\n" in plain(view)


def test_only_visible_rows_are_rendered(monkeypatch):
    view = watching(80, 24, clients=20000)
    fitted = []

    def fit(_look, text, _width):
        fitted.append(text)
        return text

    monkeypatch.setattr(Look, "fit", fit)
    shown(view)
    assert len(fitted) < 100


def test_10_000_events_a_second_among_20_000_clients_take_half_a_core_at_most():
    view = watching(80, 24, clients=20000)
    press(view, "/", *"host1", "enter", "s", "tab")  # filtered, by name, in the events
    lines = [moved(number) for number in range(10_000)]
    began = time.thread_time()
    for start in range(0, len(lines), 2000):  # the screen is drawn five times a second
        for line in lines[start : start + 2000]:
            view.mesh.receive(decode(line), NOW)
        shown(view)
    assert time.thread_time() - began < 0.5  # some 0.15 s


def moved(number: int) -> bytes:
    """A line of /v1/events."""
    row = client_row(number)
    event = ClientMoved(
        address=row.address, client=row.name, from_node=row.node, to_node="vpnsrvD", since=1
    )
    return encode(msgspec.structs.replace(event, number=number, node="vpnsrvA"))
