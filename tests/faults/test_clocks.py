"""Workers whose wall clock is set an hour ahead and back while they work: only what is due when changes, and not even
that on a store whose server tells the time.
"""

import random
import signal

import pytest

from holdfast.delivery import State
from holdfast.testing import SharedClock
from tests.faults.checker import Promises
from tests.faults.history import QUEUE, Offered, Started
from tests.faults.rounds import rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HOUR = 3600
LATENESS = 3 * 2.0
"""A job that is ready starts within 2 s, whatever the clock says; the rest is slack."""


@rounds(20)
def test_a_wall_clock_set_ahead_and_back_changes_nothing_but_what_is_due(stages, tmp_path, rounds, record_property):
    for round_ in range(rounds):
        stage, draw = stages(), random.Random(round_)
        clock = SharedClock(tmp_path / f"clock-{round_}")
        [later] = stage.send("step", 0, delay=HOUR / 2)
        workers = [stage.worker("--concurrency", 4, FAULTS_CLOCK=str(clock.path)), stage.worker("--concurrency", 4)]
        stage.wait_for_holders(2)
        sender = stage.sender("step", 0.005, count=400, batch=5, keys=draw.choice([0, 20]))
        stage.wait_for_starts(20)
        early = later in {start.id for start in stage.history.of(Started)}
        for change in draw.choice([(1, -2, 2), (-1, 2)]):
            clock.set_wall(change * HOUR)
            stage.wait_for_starts(20, since=len(stage.history.facts()))

        assert sender.wait() == 0, sender.said
        moved = not stage.harness.tells_time
        stage.wait_for_acks({fact.id for fact in stage.history.of(Offered)} - ({later} if not moved else set()))
        for worker in workers:
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0, worker.said
        assert not early, "it ran half an hour before its time"
        assert stage.backend.stats(QUEUE).scheduled == (0 if moved else 1)
        ends = frozenset({State.DONE} if moved else {State.DONE, State.SCHEDULED})
        found = stage.findings(Promises(ends=ends, crashes=0, lateness=LATENESS))
        assert [one for one in found if (one.rule, one.id) != ("late", later)] == [], (
            f"round {round_}\n{workers[0].said}"
        )
    record_property("jobs", 401 * rounds)
