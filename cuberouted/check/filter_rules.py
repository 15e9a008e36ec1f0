"""Rules of `check` on packet filters: what they drop, and whose address they rewrite. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import permutations

from cuberouted.check.facts import HostFacts
from cuberouted.check.finding import Finding, Level
from cuberouted.check.packet_filter import Chain, Packet, Ruleset, Verdict, outcomes
from cuberouted.config import Config
from cuberouted.daemon.host import data_interfaces, interfaces
from cuberouted.model import Prefix
from cuberouted.routing.types import links_by_name

_BYTES = {"ip": {4}, "ip6": {16}, "inet": {4, 16}}
"""Bytes of the addresses that the chains of a family see."""


def check_filters(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Packet filters that drop what is forwarded, or may do so."""
    if facts.filters is None:
        yield Finding(
            Level.UNSEEN,
            "forward-filter",
            "firewall",
            "only root sees whether it drops what is forwarded",
            advice="run `check` as root",
        )
        return
    for why in facts.filters_unseen:
        yield Finding(Level.UNSEEN, "forward-filter", "firewall", why)
    found = [
        finding
        for ruleset in facts.filters
        for chain in ruleset.entered_at("forward", "filter")
        for finding in _dropped(config, facts, ruleset, chain)
    ]
    yield from found
    if not found and not facts.filters_unseen:
        yield Finding(Level.OK, "forward-filter", "firewall", "drops nothing between clients")


def check_translation(config: Config, facts: HostFacts) -> Iterator[Finding]:
    """Packet filters that rewrite the address of a client on the way to another server."""
    if facts.filters is None or facts.filters_unseen:
        return  # told already
    found = [
        finding
        for ruleset in facts.filters
        for chain in ruleset.entered_at("postrouting", "nat")
        for finding in _rewritten(config, facts, ruleset, chain)
    ]
    yield from found
    if not found:
        text = "keeps the addresses of clients on the way to other servers"
        yield Finding(Level.OK, "nat-between-servers", "firewall", text)


def _dropped(config: Config, facts: HostFacts, ruleset: Ruleset, chain: Chain) -> Iterator[Finding]:
    surely: list[Packet] = []
    maybe: list[Packet] = []
    for packet in _packets(config, facts, chain):
        found = outcomes(ruleset, chain, packet)
        if found == {Verdict.DROP}:
            surely.append(packet)
        elif found & {Verdict.DROP, Verdict.OTHER}:
            maybe.append(packet)
    if not surely and not maybe:
        return
    drops = "drops" if surely else "may drop"
    yield Finding(
        Level.WARNING if surely else Level.UNSEEN,
        "forward-filter",
        "firewall",
        f"{_named(chain)} {drops} {_ways(surely or maybe)}",
        advice="a rule that accepts them, to be kept where the others come from:",
        command=_accept(ruleset, chain, surely or maybe),
    )


def _rewritten(
    config: Config, facts: HostFacts, ruleset: Ruleset, chain: Chain
) -> Iterator[Finding]:
    packets = [
        packet
        for packet in _packets(config, facts, chain)
        if packet.into != packet.out and outcomes(ruleset, chain, packet) == {Verdict.NAT}
    ]
    if packets:
        networks = dict.fromkeys(packet.source for packet in packets)
        yield Finding(
            Level.WARNING,
            "nat-between-servers",
            "firewall",
            f"{_named(chain)} rewrites the source address of {_ways(packets)}",
            advice="name the output interface in its rule for the Internet, or put a rule before"
            " it:",
            command=" && ".join(_keep(ruleset, chain, network) for network in networks),
        )


def _packets(config: Config, facts: HostFacts, chain: Chain) -> Iterator[Packet]:
    """Packets between clients that cross this host, of the families that *chain* sees."""
    links = links_by_name(facts.links)
    here = [links[name].name if name in links else name for name in interfaces(config)]
    data = {links[name].name if name in links else name for name in data_interfaces(config)}
    ways = [(name, name) for name in here if name in data]
    ways += [(one, two) for one, two in permutations(here, 2) if one in data or two in data]
    families = _BYTES.get(chain.family, set())
    for network in facts.host.policy.allowed:
        if len(network.address) in families:
            yield from (Packet(into, out, network, network) for into, out in ways)


def _named(chain: Chain) -> str:
    return f"chain {chain.name} of table {chain.family} {chain.table}"


def _ways(packets: Iterable[Packet]) -> str:
    """From where to where: ``tun0 -> tun0, tun0 <-> tun1``."""
    ways = list(dict.fromkeys((packet.into, packet.out) for packet in packets))
    said: list[str] = []
    for into, out in ways:
        if into == out or (out, into) not in ways:
            said.append(f"{into} -> {out}")
        elif ways.index((into, out)) < ways.index((out, into)):
            said.append(f"{into} <-> {out}")
    return f"packets {', '.join(said)}"


def _accept(ruleset: Ruleset, chain: Chain, packets: Iterable[Packet]) -> str:
    """A command that adds a rule which accepts these packets."""
    ways = list(dict.fromkeys((packet.into, packet.out) for packet in packets))
    if ruleset.program == "nft":
        into, out = _set(way[0] for way in ways), _set(way[1] for way in ways)
        return _nft(f"insert rule {_place(chain)} iifname {into} oifname {out} accept")
    return " && ".join(
        shlex.join((ruleset.program, "-I", chain.name, "-i", into, "-o", out, "-j", "ACCEPT"))
        for into, out in ways
    )


def _keep(ruleset: Ruleset, chain: Chain, network: Prefix) -> str:
    """A command that adds a rule which keeps the addresses inside *network*."""
    if ruleset.program == "nft":
        family = "ip" if len(network.address) == 4 else "ip6"
        condition = f"{family} saddr {network} {family} daddr {network}"
        return _nft(f"insert rule {_place(chain)} {condition} accept")
    words = "-t", "nat", "-I", chain.name, "-s", str(network), "-d", str(network), "-j", "ACCEPT"
    return shlex.join((ruleset.program, *words))


def _set(names: Iterable[str]) -> str:
    quoted = [f'"{name}"' for name in dict.fromkeys(names)]
    return f"{{ {', '.join(quoted)} }}"


def _nft(command: str) -> str:
    return f"nft {shlex.quote(command)}"


def _place(chain: Chain) -> str:
    return f"{chain.family} {chain.table} {chain.name}"
