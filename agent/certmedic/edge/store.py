"""The agent's memory: one SQLite file, one owner, one transaction per step of the line.

`Store` is used from the thread that opened it. The agent is its only writer; the commands that look (`incidents`,
`show`, `status`) open it read-only and see the last finished transaction. Everything that must survive a `kill -9` is
here: positions, incidents, intents, the outbox and what is to be looked at again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Self

from certmedic.core import codec
from certmedic.core.model import (
    Action,
    Attempt,
    Decision,
    Diagnosis,
    Message,
    MessageKind,
    Recheck,
    Sighting,
    Silence,
)

VERSION = 1  # of the schema, kept in PRAGMA user_version
MOST_FOLDS = 100  # of one incident
KEEP_RESOLVED = timedelta(days=90)


class StoreError(Exception):
    """The state file cannot be used; the text names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A fault that lasts, and how far it has come."""

    id: int
    key: str
    state: str  # open | escalated | resolved
    severity: str
    diagnosis: Diagnosis
    decision: Decision | None
    opened_at: datetime
    announced_at: datetime | None
    last_seen: datetime
    resolved_at: datetime | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An action as it was written down."""

    id: int
    incident: int
    target: str
    action: Action
    state: str  # intent | done | verified | failed
    boot_id: str
    at: datetime
    ended_at: datetime | None
    detail: str
    undo: tuple[dict[str, str], ...]


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


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class Store:
    """The state file, open. Raises StoreError where it cannot be opened, is of a later version, or is damaged."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        try:
            if readonly:
                self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5, isolation_level=None)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                # The agent may look at the machine for seconds within one transaction; a person's command waits for it.
                self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
                path.chmod(0o600)
            self._db.row_factory = sqlite3.Row
            self._prepare(readonly=readonly)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path}: the state cannot be opened: {error}") from error

    def _prepare(self, *, readonly: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{self.path}: was written by a later certmedic (schema {version}, this one knows {VERSION})"
            )
        if readonly:
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # an intent must be on the disk before the act
        self._db.execute("PRAGMA foreign_keys = ON")
        if version == 0:
            schema = resources.files("certmedic.edge").joinpath("store.sql").read_text("utf-8")
            self._db.executescript(f"BEGIN;{schema};PRAGMA user_version = {VERSION};COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing of it. Raises StoreError where the disk refuses."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: could not be written: {error}") from error

    # ------------------------------------------------------------ positions and sources

    def positions(self) -> dict[str, str]:
        """Return stream -> position."""
        return {row["stream"]: row["position"] for row in self._db.execute("SELECT * FROM positions")}

    def settle(self, positions: Mapping[str, str]) -> None:
        """Move positions: the last step of a transaction."""
        self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())

    def forget_streams(self, streams: list[str]) -> None:
        """Drop the positions of streams that will not be seen again."""
        self._db.executemany("DELETE FROM positions WHERE stream = ?", [(stream,) for stream in streams])

    def source_state(self, source: str, *, down: str, now: datetime) -> None:
        """Record that a source went blind (`down` says why) or reads again (empty)."""
        self._db.execute(
            "INSERT INTO sources (source, down, since) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET down = excluded.down, since = excluded.since",
            (source, down, _text(now)),
        )

    def source_status(self, source: str, status: Mapping[str, Any], *, now: datetime) -> None:
        """Record what a source says of itself."""
        self._db.execute(
            "INSERT INTO sources (source, since, status) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET status = excluded.status",
            (source, _text(now), json.dumps(status)),
        )

    def sources(self) -> list[dict[str, Any]]:
        """Return what is known of every source, for `certmedic status`."""
        rows = self._db.execute("SELECT * FROM sources ORDER BY source")
        return [
            {"source": r["source"], "down": r["down"], "since": r["since"], **json.loads(r["status"])} for r in rows
        ]

    # ------------------------------------------------------------ incidents

    def _incident(self, row: sqlite3.Row) -> Incident:
        opened, last = _moment(row["opened_at"]), _moment(row["last_seen"])
        assert opened is not None  # noqa: S101 - NOT NULL in the schema; this tells the type checker
        assert last is not None  # noqa: S101 - as above
        return Incident(
            id=row["id"],
            key=row["key"],
            state=row["state"],
            severity=row["severity"],
            diagnosis=codec.load(Diagnosis, row["diagnosis"]),
            decision=codec.load(Decision, row["decision"]) if row["decision"] else None,
            opened_at=opened,
            announced_at=_moment(row["announced_at"]),
            last_seen=last,
            resolved_at=_moment(row["resolved_at"]),
            count=row["count"],
        )

    def incident(self, number: int) -> Incident | None:
        """Return one incident."""
        row = self._db.execute("SELECT * FROM incidents WHERE id = ?", (number,)).fetchone()
        return self._incident(row) if row else None

    def incidents(self, *, unresolved: bool = False) -> list[Incident]:
        """Return incidents, newest first; only those that last if `unresolved`."""
        where = " WHERE state <> 'resolved'" if unresolved else ""
        return [self._incident(row) for row in self._db.execute(f"SELECT * FROM incidents{where} ORDER BY id DESC")]  # noqa: S608 - no input

    def open_incident(self, diagnosis: Diagnosis, *, now: datetime) -> tuple[Incident, bool]:
        """Return the incident of this diagnosis and whether it is new; the diagnosis becomes its latest."""
        encoded = codec.dump(diagnosis)
        row = self._db.execute(
            "UPDATE incidents SET diagnosis = ?, severity = ? WHERE key = ? AND state <> 'resolved' RETURNING *",
            (encoded, diagnosis.severity, diagnosis.key),
        ).fetchone()
        new = row is None
        if new:
            row = self._db.execute(
                "INSERT INTO incidents (key, state, severity, diagnosis, opened_at, last_seen)"
                " VALUES (?, 'open', ?, ?, ?, ?) RETURNING *",
                (diagnosis.key, diagnosis.severity, encoded, _text(now), _text(diagnosis.last_seen or now)),
            ).fetchone()
        return self._incident(row), new

    def count(self, incident: int, sighting: Sighting, *, times: int, first: datetime, last: datetime) -> None:
        """Add equal sightings to an incident. Beyond `MOST_FOLDS` kinds of lines, which strangers can make, all are one."""
        fold = sighting.fold
        known = self._db.execute(
            "SELECT count(*), total(fold = ?) FROM folds WHERE incident = ?", (fold, incident)
        ).fetchone()
        if known[0] >= MOST_FOLDS and not known[1]:
            fold = "other"
        self._db.execute(
            "INSERT INTO folds VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (incident, fold) DO UPDATE SET"
            " count = count + excluded.count, last_seen = max(last_seen, excluded.last_seen),"
            " first_seen = min(first_seen, excluded.first_seen)",
            (incident, fold, sighting.said, sighting.entry.stream, times, _text(first), _text(last)),
        )
        self._db.execute(
            "UPDATE incidents SET count = count + ?, last_seen = max(last_seen, ?) WHERE id = ?",
            (times, _text(last), incident),
        )

    def folds(self, incident: int) -> list[dict[str, Any]]:
        """Return the kinds of lines of an incident, most frequent first."""
        rows = self._db.execute("SELECT * FROM folds WHERE incident = ? ORDER BY count DESC", (incident,))
        return [dict(row) for row in rows]

    def decide(self, incident: int, decision: Decision) -> None:
        """Record the latest decision."""
        self._db.execute("UPDATE incidents SET decision = ? WHERE id = ?", (codec.dump(decision), incident))

    def announce(self, incident: int, *, now: datetime) -> None:
        """Record that people were told of this incident."""
        self._db.execute("UPDATE incidents SET announced_at = ? WHERE id = ?", (_text(now), incident))

    def escalate(self, incident: int) -> None:
        """Record that certmedic is at its end with this incident, and a person is needed."""
        self._db.execute("UPDATE incidents SET state = 'escalated' WHERE id = ? AND state = 'open'", (incident,))

    def resolve(self, incident: int, *, now: datetime) -> None:
        """Close an incident; nothing of it is looked at again."""
        self._db.execute(
            "UPDATE incidents SET state = 'resolved', resolved_at = ? WHERE id = ?", (_text(now), incident)
        )
        self._db.execute("DELETE FROM rechecks WHERE incident = ?", (incident,))

    def event(self, incident: int, what: str, said: str, *, now: datetime) -> None:
        """Add a line to the story of an incident."""
        self._db.execute(
            "INSERT INTO events (incident, at, what, said) VALUES (?, ?, ?, ?)", (incident, _text(now), what, said)
        )

    def event_once(self, incident: int, what: str, said: str, *, now: datetime) -> None:
        """Add a line to the story of an incident, unless it stands there already."""
        self._db.execute(
            "INSERT INTO events (incident, at, what, said) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS"
            " (SELECT 1 FROM events WHERE incident = ?1 AND what = ?3 AND said = ?4)",
            (incident, _text(now), what, said),
        )

    def events(self, incident: int) -> list[dict[str, Any]]:
        """Return the story of an incident, oldest first."""
        rows = self._db.execute("SELECT at, what, said FROM events WHERE incident = ? ORDER BY id", (incident,))
        return [dict(row) for row in rows]

    def prune(self, *, now: datetime) -> None:
        """Drop what was resolved long ago."""
        with self.transaction():
            self._db.execute(
                "DELETE FROM incidents WHERE state = 'resolved' AND resolved_at < ?", (_text(now - KEEP_RESOLVED),)
            )

    # ------------------------------------------------------------ acts

    def _act(self, row: sqlite3.Row) -> Act:
        at = _moment(row["at"])
        assert at is not None  # noqa: S101 - NOT NULL in the schema; this tells the type checker
        return Act(
            id=row["id"],
            incident=row["incident"],
            target=row["target"],
            action=codec.load(Action, row["action"]),
            state=row["state"],
            boot_id=row["boot_id"],
            at=at,
            ended_at=_moment(row["ended_at"]),
            detail=row["detail"],
            undo=tuple(json.loads(row["undo"])),
        )

    def intend(self, incident: int, target: str, action: Action, *, boot_id: str, now: datetime) -> None:
        """Write an act down before it is done."""
        self._db.execute(
            "INSERT INTO actions (incident, target, action, state, boot_id, at) VALUES (?, ?, ?, 'intent', ?, ?)",
            (incident, target, codec.dump(action), boot_id, _text(now)),
        )

    def acts(self, *, state: str | None = None, incident: int | None = None) -> list[Act]:
        """Return acts, oldest first, of one state or one incident where asked."""
        rows = self._db.execute(
            "SELECT * FROM actions WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR incident = ?2) ORDER BY id",
            (state, incident),
        )
        return [self._act(row) for row in rows]

    def can_undo(self, number: int, replaced: Sequence[Mapping[str, str]]) -> None:
        """Record what an act replaced, so that it can be put back."""
        self._db.execute("UPDATE actions SET undo = ? WHERE id = ?", (json.dumps(list(replaced)), number))

    def end_act(self, number: int, state: str, detail: str, *, now: datetime) -> None:
        """Record how an act went: done, verified or failed."""
        self._db.execute(
            "UPDATE actions SET state = ?, detail = ?, ended_at = ? WHERE id = ?", (state, detail, _text(now), number)
        )

    def attempts(self, *, since: datetime) -> tuple[Attempt, ...]:
        """Return every act begun since then, whatever became of it: each counts against the budget."""
        rows = self._db.execute("SELECT incident, target, at, state FROM actions WHERE at >= ?", (_text(since),))
        return tuple(
            Attempt(incident=r["incident"], target=r["target"], at=datetime.fromisoformat(r["at"]), state=r["state"])
            for r in rows
        )

    def approve(self, incident: int, author: str, *, until: datetime) -> None:
        """Record a person's leave to act on one incident, as long as it holds."""
        self._db.execute("INSERT OR REPLACE INTO approvals VALUES (?, ?, ?)", (incident, author, _text(until)))

    def approved(self, incident: int, *, now: datetime) -> str:
        """Return who approved an act for an incident; empty where nobody did, or it holds no longer."""
        row = self._db.execute(
            "SELECT author FROM approvals WHERE incident = ? AND until > ?", (incident, _text(now))
        ).fetchone()
        return str(row[0]) if row else ""

    def reset(self, author: str, *, now: datetime) -> None:
        """Record a person's word that acts may go on."""
        self._db.execute("INSERT INTO resets VALUES (?, ?)", (_text(now), author))

    def tripped(self) -> str:
        """Return what became of the last act that failed since the last reset; empty where none did."""
        row = self._db.execute(
            "SELECT target || ': ' || detail FROM actions WHERE state = 'failed'"
            " AND ended_at > coalesce((SELECT max(at) FROM resets), '') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return str(row[0]) if row else ""

    # ------------------------------------------------------------ the outbox

    def enqueue(self, incident: int, message: Message, channels: Mapping[str, str], *, now: datetime) -> bool:
        """Put a message into the outbox, for channels given as id -> label. False: this kind was sent already."""
        ordinal = 0
        if message.kind in (MessageKind.REMINDER, MessageKind.RESOLVED):
            # A reminder that did not get through in time says nothing that the news after it does not say better.
            self._db.execute(
                "UPDATE deliveries SET state = 'superseded' WHERE state = 'pending' AND message IN"
                " (SELECT id FROM messages WHERE incident = ? AND kind = ?)",
                (incident, MessageKind.REMINDER),
            )
        if message.kind is MessageKind.REMINDER:
            row = self._db.execute(
                "SELECT count(*) FROM messages WHERE incident = ? AND kind = ?", (incident, message.kind)
            ).fetchone()
            ordinal = row[0]
        row = self._db.execute(
            "INSERT OR IGNORE INTO messages (incident, kind, ordinal, message, created_at) VALUES (?, ?, ?, ?, ?)"
            " RETURNING id",
            (incident, message.kind, ordinal, codec.dump(message), _text(now)),
        ).fetchone()
        if row is None:
            return False
        deaf = self._deaf(incident) if message.kind is MessageKind.RESOLVED else set()
        self._db.executemany(
            "INSERT INTO deliveries (message, channel, label, state, due_at) VALUES (?, ?, ?, 'pending', ?)",
            [(row["id"], channel, label, _text(now)) for channel, label in channels.items() if channel not in deaf],
        )
        return True

    def _deaf(self, incident: int) -> set[str]:
        """Return the channels on which all about an incident was given up: there its end would be news of nothing."""
        rows = self._db.execute(
            "SELECT d.channel FROM deliveries d JOIN messages m ON m.id = d.message WHERE m.incident = ?"
            " GROUP BY d.channel HAVING total(d.state IN ('sent', 'pending')) = 0",
            (incident,),
        )
        return {row["channel"] for row in rows}

    def outbox(self, *, now: datetime) -> list[Delivery]:
        """Return what is due, oldest first.

        For each channel and incident that is the first message not yet sent: a "resolved" never overtakes its "opened".
        """
        rows = self._db.execute(
            "SELECT d.*, m.incident, m.message AS body, m.created_at FROM deliveries d JOIN messages m ON m.id = d.message"
            " WHERE d.state = 'pending' AND d.due_at <= ? AND NOT EXISTS (SELECT 1 FROM deliveries e JOIN messages n"
            " ON n.id = e.message WHERE e.state = 'pending' AND e.channel = d.channel AND n.incident = m.incident"
            " AND n.id < m.id) ORDER BY m.id",
            (_text(now),),
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
        """Record that a channel took a message."""
        self._db.execute(
            "UPDATE deliveries SET state = 'sent', sent_at = ?, attempts = attempts + 1, error = ''"
            " WHERE message = ? AND channel = ?",
            (_text(now), delivery.message_id, delivery.channel),
        )

    def undelivered(self, delivery: Delivery, error: str, *, again_at: datetime | None) -> None:
        """Record that a channel did not take a message; `again_at` None gives it up."""
        self._db.execute(
            "UPDATE deliveries SET state = ?, due_at = coalesce(?, due_at), attempts = attempts + 1, error = ?"
            " WHERE message = ? AND channel = ?",
            (
                "pending" if again_at else "expired",
                _text(again_at) if again_at else None,
                error,
                delivery.message_id,
                delivery.channel,
            ),
        )

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
        """Return how each channel fares that has something waiting or took or lost something of late, by label.

        Keys: label, waiting, oldest (of what waits), attempts (of that), error (the latest), expired (given up), last_sent.
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

    # ------------------------------------------------------------ silences

    def silence(self, silence: Silence) -> int:
        """Record a silence, whose id does not count yet; return the id it got."""
        return int(
            self._db.execute(
                "INSERT INTO silences (cause, file, plane, author, comment, starts_at, ends_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    silence.cause,
                    silence.file,
                    silence.plane,
                    silence.author,
                    silence.comment,
                    _text(silence.starts_at),
                    _text(silence.ends_at),
                ),
            ).fetchone()[0]
        )

    def expire_silence(self, number: int, *, now: datetime) -> bool:
        """End a silence; False where there is none of that id that has not ended."""
        done = self._db.execute(
            "UPDATE silences SET ends_at = ?2, starts_at = min(starts_at, ?2) WHERE id = ?1 AND ends_at > ?2",
            (number, _text(now)),
        )
        return done.rowcount == 1

    def silences(self, *, now: datetime | None = None) -> list[Silence]:
        """Return silences, oldest first; with `now` only those that have not ended."""
        rows = self._db.execute(
            "SELECT * FROM silences WHERE ?1 IS NULL OR ends_at > ?1 ORDER BY id", (_text(now) if now else None,)
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

    # ------------------------------------------------------------ what is looked at again

    def recheck(self, kind: str, incident: int | None, due: datetime) -> None:
        """Look again at `due`; a second call for the same thing moves the time."""
        self._db.execute("INSERT OR REPLACE INTO rechecks VALUES (?, ?, ?)", (kind, incident or 0, _text(due)))

    def no_recheck(self, kind: str, incident: int | None) -> None:
        """Do not look again."""
        self._db.execute("DELETE FROM rechecks WHERE kind = ? AND incident = ?", (kind, incident or 0))

    def due(self, *, now: datetime) -> list[Recheck]:
        """Return what is due, the longest overdue first. Each stays until it is moved or dropped."""
        rows = self._db.execute("SELECT * FROM rechecks WHERE due_at <= ? ORDER BY due_at", (_text(now),))
        return [
            Recheck(kind=r["kind"], incident=r["incident"] or None, due=datetime.fromisoformat(r["due_at"]))
            for r in rows
        ]

    def next_due(self) -> datetime | None:
        """Return when the next recheck or delivery is due."""
        row = self._db.execute(
            "SELECT min(due_at) FROM (SELECT due_at FROM rechecks UNION ALL"
            " SELECT due_at FROM deliveries WHERE state = 'pending')"
        ).fetchone()
        return _moment(row[0])
