"""Writes the logs of ``fixtures/v1``, and says what is in them: ``python -m tests.disk.fixture_log <new directory>``.

It was run once, with the first release, and what it wrote is kept: a later release must read those bytes. Run again it
writes others, with other salts and times.
"""

import json
import shutil
import sys
from pathlib import Path

from holdfast.config import LogSettings, parse_url
from holdfast.delivery import HolderInfo
from holdfast.logged import Columns, Offset, Producer, Start
from holdfast.stores import open_logs

KINDS = ("none", "lz4", "zstd")
PARTITIONS, ROUNDS = 2, 12
SEGMENT = 4096
GROUP, DONE, FINISHED = "readers", 7, (9, 11)
"""A group that has read so far in partition 0 of each log, and has finished these beyond."""


def appends(kind: str) -> list[tuple[int, Columns, Producer | None]]:
    """Return what is appended to the log of this compression: partition, messages, producer."""
    made: list[tuple[int, Columns, Producer | None]] = []
    for number in range(ROUNDS):
        plain = Columns([f"{kind} {number} plain".encode()])
        many = Columns(
            [f"{kind} {number} {index} ".encode() * (1 + 20 * (index % 3)) for index in range(10)],
            keys=[None if index % 3 == 0 else f"key-{index}".encode() for index in range(10)],
            headers=[b"\x81\xa5trace\xa3abc" if index % 2 else None for index in range(10)],
        )
        ours = Columns([b"", f"{kind} {number} by a producer".encode()])
        made += [(number % 2, plain, None), (0, many, None), (1, ours, Producer(77, 1, 2 * number))]
    return made


def expected(kind: str) -> dict[int, list[tuple[bytes, bytes | None, bytes | None]]]:
    """Return what is in each partition, in order: bodies, keys and packed headers."""
    held: dict[int, list[tuple[bytes, bytes | None, bytes | None]]] = {number: [] for number in range(PARTITIONS)}
    for partition, columns, _ in appends(kind):
        count = len(columns)
        held[partition] += zip(
            columns.bodies, columns.keys or [None] * count, columns.headers or [None] * count, strict=True
        )
    return held


def main(folder: str) -> None:
    for half in (0, 1):  # closed and opened again in the middle
        logs = open_logs(parse_url(f"disk:{folder}?segment={SEGMENT}"))
        for kind in KINDS:
            if not half:
                logs.declare(
                    kind, LogSettings(partitions=PARTITIONS, compression=kind, keep_for=None, labels={"a": "b"})
                )
            whole = appends(kind)
            for partition, columns, producer in whole[half * len(whole) // 2 : (half + 1) * len(whole) // 2]:
                logs.append(kind, partition, columns, producer=producer)
        logs.close()
    logs = open_logs(parse_url(f"disk:{folder}?segment={SEGMENT}"))
    for kind in KINDS:
        member = logs.join(kind, GROUP, HolderInfo(id="reader#1", ttl=60.0, queues=(), kinds=()), start=Start())
        chunks = member.poll(limit=100, wait=5.0)
        version = next(chunk.version for chunk in chunks if chunk.partition == 0)
        member.commit([Offset(0, DONE, version, FINISHED)], durable=True)
        member.leave()
    logs.close()
    for reserve in Path(folder).rglob("reserve"):
        reserve.unlink()
    for lock in Path(folder).rglob("lock"):
        note = json.loads(lock.read_text())
        lock.write_text(json.dumps(note | {"host": "elsewhere"}))
    for gone in [path for path in Path(folder).rglob("*") if path.is_dir() and not any(path.iterdir())]:
        shutil.rmtree(gone)


if __name__ == "__main__":
    main(sys.argv[1])
