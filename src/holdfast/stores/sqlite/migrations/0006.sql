-- Logs, their groups, and who of a group reads what.

CREATE TABLE holdfast_log (
    number   INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again after a destroy
    name     TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL                      -- JSON of LogSettings
) STRICT;

CREATE TABLE holdfast_partition (
    number    INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again after a destroy
    log       INTEGER,                    -- null once its log is destroyed, until its appends are gone too
    partition INTEGER NOT NULL,           -- its place in the log
    first     INTEGER NOT NULL DEFAULT 0,
    next      INTEGER NOT NULL DEFAULT 0,
    written   INTEGER NOT NULL DEFAULT 0, -- bytes of all appends that ever were
    dropped   INTEGER NOT NULL DEFAULT 0, -- bytes of those that are gone
    bodies    INTEGER NOT NULL DEFAULT 0, -- bytes of all bodies that ever were
    time      INTEGER NOT NULL DEFAULT 0  -- that of the last append; never falls
) STRICT;

CREATE UNIQUE INDEX holdfast_partition_place ON holdfast_partition (log, partition);

-- One row an append. In a partition, number, base, time, before and bodies all rise together, so one index finds each.
CREATE TABLE holdfast_append (
    number     INTEGER PRIMARY KEY, -- the order of all appends
    partition  INTEGER NOT NULL,
    base       INTEGER NOT NULL,    -- the offset of its first message
    count      INTEGER NOT NULL,
    time       INTEGER NOT NULL,
    before     INTEGER NOT NULL,    -- bytes of all appends before it in its partition
    bodies     INTEGER NOT NULL,    -- bytes of all bodies before it
    attributes INTEGER NOT NULL,    -- as columns.py has them
    crc        INTEGER NOT NULL,    -- CRC-32 of data
    data       BLOB    NOT NULL     -- packed by columns.py
) STRICT;

CREATE UNIQUE INDEX holdfast_append_base ON holdfast_append (partition, base);

-- The last appends of each producer, to recognise repeats.
CREATE TABLE holdfast_producer (
    partition INTEGER NOT NULL,
    id        INTEGER NOT NULL, -- a u64, kept as the signed number of the same bits
    used      INTEGER NOT NULL, -- the number of its last append
    window    TEXT    NOT NULL, -- JSON of Window
    PRIMARY KEY (partition, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX holdfast_producer_used ON holdfast_producer (partition, used);

CREATE TABLE holdfast_group (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    log     INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    changes INTEGER NOT NULL DEFAULT 0, -- rises when a member comes or goes, and when a place changes owner or version
    seen    INTEGER NOT NULL,           -- ms of UTC: when a member was last seen, or anything committed
    boot    TEXT    NOT NULL,           -- the boot in which uptime is measured
    uptime  INTEGER NOT NULL,           -- the same instant in ms of the boot clock
    UNIQUE (log, name)
) STRICT;

-- Where a group stands in a partition of its log, and which member reads there.
CREATE TABLE holdfast_place (
    reading   INTEGER NOT NULL,           -- the number of the group
    partition INTEGER NOT NULL,           -- its place in the log
    next      INTEGER NOT NULL,
    version   INTEGER NOT NULL DEFAULT 1,
    finished  TEXT,                       -- JSON: offsets done beyond next, null for none
    member    INTEGER,                    -- null for nobody
    PRIMARY KEY (reading, partition)
) STRICT, WITHOUT ROWID;

CREATE INDEX holdfast_place_member ON holdfast_place (member, partition)
    WHERE member IS NOT NULL;

CREATE TABLE holdfast_member (
    number  INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    reading INTEGER NOT NULL,                  -- the number of the group
    holder  TEXT    NOT NULL
) STRICT;

CREATE INDEX holdfast_member_reading ON holdfast_member (reading);
CREATE INDEX holdfast_member_holder ON holdfast_member (holder);

-- Holders of members; apart from those of jobs, because either may be retired alone.
CREATE TABLE holdfast_reader (
    id      TEXT PRIMARY KEY,
    info    TEXT    NOT NULL, -- JSON of HolderInfo
    boot    TEXT    NOT NULL, -- the boot that expires is measured in
    expires INTEGER NOT NULL, -- ms of the boot clock
    retired INTEGER           -- the same; kept a while, so that a late beat is told
) STRICT, WITHOUT ROWID;

-- Processes that died at a message.
CREATE TABLE holdfast_crash (
    reading   INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position  INTEGER NOT NULL, -- the offset of the message
    crashes   TEXT    NOT NULL, -- JSON of Crashes
    PRIMARY KEY (reading, partition, position)
) STRICT, WITHOUT ROWID;
