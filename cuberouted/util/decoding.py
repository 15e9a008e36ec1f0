"""What can be raised where bytes of others are decoded."""

from __future__ import annotations

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec raises for malformed JSON and MessagePack, or for another value.

Its own errors are ValueErrors only from 0.20 on.
"""
