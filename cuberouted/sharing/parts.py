"""Cutting what a node says into messages that arrive.

A slow tunnel delivers a snapshot only in pieces: ZMTP's own timeout is reset by whole
messages alone, so one message of 4 MB at 1 MB/s never got through. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cuberouted.model import Advertisement, Prefix

MAX_ITEMS = 500
MAX_BYTES = 64 * 1024

_HEAD = 1200
"""More than the head of any message takes: a node name of 255 characters, four bytes each."""
_ADVERTISEMENT = 56
"""More than an advertisement takes besides its name: address 18, kind 8, version 9, the framing."""
_PREFIX = 24


def cut_snapshot(advertisements: Iterable[Advertisement]) -> list[tuple[Advertisement, ...]]:
    """*advertisements* in parts of at most `MAX_ITEMS`, each below `MAX_BYTES` when encoded.

    Nothing is one empty part: a node without clients has to say so.
    """
    return [advertise for advertise, _ in _cut(advertisements, ())] or [()]


def cut_update(
    advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]
) -> list[tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]]:
    """The same for an update: pairs of what to advertise and what to withdraw; none for nothing."""
    return list(_cut(advertise, withdraw))


def _cut(
    advertise: Iterable[Advertisement], withdraw: Iterable[Prefix]
) -> Iterator[tuple[tuple[Advertisement, ...], tuple[Prefix, ...]]]:
    gone: list[Prefix] = []
    for prefix in withdraw:
        if len(gone) == MAX_ITEMS:
            yield (), tuple(gone)
            gone = []
        gone.append(prefix)
    held: list[Advertisement] = []
    size = _HEAD + _PREFIX * len(gone)
    for advertisement in advertise:
        more = _ADVERTISEMENT + len(advertisement.name)
        if len(held) + len(gone) == MAX_ITEMS or size + more > MAX_BYTES:
            yield tuple(held), tuple(gone)
            held, gone, size = [], [], _HEAD
        held.append(advertisement)
        size += more
    if held or gone:
        yield tuple(held), tuple(gone)
