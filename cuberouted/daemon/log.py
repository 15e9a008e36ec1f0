"""The log of the daemon."""

from __future__ import annotations

import logging
import os
import sys
from types import MappingProxyType

from cuberouted.events import Event

log = logging.getLogger(__name__)


def log_event(event: Event) -> None:
    """Write *event* at its level."""
    log.log(getattr(logging, event.level.upper()), "%s", event)


def set_up_log(level: str) -> None:
    """Log to standard error; in the journal each line has a priority instead of a time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JournalFormatter()
        if os.environ.get("JOURNAL_STREAM")
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class JournalFormatter(logging.Formatter):
    """Puts the priority in front (sd-daemon(3)). The journal adds time and program name."""

    PRIORITIES = MappingProxyType({"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2})

    def format(self, record: logging.LogRecord) -> str:
        """``<6>message``, and so in front of every line of a traceback."""
        priority = f"<{self.PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(priority + line for line in super().format(record).splitlines())
