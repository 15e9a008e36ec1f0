"""The log of the daemon: writes the events of the ring, and the records of `logging`.

Records are for developers: debug lines and tracebacks. Everything that users care about is an
event. Nothing here waits: lines that cannot be written at once are dropped and counted, and their
number is written with the next one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import trio

from cuberouted.config import LogFormat
from cuberouted.daemon.log.formats import JournalSink, JsonSink, Sink, Stderr, TextSink
from cuberouted.daemon.log.journal import JOURNAL_SOCKET, Journal
from cuberouted.daemon.log.storm import StormLimit
from cuberouted.events import Event, Level

_SEVERITY = {level: number for number, level in enumerate(Level)}


class Log(logging.Handler):
    """The only handler of `logging`, and a listener of an `EventRing` (`write`).

    *clock* returns monotonic seconds.
    """

    def __init__(
        self,
        level: str,
        log_format: LogFormat,
        *,
        clock: Callable[[], float] = trio.current_time,
        stderr: Stderr | None = None,
        journal_socket: Path = JOURNAL_SOCKET,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._stderr = stderr or Stderr()
        self._journal_socket = journal_socket
        self._storms = StormLimit()
        self._lost = 0
        self._storm_began = trio.Event()
        self._format = LogFormat.TEXT
        self._sink: Sink = TextSink(self._stderr)
        logging.basicConfig(handlers=[self], force=True)
        self.configure(level, log_format)

    def configure(self, level: str, log_format: LogFormat) -> None:
        """Use this level and format from now on."""
        logging.getLogger().setLevel(level.upper())
        self._min_severity = _SEVERITY[Level(level)]
        if log_format is not self._format:
            self._format = log_format
            self._sink.close()
            self._sink = self._open_sink()

    def write(self, event: Event) -> None:
        """Write *event*, if its level is logged and it is not one of too many."""
        level = event.level
        if _SEVERITY[level] < self._min_severity:
            return
        if level is not Level.DEBUG:
            now = self._clock()
            self._write_suppressed(now)
            allowed = self._storms.allow(event, now)
            self._storm_began.set()
            if not allowed:
                return
        self._count(self._write_lost() and self._sink.write_event(event))

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; see `logging.Handler`."""
        try:
            self._count(self._write_lost() and self._sink.write_record(record))
        except (TypeError, ValueError):  # a message and arguments that do not match
            self.handleError(record)

    def close(self) -> None:
        """Write no more."""
        self._sink.close()
        super().close()

    async def run(self) -> None:
        """Write how many events were not logged, at the end of each storm, until cancelled."""
        try:
            while True:
                self._storm_began = trio.Event()
                with trio.move_on_at(self._storms.deadline):
                    if self._storms.deadline == math.inf:
                        await self._storm_began.wait()
                    else:
                        await trio.sleep_forever()
                self._write_suppressed(self._clock())
        finally:
            self._write_suppressed(math.inf)

    def _open_sink(self) -> Sink:
        if self._format is LogFormat.JSON:
            return JsonSink(self._stderr)
        text = TextSink(self._stderr)
        if self._format is LogFormat.TEXT:
            return text
        try:
            return JournalSink(Journal(self._journal_socket))
        except OSError as error:
            why = f"log_format: {self._journal_socket}: {error.strerror}; the log is text instead"
            text.write_record(_record(Level.WARNING, why))
            return text

    def _write_suppressed(self, now: float) -> None:
        for suppressed in self._storms.timer(now):
            self.handle(_record(suppressed.level, str(suppressed)))

    def _write_lost(self) -> bool:
        """Write how many lines were lost, if any. Return whether it works again."""
        if not self._lost:
            return True
        lines = "1 log line" if self._lost == 1 else f"{self._lost:,} log lines"
        text = f"{lines} lost: the reader of the log was too slow"
        if not self._sink.write_record(_record(Level.WARNING, text)):
            return False
        self._lost = 0
        return True

    def _count(self, written: bool) -> None:
        self._lost += not written


def _record(level: Level, text: str) -> logging.LogRecord:
    severity = logging.getLevelNamesMapping()[level.upper()]
    return logging.LogRecord("cuberouted", severity, "", 0, text, None, None)
