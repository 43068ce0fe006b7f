"""Many processes send one unique key: at any time one job lives at most, and every answer names it."""

import itertools
from operator import attrgetter

import pytest

from holdfast.config import QueueSettings, parse_url
from holdfast.delivery import State
from holdfast.stores import open_store
from tests.processes.programs import QUEUE
from tests.processes.test_sqlite_processes import assert_counts_are_true, every_job, facts, start

pytestmark = pytest.mark.slow
FEW_OR_MANY = [
    pytest.param(8, 50, id="8 processes"),
    pytest.param(50, 1000, id="50 processes", marks=[pytest.mark.long, pytest.mark.timeout(3000)]),
]


@pytest.mark.parametrize(("senders", "times"), FEW_OR_MANY)
def test_there_is_never_more_than_one_living_job(tmp_path, senders, times, record_property):
    url, stop = f"sqlite:///{tmp_path}/jobs.db", tmp_path / "stop"
    store = open_store(parse_url(url))
    store.declare(QUEUE, QueueSettings(done_most=1_000_000))
    workers = [start("serve", url, stop) for _ in range(3)]
    answers = [
        answer for child in [start("insist", url, times) for _ in range(senders)] for answer in answers_of(child)
    ]
    stop.touch()
    for worker in workers:
        _, errors = worker.communicate()
        assert worker.returncode == 0, errors

    jobs = {job.id: job for job in every_job(store)}
    new = [job_id for job_id, duplicate, *_ in answers if not duplicate]

    record_property("sends", len(answers))
    record_property("jobs", len(jobs))
    assert len(answers) == senders * times
    assert sorted(new) == sorted(jobs), "a job is there that nobody sent, or one that was sent is not"
    assert {job.state for job in jobs.values()} == {State.DONE}
    for one, following in itertools.pairwise(sorted(jobs.values(), key=attrgetter("sent", "ended"))):
        assert one.ended <= following.sent, "two jobs were alive at one time"
    for job_id, _, before, after in answers:
        assert jobs[job_id].sent <= after, "an answer named a job that was not there yet"
        assert jobs[job_id].ended >= before, "an answer named a job that had ended"
    assert_counts_are_true(store)
    store.close()


def answers_of(child):
    output, errors = child.communicate()
    assert child.returncode == 0, errors
    return facts(output)[0]["answers"]
