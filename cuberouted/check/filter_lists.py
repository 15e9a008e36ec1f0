"""Reads what `nft --json` and `iptables-legacy -S` list. Pure, and it never fails.

What is not understood becomes a condition or a verdict that is not known. Source:
libnftables-json(5), iptables(8).
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cuberouted.check.packet_filter import (
    UNKNOWN,
    Chain,
    Field,
    Match,
    Range,
    Rule,
    Ruleset,
    Verdict,
)
from cuberouted.util.decoding import DECODE_ERRORS

_META = {"iif": Field.IN, "iifname": Field.IN, "oif": Field.OUT, "oifname": Field.OUT}
_ADDRESSES = {"saddr": Field.SOURCE, "daddr": Field.TARGET}

_WITHOUT_EFFECT = frozenset(
    {"counter", "log", "comment", "mangle", "notrack", "set", "flow", "ct helper", "ct timeout"}
)
"""Statements after which the packet goes on."""

_NFT_VERDICTS = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.DROP,
    "reject": Verdict.DROP,
    "return": Verdict.RETURN,
    "jump": Verdict.JUMP,
    "goto": Verdict.GOTO,
    "masquerade": Verdict.NAT,
    "snat": Verdict.NAT,
}

_IPTABLES_VERDICTS = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.DROP,
    "RETURN": Verdict.RETURN,
    "MASQUERADE": Verdict.NAT,
    "SNAT": Verdict.NAT,
    "LOG": Verdict.NONE,
    "NFLOG": Verdict.NONE,
}

_HOOKS = {("filter", "FORWARD"): "forward", ("nat", "POSTROUTING"): "postrouting"}
"""Chains of iptables that packets enter by themselves, as far as they matter here."""

Json = dict[str, Any]


# -- nftables --


def parse_nft(output: str) -> Ruleset | None:
    """The chains in the output of `nft --json list ruleset`, None if it is none."""
    try:
        items = msgspec.json.decode(output, type=Json).get("nftables")
    except DECODE_ERRORS:
        return None
    if not isinstance(items, list):
        return None
    items = [item for item in items if isinstance(item, dict)]
    rules: dict[tuple[str, str, str], list[Rule]] = {}
    for item in items:
        row = item.get("rule")
        if isinstance(row, dict):
            rules.setdefault(_key(row, "chain"), []).extend(_nft_rules(row.get("expr")))
    chains = [item["chain"] for item in items if isinstance(item.get("chain"), dict)]
    return Ruleset(
        "nft", tuple(_nft_chain(row, rules.get(_key(row, "name"), ())) for row in chains)
    )


def _key(row: Json, name: str) -> tuple[str, str, str]:
    return str(row.get("family")), str(row.get("table")), str(row.get(name))


def _nft_chain(row: Json, rules: Sequence[Rule]) -> Chain:
    family, table, name = _key(row, "name")
    drops = row.get("policy") == "drop"
    return Chain(
        family,
        table,
        name,
        tuple(rules),
        str(row.get("hook") or ""),
        str(row.get("type") or ""),
        Verdict.DROP if drops else Verdict.ACCEPT,
    )


def _nft_rules(statements: object) -> Iterator[Rule]:
    """A rule, or several for one with a map of verdicts."""
    matches: list[Match] = []
    for statement in statements if isinstance(statements, list) else ():
        name, value = (
            next(iter(statement.items()), ("", None)) if isinstance(statement, dict) else ("", None)
        )
        if name in _WITHOUT_EFFECT:
            continue
        if name == "match":
            matches.append(_nft_match(value))
        elif name == "vmap":
            yield from _nft_map(matches, value)
        elif name in _NFT_VERDICTS:
            yield Rule(tuple(matches), *_nft_verdict(name, value))
            return
        elif name == "xt":  # a match or target of iptables-nft
            found = _xt(value)
            if found is None:
                matches.append(UNKNOWN)
            elif found is not Verdict.NONE:
                yield Rule(tuple(matches), found)
                return
        else:
            matches.append(UNKNOWN)
            yield Rule(tuple(matches), Verdict.OTHER)


def _nft_verdict(name: str, value: object) -> tuple[Verdict, str]:
    target = value.get("target") if isinstance(value, dict) else None
    return _NFT_VERDICTS[name], str(target or "")


def _nft_map(matches: Sequence[Match], value: object) -> Iterator[Rule]:
    key = value.get("key") if isinstance(value, dict) else None
    data = value.get("data") if isinstance(value, dict) else None
    pairs = data.get("set") if isinstance(data, dict) else None
    for pair in pairs if isinstance(pairs, list) else [[None, None]]:
        element, verdict = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        name, argument = (
            next(iter(verdict.items()), ("", None)) if isinstance(verdict, dict) else ("", None)
        )
        match = _nft_match({"op": "==", "left": key, "right": element})
        if name in _NFT_VERDICTS:
            yield Rule((*matches, match), *_nft_verdict(name, argument))
        elif name != "continue":
            yield Rule((*matches, UNKNOWN), Verdict.OTHER)


def _xt(value: object) -> Verdict | None:
    """What a target of iptables-nft does; None for a match, which is not known."""
    if not isinstance(value, dict) or value.get("type") == "match":
        return None
    return _IPTABLES_VERDICTS.get(str(value.get("name")), Verdict.OTHER)


def _nft_match(value: object) -> Match:
    if not isinstance(value, dict):
        return UNKNOWN
    field, right, operator = _nft_field(value.get("left")), value.get("right"), value.get("op")
    if field is Field.OTHER or operator not in ("==", "!=", "in"):
        return UNKNOWN
    values = _nft_values(right, field)
    return UNKNOWN if values is None else Match(field, values, operator == "!=")


def _nft_field(left: object) -> Field:
    if not isinstance(left, dict):
        return Field.OTHER
    meta, payload, track = left.get("meta"), left.get("payload"), left.get("ct")
    if isinstance(meta, dict):
        return _META.get(str(meta.get("key")), Field.OTHER)
    if isinstance(payload, dict) and payload.get("protocol") in ("ip", "ip6"):
        return _ADDRESSES.get(str(payload.get("field")), Field.OTHER)
    is_state = isinstance(track, dict) and track.get("key") == "state"
    return Field.STATE if is_state else Field.OTHER


def _nft_values(right: object, field: Field) -> tuple[str | Range, ...] | None:
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    found: list[str | Range] = []
    for value in right if isinstance(right, list) else [right]:
        one = _nft_range(value) if field in (Field.SOURCE, Field.TARGET) else value
        if isinstance(one, tuple) or (isinstance(one, str) and not one.startswith("@")):
            found.append(one)
        else:  # a named set, or what later versions may write
            return None
    return tuple(found)


def _nft_range(value: object) -> Range | None:
    """``10.0.0.1``, a prefix, a range, or one of these as an element with a time."""
    if isinstance(value, str):
        return _range(value)
    if not isinstance(value, dict):
        return None
    prefix, ends, element = value.get("prefix"), value.get("range"), value.get("elem")
    if isinstance(prefix, dict):
        return _range(f"{prefix.get('addr')}/{prefix.get('len')}")
    if isinstance(ends, list) and len(ends) == 2:
        first, last = (_range(str(end)) for end in ends)
        return (first[0], last[1]) if first and last else None
    return _nft_range(element.get("val")) if isinstance(element, dict) else None


def _range(text: str) -> Range | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return int(network[0]), int(network[-1])


# -- iptables --


def parse_iptables(program: str, family: str, table: str, output: str) -> Ruleset:
    """The chains in the output of `iptables -t TABLE -S`."""
    rules: dict[str, list[Rule]] = {}
    policies: dict[str, Verdict] = {}
    for line in output.splitlines():
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        match words:
            case ["-P", name, policy]:
                rules.setdefault(name, [])
                policies[name] = _IPTABLES_VERDICTS.get(policy, Verdict.ACCEPT)
            case ["-N", name]:
                rules.setdefault(name, [])
            case ["-A", name, *conditions]:
                rules.setdefault(name, []).append(_iptables_rule(conditions))
    return Ruleset(
        program,
        tuple(
            Chain(
                family,
                table,
                name,
                tuple(found),
                _HOOKS.get((table, name), ""),
                table,
                policies.get(name, Verdict.ACCEPT),
            )
            for name, found in rules.items()
        ),
    )


def _iptables_rule(words: Sequence[str]) -> Rule:
    matches: list[Match] = []
    negated, rest = False, list(words)
    while rest:
        word = rest.pop(0)
        if word == "!":
            negated = True
            continue
        value = rest.pop(0) if rest else ""
        if word in ("-j", "-g"):
            return Rule(tuple(matches), *_iptables_verdict(word, value))
        if word not in ("-m", "--comment"):
            matches.append(_iptables_match(word, value, negated))
        negated = False
    return Rule(tuple(matches), Verdict.NONE)


def _iptables_verdict(word: str, value: str) -> tuple[Verdict, str]:
    if value in _IPTABLES_VERDICTS:
        return _IPTABLES_VERDICTS[value], ""
    return (Verdict.GOTO if word == "-g" else Verdict.JUMP), value


def _iptables_match(word: str, value: str, negated: bool) -> Match:
    match word:
        case "-i" | "-o":
            pattern = f"{value[:-1]}*" if value.endswith("+") else value
            return Match(Field.IN if word == "-i" else Field.OUT, (pattern,), negated)
        case "-s" | "-d":
            found = _range(value)
            field = Field.SOURCE if word == "-s" else Field.TARGET
            return Match(field, (found,), negated) if found else UNKNOWN
        case "--ctstate" | "--state":
            return Match(Field.STATE, tuple(value.lower().split(",")), negated)
    return UNKNOWN
