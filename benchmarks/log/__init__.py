"""What the disk log does a second, beside a raw write, SQLite, LMDB and persist-queue; the sync mode on every line."""
