from __future__ import annotations

import string
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.cli.watch import keys
from cuberouted.cli.watch.layout import arrange
from cuberouted.cli.watch.mesh import client_of
from cuberouted.cli.watch.model import MAX_FILTER, Cursor, Explain, Order, Quit, Watch
from cuberouted.events import ClientLeft, ClientMoved, EventsLost
from tests.unit.cli.watch.samples import AWAY, NOW, SERVICES, client_row, press, snapshot, watching

T = TypeVar("T")


def selected(view: Watch) -> str:
    view.clients_cursor.place(view.clients(), view.layout.clients)
    return view.clients()[view.clients_cursor.index].address


def shown_text(view: Watch) -> list[str] | None:
    assert view.overlay is not None
    return view.overlay.lines


def names(view: Watch) -> list[str]:
    return [client.name for client in view.clients()]


def lost(number):
    return EventsLost(count=1, number=number)


# -- quitting and filtering --


def test_q_quits():
    assert watching(80, 24).press("q", NOW) == Quit()


def test_the_filter_takes_effect_while_it_is_typed():
    view = watching(80, 24)
    press(view, "/", "H", "o", "s", "t", "1", "1")
    assert names(view) == ["host11", *(f"host11{n}" for n in range(10))]
    press(view, keys.BACKSPACE, keys.BACKSPACE)
    assert len(names(view)) == 412
    press(view, "1", "1", "7", keys.ENTER)
    assert names(view) == ["host117"]
    assert not view.filtering
    press(view, keys.ESCAPE)
    assert len(names(view)) == 412


def test_every_word_of_the_filter_must_be_there():
    view = watching(80, 24)
    press(view, "/", *"srvb 10.100.101.2")
    assert names(view) == ["host271", "host274", "host277"]


def test_the_filter_is_for_the_events_as_well():
    view = watching(80, 24)
    press(view, "/", *"moved")
    assert [row.text for row in view.events()] == [
        "host4 (10.100.100.5) moved vpnsrvB -> vpnsrvC, routed after 1.9 ms"
    ]


def test_letters_are_text_while_the_filter_is_typed():
    view = watching(80, 24)
    press(view, "/", "q", "s", "p", "?", " ", "/")
    assert view.filter == "qsp? /"
    assert (view.order, view.is_frozen, view.overlay) == (Order.ADDRESS, False, None)


def test_other_keys_work_while_the_filter_is_typed():
    view = watching(80, 24)
    press(view, "/", *"host11", keys.DOWN)
    assert selected(view) == "10.100.100.111"
    assert view.filtering
    press(view, keys.TAB)
    assert view.events_first


@pytest.mark.parametrize("key", [keys.ESCAPE, keys.BACKSPACE, keys.ENTER])
def test_an_empty_filter_is_left_by(key):
    view = watching(80, 24)
    press(view, "/", key, "s")
    assert (view.filter, view.filtering, view.order) == ("", False, Order.NAME)


def test_the_whole_filter_can_be_deleted_and_its_length_is_bounded():
    view = watching(80, 24)
    press(view, "/", *"x" * (MAX_FILTER + 5))
    assert len(view.filter) == MAX_FILTER
    press(view, keys.CLEAR_LINE)
    assert (view.filter, view.filtering) == ("", True)


# -- moving and sorting --


@pytest.mark.parametrize(
    ("pressed", "address"),
    [
        ("jj", "10.100.100.3"),
        ("jjk", "10.100.100.2"),
        ([keys.DOWN, keys.UP, keys.UP], "10.100.100.1"),
        ("G", "10.100.101.162"),
        ("Gg", "10.100.100.1"),
        ([keys.END], "10.100.101.162"),
        ([keys.END, keys.HOME], "10.100.100.1"),
    ],
)
def test_keys_move_the_selected_row(pressed, address):
    view = watching(80, 24)
    press(view, *pressed)
    assert selected(view) == address


def test_a_page_is_what_is_visible_but_for_one_row():
    view = watching(80, 24)
    page = view.layout.clients - 1
    press(view, keys.PAGE_DOWN)
    assert selected(view) == f"10.100.100.{1 + page}"
    press(view, keys.PAGE_DOWN, keys.PAGE_UP)
    assert selected(view) == f"10.100.100.{1 + page}"


def test_clients_are_sorted_by_numbers_not_by_text():
    view = watching(80, 24)
    for address in ("10.100.99.200", "192.168.50.0/24", "fd00::10", "fd00::9"):
        row = msgspec.structs.replace(client_row(0), address=address)
        view.mesh.clients[address] = client_of(row)
    view.mesh.version += 1
    addresses = [client.address for client in view.clients()]
    assert addresses[:3] == ["10.100.99.200", "10.100.100.1", "10.100.100.2"]
    assert addresses[-3:] == ["192.168.50.0/24", "fd00::9", "fd00::10"]


