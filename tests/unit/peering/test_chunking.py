from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cuberouted.model import Advertisement, Kind, Prefix
from cuberouted.peering.messages import (
    CHUNK_BYTES,
    CHUNK_PREFIXES,
    SnapshotPart,
    Update,
    chunk_snapshot,
    chunk_update,
    encode,
)
from tests.unit.peering.samples import clients

NODE = "\N{PILE OF POO}" * 255
TOP = 2**62 - 1


@st.composite
def advertisements(draw: st.DrawFn) -> list[Advertisement]:
    count, length = draw(st.integers(0, 1300)), draw(st.integers(0, 512))
    return [
        Advertisement(Prefix(i.to_bytes(16), 128), Kind.NETWORK, bytes(length), TOP, False)
        for i in range(count)
    ]


@given(advertisements())
def test_parts_of_a_snapshot_are_small_and_together_the_whole(whole: list[Advertisement]) -> None:
    parts = chunk_snapshot(whole)
    assert [a for part in parts for a in part] == whole
    for part in parts:
        message = SnapshotPart(
            node=NODE, epoch=TOP, seq=TOP, index=0, count=2**31 - 1, advertisements=part
        )
        assert len(part) <= CHUNK_PREFIXES
        assert len(encode(message)) <= CHUNK_BYTES


@given(advertisements(), st.integers(0, 1300))
def test_parts_of_an_update_are_small_and_together_the_whole(
    advertise: list[Advertisement], withdrawn: int
) -> None:
    withdraw = [Prefix((2**64 + i).to_bytes(16), 128) for i in range(withdrawn)]
    parts = chunk_update(advertise, withdraw)
    assert [a for part, _ in parts for a in part] == advertise
    assert [p for _, part in parts for p in part] == withdraw
    for held, gone in parts:
        message = Update(node=NODE, epoch=TOP, seq=TOP, advertise=held, withdraw=gone)
        assert 0 < len(held) + len(gone) <= CHUNK_PREFIXES
        assert len(encode(message)) <= CHUNK_BYTES


def test_an_empty_snapshot_is_one_empty_part_and_an_empty_update_none() -> None:
    assert chunk_snapshot([]) == [()]
    assert chunk_update([], []) == []


def test_no_part_of_several_is_empty() -> None:
    assert [len(part) for part in chunk_snapshot(clients(*range(1001)))] == [500, 500, 1]
