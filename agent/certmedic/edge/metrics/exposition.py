"""The metrics of one moment in Prometheus's text format.

Certificates have the names and labels of x509-certificate-exporter, so that its dashboards and alert rules work unchanged; all
other names begin with certmedic_. No label holds text that strangers can vary: their files, names and lines are only counted.
Each series carries the name of the cluster, so that no rule needs a join for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from certmedic.edge.metrics.agent import agent
from certmedic.edge.metrics.certificates import Certificates
from certmedic.edge.metrics.numbers import Numbers


class Exposition:
    """Renders metrics again and again, and keeps the counters of the certificates between."""

    def __init__(self) -> None:
        self._certificates = Certificates()

    def render(self, numbers: Numbers) -> bytes:
        """Return the metrics in Prometheus's text format."""
        metrics = [
            *self._certificates.metrics(numbers.facts, numbers.policy, numbers.at),
            *agent(numbers),
        ]
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Known(metrics, {"cluster": numbers.cluster}))
        return generate_latest(registry)


class _Known:
    """A collector of given metrics. Each sample also carries `labels`, and no empty label, which Prometheus takes for none."""

    def __init__(self, metrics: list[Metric], labels: Mapping[str, str]) -> None:
        for metric in metrics:
            metric.samples = [
                sample._replace(labels={name: text for name, text in (*sample.labels.items(), *labels.items()) if text})
                for sample in metric.samples
            ]
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
