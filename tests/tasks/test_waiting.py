"""Waiting for many jobs: one thread, one watch, few wake-ups, and no store outage that loses a waiter."""

import asyncio
import threading

import pytest

from holdfast import BackendError, Closed
from holdfast.delivery import Outcome, State
from holdfast.errors import NotSupported
from holdfast.message import Message
from holdfast.stores.memory import MemoryBackend
from holdfast.tasks.results import Waiters


class Watching(MemoryBackend):
    """A memory store that counts its watches and what they are told to look at."""

    def __init__(self):
        super().__init__()
        self.watches = 0
        self.failures = []

    def watch(self):
        self.watches += 1
        if self.failures:
            raise self.failures.pop()
        return super().watch()


class Silent(Watching):
    """A memory store whose notifications are lost."""

    def _tell_watches(self, queue, job_ids):
        pass


@pytest.fixture
def store():
    return Watching()


@pytest.fixture
def waiters(store):
    waiters = Waiters(lambda: store, asyncio.to_thread, look_every=30)
    yield waiters
    waiters.close()


def send(store, number):
    return [("q", stored.id) for stored in store.send("q", [Message(body=b"") for _ in range(number)])]


def end(store, keys):
    store.cancel("q", [job_id for _, job_id in keys])


async def waiting(waiters, keys):
    """Return tasks that wait for these jobs, once the watch has them all."""
    tasks = [asyncio.create_task(waiters.wait_async(key, 30)) for key in keys]
    while waiters._new or waiters._watch is None:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0.001)
    return tasks


def test_any_number_of_waiters_share_one_watch_and_one_thread(store, waiters):
    keys, before = send(store, 2000), set(threading.enumerate())

    async def main():
        tasks = await waiting(waiters, keys)
        threads = set(threading.enumerate()) - before  # some of an earlier test's may end meanwhile
        await asyncio.to_thread(end, store, keys)
        return threads, await asyncio.gather(*tasks)

    threads, outcomes = asyncio.run(main())

    assert {outcome.state for outcome in outcomes} == {State.CANCELLED}
    assert (len(threads), store.watches) == (1, 1)


def test_a_loop_is_woken_once_for_all_jobs_that_ended_together(store, waiters):
    keys = send(store, 500)

    async def main():
        loop, woken = asyncio.get_running_loop(), []
        tasks = await waiting(waiters, keys)
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: (woken.append(args), wake(*args))[1]
        end(store, keys)
        await asyncio.gather(*tasks)
        return len(woken)

    assert asyncio.run(main()) == 1


def test_a_lost_notification_delays_and_never_hangs():
    store = Silent()
    waiters = Waiters(lambda: store, asyncio.to_thread, look_every=0.02)
    keys = send(store, 3)

    async def main():
        tasks = await waiting(waiters, keys)
        end(store, keys)
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(main())) == 3
    waiters.close()


def test_waiters_survive_a_store_that_is_away_for_a_while(store, waiters):
    store.failures = [BackendError("away", retryable=True), BackendError("still away", retryable=True)]
    keys = send(store, 3)

    async def main():
        tasks = await waiting(waiters, keys)
        end(store, keys)
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(main())) == 3
    assert store.watches == 3


def test_a_waiting_thread_survives_a_store_that_is_away_when_it_looks_first(store, waiters, monkeypatch):
    (key,) = send(store, 1)
    look, failures = store.outcomes, [BackendError("away", retryable=True)] * 2

    def outcomes(queue, job_ids):
        if failures:
            raise failures.pop()
        return look(queue, job_ids)

    monkeypatch.setattr(store, "outcomes", outcomes)
    with pytest.raises(BackendError):
        waiters.wait(key, 0)
    end(store, [key])

    assert waiters.wait(key, 30).state is State.CANCELLED


def test_a_thread_that_cannot_be_started_now_is_started_for_the_next_waiter(store, waiters, monkeypatch):
    def no_more_threads(thread):
        raise RuntimeError("can't start new thread")

    keys = send(store, 1)

    async def main():
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", no_more_threads)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await waiters.wait_async(keys[0], 30)
        (task,) = await waiting(waiters, keys)
        end(store, keys)
        return await asyncio.wait_for(task, 10)

    assert asyncio.run(main()).state is State.CANCELLED


