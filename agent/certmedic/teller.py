"""What is said: messages into the outbox and out of it, events into the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from certmedic.core import message
from certmedic.core.model import MessageKind, Route, Severity
from certmedic.core.window import Window
from certmedic.edge.store import Delivery, Incident, Store
from certmedic.edge.worker import Worker
from certmedic.ports import Delivered, World

Transaction = Callable[[], AbstractContextManager[None]]
log = logging.getLogger(__name__)
WALL = "wall"  # the channel that needs no network


class Teller:
    """The mouth of the agent. Each kind of message is said once for an incident, and by the outbox, so that no kill loses one."""

    def __init__(
        self, mode: str, store: Store, world: World, routes: Sequence[Route] = (), maintenance: Sequence[Window] = ()
    ) -> None:
        self.mode = mode
        self.maintenance = maintenance
        self.routes = routes
        self.store = store
        self.world = world

    def tell(self, kind: MessageKind, incident: Incident, now: datetime, *, outcome: str = "") -> None:
        """Write an event into the journal, and `say` it to people."""
        if kind is not MessageKind.OPENED:
            self.journal(kind, incident, outcome)
        self.say(kind, incident, now, outcome=outcome)

    def say(self, kind: MessageKind, incident: Incident, now: datetime, *, outcome: str = "") -> None:
        """Write a message into the outbox, once of each kind, where people are to be told of this incident at all.

        Under a silence, or within a maintenance window, it is dropped and not kept. Only "resolved" goes through: what was told before is told to be over.
        """
        if self.mode == "observe" or incident.diagnosis.severity is Severity.INFO:
            return
        silences = (*self.store.silences(now=now), *message.windows(self.maintenance, now))
        silence = message.silence_of(incident.diagnosis, silences, now)
        if silence is not None and kind is not MessageKind.RESOLVED:
            self.store.event_once(incident.id, "silenced", message.silence_said(silence), now=now)
            return
        written = message.compose(
            kind,
            incident.diagnosis,
            incident=incident.id,
            host=self.world.host,
            now=now,
            decision=incident.decision,
            outcome=outcome,
            opened_at=incident.opened_at,
        )
        tag = message.tag_of(kind, incident.diagnosis, self.routes)
        receivers = self.world.notifier.channels(incident.diagnosis.severity, tag)
        channels = {channel.id: channel.label for channel in receivers}
        first = incident.announced_at is None
        if first and self.world.wall is not None and incident.diagnosis.severity is Severity.CRITICAL:
            channels[WALL] = "every terminal"
        if self.store.enqueue(incident.id, written, channels, now=now) and first:
            self.store.announce(incident.id, now=now)

    def journal(self, event: str, incident: Incident, outcome: str = "") -> None:
        """Write an event of an incident into the journal."""
        self.world.journal.emit(
            message.event_fields(
                event, incident.diagnosis, incident=incident.id, decision=incident.decision, outcome=outcome
            )
        )

    def digest(self, held: Sequence[Incident], now: datetime, *, every: timedelta) -> bool:
        """Write the digest of what is held back into the outbox; False if the last one is younger than `every`."""
        last = self.store.last_digest()
        if last is not None and now - last < every:
            return False
        told = [(one.diagnosis.severity, one.diagnosis.cause) for one in held]
        written = message.digest(told, host=self.world.host)
        channels = {channel.id: channel.label for channel in self.world.notifier.channels(written.severity, "")}
        self.store.enqueue(held[0].id, written, channels, now=now)
        return True

    def deliver(self, now: datetime, courier: Worker) -> None:
        """Have the courier hand over what is due."""
        if courier.busy:
            return
        due = self.store.outbox(now=now)
        if due:
            courier.begin(lambda: self._hand_over(due))

    def _hand_over(self, due: Sequence[Delivery]) -> Iterator[tuple[Delivery, Delivered]]:
        """Hand messages to terminals and channels, on the courier's thread."""
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
        """Write down what became of deliveries; what a channel does not take comes back later and later, for a day."""
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
        again = None  # whoever is not logged in now does not see the wall later either
        if delivery.channel != WALL:
            key = f"{delivery.message_id}{delivery.channel}"
            again = message.retry_at(delivery.attempts, now, delivery.created_at, key=key)
        self.store.undelivered(delivery, result.error, again_at=again)
        if again is None and delivery.channel != WALL:
            said = f'the message "{delivery.message.kind}" never reached {delivery.label}: {result.error}'
            self.store.event(delivery.incident, "given up", said, now=now)
            self.world.journal.emit(
                message.undelivered_fields(delivery.incident, delivery.message.kind, delivery.label, result.error)
            )