def test_clients_can_be_sorted():
    view = watching(80, 24)
    press(view, "s")
    assert names(view)[:3] == ["host0", "host1", "host10"]
    press(view, "s")
    assert [client.node for client in view.clients()][137:140] == ["vpnsrvA", "vpnsrvB", "vpnsrvB"]
    press(view, "s")
    assert names(view)[:4] == ["host7", "host4", "host0", "host1"]  # renewed, moved, then by age
    press(view, "s")
    assert view.order is Order.ADDRESS


def test_the_selected_client_stays_selected_and_where_it_is_on_the_screen():
    view = watching(80, 24)
    view.mesh.timer(NOW + 100)
    press(view, *"jjjjjjjjjjjjjj")
    assert selected(view) == "10.100.100.16"
    row = view.clients_cursor.index - view.clients_cursor.top
    gone = ClientLeft(address="10.100.100.2", client="host1", from_node="vpnsrvB")
    view.mesh.receive(gone, NOW + 100)
    view.mesh.timer(NOW + 200)
    assert selected(view) == "10.100.100.16"
    assert view.clients_cursor.index == 13
    assert view.clients_cursor.index - view.clients_cursor.top == row


def test_if_the_selected_client_leaves_its_neighbour_is_selected():
    view = watching(80, 24)
    view.mesh.timer(NOW + 100)
    press(view, *"jj")
    gone = ClientLeft(address="10.100.100.4", client="host3", from_node="vpnsrvA")
    view.mesh.receive(gone, NOW + 100)
    assert selected(view) == "10.100.100.4"
    view.mesh.timer(NOW + 200)
    assert selected(view) == "10.100.100.5"


def test_at_the_top_new_rows_are_followed():
    view = watching(80, 24)
    press(view, "s", "s", "s")
    assert view.order is Order.NEWEST
    moved = ClientMoved(
        address="10.100.100.77", client="host76", from_node="B", to_node="C", since=2**32
    )
    view.mesh.receive(moved, NOW)
    assert selected(view) == "10.100.100.77"


# -- events --


def test_tab_moves_to_the_events_and_gives_them_room():
    view = watching(80, 24)
    clients, events = view.layout.clients, view.layout.events
    press(view, keys.TAB)
    assert view.layout.events > events
    assert view.layout.clients < clients
    press(view, keys.TAB)
    assert (view.layout.clients, view.layout.events) == (clients, events)


def test_the_newest_event_is_followed_unless_an_older_one_is_selected():
    view = watching(80, 24)
    press(view, keys.TAB)
    for number in range(100, 200):
        view.mesh.receive(lost(number), NOW)

    def selected_event():
        view.events_cursor.place(view.events(), view.layout.events)
        return view.events()[view.events_cursor.index].event.number

    assert selected_event() == 199
    press(view, "k", "k")
    view.mesh.receive(lost(200), NOW)
    assert selected_event() == 197
    press(view, "G")
    view.mesh.receive(lost(201), NOW)
    assert selected_event() == 201
    press(view, "g")
    assert selected_event() == 1


# -- why --


def test_enter_asks_why_and_shows_the_answer():
    view = watching(80, 24)
    press(view, "j")
    assert view.press(keys.ENTER, NOW) == Explain("10.100.100.2")
    assert shown_text(view) is None
    view.explained("10.100.100.9", ["another one"])
    assert shown_text(view) is None
    view.explained("10.100.100.2", ["because"])
    assert shown_text(view) == ["because"]
    press(view, "q")
    assert view.overlay is None
    view.explained("10.100.100.2", ["too late"])
    assert view.overlay is None


def test_enter_on_an_event_asks_why_or_shows_all_of_it():
    view = watching(60, 24)
    press(view, keys.TAB)
    assert view.press(keys.ENTER, NOW) == Explain("10.100.100.8")
    press(view, keys.ESCAPE, "k", keys.ENTER)
    assert view.overlay is not None
    assert view.overlay.lines is not None
    assert " ".join(view.overlay.lines) == view.events()[-2].text
    assert len(view.overlay.lines) == 3


@pytest.mark.parametrize("tab", [False, True])
def test_where_nothing_is_shown_enter_does_nothing(tab):
    view = Watch(80, 24)
    press(view, *([keys.TAB] if tab else []), keys.ENTER, "j", "k", "G", "g", keys.PAGE_DOWN)
    assert view.overlay is None


