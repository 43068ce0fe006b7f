"""What is done in the store for worker processes that fell silent or have gone; each holder here belongs to a real
process, and publishes what runs as workers do.
"""

import os
import subprocess
import sys
import threading

import msgspec
import pytest

from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.delivery import Burial, ErrorInfo, GiveBack, Nack
from holdfast.errors import BackendError
from holdfast.events import Events, Retired
from holdfast.heartbeat import process_start, this_process
from holdfast.message import FORMAT, Message
from holdfast.stores import open_store
from holdfast.worker.keeper import Death, Keeper
from holdfast.worker.published import Published, read_published
from holdfast.worker.tether import Will

TTL = 0.6


@pytest.fixture
def store(tmp_path):
    store = open_store(parse_url(f"sqlite:///{tmp_path}/jobs.db"))
    yield store
    store.close()


@pytest.fixture
def events():
    return Events(logger=None)


@pytest.fixture
def retired(events):
    """The holders that were retired, and an event that is set with each."""
    found = []
    events.listen(Retired, found.append)
    return found


@pytest.fixture
def keeper(store, events):
    keeper = Keeper(store, events, ttl=TTL)
    keeper.start()
    yield keeper
    keeper.stop()
    assert keeper.join(10)


@pytest.fixture
def process():
    """A process that lives until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def published():
    published = Published()
    published.open(4)
    yield published
    published.close()


@pytest.fixture
def holder(store, process, published):
    """The holder that the process is in the store; it has leased four jobs."""
    here = this_process(ttl=TTL)
    info = msgspec.structs.replace(
        here,
        id="worker#1",
        pid=process.pid,
        pid_start=process_start(process.pid),
        queues=("q",),
        kinds=("",),
        published=published.path,
        supervisor=os.getpid(),
        supervisor_start=here.pid_start,
    )
    store.beat(info)
    published.hold(info.id)
    published.beaten()
    return info


@pytest.fixture
def leased(store, holder):
    store.send("q", [Message(body=b"", id=name) for name in "abcd"])
    granted = store.lease("q", holder.id, "lease", limit=4, kinds=[""], max_format=FORMAT)
    return {delivery.id: delivery for delivery in granted}


@pytest.fixture
def bury(process, holder, published, keeper):
    """Kills the process and hands it to the keeper; returns when that is done."""

    def bury(**more):
        process.kill()
        process.wait()
        death = Death(pid=holder.pid, start=holder.pid_start, reason="worker died: SIGKILL", **more)
        keeper.bury(msgspec.structs.replace(death, published=published.path))
        keeper.stop()
        assert keeper.join(10)

    return bury


def burned(store, names="abcd"):
    """Attempts and crashes of each job."""
    jobs = {name: store.get("q", name) for name in names}
    return {name: (str(job.state), job.attempts, job.crashes) for name, job in jobs.items()}


def test_only_started_jobs_are_charged_with_a_death(store, leased, published, bury, retired):
    published.begin(leased["b"])

    bury()

    assert burned(store) == {
        "a": ("ready", 0, 0),
        "b": ("ready", 1, 1),
        "c": ("ready", 0, 0),
        "d": ("ready", 0, 0),
    }
    [event] = retired
    assert (event.jobs, event.charged, event.reason) == (4, 1, "worker died: SIGKILL")
    assert not os.path.exists(published.path)  # noqa: PTH110


def test_started_jobs_are_charged_under_every_id_that_the_process_has_had(store, leased, holder, published, bury):
    published.begin(leased["b"])
    store.send("q", [Message(body=b"", id=name) for name in "ef"])
    store.beat(msgspec.structs.replace(holder, id="worker#2"))
    later = store.lease("q", "worker#2", "lease", limit=2, kinds=[""], max_format=FORMAT)
    published.hold("")  # given up, as when a beat was not answered for its ttl
    published.begin(later[0])

    bury()

    assert burned(store, "abcdef") == {
        "a": ("ready", 0, 0),
        "b": ("ready", 1, 1),
        "c": ("ready", 0, 0),
        "d": ("ready", 0, 0),
        "e": ("ready", 1, 1),
        "f": ("ready", 0, 0),
    }


def test_a_planned_end_carries_out_the_will_and_charges_nobody(store, leased, published, bury, retired):
    for delivery in leased.values():
        published.begin(delivery)
    receipts = {name: delivery.receipt for name, delivery in leased.items()}
    error = ErrorInfo("TimeoutError", "it ran too long")

    bury(
        planned=True,
        will=Will(
            (Nack(receipts["a"], 5.0, error, reason="timeout"),),
            (Burial(receipts["b"], "timeout", error),),
            (GiveBack(receipts["c"]),),
        ),
    )

    assert burned(store) == {
        "a": ("scheduled", 1, 0),
        "b": ("dead", 1, 0),
        "c": ("ready", 0, 0),
        "d": ("ready", 0, 0),
    }
    assert [event.jobs for event in retired] == [2], "what its will gave back has come back too"


def test_leases_that_no_worker_published_are_charged_an_attempt_and_no_crash(store, holder, leased, bury):
    store.beat(msgspec.structs.replace(holder, published=""))

    bury()

    assert set(burned(store).values()) == {("ready", 1, 0)}


def test_a_process_of_the_same_number_started_later_is_another(store, leased, holder, keeper):
    keeper.bury(Death(pid=holder.pid, start=holder.pid_start + 1, reason="worker died: SIGKILL"))
    keeper.stop()
    assert keeper.join(10)

    assert [known.id for known in store.holders()] == [holder.id]
    assert read_published(holder.published) is not None, "what somebody else publishes is his"


def test_a_store_that_is_away_is_asked_until_it_has_done_it(store, leased, bury, monkeypatch, retired):
    asked, retire = [], store.retire

    def refuse_twice(*args):
        asked.append(args)
        if len(asked) <= 2:
            raise BackendError("it is away", retryable=True)
        return retire(*args)

    monkeypatch.setattr(store, "retire", refuse_twice)

    bury()

    assert len(asked) == 3
    assert len(retired) == 1


# -- the living ---------------------------------------------------------------------------------------------------


@pytest.fixture
def beats(store, monkeypatch):
    """Counts what is beaten for, and lets a test wait for it."""
    beat, came = store.beat, threading.Semaphore(0)

    def counted(info):
        answer = beat(info)
        came.release()
        return answer

    monkeypatch.setattr(store, "beat", counted)
    return came


@pytest.mark.slow
@pytest.mark.usefixtures("leased")
def test_a_silent_process_is_beaten_for_and_keeps_its_leases(store, published, keeper, beats):
    keeper.living = (published.path,)

    for _ in range(12):  # at every sixth of a ttl, so for much longer than one
        assert beats.acquire(timeout=10)
        store.tidy()

    assert set(burned(store).values()) == {("running", 1, 0)}


def test_a_process_that_beats_itself_is_left_alone(holder, published, keeper, beats):
    keeper.living = (published.path,)
    end = SYSTEM.boot() + int(TTL * 2000)
    while SYSTEM.boot() < end:
        published.beaten()
        assert not beats.acquire(timeout=TTL / 10)


def test_a_holder_that_its_process_has_given_up_is_not_beaten_for(holder, published, keeper, beats):
    published.hold("")
    keeper.living = (published.path,)

    assert not beats.acquire(timeout=TTL * 2)
