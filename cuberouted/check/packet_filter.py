"""What a packet filter does with a forwarded packet. Pure.

Rules that match what is not known here (marks, protocols, sets of addresses) leave the answer
open: then several outcomes are possible. Source: nft(8), iptables(8).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from cuberouted.model import Prefix

MAX_DEPTH = 16
"""Chains that jump into each other, as in the kernel (NFT_JUMP_STACK_SIZE)."""


class Field(enum.Enum):
    """What a match looks at. OTHER: what is not known here."""

    IN = "input interface"
    OUT = "output interface"
    SOURCE = "source address"
    TARGET = "destination address"
    STATE = "state of the connection"
    OTHER = "other"


class Verdict(enum.Enum):
    """What a rule does with the packet. OTHER: not known here. NONE: nothing."""

    ACCEPT = "accept"
    DROP = "drop"
    NAT = "nat"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"
    OTHER = "other"
    NONE = "none"


Range = tuple[int, int]
"""The first and the last of some addresses."""


@attrs.frozen
class Match:
    """A condition: the field has one of these values, or with ``negated`` none.

    ``values``: names of interfaces (a * at the end stands for any more characters), ranges of
    addresses, or states.
    """

    field: Field
    values: tuple[str | Range, ...] = ()
    negated: bool = False


UNKNOWN = Match(Field.OTHER)


@attrs.frozen
class Rule:
    """A rule. ``target``: the chain of a jump."""

    matches: tuple[Match, ...]
    verdict: Verdict
    target: str = ""


@attrs.frozen
class Chain:
    """A chain. ``hook`` and ``kind`` (filter, nat) are empty unless packets enter it by itself."""

    family: str
    table: str
    name: str
    rules: tuple[Rule, ...] = ()
    hook: str = ""
    kind: str = ""
    policy: Verdict = Verdict.ACCEPT


@attrs.frozen
class Ruleset:
    """All chains of one packet filter, and the program that lists it."""

    program: str
    chains: tuple[Chain, ...]

    def entered_at(self, hook: str, kind: str) -> list[Chain]:
        """The chains through which every packet at this hook passes."""
        return [chain for chain in self.chains if (chain.hook, chain.kind) == (hook, kind)]


@attrs.frozen
class Packet:
    """The first packet of a connection, from any address of a network to any of another."""

    into: str
    out: str
    source: Prefix
    target: Prefix


def outcomes(ruleset: Ruleset, chain: Chain, packet: Packet) -> frozenset[Verdict]:
    """What may become of *packet* in *chain*: ACCEPT, DROP, NAT or OTHER.

    One outcome is certain, several are possible.
    """
    place = chain.family, chain.table
    chains = {c.name: c for c in ruleset.chains if (c.family, c.table) == place}
    end = _Walk(packet, chains).through(chain, 0)
    return end.outcomes | {chain.policy} if end.goes_on else end.outcomes


@attrs.frozen
class _End:
    """What may have become of a packet at the end of a chain, and whether it may go on."""

    outcomes: frozenset[Verdict]
    goes_on: bool


_LOST = _End(frozenset({Verdict.OTHER}), goes_on=True)
"""In a chain that is missing, or that leads to itself: the kernel refuses such chains."""


@attrs.define
class _Walk:
    """The way of one packet. ``ends``: those of chains that it has been through, by name."""

    packet: Packet
    chains: Mapping[str, Chain]
    ends: dict[str, _End] = attrs.field(factory=dict)

    def through(self, chain: Chain, depth: int) -> _End:
        found: set[Verdict] = set()
        goes_on = False
        for rule in chain.rules:
            applies = _applies(rule, self.packet)
            if applies is False or rule.verdict is Verdict.NONE:
                continue
            ends = True
            if rule.verdict in (Verdict.JUMP, Verdict.GOTO):
                inside = self._jump(rule.target, depth)
                found |= inside.outcomes
                ends = not inside.goes_on or rule.verdict is Verdict.GOTO
                goes_on |= inside.goes_on and rule.verdict is Verdict.GOTO
            elif rule.verdict is Verdict.RETURN:
                goes_on = True
            else:
                found.add(rule.verdict)
                ends = rule.verdict is not Verdict.OTHER
            if applies and ends:
                return _End(frozenset(found), goes_on)
        return _End(frozenset(found), goes_on=True)

    def _jump(self, name: str, depth: int) -> _End:
        chain = self.chains.get(name)
        if chain is None or depth >= MAX_DEPTH:
            return _LOST
        if name not in self.ends:
            self.ends[name] = _LOST  # until its end is known
            self.ends[name] = self.through(chain, depth + 1)
        return self.ends[name]


def _applies(rule: Rule, packet: Packet) -> bool | None:
    """Whether the rule's conditions hold; None: it depends on what is not known here."""
    answers = [_holds(match, packet) for match in rule.matches]
    if False in answers:
        return False
    return None if None in answers else True


def _holds(match: Match, packet: Packet) -> bool | None:
    answer = _has_value(match, packet)
    return answer if answer is None or not match.negated else not answer


def _has_value(match: Match, packet: Packet) -> bool | None:
    match match.field:
        case Field.IN:
            return any(_is_called(packet.into, str(value)) for value in match.values)
        case Field.OUT:
            return any(_is_called(packet.out, str(value)) for value in match.values)
        case Field.STATE:
            return "new" in match.values
        case Field.SOURCE:
            return _is_in(packet.source, match)
        case Field.TARGET:
            return _is_in(packet.target, match)
        case Field.OTHER:
            return None


def _is_called(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _is_in(network: Prefix, match: Match) -> bool | None:
    """Whether all (True), some (None) or no (False) addresses of a network are meant."""
    first, last = range_of(network)
    ranges = [value for value in match.values if not isinstance(value, str)]
    if any(low <= first and last <= high for low, high in ranges):
        return True
    return None if any(low <= last and first <= high for low, high in ranges) else False


def range_of(network: Prefix) -> Range:
    """The first and last address of a network."""
    bits = 8 * len(network.address) - network.length
    first = int.from_bytes(network.address)
    return first, first + (1 << bits) - 1
