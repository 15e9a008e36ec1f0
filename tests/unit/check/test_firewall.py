from __future__ import annotations

import json
import os

import pytest

from cuberouted.check import firewall
from cuberouted.check.facts import FilterChain


def chain(family, table, name, hook="forward", policy="accept"):
    return {
        "chain": {
            "family": family,
            "table": table,
            "name": name,
            "handle": 1,
            "type": "filter",
            "hook": hook,
            "prio": 0,
            "policy": policy,
        }
    }


def rule(*expr):
    return {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": list(expr)}}


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """Outputs of programs, by their last arguments; the kernel has no modules."""
    answers: dict[str, str | None] = {}

    def run(*command):
        return answers.get(" ".join(command))

    monkeypatch.setattr(firewall, "run", run)
    monkeypatch.setattr(firewall, "PROC", tmp_path)
    monkeypatch.setattr(firewall, "MODULES", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "net").mkdir()
    return answers


def listed(*items):
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *items]})


def test_base_chains_that_drop_are_found(answers):
    answers["nft --json list chains"] = listed(
        chain("ip", "filter", "FORWARD", policy="drop"),
        chain("ip", "filter", "INPUT", hook="input", policy="drop"),
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 2}},
        chain("inet", "mine", "fwd"),
    )
    assert firewall.read_filters().chains == (
        FilterChain("ip", "filter", "FORWARD", "policy drop"),
    )


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([], False),
        ([rule({"accept": None})], False),
        ([rule({"match": {}}, {"drop": None})], False),
        ([rule({"drop": None}), rule({"match": {}}, {"accept": None})], False),
        ([rule({"match": {}}, {"accept": None}), rule({"reject": {"type": "icmpx"}})], True),
        ([rule({"counter": {"packets": 0, "bytes": 0}}, {"log": None}, {"drop": None})], True),
    ],
)
def test_a_last_rule_that_drops_everything_is_found(answers, rules, found):
    answers["nft --json list chains"] = listed(chain("inet", "firewalld", "filter_FORWARD"))
    answers["nft --json list chain inet firewalld filter_FORWARD"] = listed(*rules)
    expected = FilterChain("inet", "firewalld", "filter_FORWARD", "its last rule")
    assert firewall.read_filters().chains == ((expected,) if found else ())


@pytest.mark.parametrize(
    "output",
    [None, "", "{}", "[]", "nonsense", '{"nftables": 1}', '{"nftables": [1, {"chain": 2}]}'],
)
def test_nft_that_is_missing_or_writes_something_else_is_told(answers, output):
    answers["nft --json list chains"] = output
    unseen = "nftables cannot be looked at: install nft (Debian package nftables)"
    is_list = "[1" in (output or "")
    assert firewall.read_filters() == firewall.Filters((), () if is_list else (unseen,))


def test_who_is_not_root_may_not_see_it(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert firewall.read_filters().chains is None


@pytest.mark.parametrize(
    ("modules", "builtin", "asked"),
    [
        ("nf_tables 1 0 - Live 0x0\n", "", True),
        ("nf_tables_other 1 0 - Live 0x0\n", "", False),
        ("", "kernel/net/netfilter/nf_tables.ko\n", True),
        ("", None, False),
    ],
)
def test_nft_is_not_asked_where_it_would_load_a_module(answers, tmp_path, modules, builtin, asked):
    (tmp_path / "modules").write_text(modules)
    if builtin is not None:
        path = tmp_path / os.uname().release / "modules.builtin"
        path.parent.mkdir()
        path.write_text(builtin)
    answers["nft --json list chains"] = listed(chain("ip", "filter", "FORWARD", policy="drop"))
    assert len(firewall.read_filters().chains or ()) == asked
    answers.clear()
    assert len(firewall.read_filters().unseen) == asked


def test_modules_that_cannot_be_read_may_be_loaded(answers, tmp_path):
    (tmp_path / "modules").mkdir()
    answers["nft --json list chains"] = listed(chain("ip", "filter", "FORWARD", policy="drop"))
    assert len(firewall.read_filters().chains or ()) == 1


LAST = "its last rule"


@pytest.mark.parametrize(
    ("tables", "rules", "found"),
    [
        ("filter\n", "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", "policy DROP"),
        ("filter\n", "-P FORWARD ACCEPT\n", None),
        ("filter\n", "-P FORWARD ACCEPT\n-A FORWARD -i a -j ACCEPT\n-A FORWARD -j DROP\n", LAST),
        ("filter\n", "-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with x-y\n", LAST),
        ("filter\n", '-P FORWARD ACCEPT\n-A FORWARD -m comment --comment "a b" -j DROP\n', LAST),
        ("filter\n", "-P FORWARD ACCEPT\n-A FORWARD -i eth0 -j DROP\n", None),
        ("filter\n", "-P FORWARD ACCEPT\n-A FORWARD -j DROPPING\n", None),
        ("filter\n", "-P FORWARD ACCEPT\n-A FORWARD -j DROP\n-A FORWARD -i a -j ACCEPT\n", None),
        ("nat\n", "-P FORWARD DROP\n", None),
        (None, "-P FORWARD DROP\n", None),
    ],
)
def test_a_chain_of_iptables_legacy_is_found_where_its_table_is_in_use(
    answers, tmp_path, tables, rules, found
):
    if tables is not None:
        (tmp_path / "net/ip6_tables_names").write_text(tables)
    answers["ip6tables-legacy -S FORWARD"] = rules
    expected = FilterChain("ip6", "filter", "FORWARD", f"ip6tables-legacy, {found}")
    assert firewall.read_filters().chains == ((expected,) if found else ())


def test_a_table_that_iptables_legacy_does_not_list_is_told(answers, tmp_path):
    answers["nft --json list chains"] = listed()
    (tmp_path / "net/ip_tables_names").write_text("filter\n")
    (unseen,) = firewall.read_filters().unseen
    assert unseen == (
        "the table filter of ip is in use and cannot be looked at: install iptables-legacy"
        " (Debian package iptables)"
    )
