"""Numbers for Prometheus, as text that the node exporter reads from a file.

Certificates have the names and labels of x509-certificate-exporter, so that its dashboards and alert rules work unchanged; all
other names begin with certmedic_. No label holds text that strangers can vary without limit, as peers or lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from certmedic.core.model import Facts

CERTIFICATE = ["filename", "filepath", "serial_number", "subject_CN", "issuer_CN", "embedded_kind", "embedded_key"]
FILE = ["filename", "filepath"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The state of the agent at one moment."""

    at: datetime
    version: str
    mode: str
    facts: Facts | None
    sources: Sequence[Mapping[str, Any]] = ()  # as from `Store.sources`
    sightings: int = 0  # since the start
    incidents: Sequence[tuple[str, str]] = ()  # severity and cause of each open one
    acts: Sequence[str] = ()  # states of all stored actions
    waiting: int = 0  # deliveries
    oldest: datetime | None = None  # the oldest of them
    lost: int = 0  # deliveries given up
    silences: int = 0
    heartbeat_failures: int = 0


def exposition(numbers: Numbers) -> bytes:
    """Return the metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Known([*_certificates(numbers), *_agent(numbers)]))
    return generate_latest(registry)


class _Known:
    """A collector of given metrics."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _certificates(numbers: Numbers) -> list[Metric]:
    before = GaugeMetricFamily("x509_cert_not_before", "Beginning of validity, as Unix time.", labels=CERTIFICATE)
    after = GaugeMetricFamily("x509_cert_not_after", "End of validity, as Unix time.", labels=CERTIFICATE)
    expired = GaugeMetricFamily("x509_cert_expired", "1 where the certificate has expired.", labels=CERTIFICATE)
    error = GaugeMetricFamily("x509_cert_error", "1 where no certificate could be read from the file.", labels=FILE)
    known: set[tuple[str, ...]] = set()
    for stored in numbers.facts.stored if numbers.facts else ():
        cert = stored.certificate
        labels = (
            PurePath(cert.path).name,
            cert.path,
            str(int(cert.serial, 16)),
            cert.subject_cn,
            cert.issuer_cn,
            "",
            "",
        )
        if labels in known:  # a file may hold a certificate twice, but a series must be unique
            continue
        known.add(labels)
        before.add_metric(labels, cert.not_before.timestamp())
        after.add_metric(labels, cert.not_after.timestamp())
        expired.add_metric(labels, float(cert.not_after < numbers.at))
    good = {labels[1] for labels in known}
    bad = {fault.path for fault in numbers.facts.faults} if numbers.facts else set()
    for path in sorted(good | bad):
        error.add_metric((PurePath(path).name, path), float(path in bad))
    return [before, after, expired, error]


def _agent(numbers: Numbers) -> list[Metric]:
    info = GaugeMetricFamily("certmedic_info", "The agent's version and mode.", labels=["version", "mode"])
    info.add_metric((numbers.version, numbers.mode), 1)
    up = GaugeMetricFamily("certmedic_source_up", "1 while a source is read, 0 while it is blind.", labels=["source"])
    lag = GaugeMetricFamily("certmedic_source_lag_seconds", "Age of what is being read.", labels=["source"])
    read = CounterMetricFamily("certmedic_source_entries_read", "Entries read since the start.", labels=["source"])
    for source in numbers.sources:
        name = [str(source["source"])]
        up.add_metric(name, float(not source["down"]))
        lag.add_metric(name, float(source.get("lag_seconds", 0)))
        read.add_metric(name, float(source.get("seen", 0)))
    opened = GaugeMetricFamily("certmedic_incidents_open", "Incidents that last.", labels=["severity", "cause"])
    for (severity, cause), count in sorted(Counter(numbers.incidents).items()):
        opened.add_metric((severity, cause), count)
    acts = GaugeMetricFamily("certmedic_acts", "Acts on record, by how they went.", labels=["state"])
    done = Counter(numbers.acts)
    for state in ("intent", "done", "verified", "undoing", "failed"):
        acts.add_metric([state], done[state])
    age = max((numbers.at - numbers.oldest).total_seconds(), 0) if numbers.oldest else 0
    return [
        info,
        up,
        lag,
        read,
        opened,
        acts,
        CounterMetricFamily("certmedic_sightings", "Lines that told of a failure.", value=numbers.sightings),
        GaugeMetricFamily("certmedic_outbox_waiting", "Messages not taken yet, one a channel.", value=numbers.waiting),
        GaugeMetricFamily("certmedic_outbox_oldest_seconds", "Age of the oldest of these; 0: none waits.", value=age),
        GaugeMetricFamily("certmedic_outbox_lost", "Messages given up, on record.", value=numbers.lost),
        GaugeMetricFamily("certmedic_silences", "Silences that hold.", value=numbers.silences),
        CounterMetricFamily("certmedic_heartbeat_failures", "Calls not taken.", value=numbers.heartbeat_failures),
    ]
