"""What a log on Redis keeps across its partitions: the newest of all, found in a bounded number of round trips."""

import random

import pytest

from holdfast.config import LogSettings
from holdfast.logged import Columns
from holdfast.stores.redis.link import Link
from tests.redis.log_harness import RedisLogHarness

LOG, PARTITIONS = "events", 4
BODY = 10


@pytest.fixture
def harness(tmp_path, redis_place):
    with RedisLogHarness(redis_place, tmp_path) as harness:
        yield harness


@pytest.fixture
def trips(monkeypatch):
    """Count the calls that wait for servers."""
    made, run_all = [], Link.run_all

    def counted(self, calls, **options):
        made.append(len(calls))
        return run_all(self, calls, **options)

    monkeypatch.setattr(Link, "run_all", counted)
    return made


def fill(logs, harness, chance, appends):
    """Append in any order, at times that are alike or far apart; return what was appended, oldest first."""
    made = []
    for _ in range(appends):
        partition, count = chance.randrange(PARTITIONS), chance.randint(1, 5)
        stored = logs.append(LOG, partition, Columns([b"x" * BODY] * count))
        made.append((harness.wall(), partition, stored.offset, count))
        harness.elapse(chance.choice([0, 0, 0.001, 1, 3600]))
    return sorted(made)


def kept(made, excess, size):
    """Return what is left of each partition when the oldest go, whole appends, up to an excess."""
    nexts = [0] * PARTITIONS
    firsts = [0] * PARTITIONS
    is_going = True
    for _, partition, offset, count in made:
        is_going = is_going and size(count) <= excess
        if is_going:
            excess -= size(count)
            firsts[partition] = offset + count
        nexts[partition] = max(nexts[partition], offset + count)
    return [(first, next_) for first, next_ in zip(firsts, nexts, strict=True)]


@pytest.mark.parametrize("seed", range(6))
def test_the_oldest_of_all_partitions_go_and_no_more(harness, seed):
    chance, logs = random.Random(seed), harness.open_logs()
    logs.declare(LOG, LogSettings(partitions=PARTITIONS, keep_for=None))
    made = fill(logs, harness, chance, 60)
    total = sum(count for *_, count in made)
    most = chance.choice([0, 1, total // 3, total - 1])
    logs.declare(LOG, LogSettings(partitions=PARTITIONS, keep_for=None, keep_most=most))
    while logs.tidy().more:
        pass

    assert [(ends.first, ends.next) for ends in logs.ends(LOG)] == kept(made, total - most, lambda count: count)


def test_bytes_are_kept_likewise(harness):
    logs = harness.open_logs()
    logs.declare(LOG, LogSettings(partitions=PARTITIONS, keep_for=None))
    made = fill(logs, harness, random.Random(7), 60)
    total, each = sum(ends.bytes for ends in logs.ends(LOG)), BODY + 4
    logs.declare(LOG, LogSettings(partitions=PARTITIONS, keep_for=None, keep_bytes=total // 2))
    while logs.tidy().more:
        pass

    assert [(ends.first, ends.next) for ends in logs.ends(LOG)] == kept(made, total - total // 2, lambda n: n * each)


def test_a_log_of_many_days_is_cut_in_a_dozen_round_trips(harness, trips):
    logs = harness.open_logs()
    logs.declare(LOG, LogSettings(partitions=PARTITIONS, keep_for=None, keep_most=40))
    for number in range(50):
        logs.append(LOG, number % PARTITIONS, Columns([b"x"] * 3))
        harness.elapse(100_000)
    trips.clear()

    assert logs.tidy().messages == 108
    assert len(trips) <= 12
