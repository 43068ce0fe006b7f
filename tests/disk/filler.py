"""Fills a small disk to the last byte, makes room again, and judges each time what is there: a program of its own, so
that its mount and its limits end with it. ``python -m tests.disk.filler <tmpfs|limit> <folder> <first seed> <rounds>``
prints, as JSON, how many rounds there were, how many appends were refused, and what was found.
"""

import json
import random
import resource
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from holdfast.errors import BackendError, QueueFull
from holdfast.stores.disk.files import Files
from tests.disk.history import Acked, Offered, Refused, judge, told
from tests.disk.partitions import Writer, columns, found, opened
from tests.disk.volumes import run

DISK = 24 << 20
RESERVE = 1 << 20
REFUSALS = 5
"""How many appends are refused before room is made."""


class Tmpfs:
    """A small disk in memory, which is filled by a file beside the log."""

    segment_bytes = 1 << 17
    is_opened_full = 0.3

    def __init__(self, place):
        self.folder = place / "small"
        self.folder.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.folder)
        self._ballast = self.folder / "ballast"

    def fill(self, draw):
        room = Files().free(self.folder) - draw.randrange(4096, 1 << 18)
        with self._ballast.open("wb") as file:
            file.write(bytes(max(0, room)))

    def make_room(self):
        self._ballast.unlink()


class Limit:
    """Files of this process may not be larger than so much, which is less than a segment has."""

    segment_bytes = 1 << 24
    is_opened_full = 0.0  # to end the segment of a writer that could not, its file must grow

    def __init__(self, place):
        self.folder = place / "limited"
        self.folder.mkdir()

    def fill(self, draw):
        largest = max((file.stat().st_size for file in self.folder.rglob("*.log")), default=4096)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + draw.randrange(1 << 15), resource.RLIM_INFINITY))

    def make_room(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def one_round(disk, seed):
    """Fill, be refused, read, make room, go on; return what was found and how many were refused."""
    draw, facts, folder = random.Random(seed), [], disk.folder / str(seed)
    writer, findings, refused = Writer(seed, draw), [], 0
    options = {
        "sync": draw.choice(("always", "always", "os")),
        "reserve_bytes": RESERVE,
        "segment_bytes": disk.segment_bytes,
    }

    def append():
        bodies = writer.bodies(size=400)
        facts.append(Offered(bodies))
        try:
            facts.append(Acked(partition.append(columns(bodies)).offset, bodies))
        except QueueFull:
            facts.append(Refused(bodies))
            return False
        return True

    partition = opened(Files(), folder, **options)
    for _ in range(draw.randrange(50)):
        append()
    disk.fill(draw)
    while refused < REFUSALS:
        refused += not append()
    findings += judge(told(facts, power=False), found(Files(), folder))
    reopened = draw.random() < disk.is_opened_full
    if reopened:
        partition.close()
        with suppress(BackendError):  # when the room that is kept for it is used up, an opening waits for more
            opened(Files(), folder, epoch=2, **options).close()
        findings += judge(told(facts, power=False), found(Files(), folder))
    disk.make_room()
    if reopened:
        partition = opened(Files(), folder, epoch=3, **options)
    assert append(), "appends do not go on though there is room"
    for _ in range(20):
        append()
    partition.close()
    opened(Files(), folder, epoch=4).close()
    return findings + judge(told(facts, power=False), found(Files(), folder)), refused


def main(kind, place, first, rounds):
    disk = {"tmpfs": Tmpfs, "limit": Limit}[kind](Path(place))
    findings, counts = [], Counter()
    for seed in range(first, first + rounds):
        found_now, refused = one_round(disk, seed)
        findings += [(seed, *finding) for finding in found_now]
        counts.update(rounds=1, refused=refused)
        run("rm", "-r", disk.folder / str(seed))
    print(json.dumps({"findings": findings, **counts}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
