"""A plane is one record: from an invented record the code reads, judges, cures and reports certificates."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import decision, diagnose, examine, message, planes, symptoms, verdict
from certmedic.core.means import means_for
from certmedic.core.model import Cause, Fold, Helps, MessageKind, RemedyKind, Role
from certmedic.core.planes import lookup
from certmedic.core.planes.record import Effect, Plane, Renewer, Use, files
from labs import pki, values
from labs.values import DAY, NOW, unit

CA = pki.authority("harbour-ca", not_before=NOW - 400 * DAY)
GATE = "/opt/harbour/tls/gate-main.crt"
HARBOUR = Plane(
    name="harbour",
    files=files("""
        /opt/|harbour/tls/gate-*.crt  gate  harbourmaster  ca.crt  7443
        /opt/|harbour/tls/ca.crt      ca    operator       -       -
    """),
    renewers=(
        Renewer(
            name="harbourmaster",
            unit="harbourmaster.service",
            effect=lambda case: Effect(
                kind="renews",
                why=f"harbourmaster renews {case.place.use} at every start.",
                command="sudo systemctl restart harbourmaster",
            ),
        ),
    ),
    uses=(
        Use(
            name="gate",
            holder="kube-apiserver",
            roles=frozenset({Role.SERVER}),
            needs=frozenset({"server"}),
            refused="No ship enters the harbour.",
        ),
    ),
    ca=Effect(kind="nothing", why="The CA comes from the admiralty.", command="sudo harbour ask admiralty"),
)


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setattr(lookup, "INDEX", lookup.Index((*planes.PLANES.values(), HARBOUR)))


def read(authority, path):
    place = planes.place(path, values.stored(authority, path).certificate)
    return replace(values.stored(authority, path), place=place)


def gate(*, ends=NOW - DAY, **more):
    leaf = CA.leaf("gate", dns=("gate.example",), not_before=NOW - 300 * DAY, not_after=ends, **more)
    return read(leaf, GATE), read(CA, "/opt/harbour/tls/ca.crt")


def judged(stored):
    (diagnosis,) = verdict.survey(
        values.facts(stored, containers=(unit("harbourmaster.service"),)), warn_within=0 * DAY
    )
    return diagnosis


def test_place_comes_from_the_record():
    place = planes.place(GATE)
    assert (place.plane, place.use, place.renewer) == ("harbour", "gate", "harbourmaster")
    assert (place.ca_path, place.ports) == ("/opt/harbour/tls/ca.crt", (7443,))
    assert planes.in_its_place(GATE)
    assert planes.place("/copy/harbour/tls/gate-x.crt").plane == "harbour"
    assert planes.patterns("harbour", root="/r") == ("/r/opt/harbour/tls/gate-*.crt", "/r/opt/harbour/tls/ca.crt")


def test_remedy_and_effect_come_from_the_record():
    diagnosis = judged(gate())
    assert (diagnosis.cause, diagnosis.plane, diagnosis.effect) == (
        Cause.EXPIRED,
        "harbour",
        "No ship enters the harbour.",
    )
    assert (diagnosis.remedy.kind, diagnosis.remedy.helps) == (RemedyKind.RESTART, Helps.YES)
    assert diagnosis.remedy.why == "harbourmaster renews gate at every start."
    assert diagnosis.remedy.command == "sudo systemctl restart harbourmaster"
    ca = planes.restart_effect(planes.place("/opt/harbour/tls/ca.crt"), None)
    assert ca == HARBOUR.ca


def test_line_of_the_holder_leads_to_the_file():
    line = "http: TLS handshake error from 10.0.0.9:50: remote error: tls: expired certificate"
    sighting = symptoms.parse(values.entry(line, unit="kube-apiserver.service"))
    assert sighting is not None
    fold = Fold(sighting=sighting, count=1, first_seen=NOW, last_seen=NOW)
    diagnosis = diagnose.diagnose(fold, values.facts(gate(), containers=()))
    assert diagnosis is not None
    assert [leaf.path for leaf in diagnosis.certificates] == [GATE]


def test_missing_usage_is_detected_from_the_record():
    stored = gate(ends=NOW + 90 * DAY, server=False)
    finding = examine.examine(stored[0], values.facts(stored))
    assert finding is not None
    assert finding.cause is Cause.USAGE


def test_unit_of_the_record_is_the_target_of_the_restart():
    stored = gate()
    facts = values.facts(stored, containers=(unit("harbourmaster.service"),))
    diagnosis = judged(stored)
    policy = decision.Policy(mode="remedy", restart=("harbourmaster",), cooldown=timedelta(minutes=15), per_day=2)
    decided = decision.decide(diagnosis, facts, decision.History(started_at=NOW - DAY), policy)
    closed = {gate.name for gate in decided.blocked_by}
    assert closed.isdisjoint({"evidence", "fix known", "version", "CA valid", "target"})
    assert means_for(stored[:1], ()).unit == "harbourmaster.service"


@pytest.mark.parametrize("form", ["plain", "markdown", "html"])
def test_message_contains_the_texts_of_the_record(form):
    text = getattr(message.compose(MessageKind.OPENED, judged(gate()), incident=1, host="m", now=NOW), form)
    for words in (
        "No ship enters the harbour.",
        "harbourmaster renews gate at every start",
        "harbour",
        "gate-main.crt",
    ):
        assert words in text
    assert "systemctl restart harbourmaster" in text
