from __future__ import annotations

import json
import os

import pytest

from cuberouted.check import firewall
from cuberouted.check.packet_filter import Verdict


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


NFT = "nft --json --terse list ruleset"


def test_nftables_is_listed_at_once(answers):
    answers[NFT] = listed(chain("ip", "filter", "FORWARD", policy="drop"))
    (ruleset,) = firewall.read_filters().rulesets or ()
    assert ruleset.program == "nft"
    assert [(c.name, c.policy) for c in ruleset.chains] == [("FORWARD", Verdict.DROP)]


@pytest.mark.parametrize("output", [None, "", "{}", "[]", "nonsense", '{"nftables": 1}'])
def test_nft_that_is_missing_or_writes_something_else_is_told(answers, output):
    answers[NFT] = output
    unseen = "nftables cannot be looked at: install nft (Debian package nftables)"
    assert firewall.read_filters() == firewall.Filters((), (unseen,))


def test_who_is_not_root_may_not_see_it(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert firewall.read_filters().rulesets is None


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
    answers[NFT] = listed(chain("ip", "filter", "FORWARD", policy="drop"))
    assert len(firewall.read_filters().rulesets or ()) == asked
    answers.clear()
    assert len(firewall.read_filters().unseen) == asked


def test_modules_that_cannot_be_read_may_be_loaded(answers, tmp_path):
    (tmp_path / "modules").mkdir()
    answers[NFT] = listed(chain("ip", "filter", "FORWARD", policy="drop"))
    assert len(firewall.read_filters().rulesets or ()) == 1


@pytest.mark.parametrize(
    ("tables", "found"),
    [("filter\nnat\n", ["filter", "nat"]), ("nat\n", ["nat"]), ("mangle\n", []), (None, [])],
)
def test_tables_of_iptables_legacy_are_listed_where_they_are_in_use(
    answers, tmp_path, tables, found
):
    if tables is not None:
        (tmp_path / "net/ip6_tables_names").write_text(tables)
    answers[NFT] = listed()
    answers["ip6tables-legacy -t filter -S"] = "-P FORWARD DROP\n"
    answers["ip6tables-legacy -t nat -S"] = "-P POSTROUTING ACCEPT\n"
    _, *rulesets = firewall.read_filters().rulesets or ()
    assert [ruleset.program for ruleset in rulesets] == ["ip6tables-legacy"] * len(found)
    assert [c.table for ruleset in rulesets for c in ruleset.chains] == found


def test_a_table_that_iptables_legacy_does_not_list_is_told(answers, tmp_path):
    answers[NFT] = listed()
    (tmp_path / "net/ip_tables_names").write_text("filter\n")
    (unseen,) = firewall.read_filters().unseen
    assert unseen == (
        "the table filter of ip is in use and cannot be looked at: install iptables-legacy"
        " (Debian package iptables)"
    )
