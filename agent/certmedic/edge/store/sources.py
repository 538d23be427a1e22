"""Positions and status of sources, lines that several sources carry, and the members of etcd groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certmedic.core import codec
from certmedic.core.model import VoterList
from certmedic.edge.store.database import Database, text_of


class Sources(Database):
    """Positions and status of sources, and what etcd said of its members."""

    def positions(self) -> dict[str, str]:
        """Return stream -> position."""
        return {row["stream"]: row["position"] for row in self._db.execute("SELECT * FROM positions")}

    def settle(self, positions: Mapping[str, str | None]) -> None:
        """Store positions; None drops that of a stream that has ended. The last step of a transaction."""
        ended = [(stream,) for stream, position in positions.items() if position is None]
        self._db.executemany("DELETE FROM positions WHERE stream = ?", ended)
        moved = [(stream, position) for stream, position in positions.items() if position is not None]
        self._db.executemany(  # not REPLACE, which also writes the index
            "INSERT INTO positions VALUES (?, ?) ON CONFLICT (stream) DO UPDATE SET position = excluded.position"
            " WHERE position <> excluded.position",
            moved,
        )

    def brought(self, line: int) -> dict[str, int]:
        """Return source -> how often it has carried a line."""
        row = self._db.execute("SELECT brought FROM lines WHERE line = ?", (line,)).fetchone()
        return json.loads(row["brought"]) if row else {}

    def remember(self, lines: Mapping[int, Mapping[str, int]], *, now: datetime) -> None:
        """Record which sources have carried lines, and how often."""
        at = text_of(now)
        self._db.executemany(
            "INSERT OR REPLACE INTO lines VALUES (?, ?, ?)",
            [(line, json.dumps(brought), at) for line, brought in lines.items()],
        )

    def source_state(self, source: str, *, down: str, now: datetime) -> None:
        """Record that a source went blind (`down` says why) or reads again (""). `since` changes only with the state."""
        self._db.execute(
            "INSERT INTO sources (source, down, since) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET down = excluded.down,"
            " since = CASE (down = '') = (excluded.down = '') WHEN 1 THEN since ELSE excluded.since END",
            (source, down, text_of(now)),
        )

    def forget_source(self, source: str) -> None:
        """Forget a source that is no longer read."""
        self._db.execute("DELETE FROM sources WHERE source = ?", (source,))

    def source_status(self, source: str, status: Mapping[str, Any], *, now: datetime) -> None:
        """Record the status that a source reports."""
        self._db.execute(
            "INSERT INTO sources (source, since, status) VALUES (?, ?, ?)"
            " ON CONFLICT (source) DO UPDATE SET status = excluded.status",
            (source, text_of(now), json.dumps(status)),
        )

    def sources(self) -> list[dict[str, Any]]:
        """Return state and status of every source, for `certmedic status`."""
        rows = self._db.execute("SELECT * FROM sources ORDER BY source")
        return [
            {"source": r["source"], "down": r["down"], "since": r["since"], **json.loads(r["status"])} for r in rows
        ]

    def received(self, instance: str, error: str, *, now: datetime) -> None:
        """Record that posts to an instance of Alertmanager fail, or succeed again (""). `since` changes only with the state."""
        self._db.execute(
            "INSERT INTO receivers VALUES (?, ?, ?) ON CONFLICT (instance) DO UPDATE SET error = excluded.error,"
            " since = CASE (error = '') = (excluded.error = '') WHEN 1 THEN since ELSE excluded.since END",
            (instance, error, text_of(now)),
        )

    def receivers(self) -> list[dict[str, str]]:
        """Return instance, error and since of each instance of Alertmanager that was posted to."""
        return [dict(row) for row in self._db.execute("SELECT * FROM receivers ORDER BY instance")]

    def members(self) -> dict[str, VoterList]:
        """Return peer certificate -> the last answer of its etcd."""
        return {
            row["certificate"]: codec.load(VoterList, row["told"]) for row in self._db.execute("SELECT * FROM members")
        }

    def keep_members(self, answers: Mapping[str, VoterList]) -> None:
        """Store the answers of etcds."""
        self._db.executemany(
            "INSERT OR REPLACE INTO members VALUES (?, ?)",
            [(path, codec.dump(answer)) for path, answer in answers.items()],
        )
