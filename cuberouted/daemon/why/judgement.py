"""What `why` concludes of one address. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Judgement(NamedTuple):
    """Whether packets get there, the sentence on it, and what to do (empty: nothing)."""

    reached: bool
    verdict: str
    advice: str = ""