def test_waiting_no_time_looks_once_in_threads_and_loops(store, waiters):
    ended, living = send(store, 2)
    end(store, [ended])

    assert waiters.wait(ended, 0).state is State.CANCELLED
    assert asyncio.run(waiters.wait_async(ended, 0)).state is State.CANCELLED
    with pytest.raises(TimeoutError):
        waiters.wait(living, 0)
    with pytest.raises(TimeoutError):
        asyncio.run(waiters.wait_async(living, 0))


def test_when_nobody_waits_any_more_the_watch_is_given_up_until_somebody_does():
    store = Watching()
    waiters = Waiters(lambda: store, asyncio.to_thread, look_every=0.01)
    first, second = send(store, 2)

    for number, key in enumerate((first, second), 1):
        threading.Timer(0.02, end, (store, [key])).start()
        assert waiters.wait(key, 30).state is State.CANCELLED
        thread = waiters._thread
        if thread is not None:
            thread.join(10)
        assert (waiters._thread, waiters._watch, store._watches) == (None, None, set())
        assert store.watches == number
    waiters.close()


def test_a_watch_that_breaks_is_made_anew_with_all_its_jobs(store, waiters, monkeypatch):
    keys = send(store, 3)

    async def main():
        tasks = await waiting(waiters, keys)
        watch = waiters._watch

        def broken(timeout):
            raise BackendError("connection lost", retryable=True)

        monkeypatch.setattr(watch, "wait", broken)
        watch.interrupt()
        while waiters._watch in (None, watch):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.001)
        end(store, keys)
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(main())) == 3


@pytest.mark.parametrize("error", [ZeroDivisionError(), BackendError("the file is damaged")])
def test_an_error_that_stays_reaches_who_waits_and_the_next_waiter_starts_afresh(store, waiters, error):
    store.failures = [error]
    (key,) = send(store, 1)

    with pytest.raises(type(error)):
        waiters.wait(key, 30)
    with pytest.raises(TimeoutError):
        waiters.wait(key, 0.01)


def test_a_job_that_lives_again_is_waited_for_until_its_second_end(store, waiters):
    (key,) = send(store, 1)

    async def main():
        (task,) = await waiting(waiters, [key])
        watch = waiters._watch
        with store._open():  # the watch tells, but nobody can look before the job is replayed
            end(store, [key])
            store.replay("q", [key[1]])
        while key not in watch._watched:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.001)
        assert not task.done()
        end(store, [key])
        return await task

    assert asyncio.run(main()).state is State.CANCELLED


def test_a_waiter_that_gives_up_leaves_nothing_behind(store, waiters):
    keys = send(store, 3)

    async def main():
        tasks = await waiting(waiters, keys)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    with pytest.raises(TimeoutError):
        waiters.wait(send(store, 1)[0], 0.01)
    with pytest.raises(TimeoutError):
        waiters.wait(send(store, 1)[0], 0.01)

    assert waiters._waiters == {}
    assert not {key for key in waiters._watch._watched if key in keys}


def test_two_waiters_for_one_job_both_get_its_outcome(store, waiters):
    (key,) = send(store, 1)

    async def main():
        tasks = await waiting(waiters, [key, key])
        end(store, [key])
        return await asyncio.gather(*tasks)

    first, second = asyncio.run(main())
    assert isinstance(first, Outcome)
    assert first == second


def test_close_tells_all_who_wait_and_leaves_nothing_in_the_store(store, waiters):
    keys = send(store, 2)

    async def main():
        tasks = await waiting(waiters, keys)
        await asyncio.to_thread(waiters.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(error) for error in asyncio.run(main())] == [Closed, Closed]
    assert not store._watches
    with pytest.raises(Closed):
        waiters.wait(keys[0], 1)


def test_a_store_that_keeps_no_outcomes_says_so():
    waiters = Waiters(object, asyncio.to_thread)

    with pytest.raises(NotSupported, match="object keeps no outcomes, so nobody can wait for its jobs"):
        waiters.wait(("q", "id"), 1)
    with pytest.raises(NotSupported):
        asyncio.run(waiters.wait_async(("q", "id"), 1))
    waiters.close()
