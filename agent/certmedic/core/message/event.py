"""A message as an event of PagerDuty, Opsgenie or Splunk On-Call: all events of one incident share one key.

The first opens an incident there, later ones update it, and "resolved" closes it. FIELD 10 has the contracts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from certmedic.core.model import Message, MessageKind, Pager, Severity
from certmedic.core.text import cut

OURS = "certmedic"
# By service and region: where events are posted.
BASES: Mapping[tuple[str, str], str] = {
    ("pagerduty", "us"): "https://events.pagerduty.com",
    ("pagerduty", "eu"): "https://events.eu.pagerduty.com",
    ("opsgenie", "us"): "https://api.opsgenie.com",
    ("opsgenie", "eu"): "https://api.eu.opsgenie.com",
    ("splunk", "us"): "https://alert.victorops.com",
}
NEVER_AGAIN = frozenset({400, 413, 422})  # the service does not take this event, however often it is sent
PRIORITIES = {Severity.CRITICAL: "P1", Severity.WARNING: "P3", Severity.INFO: "P5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One POST of JSON: the path, the headers that prove who posts, and the body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


def key_of(*, cluster: str, host: str, incident: int, opened_at: str) -> str:
    """Return the key of an incident's events: for people first, then what tells clusters and states of the agent apart."""
    apart = sha256(f"{cluster}|{host}|{incident}|{opened_at}".encode(errors="replace")).hexdigest()[:12]
    return f"{OURS}-{re.sub('[^A-Za-z0-9.-]', '_', host)[:60]}-{incident}-{apart}"


def event(pager: Pager, secret: str, message: Message, *, host: str) -> Event:
    """Return the event of a message. `secret` is the key that the service gave out."""
    over = message.kind is MessageKind.RESOLVED
    path, headers, body = SERVICES[pager.service](pager, secret, message, host, over)
    return Event(path=path, headers=headers, body=json.dumps(body).encode())


Parts = tuple[str, Mapping[str, str], Mapping[str, Any]]


def _pagerduty(_: Pager, secret: str, message: Message, host: str, over: bool) -> Parts:  # noqa: FBT001
    body: dict[str, Any] = {
        "routing_key": secret,
        "event_action": "resolve" if over else "trigger",
        "dedup_key": message.key,
    }
    if not over:
        body["client"] = OURS
        body["payload"] = {
            "summary": cut(message.title, 1024),
            "source": host,
            "severity": str(message.severity),
            "custom_details": {"message": message.plain},
        }
    return "/v2/enqueue", {}, body


def _opsgenie(_: Pager, secret: str, message: Message, host: str, over: bool) -> Parts:  # noqa: FBT001
    headers = {"Authorization": f"GenieKey {secret}"}
    if over:
        path = f"/v2/alerts/{quote(message.key, safe='')}/close?identifierType=alias"
        return path, headers, {"source": host, "note": message.plain}
    body = {
        "message": cut(message.title, 130),
        "alias": message.key,
        "description": message.plain,
        "source": host,
        "priority": PRIORITIES[message.severity],
        "tags": [OURS, str(message.severity)],
    }
    return "/v2/alerts", headers, body


def _splunk(pager: Pager, secret: str, message: Message, host: str, over: bool) -> Parts:  # noqa: FBT001
    path = f"/integrations/generic/20131114/alert/{quote(secret, safe='')}/{quote(pager.routing, safe='')}"
    body = {
        "message_type": "RECOVERY" if over else message.severity.upper(),
        "entity_id": message.key,
        "entity_display_name": message.title,
        "state_message": message.plain,
        "monitoring_tool": OURS,
        "host_name": host,
    }
    return path, {}, body


SERVICES = {"pagerduty": _pagerduty, "opsgenie": _opsgenie, "splunk": _splunk}
