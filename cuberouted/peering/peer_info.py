"""What a peer says of itself, checked before it is shown or printed. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from cuberouted.model import NodeInfo, printable_name

_REMOTE: Final = re.compile(
    r"[\w.:%-]{1,255} [0-9]{1,5} (?:udp[46]?|tcp[46]?|tcp[46]?-client)", re.ASCII
)
"""Nothing that OpenVPN's parser of configurations takes for a quote, a comment or another line."""


def checked(info: NodeInfo) -> NodeInfo:
    """*info* with unprintable characters escaped, and without what is no ``remote``."""
    return msgspec.structs.replace(
        info,
        by=_printable(info.by),
        reason=_printable(info.reason),
        remotes=tuple(filter(_REMOTE.fullmatch, info.remotes)),
    )


def _printable(text: str) -> str:
    return printable_name(text.encode("utf-8", "backslashreplace"))
