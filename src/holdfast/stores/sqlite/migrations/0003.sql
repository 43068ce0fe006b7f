-- Schedules and what became of their ticks.

CREATE TABLE holdfast_schedule (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again after a remove
    queue      INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    format     INTEGER NOT NULL DEFAULT 1,
    definition TEXT    NOT NULL,           -- JSON of Definition
    source     TEXT    NOT NULL,           -- code or manual, as in the definition
    paused     INTEGER NOT NULL DEFAULT 0,
    next       INTEGER,                    -- null while paused, and when there is no further tick
    version    INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    ticks      INTEGER NOT NULL DEFAULT 0, -- how many rows it has in holdfast_tick
    UNIQUE (queue, name)
) STRICT;

CREATE INDEX holdfast_schedule_next ON holdfast_schedule (queue, next, source, name)
    WHERE next IS NOT NULL;

CREATE TABLE holdfast_tick (
    schedule INTEGER NOT NULL,
    tick     INTEGER NOT NULL,
    queue    INTEGER NOT NULL,
    outcome  TEXT    NOT NULL,
    job      TEXT,
    at       INTEGER NOT NULL,
    open     INTEGER NOT NULL,             -- its job was not seen to have ended yet
    PRIMARY KEY (schedule, tick)
) STRICT, WITHOUT ROWID;

CREATE INDEX holdfast_tick_open ON holdfast_tick (schedule, tick)
    WHERE open = 1;
CREATE INDEX holdfast_tick_age ON holdfast_tick (queue, tick)
    WHERE open = 0;
