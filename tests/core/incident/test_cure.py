"""An action that the actor refused: it is withdrawn and decided on again, until a person is called."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmedic.core import verdict
from certmedic.core.incident import Act, ActState, Incident, IncidentState, Outcome, RecheckKind, Result, effects, tried
from certmedic.core.incident.circumstances import MOST_REFUSALS
from certmedic.core.model import Action, MessageKind, RemedyKind
from labs.values import DAY, NOW, VOLUME, container, facts, member

WHY = "the actor's own look finds no expired file"


def incident() -> Incident:
    """Return the open incident of a member whose peer certificate expired yesterday."""
    (diagnosis,) = verdict.survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return Incident(
        id=1,
        key=diagnosis.key,
        state=IncidentState.OPEN,
        diagnosis=diagnosis,
        decision=None,
        opened_at=NOW,
        announced_at=NOW,
        last_seen=NOW,
        resolved_at=None,
        count=1,
    )


def act() -> Act:
    """Return the recorded restart of etcd-manager for that incident."""
    action = Action(
        kind=RemedyKind.RESTART, container=container(), watched=((f"{VOLUME}/peers/me.crt", NOW - DAY),), ports=()
    )
    return Act(
        id=7,
        incident=1,
        target="etcd-manager-main",
        action=action,
        state=ActState.INTENT,
        boot_id="b",
        at=NOW,
        ended_at=None,
        detail="",
        undo=(),
    )


def refused(before: int) -> list[effects.Effect]:
    """Return the effects of a refusal, after so many earlier ones of the same incident."""
    return tried(Outcome(7, 1, Result.REFUSED, WHY), act(), incident(), NOW, refusals=before)


@pytest.mark.parametrize(("before", "seconds"), list(zip(range(MOST_REFUSALS), (15, 30, 60, 120), strict=True)))
def test_refused_action_is_withdrawn_and_decided_on_again_when_it_is_allowed(before, seconds):
    assert refused(before) == [
        effects.MoveAct(7, ActState.WITHDRAWN, WHY),
        effects.Note("withdrawn", WHY),
        effects.ReleaseLease(),
        effects.LookAgain(RecheckKind.INCIDENT, NOW + timedelta(seconds=seconds)),
    ]


@pytest.mark.parametrize("before", [MOST_REFUSALS, MOST_REFUSALS + 1])
def test_person_is_called_after_too_many_refusals(before):
    follow = refused(before)

    assert effects.MoveAct(7, ActState.FAILED, WHY) in follow
    assert effects.Escalate() in follow
    assert effects.ReleaseLease() in follow
    assert effects.Tell(MessageKind.ESCALATED, WHY) in follow