def test_a_long_text_is_scrolled():
    view = watching(80, 24)
    view.press(keys.ENTER, NOW)
    view.explained("10.100.100.1", [str(n) for n in range(50)])
    overlay = view.overlay
    assert overlay is not None
    for pressed, top in (("j", 1), ("k", 0), ("k", 0), ("G", 30), ("j", 30), ("g", 0)):
        press(view, pressed)
        assert overlay.top == top
    press(view, keys.PAGE_DOWN)
    assert overlay.top == 20
    press(view, keys.OTHER)
    assert view.overlay is overlay
    press(view, "x")
    assert view.overlay is None


# -- freezing --


@pytest.mark.parametrize("key", ["p", " "])
def test_a_frozen_display_does_not_change_while_events_are_collected(key):
    view = watching(80, 24)
    press(view, key)
    moved = ClientMoved(address="10.100.100.1", client="host0", from_node="A", to_node="vpnsrvC")
    view.mesh.receive(moved, NOW + 60)
    assert view.clients()[0].node == "vpnsrvA"
    assert (view.is_frozen, view.missed, view.shown_at(NOW + 60)) == (True, 1, NOW)
    press(view, "/", *"host0", keys.ENTER)  # it can still be searched
    assert [client.node for client in view.clients()] == ["vpnsrvA"]
    press(view, key)
    assert [client.node for client in view.clients()] == ["vpnsrvC"]
    assert (view.is_frozen, view.missed, view.shown_at(NOW + 60)) == (False, 0, NOW + 60)


def test_a_second_frozen_display_is_not_the_first():
    view = watching(80, 24)
    press(view, "p")
    assert len(view.clients()) == 412
    press(view, "p")
    snapshot(view, 3)
    view.press("p", NOW + 1)
    assert len(view.clients()) == 3


# -- any keys, any size --

KEYS = st.sampled_from(
    [*string.ascii_letters, "/", "?", " ", *(v for k, v in vars(keys).items() if k.isupper())]
)


@given(st.lists(st.one_of(KEYS.map(str), st.integers(0, 30)), max_size=60))
def test_the_selected_row_is_visible_whatever_is_pressed(steps):
    view = watching(80, 24, clients=30)
    for number, step in enumerate(steps):
        if isinstance(step, int):
            snapshot(view, step)
            view.mesh.receive(lost(100 + number), NOW)
        else:
            view.press(step, NOW)
        check(view.clients_cursor, view.clients(), view.layout.clients)
        check(view.events_cursor, view.events(), view.layout.events)


def check(cursor: Cursor[T], rows: list[T], page: int) -> None:
    cursor.place(rows, page)
    assert 0 <= cursor.top <= max(len(rows) - page, 0)
    if rows:
        assert cursor.top <= cursor.index < min(cursor.top + page, len(rows))


def test_without_rows_there_is_no_place():
    cursor: Cursor[int] = Cursor(lambda number: number)
    cursor.place([1, 2, 3], 2)
    cursor.move([1, 2, 3], 2)
    cursor.place([], 2)
    assert (cursor.index, cursor.top) == (0, 0)


@given(
    st.integers(1, 300), st.integers(1, 100), st.integers(0, 60), st.integers(0, 60), st.booleans()
)
def test_the_parts_of_the_screen_fit_it(width, height, nodes, problems, events_first):
    layout = arrange(width, height, nodes=nodes, problems=problems, events_first=events_first)
    titles = bool(layout.nodes)
    if layout.side_by_side:
        assert layout.clients_width + layout.events_width + 3 == width
        rows = max(layout.clients + 2, layout.events + 1)
    else:
        rows = (layout.clients + 2) * bool(layout.clients)
        rows += (layout.events + 1) * bool(layout.events)
    used = 2 + layout.problems + titles + layout.nodes + rows
    assert used <= height or height < 6
    assert used >= height - 1 or height < 6


# -- nodes --


def test_a_node_that_takes_no_clients_has_that_as_its_state_while_it_is_up():
    view = watching(80, 24, AWAY)
    assert [node.state for node in view.nodes] == ["running", "up", "draining"]
    assert [node.away is not None for node in view.nodes] == [False, False, True]
    down = msgspec.structs.replace(AWAY.peers[1], state="down")
    view.mesh.status = msgspec.structs.replace(AWAY, peers=[down], maintenance="maintenance")
    assert [node.state for node in view.nodes] == ["maintenance", "down"]
    assert all(node.away for node in view.nodes)


def test_a_frozen_display_keeps_the_services():
    view = watching(80, 24)
    view.mesh.services = SERVICES
    press(view, "p")
    view.mesh.services = []
    assert view.shown.services == SERVICES
    assert view.layout.services == len(SERVICES)
    press(view, "p")
    assert view.layout.services == 0
