"""LMDB as a log: rising keys, a thousand puts a transaction, synced at every commit; and one put a transaction."""

import struct
from importlib.metadata import version

import lmdb

from benchmarks.job import Stopwatch, emit, request
from benchmarks.log.messages import BATCH, BODY

SINGLES = 1_000
key = struct.Struct(">Q").pack


def main() -> None:
    asked = request()
    environment = lmdb.open(str(asked.directory / "lmdb"), map_size=8 << 30, sync=True, metasync=True)
    watch, at = Stopwatch(), 0
    for _ in range(asked.jobs // BATCH):
        with environment.begin(write=True) as transaction:
            for _ in range(BATCH):
                transaction.put(key(at), BODY, append=True)
                at += 1
    rate = watch.rate(at)
    watch = Stopwatch()
    with environment.begin() as transaction:
        count = sum(1 for _ in transaction.cursor().iternext(keys=False, values=True))
    read = watch.rate(count)
    watch = Stopwatch()
    for _ in range(SINGLES):
        with environment.begin(write=True) as transaction:
            transaction.put(key(at), BODY, append=True)
        at += 1
    figures = {"batches": rate, "read": read, "single_us": 1e6 / watch.rate(SINGLES)}
    emit(f"lmdb {version('lmdb')}", {"sync": True, "puts a transaction": BATCH}, figures)


main()
