"""The metrics of a daemon, as Prometheus would have them."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from cuberouted.daemon.daemon import Daemon
from cuberouted.daemon.exposition import exposition

Labels = frozenset[tuple[str, str]]


def samples(text: str) -> Mapping[tuple[str, Labels], float]:
    """Every series in *text*: its value, by name and labels. No series may be there twice."""
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


class Metrics:
    """What *daemon* shows now."""

    def __init__(self, daemon: Daemon) -> None:
        self.text = exposition(daemon).decode()
        self.samples = samples(self.text)

    def value(self, name: str, **labels: str) -> float:
        """The value of the series of ``cuberouted_NAME`` with exactly these labels."""
        return self.samples[f"cuberouted_{name}", frozenset(labels.items())]

    def series(self, name: str, **labels: str) -> Mapping[Labels, float]:
        """The series of ``cuberouted_NAME`` with these labels at least."""
        return {
            found: value
            for (known, found), value in self.samples.items()
            if known == f"cuberouted_{name}" and found >= labels.items()
        }
