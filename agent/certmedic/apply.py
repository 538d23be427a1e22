"""Applies effects to the state and the outbox, within a transaction. No other module changes the state of an incident or action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from certmedic.core.incident import (
    ActState,
    Effect,
    Incident,
    IncidentState,
    Outcome,
    RecheckKind,
    effects,
    moved,
    tried,
)
from certmedic.edge.store import Store
from certmedic.perform import Performer
from certmedic.tally import Tally
from certmedic.teller import Teller

OF_THE_MACHINE = (RecheckKind.INVENTORY, RecheckKind.BLIND, RecheckKind.DIGEST)


class Applier:
    """Applies the effects that `advance` returns. `leases`: incident -> etcd group whose lease the next look must take."""

    def __init__(self, store: Store, teller: Teller, tally: Tally, performer: Performer, boot_id: str) -> None:
        self._store = store
        self._teller = teller
        self._tally = tally
        self._performer = performer
        self._boot_id = boot_id
        self.leases: dict[int, str] = {}

    def apply(self, incident: Incident, follow: Sequence[Effect], now: datetime) -> None:
        """Apply the effects of one look at an incident, in order. Raises TransitionError if a state cannot follow another."""
        for effect in follow:
            incident = self._apply(incident, effect, now)

    def settle(self, outcome: Outcome, now: datetime) -> None:
        """Apply the effects of an action's outcome."""
        incident, acts = self._store.incident(outcome.incident), self._store.acts(incident=outcome.incident)
        refusals = sum(act.state is ActState.WITHDRAWN for act in acts)
        for act in acts:
            if act.id == outcome.act and incident is not None:
                self.apply(incident, tried(outcome, act, incident, now, refusals=refusals), now)

    def _apply(self, incident: Incident, effect: Effect, now: datetime) -> Incident:  # noqa: C901, PLR0912 - one case an effect
        store = self._store
        match effect:
            case effects.Tell():
                self._teller.tell(effect.kind, effect.about or incident, now, outcome=effect.outcome, sick=effect.sick)
            case effects.Journal():
                self._teller.journal(effect.event, incident, effect.outcome)
            case effects.Note():
                note = store.event_once if effect.once else store.event
                note(incident.id, effect.event, effect.text, now=now)
            case effects.Rejudge():
                incident, _ = store.open_incident(effect.diagnosis, now=now)
            case effects.Decide():
                store.decide(incident.id, effect.decision)
                return replace(incident, decision=effect.decision, diagnosis=effect.diagnosis)
            case effects.Intend():
                store.intend(incident.id, effect.target, effect.action, boot_id=self._boot_id, now=now)
            case effects.MoveAct():
                self._move(effect, now)
            case effects.Take():
                self._performer.resuming.discard(effect.act)
            case effects.TakeLease():
                self.leases[incident.id] = incident.diagnosis.group
            case effects.ReleaseLease():
                self._performer.over.add(incident.diagnosis.group)
            case effects.LookAgain():
                whose = None if effect.kind in OF_THE_MACHINE else incident.id
                look = store.recheck_often if effect.often else store.recheck_by if effect.at_latest else store.recheck
                look(effect.kind, whose, effect.at)
            case effects.JudgeAgain():
                self._tally.forget(incident.id)
            case effects.Escalate():
                incident = replace(incident, state=moved(incident.state, IncidentState.ESCALATED))
                store.escalate(incident.id)
            case effects.Resolve():
                incident = replace(incident, state=moved(incident.state, IncidentState.RESOLVED))
                store.resolve(incident.id, now=now)
        return incident

    def _move(self, effect: effects.MoveAct, now: datetime) -> None:
        (before,) = [act.state for act in self._store.acts() if act.id == effect.act]
        self._store.end_act(effect.act, moved(before, effect.state), effect.detail, now=now)
        if effect.state is not ActState.INTENT:
            self._performer.resuming.discard(effect.act)
