"""The state file: its schema, migrations and transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

# The statements that bring a file of version n to n + 1, in order; schema.sql holds them too.
MIGRATIONS = (
    (
        "CREATE TABLE lines (line INTEGER PRIMARY KEY, brought TEXT NOT NULL, at TEXT NOT NULL) STRICT",
        "CREATE INDEX lines_by_age ON lines (at)",
    ),
    ("CREATE TABLE members (certificate TEXT PRIMARY KEY, told TEXT NOT NULL) STRICT",),
    (
        "ALTER TABLE incidents ADD COLUMN system_seen TEXT",
        "ALTER TABLE silences ADD COLUMN created_at TEXT NOT NULL DEFAULT ''",
        (
            "CREATE TABLE strangers (who TEXT NOT NULL, symptom TEXT NOT NULL, line TEXT NOT NULL, count INTEGER NOT NULL,"
            " first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, PRIMARY KEY (who, symptom)) STRICT"
        ),
    ),
    (
        "CREATE TABLE certificates (path TEXT PRIMARY KEY, certificate TEXT NOT NULL) STRICT",
        (
            "CREATE TABLE replaced (path TEXT NOT NULL, fingerprint TEXT NOT NULL, certificate TEXT NOT NULL,"
            " at TEXT NOT NULL, PRIMARY KEY (path, fingerprint)) STRICT"
        ),
    ),
    ("CREATE TABLE receivers (instance TEXT PRIMARY KEY, error TEXT NOT NULL, since TEXT NOT NULL) STRICT",),
    ("CREATE INDEX events_by_incident ON events (incident, what, at)",),
)
VERSION = 1 + len(MIGRATIONS)  # of the schema, kept in PRAGMA user_version


class StoreError(Exception):
    """The state file cannot be used; the text names it and says what to do."""


def text_of(moment: datetime) -> str:
    """Return a time as text that sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment_of(text: str | None) -> datetime | None:
    """Return a stored time."""
    return datetime.fromisoformat(text) if text else None


class Database:
    """The state file, open. Raises StoreError if it cannot be opened, is of a later version, or is damaged."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._aside = 0  # changes that concern no incident and no action: see `_stamp`
        self._undone = 0  # transactions and savepoints
        try:
            if readonly:
                self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5, isolation_level=None)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                # A person's command waits for the transaction of the agent.
                self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
                path.chmod(0o600)
            self._db.row_factory = sqlite3.Row
            self._prepare(readonly=readonly)
            self._db.execute("PRAGMA temp_store = MEMORY")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path}: the state cannot be opened: {error}") from error

    def _prepare(self, *, readonly: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{self.path}: was written by a later certmedic (schema {version}, this one knows {VERSION})"
            )
        if readonly:
            if 0 < version < VERSION:
                self._read_a_migrated_copy()
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # an intent must be on the disk before the action
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA cache_size = -512")  # KiB of pages in memory: the kernel keeps them as well
        if version == 0:
            schema = Path(__file__).with_name("schema.sql").read_text("utf-8")
            self._db.executescript(f"BEGIN;{schema};PRAGMA user_version = {VERSION};COMMIT;")
        elif version < VERSION:
            self._migrate()

    def _read_a_migrated_copy(self) -> None:
        """Read a copy in memory from now on, migrated: after an upgrade a person may ask before the agent has started."""
        copy = sqlite3.connect(":memory:", isolation_level=None)
        self._db.backup(copy)
        self._db.close()
        copy.row_factory = sqlite3.Row
        self._db = copy
        self._migrate()

    def _migrate(self) -> None:
        """Migrate the file in one transaction, which several processes may try at once."""
        with self.transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            for statements in MIGRATIONS[version - 1 :]:
                for statement in statements:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._db.in_transaction

    def written(self) -> tuple[int, int]:
        """Return a value that changes when this process or another writes; it costs less than a question to the database."""
        try:
            status = os.stat(f"{self.path}-wal")  # noqa: PTH116 - asked every two seconds
        except FileNotFoundError:
            return 0, 0
        return status.st_mtime_ns, status.st_size

    def _stamp(self) -> tuple[int, int, int]:
        """Return a value that changes with every change of incidents and actions, by this process or another."""
        others = self._db.execute("PRAGMA data_version").fetchone()[0]
        return self._db.total_changes - self._aside, self._undone, others

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction: an exception undoes this part alone."""
        try:
            self._db.execute("SAVEPOINT item")
            try:
                yield
            except BaseException:
                self._undone += 1
                self._db.execute("ROLLBACK TO item")
                raise
            finally:
                self._db.execute("RELEASE item")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: could not be written: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises StoreError if the disk refuses."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._undone += 1
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: could not be written: {error}") from error
