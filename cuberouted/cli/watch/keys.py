"""The keyboard: bytes of a terminal in, keys out.

Pure; a machine as in `util.machine`: it has a timer, because the key Esc is the first byte of
other keys. Source: xterm's "XTerm Control Sequences", PC-Style Function Keys.
"""

from __future__ import annotations

import codecs
from math import inf

ESCAPE_TIMEOUT = 0.05
"""Seconds in which the rest of a key arrives that begins with the byte of Esc, also over ssh."""

MAX_SEQUENCE = 32
"""Bytes of one key; those that we know have at most five."""

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, ESCAPE, TAB, BACKSPACE, CLEAR_LINE = "enter", "escape", "tab", "backspace", "clear line"
OTHER = "other"
"""A key that has no meaning here. Every other key is the character that it types."""

_CONTROLS = {
    "\r": ENTER,
    "\n": ENTER,
    "\t": TAB,
    "\b": BACKSPACE,
    "\x7f": BACKSPACE,
    "\x15": CLEAR_LINE,
    "\x02": PAGE_UP,  # Ctrl-B and Ctrl-F, as in less
    "\x06": PAGE_DOWN,
    "\x10": UP,  # Ctrl-P and Ctrl-N
    "\x0e": DOWN,
}

_SEQUENCES = {
    "[A": UP,
    "[B": DOWN,
    "OA": UP,
    "OB": DOWN,
    "[H": HOME,
    "[F": END,
    "OH": HOME,
    "OF": END,
    "[1~": HOME,
    "[7~": HOME,
    "[4~": END,
    "[8~": END,
    "[5~": PAGE_UP,
    "[6~": PAGE_DOWN,
}


class Keyboard:
    """What has been typed, and the first bytes of a key that is not complete yet."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.deadline = inf
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._sequence: str | None = None

    def receive(self, data: bytes, now: float) -> list[str]:
        """The keys that *data* completes."""
        keys = [key for c in self._decoder.decode(data) for key in self._character(c)]
        self.deadline = inf if self._sequence is None else now + ESCAPE_TIMEOUT
        return keys

    def timer(self, now: float) -> list[str]:
        """The key that was only a beginning, if nothing has followed it: Esc."""
        if now < self.deadline:
            return []
        self.deadline = inf
        sequence, self._sequence = self._sequence, None
        return [ESCAPE] if sequence == "" else [OTHER]

    def _character(self, c: str) -> list[str]:
        if self._sequence is None:
            if c == "\x1b":
                self._sequence = ""
                return []
            return [_CONTROLS.get(c, c if c.isprintable() else OTHER)]
        if c == "\x1b":  # Esc twice, or Esc and then a key that begins with it
            keys = [ESCAPE] if self._sequence == "" else [OTHER]
            self._sequence = ""
            return keys
        if not self._sequence and c not in "[O":  # Esc and then another key; or Alt with that key
            self._sequence = None
            return [ESCAPE, *self._character(c)]
        self._sequence += c
        introducer = len(self._sequence) == 1
        if not introducer and ("@" <= c <= "~" or len(self._sequence) >= MAX_SEQUENCE):
            sequence, self._sequence = self._sequence, None
            return [_SEQUENCES.get(sequence, OTHER)]
        return []
