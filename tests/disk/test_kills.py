"""Processes that append to a log and read it are killed with SIGKILL, again and again: nothing that was acknowledged is
lost, nothing is there that was not offered, the order is kept, and no group stands ahead of what was handled.
"""

import random
import select
import signal
import sys
import time

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.stores import open_logs
from tests.disk.appender import LOG, PARTITIONS
from tests.disk.follower import GROUP
from tests.disk.history import Acked, Found, Offered, judge, told
from tests.disk.journal import Appended, Handled, Journal, Offering, Placed
from tests.disk.layers import seeds, share
from tests.faults.harness import Program
from tests.faults.history import LOOK_EVERY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

FOLLOWERS = 4
PATIENCE = 60.0
ROUND = 25
"""Kills of one log; then it is drained, judged and removed."""


@share(2, 400)
def test_kills_lose_nothing_and_reorder_nothing(cases, tmp_path, record_property):
    kills = messages = 0
    for seed in seeds(cases, record_property):
        stage = Stage(tmp_path / str(seed), random.Random(seed))
        try:
            for _ in range(ROUND):
                stage.kill_one()
            stage.drain()
            assert stage.findings() == [], f"seed {seed}"
            messages += stage.handled
            kills += ROUND
        finally:
            stage.close()
    record_property("kills", kills)
    record_property("messages", messages)


class Stage:
    """A log, one process that appends to it from four threads, and four that read it as one group."""

    def __init__(self, folder, draw):
        folder.mkdir()
        self.folder, self.draw, self._number = folder, draw, 0
        self.url = f"disk:{folder}/data?segment=65536"
        self.journal = Journal(folder / "journal")
        with_log = open_logs(parse_url(self.url))
        with_log.declare(LOG, LogSettings(partitions=PARTITIONS))
        with_log.close()
        self.appender = self._start("appender")
        self.followers = [self._start("follower") for _ in range(FOLLOWERS)]

    def _start(self, what, *more):
        self._number += 1
        last = [str(self.draw.random())] if what == "appender" else list(more)
        command = [
            sys.executable,
            "-m",
            f"tests.disk.{what}",
            self.url,
            str(self.folder / "journal"),
            f"{what}{self._number}",
        ]
        return Program(command + last, {}, self.folder / f"said{self._number}")

    def kill_one(self):
        """Kill the appender or a follower when something more has happened, and start another in its place."""
        self._wait_for(Appended if self.draw.random() < 0.5 else Handled, self.draw.randrange(1, 60))
        if self.draw.random() < 0.4:
            self.appender = self._replaced(self.appender, "appender")
        else:
            number = self.draw.randrange(FOLLOWERS)
            self.followers[number] = self._replaced(self.followers[number], "follower")

    def _replaced(self, program, what):
        assert program.code is None, f"it ended by itself\n{program.said}"
        program.signal(signal.SIGKILL)
        program.wait()
        return self._start(what)

    def _wait_for(self, what, more):
        wanted = self._count(what) + more
        end = time.monotonic() + PATIENCE
        while self._count(what) < wanted:
            for program in (self.appender, *self.followers):
                assert program.code is None, f"it ended by itself\n{program.said}"
            assert time.monotonic() < end, f"no {what.__name__} within {PATIENCE:g} s"
            select.select([], [], [], LOOK_EVERY)

    def _count(self, what):
        return sum(isinstance(line, what) for line in self.journal.read())

    def drain(self):
        """Kill everybody, and let one follower handle what is left."""
        for program in (self.appender, *self.followers):
            program.signal(signal.SIGKILL)
            program.wait()
        last = self._start("follower", "drain")
        assert last.wait(PATIENCE) == 0, last.said

    @property
    def handled(self):
        """How many messages were handled, repeats counted."""
        return sum(len(line.bodies) for line in self.journal.read() if isinstance(line, Handled))

    def findings(self):
        """Judge each partition, and how it was read."""
        logs, findings = open_logs(parse_url(self.url)), []
        try:
            places = {lag.partition: lag.next for lag in logs.lag(LOG, GROUP)}
            for partition, ends in enumerate(logs.ends(LOG)):
                lines = [line for line in self.journal.read() if line.partition == partition]
                messages, at = [], ends.first
                while chunks := logs.read(LOG, partition, at, limit=1000, max_bytes=1 << 20):
                    for chunk in chunks:
                        messages += enumerate(chunk.bodies, chunk.base)
                    at = chunks[-1].next
                found = Found(messages, ends.first, ends.next, groups={GROUP: places[partition]})
                findings += judge(told(facts(lines), power=False), found)
                findings += reading(lines, dict(messages))
        finally:
            logs.close()
        return [(partition, *finding) for finding in findings]

    def close(self):
        """End every process."""
        for program in (self.appender, *self.followers):
            program.end()
        self.journal.close()


def facts(lines):
    """Return lines of the journal as the judge knows them."""
    for line in lines:
        match line:
            case Offering(_, bodies):
                yield Offered(tuple(map(str.encode, bodies)))
            case Appended(_, offset, bodies):
                yield Acked(offset, tuple(map(str.encode, bodies)))


def reading(lines, there):
    """Return what was wrong in how followers read a partition: what they got, what they skipped, where they stood."""
    behind, last = -1, {}
    for line in lines:
        if isinstance(line, Handled):
            for offset, text in enumerate(line.bodies, line.offset):
                if there.get(offset) != text.encode():
                    yield "changed", offset, f"{line.follower} was given {text[:40]}, {there.get(offset)} is there"
            if line.offset <= last.get(line.follower, -1):
                yield "reordered", line.offset, f"{line.follower} had {last[line.follower]} before"
            if any(offset in there for offset in range(behind + 1, line.offset)):
                yield "skipped", line.offset, f"{line.follower} begins here, and {behind} was the last that was handled"
            last[line.follower] = line.offset + len(line.bodies) - 1
            behind = max(behind, last[line.follower])
        elif isinstance(line, Placed) and line.next > behind + 1:
            yield "ahead", line.next, f"committed, and {behind} was the last that was handled"
    missed = [offset for offset in there if offset > behind]
    if missed:
        yield "skipped", missed[0], f"{len(missed)} messages at the end were never handled"
