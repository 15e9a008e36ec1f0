from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.cli.watch.keys import ESCAPE_TIMEOUT, Keyboard

KEYS = [
    (b"q", "q"),
    (b" ", " "),
    ("ü".encode(), "ü"),
    (b"\r", "enter"),
    (b"\n", "enter"),
    (b"\t", "tab"),
    (b"\x7f", "backspace"),
    (b"\x08", "backspace"),
    (b"\x15", "clear line"),
    (b"\x1b[A", "up"),
    (b"\x1bOA", "up"),
    (b"\x1b[B", "down"),
    (b"\x1b[5~", "page up"),
    (b"\x1b[6~", "page down"),
    (b"\x1b[H", "home"),
    (b"\x1b[1~", "home"),
    (b"\x1b[F", "end"),
    (b"\x1b[C", "other"),
    (b"\x1b[1;5A", "other"),
    (b"\x01", "other"),
]


@pytest.mark.parametrize(("data", "key"), KEYS)
def test_a_key_is_the_same_however_its_bytes_are_cut(data, key):
    whole = Keyboard()
    assert whole.receive(data, 1.0) == [key]
    assert whole.deadline == inf
    cut = Keyboard()
    assert [k for i in range(len(data)) for k in cut.receive(data[i : i + 1], 1.0)] == [key]
    assert cut.deadline == inf


def test_keys_that_were_typed_fast_are_all_there():
    data = b"".join(data for data, _ in KEYS)
    assert Keyboard().receive(data, 1.0) == [key for _, key in KEYS]


def test_esc_is_a_key_when_nothing_follows_it():
    keyboard = Keyboard()
    assert keyboard.receive(b"\x1b", 1.0) == []
    assert keyboard.deadline == 1.0 + ESCAPE_TIMEOUT
    assert keyboard.timer(1.01) == []
    assert keyboard.timer(1.0 + ESCAPE_TIMEOUT) == ["escape"]
    assert keyboard.deadline == inf
    assert keyboard.receive(b"[A", 2.0) == ["[", "A"]


@pytest.mark.parametrize(
    ("data", "keys"),
    [(b"\x1bj", ["escape", "j"]), (b"\x1b\r", ["escape", "enter"]), (b"\x1b\x1b[A", ["escape"])],
)
def test_esc_is_a_key_when_another_key_follows_it(data, keys):
    keyboard = Keyboard()
    found = keyboard.receive(data, 1.0) + keyboard.timer(9.0)
    assert found[: len(keys)] == keys


def test_the_beginning_of_a_key_is_no_esc():
    keyboard = Keyboard()
    assert keyboard.receive(b"\x1b[", 1.0) == []
    assert keyboard.timer(2.0) == ["other"]
    assert keyboard.receive(b"q", 2.0) == ["q"]


@given(st.binary(max_size=200))
def test_any_bytes_are_keys_and_after_them_a_key_is_itself(data):
    keyboard = Keyboard()
    for key in keyboard.receive(data, 1.0) + keyboard.timer(9.0):
        assert key.isprintable()
    keyboard.receive(b"~~~~", 10.0)  # what UTF-8 may still have been waiting for
    assert keyboard.receive(b"q", 11.0) == ["q"]
