"""What nodes say of themselves, checked before it is sent, shown or printed. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from cuberouted.model import MAX_BY, MAX_REASON, NodeInfo, printable

_REMOTE: Final = re.compile(
    r"[\w.:%-]{1,255} [0-9]{1,5} (?:udp[46]?|tcp[46]?|tcp[46]?-client)", re.ASCII
)
"""Nothing that OpenVPN's parser of configurations takes for a quote, a comment or another line."""


def checked(info: NodeInfo) -> NodeInfo:
    """*info* with unprintable characters escaped, and without what is no ``remote``."""
    return msgspec.structs.replace(
        info,
        by=printable(info.by)[:MAX_BY],
        reason=printable(info.reason)[:MAX_REASON],
        remotes=tuple(filter(_REMOTE.fullmatch, info.remotes)),
    )
