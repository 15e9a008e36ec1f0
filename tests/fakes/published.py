"""Events as a test sees them: `PublishedEvents.append` is the ``emit`` of what is tested."""

from __future__ import annotations

from cuberouted.events import Event, Level


class PublishedEvents(list[Event]):
    """All events, oldest first."""

    @property
    def sentences(self) -> list[str]:
        """The sentences of those that are logged by default."""
        return [str(event) for event in self if event.level is not Level.DEBUG]

    def warnings(self) -> list[str]:
        """The sentences of those that are logged as warnings or errors."""
        return [str(e) for e in self if e.level in (Level.WARNING, Level.ERROR)]
