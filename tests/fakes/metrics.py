"""The metrics of a daemon, as Prometheus has them after a scrape."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Scraped:
    """What *text*, the reply to a scrape, has. Names are without ``cuberouted_``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix("cuberouted_")
                key = name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        """The value of the series with exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def series(self, name: str, **labels: str) -> Mapping[Labels, float]:
        """The series with these labels at least."""
        return {
            found: value
            for (known, found), value in self.samples.items()
            if known == name and found >= labels.items()
        }
