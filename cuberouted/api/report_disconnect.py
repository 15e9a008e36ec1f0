"""What `cuberouted disconnect` asks for, and what was done, as values. Pure."""

from __future__ import annotations

import msgspec


class DisconnectOrder(msgspec.Struct):
    """End the sessions of ``client``, a common name as the commands show it. ``from_node``: there
    only; None: wherever it is connected.
    """

    client: str
    from_node: str | None = msgspec.field(default=None, name="from")


class NodeDisconnected(msgspec.Struct):
    """What one node did.

    ``outcome``: ended; not_found: nobody there has that name; refused: the node does not allow it;
    failed: sessions are left there, or may be; no_answer: it may still end them. ``client_ids``:
    of the sessions that were ended, -1 where OpenVPN has none. ``why``: a clause, empty for ended
    and not_found.
    """

    node: str
    outcome: str
    client_ids: list[int] = []
    why: str = ""


class DisconnectReport(msgspec.Struct):
    """What the nodes did that were asked. ``client`` and ``from_node`` are those of the order."""

    client: str
    nodes: list[NodeDisconnected]
    from_node: str | None = msgspec.field(default=None, name="from")

    @property
    def is_done(self) -> bool:
        """Whether a session was ended, and none that is known is left."""
        outcomes = {node.outcome for node in self.nodes}
        return "ended" in outcomes and outcomes <= {"ended", "not_found"}

    def sentences(self) -> list[str]:
        """What was done, for people: a line for each node that has or may have had the client."""
        found = [node for node in self.nodes if node.outcome != "not_found"]
        if found:
            return [line for node in found for line in self._lines(node)]
        where = "" if self.from_node is None else f" at {self.from_node}"
        return [f"nobody{where} has {self.client}"]

    def _lines(self, node: NodeDisconnected) -> list[str]:
        lines = []
        if node.client_ids:
            count = len(node.client_ids)
            known = [str(cid) for cid in node.client_ids if cid >= 0]
            ids = f" (client id{'' if len(known) == 1 else 's'} {', '.join(known)})"
            sessions = f"{count} session{'' if count == 1 else 's'}"
            lines.append(f"{self.client}: {sessions} ended at {node.node}{ids if known else ''}")
        if node.outcome == "refused":
            lines.append(f"{node.node} refuses: {node.why}")
        elif node.outcome != "ended":
            lines.append(f"{node.node}: {node.why}")
        return lines
