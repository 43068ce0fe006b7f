"""What jobs cost is given back: when history, results and remembered ids have gone, so has what they took."""

import itertools

import pytest

from holdfast.config import QueueSettings
from holdfast.delivery import Ack, Burial, GiveBack, HolderInfo, Nack
from holdfast.failures import ErrorInfo
from holdfast.message import FORMAT, Message, Unique
from tests.redis.fixtures import Place
from tests.redis.harness import RedisHarness
from tests.redis.leftovers import NOBODY_KNOWS, left_over
from tests.redis.programs import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

QUEUE, HOLDER, KINDS = "work", "worker#1", ("", "results", "failing")
KEPT_FOR = 60.0
SETTINGS = QueueSettings(done_for=KEPT_FOR, done_most=10_000_000, dead_for=KEPT_FOR, dedupe_window=KEPT_FOR)
AN_HOUR = 3600.0
WITHIN = 1.05
ROUND = 1_000


@pytest.fixture
def place(redis_servers):
    # A server keeps the arguments of the last 128 slow calls: on a busy machine more than what is measured here.
    server = redis_servers.single(slowlog_log_slower_than=-1)
    return Place(server.url, "memory:", 0, server)


def messages(number):
    """Return a round of messages with all that leaves something on a server."""

    def some(count, **options):
        return [Message(body=b"x" * 100, **options) for _ in range(count)]

    keyed = [Message(body=b"", key=f"k{number}-{place % 10}") for place in range(100)]
    unique = [Message(body=b"", unique=Unique(f"u{number}-{place}", within=30.0)) for place in range(100)]
    headed = some(100, headers={"trace": "t" * 50})
    plain = some(ROUND - 700)
    passing = [*some(50, delay=1.0), *some(50, expires_in=0.5, kind="unhandled")]
    return [*plain, *keyed, *unique, *headed, *passing, *some(200, kind="results"), *some(100, kind="failing")]


def settled(delivery):
    """Return how a delivery ends, or goes on."""
    if delivery.kind == "results":
        return Ack(delivery.receipt, result=b"r" * 100, keep_result=KEPT_FOR)
    if delivery.kind == "failing" and delivery.attempt == 1:
        return Nack(delivery.receipt, 0.0, ErrorInfo("ValueError", "the first time"))
    if delivery.kind == "failing":
        return Burial(delivery.receipt, "given up", ErrorInfo("ValueError", "the second time"))
    return Ack(delivery.receipt)


def work(harness, rounds):
    """Send rounds of jobs and work them off, and let time pass until nothing of them is to be kept any more."""
    store = harness.open()
    store.declare(QUEUE, SETTINGS)
    for number in range(rounds):
        store.beat(HolderInfo(id=HOLDER, ttl=AN_HOUR, queues=(QUEUE,), kinds=KINDS))
        sent = store.send(QUEUE, messages(number))
        store.cancel(QUEUE, [one.id for one in sent[:10]])
        back = store.lease(QUEUE, HOLDER, f"back-{number}", limit=10, kinds=KINDS, max_format=FORMAT)
        store.settle([GiveBack(one.receipt) for one in back])
        harness.elapse(1.0)
        for turn in itertools.count():
            leased = store.lease(QUEUE, HOLDER, f"{number}-{turn}", limit=ROUND, kinds=KINDS, max_format=FORMAT)
            if not leased:
                break
            assert store.settle([settled(one) for one in leased]) == []
            harness.elapse(0.002)  # what was nacked stands behind this millisecond
        tidy(store)
    stats = store.stats(QUEUE)
    assert (stats.ready, stats.scheduled, stats.running) == (0, 0, 0)
    store.retire(HOLDER, "stopped", ())
    harness.elapse(AN_HOUR + 1)
    tidy(store)
    tidy(store)
    store.close()


def tidy(store):
    while store.tidy().more:
        pass


@pytest.mark.parametrize("jobs", [30_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_after_many_jobs_memory_is_back_and_every_key_that_is_left_is_accounted_for(
    place, tmp_path, jobs, record_property
):
    server = place.on
    with RedisHarness(place, tmp_path) as harness:
        work(harness, 1)  # scripts, settings and names stay
        start = used(server)

        work(harness, jobs // ROUND)
        most = int(server.info("memory")["used_memory_peak"])

        # The table of keys shrinks a step at a time.
        until(lambda: used(server) <= start * WITHIN, "memory is back", 30, lambda: f"{start} → {used(server)}")
    record_property("used memory", {"start": start, "most": most, "end": used(server)})
    left = left_over(place)
    assert [key for key, why in left.items() if why == NOBODY_KNOWS] == []
    assert len(left) < 15, left


def used(server):
    return int(server.info("memory")["used_memory"])
