"""The alerts and the dashboard: what they name exists, and every alert is described and tested."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.test_readme import anchors

PROJECT = Path(__file__).parents[2]
CONF = PROJECT / "conf"
EXAMPLE = (CONF / "prometheus/prometheus.yml").read_text("utf-8")
RULES = (CONF / "prometheus/cuberouted.rules.yml").read_text("utf-8")
DASHBOARD = json.loads((CONF / "grafana/cuberouted.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
METRICS = (PROJECT / "docs/metrics.md").read_text("utf-8")
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


def test_metrics_that_are_used_are_described():
    queries = RULES + json.dumps(DASHBOARD)
    used = set(re.findall(r"\bcuberouted_[a-z_]+", queries))
    described = set(re.findall(r"^\| `(cuberouted_\w+)`", METRICS, re.MULTILINE))
    described |= {f"{name}_bucket" for name in described if name.endswith("_seconds")}
    assert len(used) > 30
    assert used <= described


def test_every_panel_is_described_and_has_a_unit_and_a_place_of_its_own():
    places: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"].get("unit") or panel["type"] == "heatmap"
        x, y, width, height = (panel["gridPos"][key] for key in "xywh")
        own = {(x + dx, y + dy) for dx in range(width) for dy in range(height)}
        assert x + width <= 24
        assert not own & places, panel["title"]
        places |= own
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_asks_for_its_data_source_by_a_variable():
    assert "__inputs" not in DASHBOARD
    source, *others = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    assert {part["datasource"]["uid"] for part in [*others, *PANELS]} == {"${datasource}"}
    names = {variable["name"] for variable in others} | {"__rate_interval"}
    for panel in PANELS:
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= names
            assert 'instance=~"$instance"' in target["expr"] or "ALERTS" in target["expr"]
