-- Version 1. Names are prefixed because the file may be an application's own.
-- Instants are ms of UTC, except those of holders, which are ms of the boot clock.

CREATE TABLE holdfast_meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holdfast_queue (
    number   INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again after a destroy
    name     TEXT    NOT NULL UNIQUE,
    settings TEXT    NOT NULL,                  -- JSON of QueueSettings
    paused   INTEGER NOT NULL DEFAULT 0,
    token    INTEGER NOT NULL DEFAULT 0         -- the token that new jobs start from
) STRICT;

-- What outlives a destroy: tokens never fall, even for an id that is sent again.
CREATE TABLE holdfast_destroyed (
    name  TEXT PRIMARY KEY,
    token INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A kind and format within a queue: leases look into the lanes they know.
CREATE TABLE holdfast_lane (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue  INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    format INTEGER NOT NULL,
    UNIQUE (queue, kind, format)
) STRICT;

-- Exact counts, kept by every transaction. 'held' counts ready jobs behind the head of their key, 'kept' done jobs
-- whose result is kept.
CREATE TABLE holdfast_count (
    lane  INTEGER NOT NULL,
    state TEXT    NOT NULL,
    jobs  INTEGER NOT NULL,
    PRIMARY KEY (lane, state)
) STRICT, WITHOUT ROWID;

-- The hot table: narrow, without bodies. seq is the send order.
CREATE TABLE holdfast_job (
    seq          INTEGER PRIMARY KEY,
    queue        INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    state        TEXT    NOT NULL,  -- those of State, and 'forgotten': only the id is remembered
    key          TEXT,
    priority     INTEGER NOT NULL,
    max_attempts INTEGER,
    attempts     INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    token        INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    ready        INTEGER NOT NULL,  -- place in the ready order
    expires      INTEGER,
    joined       INTEGER,           -- place in the line of its key, 0 once leased; null when in no line
    held         INTEGER NOT NULL DEFAULT 0,
    holder       TEXT,
    lease_id     TEXT,
    started      INTEGER,
    ended        INTEGER,
    reason       TEXT,
    cancel       TEXT,              -- the reason of a request to cancel
    kept         INTEGER NOT NULL DEFAULT 0, -- until when its result is kept, 0 for none
    timeout      REAL
) STRICT;

CREATE UNIQUE INDEX holdfast_job_id ON holdfast_job (queue, id);
CREATE INDEX holdfast_job_ready ON holdfast_job (lane, priority DESC, ready, seq)
    WHERE state = 'ready' AND held = 0;
CREATE INDEX holdfast_job_scheduled ON holdfast_job (queue, due, seq)
    WHERE state = 'scheduled';
CREATE INDEX holdfast_job_expiring ON holdfast_job (queue, expires)
    WHERE expires IS NOT NULL AND state IN ('scheduled', 'ready');
CREATE INDEX holdfast_job_running ON holdfast_job (holder)
    WHERE state = 'running';
CREATE INDEX holdfast_job_line ON holdfast_job (queue, key, joined, seq)
    WHERE joined IS NOT NULL;
CREATE INDEX holdfast_job_ended ON holdfast_job (queue, state, kept, ended, seq)
    WHERE state IN ('done', 'dead', 'cancelled', 'expired');
CREATE INDEX holdfast_job_kept ON holdfast_job (kept)
    WHERE kept > 0;
CREATE INDEX holdfast_job_forgotten ON holdfast_job (queue, ended)
    WHERE state = 'forgotten';

CREATE TABLE holdfast_body (
    seq     INTEGER PRIMARY KEY,
    body    BLOB NOT NULL,
    headers TEXT            -- JSON, null for none
) STRICT;

CREATE TABLE holdfast_result (
    seq   INTEGER PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- Runs that failed; the one that succeeded is told by the job itself.
CREATE TABLE holdfast_run (
    seq       INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    holder    TEXT    NOT NULL,
    started   INTEGER NOT NULL,
    ended     INTEGER NOT NULL,
    outcome   TEXT    NOT NULL,
    type      TEXT,
    message   TEXT,
    traceback TEXT,
    PRIMARY KEY (seq, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE holdfast_holder (
    id      TEXT PRIMARY KEY,
    info    TEXT    NOT NULL,    -- JSON of HolderInfo
    boot    TEXT    NOT NULL,    -- the boot that expires is measured in
    expires INTEGER NOT NULL,
    ended   INTEGER              -- boot ms; kept a while, so that a late beat is told
) STRICT, WITHOUT ROWID;
