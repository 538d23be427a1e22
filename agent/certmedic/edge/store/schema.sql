-- The state of one agent, in one file. Times are ISO 8601 in UTC with microseconds, so that they sort as text.

-- Where each stream is read on; moved in the same transaction as what was read.
CREATE TABLE positions (
    stream   TEXT PRIMARY KEY,
    position TEXT NOT NULL
) STRICT;

-- Lines that came in, by a hash of what they say and when: how often by which road, so that each is counted once.
CREATE TABLE lines (
    line    INTEGER PRIMARY KEY,
    brought TEXT NOT NULL,             -- JSON: road -> how often
    at      TEXT NOT NULL              -- when last
) STRICT;
CREATE INDEX lines_by_age ON lines (at);

-- Who the members of an etcd here are, as it said while its certificate was good.
CREATE TABLE members (
    certificate TEXT PRIMARY KEY,      -- the file that it shows to its peers
    told        TEXT NOT NULL          -- JSON
) STRICT;

-- The certificate that each file held when it was last read.
CREATE TABLE certificates (
    path        TEXT PRIMARY KEY,
    certificate TEXT NOT NULL          -- JSON
) STRICT;

-- Certificates that files held before: a program may still have them in memory.
CREATE TABLE replaced (
    path        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    certificate TEXT NOT NULL,         -- JSON
    at          TEXT NOT NULL,         -- when the file got its successor
    PRIMARY KEY (path, fingerprint)
) STRICT;

-- What each reader says of itself.
CREATE TABLE sources (
    source TEXT PRIMARY KEY,
    down   TEXT NOT NULL DEFAULT '',   -- why it is blind; empty while it reads
    since  TEXT NOT NULL,              -- of the last change between the two
    status TEXT NOT NULL DEFAULT '{}'  -- JSON
) STRICT;

-- What the last post to each instance of Alertmanager came to; the instances by host and port.
CREATE TABLE receivers (
    instance TEXT PRIMARY KEY,
    error    TEXT NOT NULL,            -- why; empty after a post that succeeded
    since    TEXT NOT NULL             -- of the last change between the two
) STRICT;

CREATE TABLE incidents (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL,
    state       TEXT NOT NULL,          -- open | escalated | resolved
    severity    TEXT NOT NULL,
    diagnosis   TEXT NOT NULL,          -- JSON, the latest
    decision    TEXT NOT NULL DEFAULT '',  -- JSON, the latest
    opened_at   TEXT NOT NULL,
    announced_at TEXT,                  -- when people were told; NULL: they were not
    last_seen   TEXT NOT NULL,
    resolved_at TEXT,
    count       INTEGER NOT NULL DEFAULT 0,
    system_seen TEXT                    -- when a trusted origin logged it last; NULL: none has
) STRICT;
-- The same fault is one incident for as long as it lasts.
CREATE UNIQUE INDEX one_open_incident_a_key ON incidents (key) WHERE state <> 'resolved';

-- Equal lines of one incident, as one row with a counter.
CREATE TABLE folds (
    incident INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    fold     TEXT NOT NULL,
    sample   TEXT NOT NULL,             -- the first line, as it was read
    source   TEXT NOT NULL,
    count    INTEGER NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL,
    PRIMARY KEY (incident, fold)
) STRICT;

-- An act is written here before it is done. boot_id and container tell after a crash whether it was.
CREATE TABLE actions (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    target   TEXT NOT NULL,
    action   TEXT NOT NULL,             -- JSON
    state    TEXT NOT NULL,             -- intent | done | verified | undoing | failed | withdrawn
    boot_id  TEXT NOT NULL,
    at       TEXT NOT NULL,
    ended_at TEXT,
    detail   TEXT NOT NULL DEFAULT '',
    undo     TEXT NOT NULL DEFAULT '[]'  -- JSON: what was replaced by it, and where it is kept
) STRICT;

CREATE TABLE messages (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    ordinal  INTEGER NOT NULL,          -- 0 but for reminders
    message  TEXT NOT NULL,             -- JSON
    created_at TEXT NOT NULL,
    UNIQUE (incident, kind, ordinal)    -- each kind once
) STRICT;

CREATE TABLE deliveries (
    message  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    channel  TEXT NOT NULL,             -- a hash; never the address
    label    TEXT NOT NULL,
    state    TEXT NOT NULL,             -- pending | sent | expired | superseded
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at   TEXT NOT NULL,
    sent_at  TEXT,
    error    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (message, channel)
) STRICT;
CREATE INDEX pending_deliveries ON deliveries (due_at) WHERE state = 'pending';

-- What people asked not to be told. An empty condition is met by every incident.
CREATE TABLE silences (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    cause     TEXT NOT NULL,
    file      TEXT NOT NULL,            -- glob
    plane     TEXT NOT NULL,
    author    TEXT NOT NULL,
    comment   TEXT NOT NULL,
    starts_at TEXT NOT NULL,
    ends_at   TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE rechecks (
    kind     TEXT NOT NULL,
    incident INTEGER NOT NULL,          -- 0: of the whole machine
    due_at   TEXT NOT NULL,
    PRIMARY KEY (kind, incident)
) STRICT;

-- The story of an incident, line by line, for `certmedic show`.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    at       TEXT NOT NULL,
    what     TEXT NOT NULL,
    said     TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_incident ON events (incident, what, at);

-- A person's leave to act on one incident, and a person's word that acts may go on after one has failed.
CREATE TABLE approvals (
    incident INTEGER PRIMARY KEY REFERENCES incidents (id) ON DELETE CASCADE,
    author   TEXT NOT NULL,
    until    TEXT NOT NULL
) STRICT;
CREATE TABLE resets (
    at     TEXT NOT NULL,
    author TEXT NOT NULL
) STRICT;

-- What strangers logged: shown on request, evidence for nothing. Bounded: the oldest rows go.
CREATE TABLE strangers (
    who        TEXT NOT NULL,           -- a pod, a unit, a uid or a file
    symptom    TEXT NOT NULL,
    line       TEXT NOT NULL,           -- the first, as it was read
    count      INTEGER NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL,
    PRIMARY KEY (who, symptom)
) STRICT;
