"""The alerts and the dashboard: what they name exists, and every alert is described and tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.test_readme import anchors

PROJECT = Path(__file__).parents[2]
CONF = PROJECT / "conf"
EXAMPLE = (CONF / "prometheus/prometheus.yml").read_text("utf-8")
RULES = (CONF / "prometheus/cuberouted.rules.yml").read_text("utf-8")
DOCUMENT = (PROJECT / "docs/alerts.md").read_text("utf-8")
TESTS = "".join(p.read_text("utf-8") for p in (PROJECT / "tests/prometheus").glob("*.test.yml"))

ALERTS: dict[str, str] = dict(
    re.findall(r"^ +- alert: (\w+)\n((?:(?! +- (?:alert|name):).*\n)*)", RULES, re.MULTILINE)
)
"""The text of each rule."""

SCRAPES = 2
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_rule_is_complete(alert):
    lines = r"""        expr: (?:\|\n(?:          .+\n)+|.+\n)\
        for: (\w+)
        labels:
          severity: (?:critical|warning|info)
        annotations:
          summary: ".+"
          description: ".+\."
          runbook_url: docs/alerts\.md#(\w+)
"""
    rule = re.fullmatch(lines.replace("\\\n", ""), ALERTS[alert].rstrip() + "\n")
    assert rule, ALERTS[alert]
    (interval,) = re.findall(r"scrape_interval: (\w+)", EXAMPLE)
    assert seconds(rule[1]) >= SCRAPES * seconds(interval)
    assert rule[2] == alert.lower()
    assert rule[2] in anchors(DOCUMENT)


def test_every_alert_is_described_and_every_description_is_of_an_alert():
    assert re.findall(r"^### (.*)$", DOCUMENT, re.MULTILINE) == list(ALERTS)
    assert len(ALERTS) == RULES.count("alert:")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_seen_to_begin_and_to_end(alert):
    tests = re.findall(rf"^  - name: {alert}\n((?:(?!  - name:).*\n)+)", TESTS, re.MULTILINE)
    (checks,) = (test.partition("alert_rule_test:\n")[2] for test in tests)
    is_on = [
        " exp_alerts:" in check for check in re.split(r"^ {6}- ", checks, flags=re.MULTILINE)[1:]
    ]
    assert (is_on[0], any(is_on), is_on[-1]) == (False, True, False)
