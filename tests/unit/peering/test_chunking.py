from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import MAX_ADVERTISEMENTS, MAX_VERSION, Advertisement, Kind, Prefix
from cuberouted.peering.messages import (
    MAX_MESSAGE,
    MAX_SNAPSHOT_PARTS,
    PART_PREFIXES,
    SnapshotPart,
    Update,
    chunk_update,
    count_parts,
    encode,
)
from tests.unit.peering.samples import client, clients

NODE = "\N{PILE OF POO}" * 255
MAX_NUMBER = 2**62 - 1


def largest(number: int) -> Advertisement:
    """An advertisement that is as long as any when encoded."""
    prefix = Prefix(bytes([255]) * 12 + number.to_bytes(4), 128)
    return Advertisement(prefix, Kind.NETWORK, bytes(512), MAX_VERSION - 1, False, MAX_VERSION - 1)


def test_a_full_message_of_the_longest_advertisements_is_within_the_limit() -> None:
    advertisements = tuple(map(largest, range(PART_PREFIXES)))
    update = Update(node=NODE, epoch=MAX_NUMBER, seq=MAX_NUMBER, advertise=advertisements)
    part = SnapshotPart(
        node=NODE,
        epoch=MAX_NUMBER,
        seq=MAX_NUMBER,
        index=2**31 - 1,
        count=2**31 - 1,
        advertisements=advertisements,
    )
    assert len(encode(update)) < len(encode(part)) < 0.9 * MAX_MESSAGE


@given(st.integers(0, 1300), st.integers(0, 1300))
def test_the_parts_of_an_update_are_full_and_together_the_whole(new: int, old: int) -> None:
    advertise = clients(*range(new))
    withdraw = [client(2**16 + number).prefix for number in range(old)]
    parts = list(chunk_update(advertise, withdraw))
    assert tuple(a for part, _ in parts for a in part) == advertise
    assert [p for _, part in parts for p in part] == withdraw
    sizes = [len(first) + len(second) for first, second in parts]
    assert all(size == PART_PREFIXES for size in sizes[:-1])
    assert all(0 < size <= PART_PREFIXES for size in sizes)


def test_an_empty_snapshot_is_one_part_and_an_empty_update_none() -> None:
    assert count_parts(0) == 1
    assert list(chunk_update((), ())) == []


def test_no_part_of_a_snapshot_is_empty() -> None:
    sizes = (1, PART_PREFIXES, PART_PREFIXES + 1, 2 * PART_PREFIXES)
    assert [count_parts(size) for size in sizes] == [1, 1, 2, 2]
    assert count_parts(MAX_ADVERTISEMENTS) == MAX_SNAPSHOT_PARTS
