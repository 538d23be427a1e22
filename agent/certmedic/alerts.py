"""Incidents for Alertmanager: which are posted when, from the state, so that a restart of the agent loses none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from certmedic.core import message
from certmedic.core.incident import Incident, IncidentState
from certmedic.core.model import Facts, Severity, Silence
from certmedic.edge.alertmanager import Alertmanager, Posted, address_towards
from certmedic.edge.store import Store

POST_EVERY = timedelta(minutes=1)
Ended = tuple[dict[str, str], datetime, datetime]  # labels, opened, ended


class Alerts:
    """Posts open incidents every minute, and at once when one opens, ends or gets other labels."""

    def __init__(self, receiver: Alertmanager, store: Store, host: str) -> None:
        self._receiver = receiver
        self._store = store
        self._host = host
        self._posted: dict[int, dict[str, str]] = {}  # incident -> its labels in the last post
        self._ended: list[Ended] = []  # labels that an incident no longer has
        self._texts: dict[
            int, tuple[object, dict[str, str]]
        ] = {}  # incident -> what its annotations are made of, and they
        self._peers = frozenset[str]()  # the last that were seen: while etcd is down its members may not be known
        self._last: datetime | None = None
        self._mark: object = None
        self._recorded: set[str] = set()  # instances with a post since the start
        self.errors: dict[str, str] = dict.fromkeys(receiver.instances, "")  # instance -> why the last post failed
        self.failures: dict[str, int] = dict.fromkeys(receiver.instances, 0)  # instance -> failed posts since the start

    def turn(self, cluster: str, facts: Facts | None, silences: Sequence[Silence], now: datetime) -> None:
        """Begin a post if one is due."""
        since = now - message.KEPT
        mark = (cluster, facts is None, [silence.id for silence in silences], self._store.marks(since))
        first = self._last is None
        due = self._last is None or not timedelta() <= now - self._last < POST_EVERY
        if not due and mark == self._mark:
            return
        self._last, self._mark = now, mark
        if first and facts is None:
            return  # an alert is another one as long as the address towards the peers is not known
        if facts is not None and facts.peers:
            self._peers = facts.peers
        shown = [
            incident
            for incident in self._store.recent(since)
            if message.is_posted(
                incident, message.silence_of(incident.diagnosis, silences, now), peers=self._peers, now=now
            )
        ]
        alerts = self.alerts(shown, cluster, now)
        if alerts:
            self._receiver.post(json.dumps(alerts).encode())

    def alerts(self, incidents: Sequence[Incident], cluster: str, now: datetime) -> list[dict[str, Any]]:
        """Return the alerts of these incidents, and the ends of the alerts whose labels an incident no longer has."""
        address = address_towards(self._peers)
        posted: list[dict[str, Any]] = []
        labels_of: dict[int, dict[str, str]] = {}
        for incident in incidents:
            labels = message.labels_of(incident, cluster=cluster, host=self._host, address=address, peers=self._peers)
            before = self._posted.get(incident.id)
            if incident.state is IncidentState.RESOLVED:
                # The severity may have been another one while it was open, which a restart of the agent forgets.
                known = [before] if before else [{**labels, "severity": str(level)} for level in SERIOUS]
                labels_of[incident.id] = before or labels
                posted += [self._alert(incident, each, cluster, now) for each in known]
                continue
            if before is not None and before != labels:
                self._ended.append((before, incident.opened_at, now))
            labels_of[incident.id] = labels
            posted.append(self._alert(incident, labels, cluster, now))
        for number, before in self._posted.items():
            if number not in labels_of:  # no alert any more, e.g. a member that is no longer accused
                self._ended.append((before, now - POST_EVERY, now))
        self._posted = labels_of
        self._texts = {number: self._texts[number] for number in labels_of}
        current = [alert["labels"] for alert in posted]
        self._ended = [e for e in self._ended if now - e[2] < message.KEPT and e[0] not in current]
        return [*posted, *(message.ended(labels, opened_at=opened, at=at) for labels, opened, at in self._ended)]

    def _alert(self, incident: Incident, labels: dict[str, str], cluster: str, now: datetime) -> dict[str, Any]:
        made_of = (cluster, incident.state, incident.severity, incident.diagnosis.evidence, incident.decision)
        known = self._texts.get(incident.id)
        if known is None or known[0] != made_of:
            known = (made_of, message.annotations_of(incident, cluster=cluster, host=self._host, now=now))
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
