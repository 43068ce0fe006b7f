-- Where groups were sought: a reading of a partition that began there is none of those before.

CREATE TABLE holdfast_sought (
    reading   INTEGER NOT NULL, -- the number of the group
    partition INTEGER NOT NULL,
    begun     INTEGER NOT NULL, -- about the ms of the last seek, and above that of the one before
    PRIMARY KEY (reading, partition)
) STRICT, WITHOUT ROWID;
