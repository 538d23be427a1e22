"""Records of a fleet from Alertmanager: the alerts that fire, of the agents themselves and of the rules on their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from certmedic.core.fleet import Records, Report
from certmedic.core.message import FIXED
from certmedic.edge.fleet.request import FleetError, address_of, ask, shown

PREFIX = "Certmedic"  # the names of all alerts of certmedic begin with it


def from_alertmanager(url: str) -> Records:
    """Return the incidents that an Alertmanager holds, silenced and inhibited ones too. Raises FleetError.

    Alertmanager knows neither masters without an incident nor certificates.
    """
    answer = ask(url, "/api/v2/alerts", {"active": "true", "silenced": "true", "inhibited": "true"})
    if not isinstance(answer, list):
        raise FleetError(f"{shown(address_of(url))}: the answer is JSON, but no list of alerts: is the address right?")
    return Records(reports=tuple(report for alert in answer if (report := report_of(alert)) is not None))


def report_of(alert: Any) -> Report | None:
    """Return an alert as a report; None if it is none of certmedic, or has not the form of an alert."""
    if not isinstance(alert, dict):
        return None
    labels, notes = _texts(alert.get("labels")), _texts(alert.get("annotations"))
    name = labels.get("alertname", "")
    if not name.startswith(PREFIX) or name == FIXED:
        return None
    instance = labels.get("instance", "")
    return Report(
        cluster=labels.get("cluster", ""),
        master=labels.get("host") or instance.rpartition(":")[0] or instance,
        cause=labels.get("cause") or name,
        suspect=labels.get("suspect", ""),
        severity=labels.get("severity", ""),
        plane=labels.get("plane", ""),
        group=labels.get("group", ""),
        culprit=labels.get("culprit") or labels.get("filepath", ""),
        since=_moment(alert.get("startsAt")),
        text=notes.get("summary", ""),
        command=notes.get("command", ""),
    )


def _texts(values: Any) -> Mapping[str, str]:
    if not isinstance(values, dict):
        return {}
    return {str(name): value for name, value in values.items() if isinstance(value, str)}


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
