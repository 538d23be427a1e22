"""Journal entries of incidents and of the service: each kind has its MESSAGE_ID, priority and fields."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import decision as decide
from certmedic.core import message, verdict
from certmedic.core.message import events
from certmedic.core.model import (
    Cause,
    Confidence,
    Diagnosis,
    Helps,
    MessageKind,
    Remedy,
    RemedyKind,
    SourceDown,
    SourceUp,
    Suspect,
)
from labs import values
from labs.values import NOW

HOST = "master-a"
MINUTE = timedelta(minutes=1)


def own(*, old=False, **more):
    """Return the diagnosis and facts for an etcd whose peer certificate expired nine minutes ago."""
    image = values.OLD_IMAGE if old else values.NEW_IMAGE
    facts = values.facts(values.member(peer_ends=NOW - 9 * MINUTE), containers=(values.container(image=image),))
    (expired,) = verdict.survey(facts, warn_within=timedelta())
    expired = replace(expired, count=312, first_seen=NOW - 9 * MINUTE, last_seen=NOW, **more)
    return expired, facts


def decided(diagnosis, facts, mode):
    policy = decide.Policy(mode=mode, restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    return decide.decide(diagnosis, facts, decide.History(started_at=NOW - values.DAY), policy)


def neighbour(**more):
    usual = {
        "key": "peer",
        "cause": Cause.EXPIRED,
        "suspect": Suspect.PEER,
        "confidence": Confidence.LIKELY,
        "certificates": (),
        "evidence": ('etcd refused the certificate of 10.0.0.2: rejected connection from "10.0.0.2:51234"',),
        "effect": "This master is not at fault.",
        "remedy": Remedy(
            kind=RemedyKind.NONE,
            helps=Helps.NO,
            why="The certificate at fault is on 10.0.0.2.",
        ),
        "neighbours": ("10.0.0.2",),
        "since": NOW - MINUTE,
    }
    return Diagnosis(**(usual | more))


OF_ONE = [kind for kind in MessageKind if kind is not MessageKind.DIGEST]  # about one incident


def compose(kind, diagnosis, **more):
    return message.compose(kind, diagnosis, **({"incident": 12, "host": HOST, "now": NOW} | more))


def test_journal_entry_has_a_field_for_each_fact_to_search_for():
    diagnosis, facts = own()
    decision = decided(diagnosis, facts, "notify")
    fields = message.event_fields("opened", diagnosis, incident=12, decision=decision)
    expected = {
        "CERTMEDIC_EVENT": "opened",
        "CERTMEDIC_INCIDENT": "12",
        "CERTMEDIC_CAUSE": "expired",
        "CERTMEDIC_SUSPECT": "own",
        "CERTMEDIC_CERT": f"{values.VOLUME}/peers/me.crt",
        "CERTMEDIC_NOT_AFTER": "2026-11-24T15:31:00+00:00",
        "CERTMEDIC_COMMAND": diagnosis.remedy.command,
        "CERTMEDIC_DECISION": decision.reason,
        "PRIORITY": "2",
    }
    assert fields.items() >= expected.items()
    assert fields["CERTMEDIC_REMEDY"].startswith("A restart fixes it. ")
    assert fields["MESSAGE"] == f"incident 12 opened: etcd main: certificate expired: {values.VOLUME}/peers/me.crt"


@pytest.mark.parametrize("cause", list(Cause))
def test_opened_incident_has_the_message_id_of_its_cause(cause):
    diagnosis, _ = own(cause=cause)
    opened = message.event_fields("opened", diagnosis, incident=1, decision=None)
    assert re.fullmatch(r"[0-9a-f]{32}", opened["MESSAGE_ID"])
    assert opened["MESSAGE_ID"] != message.event_fields("acted", diagnosis, incident=1, decision=None)["MESSAGE_ID"]


@pytest.mark.parametrize("event", ["opened", "intent", *OF_ONE])
def test_every_event_of_an_incident_has_fields_and_a_message(event):
    diagnosis, facts = own()
    fields = message.event_fields(
        event, diagnosis, incident=3, decision=decided(diagnosis, facts, "remedy"), outcome="So."
    )
    assert fields["CERTMEDIC_EVENT"] == event
    assert "So." in fields["MESSAGE"]


def test_text_of_strangers_in_the_journal_is_one_harmless_line():
    diagnosis = neighbour(evidence=("a\nPRIORITY=0\x1b[31m @everyone",), neighbours=("x\ny",))
    fields = message.event_fields("opened", diagnosis, incident=1, decision=None, outcome="o\x00o" * 2000)
    assert all("\n" not in value and "\x1b" not in value and len(value) <= 1000 for value in fields.values())
    assert fields["CERTMEDIC_EVIDENCE"] == "a PRIORITY=0[31m (at)everyone"


def test_events_of_sources_and_the_service_have_their_own_ids():
    ids = [
        fields["MESSAGE_ID"]
        for fields in (
            message.source_fields(SourceDown(source="docker", reason="no socket")),
            message.source_fields(SourceUp(source="docker")),
            message.started_fields(mode="notify", sources="journal, docker"),
            message.config_refused_fields(["a.toml: mode: found 1", "b"]),
        )
    ]
    assert len(set(ids)) == 4
    blind = message.source_fields(SourceDown(source="docker", reason="no socket"))
    assert blind["MESSAGE"] == "blind: docker cannot be read: no socket"
    assert "a.toml: mode: found 1; b" in message.config_refused_fields(["a.toml: mode: found 1", "b"])["MESSAGE"]


def test_message_without_dates_has_no_since():
    subject = replace(own()[0], since=None, first_seen=None)
    assert "\nSince" not in compose(MessageKind.OPENED, subject).plain
    assert "\nFirst seen" in compose(MessageKind.OPENED, replace(subject, first_seen=NOW)).plain


@pytest.mark.parametrize(
    ("fields", "event", "priority", "named"),
    [
        (
            events.undelivered_fields(3, "opened", "mail", "refused"),
            "undelivered",
            "3",
            {"CERTMEDIC_INCIDENT": "3", "CERTMEDIC_CHANNEL": "mail", "CERTMEDIC_REASON": "refused"},
        ),
        (events.channels_faulty_fields(["a", "b"]), "channels-faulty", "3", {"CERTMEDIC_FAULTS": "a; b"}),
        (events.strangers_fields(), "strangers", "5", {}),
        (
            events.alertmanager_fields("10.0.0.9:9093", "HTTP 503"),
            "alertmanager-lost",
            "4",
            {"CERTMEDIC_CHANNEL": "10.0.0.9:9093", "CERTMEDIC_REASON": "HTTP 503"},
        ),
        (events.alertmanager_fields("10.0.0.9:9093", ""), "alertmanager-back", "5", {}),
        (events.heartbeat_fields("HTTP 500"), "heartbeat-lost", "4", {"CERTMEDIC_REASON": "HTTP 500"}),
        (events.heartbeat_fields(""), "heartbeat-back", "5", {}),
    ],
)
def test_event_of_the_service_has_an_id_and_a_priority(fields, event, priority, named):
    assert (fields["CERTMEDIC_EVENT"], fields["PRIORITY"]) == (event, priority)
    assert fields["MESSAGE_ID"] == events.MESSAGE_IDS[event]
    assert {name: value for name, value in fields.items() if name in named} == named
    assert all(value in fields["MESSAGE"] for value in named.values())


def test_no_two_kinds_of_events_share_an_id():
    ids = [*events.MESSAGE_IDS.values(), *events.OPENED_IDS.values()]
    assert len(set(ids)) == len(ids)
