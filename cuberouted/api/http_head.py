"""Checks the raw head of a request, before h11 parses it.

Pure. h11 accepts a bare LF as the end of a line, and header fields on several lines, as RFC 9112
allows (sections 2.2 and 5.2); a proxy in front of us that reads them in another way would see
another number of requests. And it takes milliseconds for thousands of header fields.
"""

from __future__ import annotations

import re
from typing import Final

from cuberouted.api.http import HttpError

MAX_FIELDS: Final = 100
"""Header fields of a request; browsers behind proxies send some 30."""

_END: Final = re.compile(rb"\n\r?\n")
_FOLD: Final = re.compile(rb"\n[ \t]")


def check_head(received: bytes) -> None:
    """Raise HttpError if *received* begins with a whole head that is not accepted."""
    end = _END.search(received)
    if end is None:
        return
    lines = received.count(b"\n", 0, end.end())
    if lines != received.count(b"\r\n", 0, end.end()):
        raise HttpError(400, "malformed request: a line does not end with CR LF")
    if _FOLD.search(received, 0, end.end()):
        raise HttpError(400, "malformed request: a header field is continued on another line")
    if lines > MAX_FIELDS + 2:
        raise HttpError(431, f"more than {MAX_FIELDS} header fields")
