"""A lease of many kinds takes from all lanes in one order, and leaves a marker at each that is not empty."""

import random

import pytest

from holdfast.delivery import HolderInfo
from holdfast.message import Message

QUEUE, WORKER = "work", "worker#1"
KINDS = tuple(f"kind {number}" for number in range(9))
JOBS = 120


@pytest.fixture
def store(harness):
    store = harness.open()
    store.beat(HolderInfo(id=WORKER, ttl=10_000, queues=(QUEUE,), kinds=KINDS))
    return store


def lanes(harness, what):
    """Return the kinds that have this key for their lane."""
    begin = f"{harness.place.prefix}queue:{{{QUEUE}}}:{what}:1:"
    return {key.removeprefix(begin) for key in harness.place.ask("KEYS", f"{begin}*")}


@pytest.mark.parametrize("seed", range(3))
def test_jobs_of_many_kinds_are_leased_in_one_order(harness, store, seed):
    drawn = random.Random(seed)
    jobs = list[tuple[int, int, str]]()
    for number in range(JOBS):
        kind, priority = drawn.choices(KINDS, range(1, 10))[0], drawn.choice([0, 0, 5])
        over = {"expires_in": 5.0} if drawn.random() < 0.1 else {}
        store.send(QUEUE, [Message(id=f"{number:03}", body=b"", kind=kind, priority=priority, **over)])
        if not over:
            jobs.append((-priority, number, f"{number:03}"))
        if drawn.random() < 0.05:
            harness.elapse(0.01)
    harness.elapse(5)
    leased = list[str]()

    while granted := store.lease(
        QUEUE, WORKER, f"lease {len(leased)}", limit=drawn.randint(1, 40), kinds=KINDS, max_format=1
    ):
        leased += [one.id for one in granted]
        assert lanes(harness, "wake") == lanes(harness, "ready")

    assert leased == [job_id for *_, job_id in sorted(jobs)]
