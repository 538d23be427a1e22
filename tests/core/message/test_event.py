"""Messages as events of PagerDuty, Opsgenie and Splunk On-Call."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.message import BASES, digest, event, key_of
from certmedic.core.model import MessageKind, Pager, Severity
from labs.values import DAY, NOW, facts, member

(EXPIRED,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
OPENED = replace(digest([(Severity.CRITICAL, EXPIRED)], host="m"), kind=MessageKind.OPENED, title="t" * 2000, key="k/1")
RESOLVED = replace(OPENED, kind=MessageKind.RESOLVED)


def sent(service, message, **fields):
    made = event(Pager(service=service, key="/k", **fields), "s3cret", message, host="master-a")
    return made.path, dict(made.headers), json.loads(made.body)


def test_events_go_to_the_documented_hosts():
    assert BASES == {
        ("pagerduty", "us"): "https://events.pagerduty.com",
        ("pagerduty", "eu"): "https://events.eu.pagerduty.com",
        ("opsgenie", "us"): "https://api.opsgenie.com",
        ("opsgenie", "eu"): "https://api.eu.opsgenie.com",
        ("splunk", "us"): "https://alert.victorops.com",
    }


def test_pagerduty_triggers_and_resolves_by_one_dedup_key():
    path, headers, body = sent("pagerduty", OPENED)
    assert (path, headers) == ("/v2/enqueue", {})
    assert (body["routing_key"], body["event_action"], body["dedup_key"]) == ("s3cret", "trigger", "k/1")
    assert body["payload"]["severity"] == "critical"
    assert len(body["payload"]["summary"]) == 1024
    _, _, over = sent("pagerduty", RESOLVED)
    assert over == {"routing_key": "s3cret", "event_action": "resolve", "dedup_key": "k/1"}


def test_opsgenie_creates_and_closes_by_one_alias():
    path, headers, body = sent("opsgenie", replace(OPENED, severity=Severity.WARNING))
    assert (path, headers) == ("/v2/alerts", {"Authorization": "GenieKey s3cret"})
    assert (body["alias"], body["priority"], len(body["message"])) == ("k/1", "P3", 130)
    path, headers, body = sent("opsgenie", RESOLVED)
    assert path == "/v2/alerts/k%2F1/close?identifierType=alias"
    assert (headers, body["source"]) == ({"Authorization": "GenieKey s3cret"}, "master-a")


def test_splunk_opens_and_recovers_by_one_entity():
    path, _, body = sent("splunk", OPENED, routing="masters")
    assert path == "/integrations/generic/20131114/alert/s3cret/masters"
    assert (body["message_type"], body["entity_id"]) == ("CRITICAL", "k/1")
    assert sent("splunk", RESOLVED, routing="masters")[2]["message_type"] == "RECOVERY"


@pytest.mark.parametrize("other", [{"cluster": "b"}, {"host": "n"}, {"incident": 2}, {"opened_at": "u"}])
def test_key_tells_clusters_hosts_incidents_and_states_apart(other):
    whole = {"cluster": "a", "host": "m", "incident": 1, "opened_at": "t"}
    assert key_of(**whole) == key_of(**whole)
    assert key_of(**whole) != key_of(**whole | other)
    assert key_of(**whole).startswith("certmedic-m-1-")
    assert len(key_of(**whole | {"host": "ü" * 300})) <= 255
