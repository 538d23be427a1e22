"""Incidents for Alertmanager: which are posted when, from the state, so that a restart of the agent loses none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from certmedic.core import message
from certmedic.core.incident import HELD_BACK, LEADS, LEFT, SILENT, Incident, IncidentState, RecheckKind, accused
from certmedic.core.model import Facts, Severity, Silence, Suspect
from certmedic.edge.alertmanager import Alertmanager, Posted, address_towards
from certmedic.edge.store import Store

POST_EVERY = timedelta(minutes=1)
NAMED = "posted as"  # the event of an incident that was posted before this machine's address was known
Ended = tuple[int, dict[str, str], datetime, datetime]  # incident, labels, opened, ended


class Alerts:
    """Posts open incidents every minute, and at once when one opens, ends or gets other labels."""

    def __init__(self, receiver: Alertmanager, store: Store, host: str, remind_every: timedelta) -> None:
        self._receiver = receiver
        self._store = store
        self._host = host
        self._remind_every = remind_every
        self._posted: dict[int, dict[str, str]] = {}  # incident -> its labels in the last post
        self._ended: list[Ended] = []  # labels that an incident no longer has
        self._texts: dict[
            int, tuple[object, dict[str, str]]
        ] = {}  # incident -> what its annotations are made of, and they
        # The last that were seen: while etcd is down its members may not be known.
        self._peers: frozenset[str] = frozenset()
        self._names: Mapping[str, str] = {}
        self._events: Mapping[tuple[int, str], str] = {}  # (incident, kind) -> text
        self._last: datetime | None = None
        self._mark: object = None
        self._recorded: set[str] = set()  # instances with a post since the start
        self.errors: dict[str, str] = dict.fromkeys(receiver.instances, "")  # instance -> why the last post failed
        self.failures: dict[str, int] = dict.fromkeys(receiver.instances, 0)  # instance -> failed posts since the start

    def turn(self, cluster: str, facts: Facts | None, silences: Sequence[Silence], now: datetime) -> None:
        """Begin a post if one is due."""
        since = now - message.KEPT
        awaiting = self._store.looked_at(RecheckKind.GROUP)
        mark = (cluster, facts is None, [silence.id for silence in silences], awaiting, self._store.marks(since))
        first = self._last is None
        due = self._last is None or not timedelta() <= now - self._last < POST_EVERY
        if not due and mark == self._mark:
            return
        self._last, self._mark = now, mark
        if first and facts is None:
            return  # an alert is another one as long as the address towards the peers is not known
        if facts is not None and facts.peers:
            self._peers, self._names = facts.peers, facts.names
        recent = self._store.recent(since)
        self._events = self._store.texts_of((LEFT, HELD_BACK, LEADS, SILENT, NAMED)) if recent else {}
        shown = [
            # The alert of a group lasts until the others are well too.
            replace(incident, resolved_at=None) if incident.id in awaiting else incident
            for incident in recent
            if message.is_posted(
                incident,
                message.silence_of(incident.diagnosis, silences, now),
                answering=self._answering(incident),
                is_left=incident.announced_at is None and self._is_left(incident),
                now=now,
            )
        ]
        alerts = self.alerts(shown, cluster, now)
        if alerts:
            self._receiver.post(json.dumps(alerts).encode())

    def _members(self, incident: Incident) -> list[str]:
        return accused(incident.diagnosis, self._peers, self._names)

    def _answering(self, incident: Incident) -> list[str]:
        is_silent = (incident.id, SILENT) in self._events or not message.answered(incident, self._remind_every)
        return [] if is_silent else self._members(incident)

    def _is_left(self, incident: Incident) -> bool:
        return (incident.id, LEFT) in self._events and (incident.id, HELD_BACK) not in self._events

    def alerts(self, incidents: Sequence[Incident], cluster: str, now: datetime) -> list[dict[str, Any]]:
        """Return the alerts of these incidents, and the ends of the alerts whose labels an incident no longer has."""
        address = address_towards(self._peers)
        posted: list[dict[str, Any]] = []
        labels_of: dict[int, dict[str, str]] = {}
        for incident in incidents:
            before = self._posted.get(incident.id)
            own = self._address_of(incident, before, address)
            members = self._members(incident)
            labels = message.labels_of(incident, cluster=cluster, host=self._host, address=own, members=members)
            if incident.state is IncidentState.RESOLVED:
                # The severity may have been another one while it was open, which a restart of the agent forgets.
                lasts = before is not None or incident.resolved_at is None
                known = [before or labels] if lasts else [{**labels, "severity": str(level)} for level in SERIOUS]
                labels_of[incident.id] = before or labels
                posted += filter(None, [message.fixed(incident, before or labels)])
                posted += [self._alert(incident, each, cluster, now) for each in known]
                continue
            if before is not None and before != labels:
                self._ended.append((incident.id, before, incident.opened_at, now))
            labels_of[incident.id] = labels
            posted.append(self._alert(incident, labels, cluster, now))
        for number, before in self._posted.items():
            if number not in labels_of:  # no alert any more, e.g. a member that is no longer accused
                self._ended.append((number, before, now - POST_EVERY, now))
        self._posted = labels_of
        self._texts = {number: self._texts[number] for number in labels_of}
        current = [alert["labels"] for alert in posted]
        # Another alert of the incident hides their end as long as it lasts, so that they are posted until it has ended too.
        self._ended = [
            each
            for each in self._ended
            if (each[0] in labels_of or now - each[3] < message.KEPT) and each[1] not in current
        ]
        return [*posted, *(message.ended(labels, opened_at=opened, at=at) for _, labels, opened, at in self._ended)]

    def _address_of(self, incident: Incident, before: dict[str, str] | None, address: str) -> str:
        """Return the address by which an incident calls this machine: the same all the time, or the alert would be another one."""
        if incident.diagnosis.suspect is Suspect.PEER:
            return ""
        if before is not None and before["suspect"] != Suspect.PEER:
            return before["culprit"]
        known = self._events.get((incident.id, NAMED), "")
        if not (known or address):
            with self._store.transaction():
                self._store.event_once(incident.id, NAMED, self._host, now=incident.opened_at)
        return known or address

    def _alert(self, incident: Incident, labels: dict[str, str], cluster: str, now: datetime) -> dict[str, Any]:
        diagnosis, decision, reported = incident.diagnosis, incident.decision, incident.announced_at
        made_of = (cluster, incident.state, incident.severity, diagnosis.evidence, decision, reported)
        known = self._texts.get(incident.id)
        if known is None or known[0] != made_of:
            others = self._events.get((incident.id, LEADS), "")
            texts = message.annotations_of(incident, cluster=cluster, host=self._host, now=now, others=others)
            known = (made_of, texts)
            self._texts[incident.id] = known
        return message.alert(incident, labels, known[1], now=now)

    def results(self, now: datetime) -> list[Posted]:
        """Return the posts that failed after one that succeeded, or that succeeded after one that failed. Record each change."""
        news: list[Posted] = []
        while (posted := self._receiver.result()) is not None:
            self.failures[posted.instance] += bool(posted.error)
            if posted.instance not in self._recorded or posted.error != self.errors[posted.instance]:
                self._recorded.add(posted.instance)
                with self._store.transaction():
                    self._store.received(posted.instance, posted.error, now=now)
            if bool(posted.error) != bool(self.errors[posted.instance]):
                news.append(posted)
            self.errors[posted.instance] = posted.error
        return news


SERIOUS = (Severity.CRITICAL, Severity.WARNING)
