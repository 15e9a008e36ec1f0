"""The targets of `make fuzz`, for a moment each: their corpus, and what hypothesis makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, corpus

INPUTS = [(name, data) for name in TARGETS for data in corpus(name)]


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_small_corpus(name):
    assert 0 < len(corpus(name)) <= 40
    assert sum(map(len, corpus(name))) < 64 * 1024


@pytest.mark.parametrize(("name", "data"), INPUTS, ids=[name for name, _ in INPUTS])
def test_what_is_known_ends_nothing(name, data):
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=100)
def test_what_is_known_cut_mixed_and_garbled_ends_nothing(name, data):
    known = data.draw(st.lists(st.sampled_from(corpus(name)), min_size=1, max_size=3))
    garbage = data.draw(st.lists(st.binary(max_size=60), min_size=len(known), max_size=3))
    garbled = b""
    for one, between in zip(known, garbage, strict=False):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(one))] * 2)))
        garbled += one[:start] + between + one[end:]
    TARGETS[name](garbled)
