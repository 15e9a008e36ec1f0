"""What each peer is subscribed to, and whether that is too much. Pure.

ZeroMQ keeps every subscription, as a trie of its bytes, for as long as the connection
stands: the only thing with which a subscriber could fill our memory.
"""

from __future__ import annotations

MOST_TOPICS = 100
"""A peer needs two, and for a moment two more for each connection that it lost."""


class StandingTopics:
    """The topics of every peer."""

    def __init__(self) -> None:
        self._topics: dict[str, set[bytes]] = {}

    def heard(self, frame: bytes, peer: str | None) -> bool:
        """Take in what a subscriber sent; whether *peer* holds too many topics with it.

        Without *peer* ZeroMQ tells that the last connection with that topic has ended.
        """
        topic = frame[1:]
        if frame[:1] == b"\x00":
            for topics in self._topics.values():
                topics.discard(topic)
        elif peer is not None:
            topics = self._topics.setdefault(peer, set())
            topics.add(topic)
            return len(topics) > MOST_TOPICS
        return False

    def forget(self, peer: str) -> None:
        """Its connections have been ended."""
        self._topics.pop(peer, None)
