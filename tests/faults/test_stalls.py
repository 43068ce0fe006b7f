"""Workers that are silent or see another time than others: stopped by SIGSTOP, stuck in C code, set to another hour."""

import signal

import pytest

from tests.faults.checker import Promises
from tests.faults.harness import TTL
from tests.faults.history import Refused, now

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

STALL = pytest.mark.parametrize(
    "stall", [pytest.param(3, id="3 ttl"), pytest.param(6, id="6 ttl", marks=pytest.mark.long)]
)


@STALL
def test_a_worker_that_was_stopped_for_too_long_completes_nothing_that_another_has(
    stage, tmp_path, stall, record_property
):
    """Each job has exactly one accepted completion, and what the late one says is refused by the fence."""
    gate = tmp_path / "gate"
    ids = stage.send("cling", str(gate), count=4)
    stopped = stage.worker("--concurrency", 4)
    stage.wait_for_starts(4)
    silent = {holder.id for holder in stage.backend.holders()}
    paused = stage.pause(stopped)
    seen = len(stage.history.facts())

    other = stage.worker("--concurrency", 4)
    stage.wait_for_newcomer(silent)
    starts = stage.wait_for_starts(4, since=seen, within=3 * TTL + 10)
    gate.touch()
    stage.wait_for_acks(ids)
    stage.history.wait(lambda: now() > paused + stall * TTL, "the stall is over", stall * TTL + 10)
    stopped.signal_all(signal.SIGCONT)
    refused = stage.history.wait(
        lambda: len(found := stage.history.of(Refused)) >= 4 and found, "the late ones are refused"
    )

    record_property("rescued after", round(max(start.at for start in starts) - paused, 2))
    assert {fact.id for fact in refused} == set(ids)
    assert stage.findings(Promises(silent=True)) == []
    for worker in (stopped, other):
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.said
