"""The metrics of the agent itself: sources, incidents, decisions, actions and messages."""

from __future__ import annotations

import platform
from collections import Counter
from datetime import datetime

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from certmedic.core.incident import Act, ActState, Incident
from certmedic.core.model import GateName, RemedyKind, Severity
from certmedic.edge.metrics.numbers import Numbers

INCIDENT = ("severity", "cause", "suspect", "plane", "group")


def agent(numbers: Numbers) -> list[Metric]:
    """Return the metrics of the agent."""
    return [
        *_itself(numbers),
        *_sources(numbers),
        *_incidents(numbers),
        *_acts(numbers),
        *_messages(numbers),
    ]


def _itself(numbers: Numbers) -> list[Metric]:
    info = GaugeMetricFamily(
        "certmedic_info", "1. The agent's version, mode and machine.", labels=["version", "mode", "host"]
    )
    info.add_metric((numbers.version, numbers.mode, numbers.host), 1)
    build = GaugeMetricFamily(
        "certmedic_build_info", "1. The Python that runs the agent.", labels=["version", "python"]
    )
    build.add_metric((numbers.version, platform.python_version()), 1)
    updated = GaugeMetricFamily(
        "certmedic_updated_timestamp_seconds", "When these metrics were written.", value=numbers.at.timestamp()
    )
    return [info, build, updated]


def _sources(numbers: Numbers) -> list[Metric]:
    up = GaugeMetricFamily("certmedic_source_up", "1 while a source is read, 0 while it is blind.", labels=["source"])
    lag = GaugeMetricFamily("certmedic_source_lag_seconds", "Age of what is being read.", labels=["source"])
    read = CounterMetricFamily("certmedic_source_entries_read", "Entries read since the start.", labels=["source"])
    for source in numbers.sources:
        name = [str(source["source"])]
        up.add_metric(name, float(not source["down"]))
        lag.add_metric(name, float(source.get("lag_seconds", 0)))
        read.add_metric(name, float(source.get("seen", 0)))
    lines = CounterMetricFamily("certmedic_sightings", "Lines that report a failure.", value=numbers.sightings)
    return [up, lag, read, lines]


def _labels(incident: Incident) -> tuple[str, ...]:
    diagnosis = incident.diagnosis
    return (
        str(incident.severity),
        str(diagnosis.cause),
        str(diagnosis.suspect),
        diagnosis.plane,
        diagnosis.group,
    )


def _incidents(numbers: Numbers) -> list[Metric]:
    opened = GaugeMetricFamily("certmedic_incidents_open", "Incidents that last.", labels=INCIDENT)
    since = GaugeMetricFamily(
        "certmedic_incident_opened_timestamp_seconds", "When the oldest of these was opened.", labels=INCIDENT
    )
    oldest: dict[tuple[str, ...], datetime] = {}
    for incident in numbers.incidents:
        labels = _labels(incident)
        oldest[labels] = min(oldest.get(labels, incident.opened_at), incident.opened_at)
    for labels, count in sorted(Counter(map(_labels, numbers.incidents)).items()):
        opened.add_metric(labels, count)
        since.add_metric(labels, oldest[labels].timestamp())
    serious = [i for i in numbers.incidents if i.diagnosis.severity is not Severity.INFO and i.decision is not None]
    shut = Counter(gate.name for incident in serious if incident.decision for gate in incident.decision.blocked_by)
    gates = GaugeMetricFamily(
        "certmedic_gate_closed", "Open incidents on which nothing is done because of this gate.", labels=["gate"]
    )
    for name in GateName:
        gates.add_metric([name], shut[name])
    return [opened, since, gates]


def _acts(numbers: Numbers) -> list[Metric]:
    states = Counter(act.state for act in numbers.acts)
    acts = GaugeMetricFamily("certmedic_acts", "Actions on record, by their state.", labels=["state"])
    for state in ActState:
        acts.add_metric([state], states[state])
    last = GaugeMetricFamily(
        "certmedic_last_act_timestamp_seconds",
        "When an action of this kind last came to this state.",
        labels=["remedy", "state"],
    )
    moments: dict[tuple[RemedyKind, ActState], datetime] = {}
    for act in numbers.acts:
        kind = (act.action.kind, act.state)
        moments[kind] = max(moments.get(kind, _moment(act)), _moment(act))
    for kind, moment in sorted(moments.items()):
        last.add_metric(kind, moment.timestamp())
    tripped = GaugeMetricFamily(
        "certmedic_breaker_tripped", "1 while no action is taken because one failed.", value=float(numbers.tripped)
    )
    return [acts, last, tripped]


def _moment(act: Act) -> datetime:
    return act.ended_at or act.at


def _messages(numbers: Numbers) -> list[Metric]:
    failed = CounterMetricFamily(
        "certmedic_alertmanager_failures", "Posts to an Alertmanager that failed.", labels=["alertmanager"]
    )
    up = GaugeMetricFamily(
        "certmedic_alertmanager_up", "1 if the last post to an Alertmanager succeeded.", labels=["alertmanager"]
    )
    for instance, count in numbers.alertmanagers.items():
        failed.add_metric([instance], count)
        up.add_metric([instance], float(not numbers.alertmanager_errors[instance]))
    age = max((numbers.at - numbers.oldest).total_seconds(), 0) if numbers.oldest else 0
    return [
        failed,
        up,
        GaugeMetricFamily(
            "certmedic_outbox_waiting", "Messages not delivered yet, each for one channel.", value=numbers.waiting
        ),
        GaugeMetricFamily("certmedic_outbox_oldest_seconds", "Age of the oldest of these; 0: none waits.", value=age),
        GaugeMetricFamily("certmedic_outbox_lost", "Messages given up, on record.", value=numbers.lost),
        GaugeMetricFamily("certmedic_silences", "Silences that hold.", value=numbers.silences),
        CounterMetricFamily(
            "certmedic_heartbeat_failures", "Heartbeats that failed.", value=numbers.heartbeat_failures
        ),
    ]
