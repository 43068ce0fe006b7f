"""Masters killed under load, behind Sentinels and in a Cluster: nothing acknowledged is lost, and every worker goes on.

Each has one replica, and a write counts when that has it too (`?wait=1`). Until a killed master is back as a replica,
the new one has none, so nothing is acknowledged: it is started again as soon as the other is promoted.
"""

import random

import pytest

from holdfast.config import QueueSettings
from tests.faults.checker import Promises
from tests.faults.harness import Stage
from tests.faults.history import Accepted, Offered, now
from tests.faults.rounds import summary
from tests.faults.stores import ClusterFaults, SentinelFaults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WORKERS = 2
SETTINGS = QueueSettings(done_most=1_000_000)
BACK = 5.0
"""Seconds after a promotion in which every worker is at work again."""
LEASED = 30.0
"""A ttl longer than any failover: nobody is to lose a lease by it."""


@pytest.fixture(params=[SentinelFaults, ClusterFaults], ids=lambda harness: harness.name)
def stage(request, tmp_path, redis_servers):
    stage = Stage(request.param(tmp_path, redis_servers))
    for queue in stage.harness.queues:
        stage.backend.declare(queue, SETTINGS)
    yield stage
    stage.close()


def pids_at_work(stage, since, queues):
    """Return the processes that have completed jobs of these queues after an instant."""
    offered = {fact.id for fact in stage.history.of(Offered) if fact.queue in queues}
    return {
        fact.pid: fact.at for fact in reversed(stage.history.of(Accepted)) if fact.at > since and fact.id in offered
    }


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_masters_killed_under_load_lose_nothing_and_every_worker_goes_on(stage, tmp_path, kills, record_property):
    queues, end, draw = stage.harness.queues, tmp_path / "end", random.Random(kills)
    workers = [stage.worker("--concurrency", 5, ttl=LEASED) for _ in range(WORKERS)]
    sender = stage.sender("step", 0.005, count=10**9, batch=5, pause=0.05, insist=120, until=str(end))
    back = []
    for _ in range(kills):
        seen = now()
        at_work = stage.history.wait(
            lambda seen=seen: len(found := pids_at_work(stage, seen, queues)) == WORKERS and found, "all are at work"
        )
        killed = stage.harness.fail(draw.choice(queues))
        promoted = now()
        killed.start(ready=False)
        affected = [queue for queue in queues if stage.harness.has(killed, queue)]
        # Which worker takes which queue is chance, and may stay so: some take theirs, and each takes something.
        for what, least in ((affected, 1), (queues, WORKERS)):
            again = stage.history.wait(
                lambda since=promoted, what=what, least=least: (
                    len(found := pids_at_work(stage, since, what)) >= least and found
                ),
                f"{least} are at work again at {what}",
                60,
            )
            back += [at - promoted for at in again.values()]
        assert set(again) == set(at_work), "a worker was restarted"
        stage.harness.settle()
    end.touch()

    assert sender.wait(60) == 0, sender.said
    stage.wait_until_idle(60)
    for worker in workers:
        worker.signal(15)
        assert worker.wait(60) == 0, worker.said
    record_property("jobs", stage.acknowledged())
    record_property("back at work", summary(back))
    assert stage.findings(Promises(crashes=0)) == [], workers[0].said
    assert max(back) < 3 * BACK
