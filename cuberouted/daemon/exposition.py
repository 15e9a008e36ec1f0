"""The metrics as text for Prometheus. The only module that imports prometheus_client."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.registry import Collector

from cuberouted.daemon.metrics import METRICS
from cuberouted.daemon.metrics_view import Metric, View
from cuberouted.model import printable_name
from cuberouted.util.histogram import Histogram


def exposition(view: View) -> Iterator[bytes]:
    """All metrics, in Prometheus' text format 0.0.4, one by one.

    Other tasks can run between them: with hundreds of peers there are thousands of series.
    """
    for metric in METRICS:
        registry = CollectorRegistry()  # the global one has metrics of the process, too
        registry.register(_Collector(metric, view))
        yield generate_latest(registry)


@attrs.frozen(eq=False)  # a registry keeps it as a key
class _Collector(Collector):
    """Reads one metric."""

    metric: Metric
    view: View

    def collect(self) -> Iterator[Family]:
        """See `prometheus_client.registry.Collector`."""
        yield _family(self.metric, self.view)


def _family(metric: Metric, view: View) -> Family:
    """*metric* with its series."""
    name = metric.name
    family = Family(name.removesuffix("_total"), metric.meaning, metric.type.value)
    for values, value in metric.read(view):
        labels = dict(zip(metric.labels, map(_printable, values), strict=True))
        if not isinstance(value, Histogram):
            family.add_sample(name, labels, value)
            continue
        cumulative = value.cumulative()
        for bound, count in zip((*map(str, value.bounds), "+Inf"), cumulative, strict=True):
            family.add_sample(f"{name}_bucket", {**labels, "le": bound}, count)
        family.add_sample(f"{name}_sum", labels, value.sum)
        family.add_sample(f"{name}_count", labels, cumulative[-1])
    return family


def _printable(label: str) -> str:
    # whatever a name is, it must not make a scrape fail
    return printable_name(label.encode("utf-8", "backslashreplace"))
