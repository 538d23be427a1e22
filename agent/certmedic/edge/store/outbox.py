"""Messages to people, their deliveries, and silences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmedic.core import codec
from certmedic.core.model import Message, MessageKind, Silence
from certmedic.edge.store.database import Database, moment_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one channel."""

    message_id: int
    incident: int
    channel: str
    label: str
    attempts: int
    created_at: datetime
    message: Message


class Outbox(Database):
    """Messages on their way to people."""

    def enqueue(self, incident: int, message: Message, channels: Mapping[str, str], *, now: datetime) -> bool:
        """Put a message into the outbox, for channels given as id -> label. Return False if this kind was sent already."""
        ordinal = 0
        if message.kind in (MessageKind.REMINDER, MessageKind.RESOLVED):
            # The newer message says all that an undelivered reminder says.
            self._db.execute(
                "UPDATE deliveries SET state = 'superseded' WHERE state = 'pending' AND message IN"
                " (SELECT id FROM messages WHERE incident = ? AND kind = ?)",
                (incident, MessageKind.REMINDER),
            )
        if message.kind in (MessageKind.REMINDER, MessageKind.DIGEST):
            row = self._db.execute(
                "SELECT count(*) FROM messages WHERE incident = ? AND kind = ?", (incident, message.kind)
            ).fetchone()
            ordinal = row[0]
        row = self._db.execute(
            "INSERT OR IGNORE INTO messages (incident, kind, ordinal, message, created_at) VALUES (?, ?, ?, ?, ?)"
            " RETURNING id",
            (incident, message.kind, ordinal, codec.dump(message), text_of(now)),
        ).fetchone()
        if row is None:
            return False
        self._db.executemany(
            "INSERT INTO deliveries (message, channel, label, state, due_at) VALUES (?, ?, ?, 'pending', ?)",
            [(row["id"], channel, label, text_of(now)) for channel, label in channels.items()],
        )
        return True

    def heard(self, incident: int, *, ended: bool = False) -> set[str]:
        """Return the channels that got a message about an incident or will: on others, "resolved" would make no sense.

        `ended`: that message itself waits, and does not count.
        """
        rows = self._db.execute(
            "SELECT d.channel FROM deliveries d JOIN messages m ON m.id = d.message WHERE m.incident = ?"
            " GROUP BY d.channel HAVING total(d.state = 'sent' OR (d.state = 'pending' AND m.kind NOT IN (?, ?))) > 0",
            (
                incident,
                MessageKind.REMINDER,
                MessageKind.RESOLVED if ended else "",
            ),  # the end of an incident replaces a reminder that waits
        )
        return {row["channel"] for row in rows}

    def key_of_messages(self, incident: int) -> str:
        """Return the key that the messages of an incident carry; "" if none was written yet."""
        row = self._db.execute(
            "SELECT json_extract(message, '$.key') AS key FROM messages WHERE incident = ? AND kind <> ? AND key <> ''"
            " ORDER BY id LIMIT 1",
            (incident, MessageKind.DIGEST),
        ).fetchone()
        return str(row["key"]) if row else ""

    def unheard(self) -> list[int]:
        """Return the unresolved incidents that were reported to no channel but terminals."""
        rows = self._db.execute(
            "SELECT id FROM incidents WHERE state <> 'resolved' AND announced_at IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM messages m JOIN deliveries d ON d.message = m.id"
            " WHERE m.incident = incidents.id AND d.channel <> 'wall')"
        )
        return [int(row["id"]) for row in rows]

    def forget_report(self, incident: int) -> None:
        """Forget that an incident was reported, so that it is reported again."""
        self._db.execute("DELETE FROM messages WHERE incident = ?", (incident,))
        self._db.execute("UPDATE incidents SET announced_at = NULL WHERE id = ?", (incident,))

    def outbox(self, *, now: datetime) -> list[Delivery]:
        """Return the deliveries that are due, oldest first.

        For each channel and incident, only the first message not yet sent: a "resolved" never overtakes its "opened".
        """
        rows = self._db.execute(
            "SELECT d.*, m.incident, m.message AS body, m.created_at FROM deliveries d JOIN messages m ON m.id = d.message"
            " WHERE d.state = 'pending' AND d.due_at <= ? AND NOT EXISTS (SELECT 1 FROM deliveries e JOIN messages n"
            " ON n.id = e.message WHERE e.state = 'pending' AND e.channel = d.channel AND n.incident = m.incident"
            " AND n.id < m.id) ORDER BY m.id",
            (text_of(now),),
        )
        return [
            Delivery(
                message_id=row["message"],
                incident=row["incident"],
                channel=row["channel"],
                label=row["label"],
                attempts=row["attempts"],
                created_at=datetime.fromisoformat(row["created_at"]),
                message=codec.load(Message, row["body"]),
            )
            for row in rows
        ]

    def delivered(self, delivery: Delivery, *, now: datetime) -> None:
        """Record that a message was delivered."""
        self._db.execute(
            "UPDATE deliveries SET state = 'sent', sent_at = ?, attempts = attempts + 1, error = ''"
            " WHERE message = ? AND channel = ?",
            (text_of(now), delivery.message_id, delivery.channel),
        )

    def undelivered(self, delivery: Delivery, error: str, *, again_at: datetime | None) -> None:
        """Record that a delivery failed; `again_at` None gives it up, and the end of an incident that thus was never reported."""
        self._db.execute(
            "UPDATE deliveries SET state = ?, due_at = coalesce(?, due_at), attempts = attempts + 1, error = ?"
            " WHERE message = ? AND channel = ?",
            (
                "pending" if again_at else "expired",
                text_of(again_at) if again_at else None,
                error,
                delivery.message_id,
                delivery.channel,
            ),
        )
        if again_at is None and delivery.channel not in self.heard(delivery.incident, ended=True):
            self._db.execute(
                "UPDATE deliveries SET state = 'superseded' WHERE state = 'pending' AND channel = ? AND message IN"
                " (SELECT id FROM messages WHERE incident = ? AND kind = ?)",
                (delivery.channel, delivery.incident, MessageKind.RESOLVED),
            )

    def last_digest(self) -> datetime | None:
        """Return when the latest digest was written; None if there is none."""
        row = self._db.execute("SELECT max(created_at) FROM messages WHERE kind = ?", (MessageKind.DIGEST,)).fetchone()
        return moment_of(row[0])

    def announced_since(self, since: datetime, severity: str) -> int:
        """Return how many incidents of a severity were announced since then."""
        row = self._db.execute(
            "SELECT count(*) FROM messages m JOIN incidents i ON i.id = m.incident"
            " WHERE m.kind = ? AND m.created_at > ? AND i.severity = ?",
            (MessageKind.OPENED, text_of(since), severity),
        ).fetchone()
        return int(row[0])

    def messages(self, incident: int | None = None) -> list[dict[str, Any]]:
        """Return messages with their deliveries, oldest first, of one incident or all."""
        rows = self._db.execute(
            "SELECT m.id, m.incident, m.kind, m.created_at, json_extract(m.message, '$.title') AS title, d.label,"
            " d.state, d.attempts, d.due_at, d.sent_at, d.error FROM messages m LEFT JOIN deliveries d ON d.message = m.id"
            " WHERE ?1 IS NULL OR m.incident = ?1 ORDER BY m.id, d.channel",
            (incident,),
        )
        return [dict(row) for row in rows]

    def channels(self) -> list[dict[str, Any]]:
        """Return delivery statistics per channel, by label.

        Keys: label, waiting, oldest (of those waiting), attempts (most of one), error (the latest), expired (given up), last_sent.
        """
        rows = self._db.execute(
            "SELECT d.label, total(d.state = 'pending') AS waiting,"
            " min(CASE d.state WHEN 'pending' THEN m.created_at END) AS oldest,"
            " max(CASE d.state WHEN 'pending' THEN d.attempts ELSE 0 END) AS attempts,"
            " coalesce(max(CASE d.state WHEN 'pending' THEN d.error END), '') AS error,"
            " total(d.state = 'expired') AS expired, max(d.sent_at) AS last_sent"
            " FROM deliveries d JOIN messages m ON m.id = d.message GROUP BY d.channel, d.label ORDER BY d.label"
        )
        return [{**dict(row), "waiting": int(row["waiting"]), "expired": int(row["expired"])} for row in rows]

    def silence(self, silence: Silence, *, now: datetime) -> int:
        """Record a silence and return its id; the id in `silence` is ignored."""
        return int(
            self._db.execute(
                "INSERT INTO silences (cause, file, plane, author, comment, starts_at, ends_at, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    silence.cause,
                    silence.file,
                    silence.plane,
                    silence.author,
                    silence.comment,
                    text_of(silence.starts_at),
                    text_of(silence.ends_at),
                    text_of(now),
                ),
            ).fetchone()[0]
        )

    def expire_silence(self, number: int, *, now: datetime) -> bool:
        """End a silence; return False if no silence with that id lasts."""
        done = self._db.execute(
            "UPDATE silences SET ends_at = ?2, starts_at = min(starts_at, ?2) WHERE id = ?1 AND ends_at > ?2",
            (number, text_of(now)),
        )
        return done.rowcount == 1

    def silences(self, *, now: datetime | None = None) -> list[Silence]:
        """Return silences, oldest first; with `now` only those that have not ended."""
        rows = self._db.execute(
            "SELECT id, cause, file, plane, author, comment, starts_at, ends_at FROM silences"
            " WHERE ?1 IS NULL OR ends_at > ?1 ORDER BY id",
            (text_of(now) if now else None,),
        )
        return [
            Silence(
                **{
                    **dict(row),
                    "starts_at": datetime.fromisoformat(row["starts_at"]),
                    "ends_at": datetime.fromisoformat(row["ends_at"]),
                }
            )
            for row in rows
        ]
