"""Fills logs on a real file system, has the kernel cut its power, and judges what is left: a program of its own, so
that its mounts end with it. ``python -m tests.disk.cutter <kind> <folder> <first seed> <cuts>`` prints, as JSON, how
many cuts there were and what was found.
"""

import json
import random
import shutil
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from holdfast.errors import BackendError, Closed
from holdfast.message import Level
from holdfast.stores.disk.files import Files
from tests.disk.history import Acked, Flushed, Offered, Settled, judge, told
from tests.disk.partitions import Writer, columns, found, opened, reboot
from tests.disk.volumes import FLAGS, Volume, write_out

FRESH = 0.1
"""How often a course begins with an empty partition; otherwise it goes on with what the cut before has left."""


class Course:
    """A partition on a volume, through any number of power cuts."""

    def __init__(self, volume, number):
        self.folder = volume.folder / str(number)
        self.facts, self.epoch = [], 0
        self.reports = []

    def until_the_cut(self, volume, draw):
        """Append from several threads until the power is cut; return once all of them have noticed."""
        self.epoch += 1
        sync = draw.choice(("always", "always", "interval", "os"))
        partition = opened(Files(), self.folder, epoch=self.epoch, sync=sync, segment_bytes=1 << draw.randrange(14, 22))
        threads = [
            threading.Thread(
                target=self._produce, args=(partition, f"{self.epoch}-{number}", random.Random(draw.random()))
            )
            for number in range(draw.choice((1, 1, 4)))
        ]
        begun = len(self.facts)
        for thread in threads:
            thread.start()
        enough, end = begun + draw.randrange(2, 60 if sync == "always" else 400), time.monotonic() + 2
        while len(self.facts) < enough and time.monotonic() < end:
            time.sleep(0.0002)
        newest = max(self.folder.glob("*.log"))
        for _ in range(draw.randrange(8) if sync != "always" else 0):
            write_out(newest, draw)
        before = len(self.facts)
        volume.cut(draw.choice(FLAGS))
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "an append hangs after the power was cut"
        with suppress(BackendError):
            partition.close()
        # A sync that is under way while XFS or ext4 shuts down may return 0 for what was just thrown away. After a real
        # power cut nobody is left to hear of it, so what was acknowledged from here on does not count.
        self.facts[before:] = [fact for fact in self.facts[before:] if isinstance(fact, Offered)]

    def _produce(self, partition, name, draw):
        writer = Writer(name, draw)
        while True:
            bodies = writer.bodies()
            self.facts.append(Offered(bodies))
            try:
                placed = partition.append(columns(bodies))
                self.facts.append(Acked(placed.offset, bodies, placed.level is Level.SYNCED))
                if placed.level is not Level.SYNCED and draw.random() < 0.005:
                    so_far = len(self.facts)
                    partition.flush()
                    self.facts.append(Flushed(so_far))
            except (BackendError, Closed):
                return

    def judged(self):
        """Recover, judge, and take what is there for safe from now on."""
        self.epoch += 1
        partition = opened(Files(), self.folder, epoch=self.epoch, report=self.reports.append)
        left = found(Files(), self.folder)
        findings = judge(told(self.facts), left)
        partition.close()
        self.facts.append(Settled(tuple(left.messages)))
        return findings


def main(kind, place, first, cuts):
    volume, found_all, counts = Volume(kind, Path(place)), [], Counter()
    course = None
    for seed in range(first, first + cuts):
        draw = random.Random(seed)
        volume.mount()
        if course is None or draw.random() < FRESH:
            if course is not None:
                shutil.rmtree(course.folder)
            course = Course(volume, seed)
        course.until_the_cut(volume, draw)
        volume.unmount()
        volume.mount()
        reboot(course.folder)
        facts = list(course.facts)
        findings = course.judged()
        volume.unmount()
        found_all += [(seed, *finding) for finding in findings]
        counts.update(
            cuts=1, acknowledged=len(told(facts).acked), torn=sum(one.what == "torn" for one in course.reports)
        )
        course.reports.clear()
    print(json.dumps({"findings": found_all, **counts}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
