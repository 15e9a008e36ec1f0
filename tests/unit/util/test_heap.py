from __future__ import annotations

import gc
import weakref

import pytest
import trio

from cuberouted.util import heap


class Node:
    """An object that can be part of a reference cycle."""

    other: Node


def cycle() -> weakref.ref[Node]:
    node = Node()
    node.other = node
    return weakref.ref(node)


@pytest.fixture(autouse=True)
def settings():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def test_young_cycles_are_collected_and_what_stays_is_frozen(nursery, autojump_clock):
    heap.configure()
    nursery.start_soon(heap.keep_collections_short)
    table = [Node() for _ in range(1000)]
    garbage = cycle()
    await trio.sleep(1.5 * heap.FREEZE_INTERVAL)
    assert garbage() is None
    searched = {id(one) for one in gc.get_objects()}  # without those that are frozen
    assert not any(id(node) in searched for node in table)
    nursery.cancel_scope.cancel()


async def test_a_frozen_object_is_freed_when_its_last_reference_goes(nursery, autojump_clock):
    heap.configure()
    nursery.start_soon(heap.keep_collections_short)
    table = {0: Node()}
    entry = weakref.ref(table[0])
    await trio.sleep(1.5 * heap.FREEZE_INTERVAL)
    del table[0]
    assert entry() is None
    nursery.cancel_scope.cancel()
