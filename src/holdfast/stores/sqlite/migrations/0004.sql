-- What running jobs last said of their progress. A row counts while its token is that of its job; it goes with the job.

CREATE TABLE holdfast_progress (
    seq      INTEGER PRIMARY KEY,
    token    INTEGER NOT NULL,
    fraction REAL    NOT NULL,
    note     TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
