-- Version 2: unique jobs.

-- JSON of the Unique that a job was sent with, null for none.
ALTER TABLE holdfast_job ADD COLUMN slot TEXT;

-- Who took the slot of a unique key last. Whether that job still has it follows from its state and from lasts, so
-- nothing is written here when a job is leased, ends or expires.
CREATE TABLE holdfast_slot (
    queue INTEGER NOT NULL,
    key   TEXT    NOT NULL,
    seq   INTEGER,            -- the job, null once it is forgotten
    id    TEXT    NOT NULL,
    until TEXT    NOT NULL,   -- that of Unique
    lasts INTEGER NOT NULL,   -- the ms until which its within keeps the slot, 0 for none
    PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX holdfast_slot_job ON holdfast_slot (seq)
    WHERE seq IS NOT NULL;
CREATE INDEX holdfast_slot_left ON holdfast_slot (queue, lasts)
    WHERE seq IS NULL;
