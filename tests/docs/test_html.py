"""The HTML pages: whatever a message or an alert refers to has an anchor."""

from __future__ import annotations

import re

import pytest

from cuberouted import events
from cuberouted.check.catalogue import CHECKS
from cuberouted.config.schema import SECTIONS, SHORTHANDS, key_fields
from cuberouted.daemon.metrics import METRICS
from tests.docs.conftest import PROJECT

RULES = (PROJECT / "conf/prometheus/cuberouted.rules.yml").read_text("utf-8")

REFERENCED = {
    "checks": set(CHECKS),
    "events": set(events.TYPES),
    "metrics": {metric.name for metric in METRICS},
    "alerts": {name.lower() for name in re.findall(r"alert: (\w+)", RULES)},
    "configuration": {
        f"{kind}-{key}" if kind else key
        for kind, section in SECTIONS.items()
        for key in key_fields(section)
    }
    | SHORTHANDS.keys(),
}
"""Anchors by page."""


@pytest.mark.parametrize("page", REFERENCED)
def test_every_name_that_is_referred_to_has_an_anchor(html, page):
    assert len(REFERENCED[page]) > 20
    assert REFERENCED[page] - html[page].anchors == set()
