"""Writes the queues of ``fixtures/v1``: ``python -m tests.disk.fixture_queue <new directory>``.

It was run once, with the first release, and what it wrote is kept: a later release must read those bytes, a snapshot
and the journal behind it. Run again it writes others, with other salts and times.
"""

import json
import sys
from pathlib import Path

from holdfast.config import QueueSettings
from holdfast.delivery import Ack, Burial, HolderInfo, Nack
from holdfast.failures import ErrorInfo
from holdfast.message import Message, Unique
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.queue import DiskQueues

QUEUE, HOLDER, LONG = "work", "worker#1", 3e9
SETTINGS = QueueSettings(done_for=LONG, dead_for=LONG, dedupe_window=LONG)
ERROR = ErrorInfo("ValueError", "no such order", "Traceback")


def main(folder: str) -> None:
    options = PartitionOptions(reserve_bytes=0, segment_bytes=4096)
    for half in ("a", "b"):  # the first half is in the snapshot, the second is not
        store = DiskQueues(Path(folder), options)
        store.declare(QUEUE, SETTINGS)
        store.beat(HolderInfo(id=HOLDER, ttl=60.0, queues=(QUEUE,), kinds=("a", "b")))
        for state in ("done", "dead", "retried", "running", "ready"):
            body = f"{state} {half}".encode() * 40
            store.send(QUEUE, [Message(id=f"{state}-{half}", body=body, kind=half, headers={"half": half})])
            if state == "ready":
                break
            [one] = store.lease(QUEUE, HOLDER, f"{state}-{half}", limit=1, kinds=(half,), max_format=1)
            match state:
                case "done":
                    store.settle([Ack(one.receipt, result=b"the result", keep_result=LONG)])
                case "dead":
                    store.settle([Burial(one.receipt, "no such order", ERROR)])
                case "retried":
                    store.settle([Nack(one.receipt, delay=LONG, reason="failed", error=ERROR)])
        slot = Unique(f"slot-{half}", on_conflict="replace")
        for body in (b"first", b"second"):
            store.send(QUEUE, [Message(id=f"{body.decode()}-{half}", body=body, key="key", delay=LONG, unique=slot)])
        if half == "a":
            store._write_snapshot(store._journal)
        store.close()
    for lock in Path(folder).rglob("lock"):
        lock.write_text(json.dumps(json.loads(lock.read_text()) | {"host": "elsewhere"}))


if __name__ == "__main__":
    main(sys.argv[1])
