"""Messages: from an incident into the outbox, from the outbox to channels; and events into the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

from certmedic.core import message
from certmedic.core.incident import HELD_BACK, IncidentState, RecheckKind
from certmedic.core.model import MessageKind, Route, Severity
from certmedic.core.window import Window
from certmedic.edge.store import Delivery, Incident, Store
from certmedic.edge.worker import Worker
from certmedic.ports import Delivered, World

Transaction = Callable[[], AbstractContextManager[None]]
log = logging.getLogger(__name__)
WALL = "wall"  # the channel that needs no network
DIGEST_EVERY = timedelta(hours=1)


class Teller:
    """Reports incidents: each kind of message once for an incident, through the outbox, so that a kill loses none."""

    def __init__(  # noqa: PLR0913 - each is a part of what it reports
        self,
        mode: str,
        store: Store,
        world: World,
        routes: Sequence[Route] = (),
        maintenance: Sequence[Window] = (),
        *,
        zone: tzinfo | None = None,
    ) -> None:
        self.mode = mode
        self.zone = zone
        self.maintenance = maintenance
        self.routes = routes
        self.store = store
        self.world = world

    def tell(self, kind: MessageKind, incident: Incident, now: datetime, *, outcome: str = "", sick: str = "") -> None:
        """Put a message into the outbox, once of each kind, if mode and severity allow it.

        A silence or a maintenance window drops the message. Only "resolved" gets through, for incidents that were reported before.
        """
        severity = incident.severity
        # Whoever heard of an incident hears of its end, also if it is only information by then.
        over = kind is MessageKind.RESOLVED and incident.announced_at is not None
        if self.mode == "observe" or (severity is Severity.INFO and not over):
            return
        silences = (*self.store.silences(now=now), *message.windows(self.maintenance, now))
        silence = message.silence_of(incident.diagnosis, silences, now)
        if silence is not None and kind is not MessageKind.RESOLVED:
            self.store.event_once(incident.id, "silenced", message.silence_text(silence), now=now)
            return
        written = message.compose(
            kind,
            incident.diagnosis,
            incident=incident.id,
            host=self.world.host,
            cluster=self.world.identity.name,
            now=now,
            decision=incident.decision,
            outcome=outcome,
            sick=sick,
            opened_at=incident.opened_at,
            failed=incident.state is IncidentState.ESCALATED,
            zone=self.zone,
        )
        written = replace(written, key=self._key(incident))
        channels = self._channels(kind, incident)
        first = incident.announced_at is None
        serious = severity is Severity.CRITICAL and (first or kind is MessageKind.ESCALATED)
        if serious and self.world.wall is not None:
            channels[WALL] = "every terminal"
        if self.store.enqueue(incident.id, written, channels, now=now) and first:
            self.store.announce(incident.id, now=now)

    def _key(self, incident: Incident) -> str:
        """Return the key of an incident's messages: that of its first, since the name of the cluster and the clock may change."""
        return self.store.key_of_messages(incident.id) or message.key_of(
            cluster=self.world.identity.name,
            host=self.world.host,
            incident=incident.id,
            opened_at=incident.opened_at.isoformat(),
        )

    def _channels(self, kind: MessageKind, incident: Incident) -> dict[str, str]:
        """Return the channels of a message, id -> label. Who heard of an incident hears of its end, whatever its severity is by then."""
        tag = message.tag_of(kind, incident.diagnosis, self.routes, incident.severity)
        channels = {channel.id: channel.label for channel in self.world.notifier.channels(incident.severity, tag)}
        if kind is not MessageKind.RESOLVED:
            return channels
        every = {c.id: c.label for severity in Severity for c in self.world.notifier.channels(severity)}
        every |= {
            c.id: c.label for route in self.routes for c in self.world.notifier.channels(incident.severity, route.tag)
        }
        heard = self.store.heard(incident.id)
        by_route = channels if tag else {}
        return {key: label for key, label in every.items() if key in heard or key in by_route}

    def catch_up(self, now: datetime, transaction: Transaction) -> None:
        """Have channels that were configured since then hear of what is broken already. Reads files: not within a transaction."""
        unheard = self.store.unheard()
        if unheard and self.mode != "observe" and self.world.notifier.channels(Severity.CRITICAL):
            with transaction():
                for number in unheard:
                    self.store.forget_report(number)
                    self.store.recheck(RecheckKind.INCIDENT, number, now)

    def journal(self, event: str, incident: Incident, outcome: str = "") -> None:
        """Write an event of an incident into the journal."""
        self.world.journal.emit(
            message.event_fields(
                event, incident.diagnosis, incident=incident.id, decision=incident.decision, outcome=outcome
            )
        )

    def digest(self, now: datetime) -> None:
        """Put one message about the incidents that are held back into the outbox, at most every hour."""
        held = [
            incident
            for incident in self.store.incidents(unresolved=True)
            if incident.announced_at is None and HELD_BACK in self.store.happened(incident.id)
        ]
        if not held:
            return
        last = self.store.last_digest()
        if last is not None and now - last < DIGEST_EVERY:
            self.store.recheck(RecheckKind.DIGEST, None, now + DIGEST_EVERY)
            return
        faults = [(incident.severity, incident.diagnosis) for incident in reversed(held)]  # the oldest first
        written = message.digest(faults, host=message.machine(self.world.identity.name, self.world.host))
        # A digest has no end, so that nothing would close an incident that it opened.
        every = self.world.notifier.channels(written.severity, "")
        channels = {channel.id: channel.label for channel in every if not channel.keeps_incidents}
        self.store.enqueue(held[0].id, written, channels, now=now)

    def deliver(self, now: datetime, courier: Worker) -> None:
        """Give the courier the messages that are due."""
        if courier.busy:
            return
        due = self.store.outbox(now=now)
        if due:
            courier.begin(lambda: self._hand_over(due))

    def _hand_over(self, due: Sequence[Delivery]) -> Iterator[tuple[Delivery, Delivered]]:
        """Send messages to terminals and channels, on the courier's thread."""
        for delivery in due:
            if delivery.channel == WALL:
                text = message.wall_text(delivery.message, delivery.incident)
                error = self.world.wall(text) if self.world.wall else "not wanted"
                yield delivery, Delivered(ok=not error, error=error)
        sent = [delivery for delivery in due if delivery.channel != WALL]
        batch = [(delivery.channel, delivery.message) for delivery in sent]
        for place, result in self.world.notifier.send_all(batch):
            yield sent[place], result

    def hear(self, now: datetime, courier: Worker, transaction: Transaction) -> None:
        """Record the results of deliveries. A failed one is retried for a day, with growing pauses."""
        while (result := courier.result(0)) is not None:
            if isinstance(result, tuple):
                delivery, delivered = result
                with transaction():
                    self._record(delivery, delivered, now)
            else:
                log.error("the courier failed: %s", type(result).__name__)

    def _record(self, delivery: Delivery, result: Delivered, now: datetime) -> None:
        if result.ok:
            self.store.delivered(delivery, now=now)
            return
        again = None  # a message to terminals is not retried: it is for those who are logged in now
        if delivery.channel != WALL and not result.final:
            key = f"{delivery.message_id}{delivery.channel}"
            again = message.retry_at(delivery.attempts, now, delivery.created_at, key=key)
            again = max(again, now + timedelta(seconds=result.wait)) if again else None
        self.store.undelivered(delivery, result.error, again_at=again)
        if again is None and delivery.channel != WALL:
            reason = f'the message "{delivery.message.kind}" never reached {delivery.label}: {result.error}'
            self.store.event(delivery.incident, "given up", reason, now=now)
            self.world.journal.emit(
                message.undelivered_fields(delivery.incident, delivery.message.kind, delivery.label, result.error)
            )
