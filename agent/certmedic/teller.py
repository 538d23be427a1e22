"""What is said: messages into the outbox and out of it, events into the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from certmedic.core import message
from certmedic.core.model import Facts, MessageKind, Origin, Severity
from certmedic.edge.notify import Notifier
from certmedic.edge.restart import Hands
from certmedic.edge.service import Journal
from certmedic.edge.store import Incident, Store


class Senses(Protocol):
    """What can be looked up on this machine."""

    def gather(self, *, now: datetime) -> Facts:
        """Return the facts of this moment. Never raises: what cannot be seen is in `Facts.blind`."""

    def learn(self, origin: Origin) -> None:
        """Look up which certificate files the program that wrote a line was started with."""

    def is_own_probe(self, address: str) -> bool:
        """Whether "host:port" was this agent's own end of a handshake it made to look at a certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside: what can be looked up, done and said, and where this is."""

    senses: Senses
    hands: Hands
    notifier: Notifier
    journal: Journal
    host: str
    boot_id: str
    drill: bool = False


class Teller:
    """The mouth of the agent. Each kind of message is said once for an incident, and by the outbox, so that no kill loses one."""

    def __init__(self, mode: str, store: Store, world: World) -> None:
        self.mode = mode
        self.store = store
        self.world = world

    def tell(self, kind: MessageKind, incident: Incident, now: datetime, *, outcome: str = "") -> None:
        """Write a message into the outbox, once of each kind, where people are to be told of this incident at all."""
        if kind is not MessageKind.OPENED:
            self.journal(kind, incident, outcome)
        if self.mode == "observe" or incident.diagnosis.severity is Severity.INFO:
            return
        written = message.compose(
            kind,
            incident.diagnosis,
            incident=incident.id,
            host=self.world.host,
            now=now,
            decision=incident.decision,
            outcome=outcome,
            drill=self.world.drill,
            opened_at=incident.opened_at,
        )
        channels = {channel.id: channel.label for channel in self.world.notifier.channels(written.severity)}
        if self.store.enqueue(incident.id, written, channels, now=now) and kind is MessageKind.OPENED:
            self.store.announce(incident.id, now=now)

    def journal(self, event: str, incident: Incident, outcome: str = "") -> None:
        """Write an event of an incident into the journal."""
        self.world.journal.emit(
            message.event_fields(
                event, incident.diagnosis, incident=incident.id, decision=incident.decision, outcome=outcome
            )
        )

    def deliver(self, now: datetime) -> None:
        """Hand over what is due; what a channel does not take comes back later and later, and is given up after a day."""
        due = self.store.outbox(now=now)
        for place, result in self.world.notifier.send_all([(one.channel, one.message) for one in due]):
            delivery = due[place]
            with self.store.transaction():
                if result.ok:
                    self.store.delivered(delivery, now=now)
                else:
                    key = f"{delivery.message_id}{delivery.channel}"
                    again = message.retry_at(delivery.attempts, now, delivery.created_at, key=key)
                    self.store.undelivered(delivery, result.error, again_at=again)
