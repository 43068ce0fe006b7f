"""The Funnel: collects while busy, answers each caller, wakes each loop once a batch."""

import asyncio
import sys
import threading

import pytest

from holdfast.batching import Funnel
from holdfast.errors import Closed


class Store:
    """Answers each item with its double, once it is let go; remembers the batches."""

    def __init__(self):
        self.batches = []
        self.busy = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def double(self, items):
        self.batches.append(list(items))
        self.busy.set()
        self.free.wait(10)
        return [ValueError(item) if item < 0 else item * 2 for item in items]

    async def hold(self, funnel):
        """Keep the store busy with item 0 until it is let go; return the task that waits for it."""
        self.free.clear()
        first = asyncio.create_task(funnel.submit(0))
        await asyncio.to_thread(self.busy.wait, 10)
        return first


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def funnel(store):
    funnel = Funnel(store.double, name="test-funnel", most=50, limit=100)
    yield funnel
    store.free.set()
    funnel.close()


@pytest.fixture
def undisturbed():
    """No thread takes the interpreter from one that goes on."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)
    yield
    sys.setswitchinterval(interval)


async def submit_all(funnel, items):
    tasks = [asyncio.create_task(funnel.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


def test_what_is_submitted_while_busy_goes_into_the_next_batch(store, funnel):
    async def main():
        first = await store.hold(funnel)
        rest = await submit_all(funnel, range(1, 41))
        store.free.set()
        return await asyncio.gather(first, *rest)

    assert asyncio.run(main()) == [item * 2 for item in range(41)]
    assert store.batches == [[0], list(range(1, 41))]


@pytest.mark.parametrize(
    ("waits", "took", "batches"),
    [
        pytest.param(True, 0.0, [20, 21], id="a server nearby has them in two groups"),
        pytest.param(True, 1000.0, [41], id="one that is slow has all in one call"),
        pytest.param(True, 0.0, [31], id="few go in one call"),
        pytest.param(False, 0.0, [41], id="what this process does itself is done in one call"),
    ],
)
@pytest.mark.usefixtures("undisturbed")
def test_what_an_idle_funnel_gets_is_parted_where_that_is_faster(store, funnel, waits, took, batches):
    items = range(1, sum(batches) + 1)

    async def main():
        await funnel.submit(0)
        while not funnel._idle:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        funnel.waits, funnel._took = waits, took
        return await asyncio.gather(*(funnel.submit(item) for item in items))

    assert asyncio.run(main()) == [item * 2 for item in items]
    assert [len(batch) for batch in store.batches] == [1, *batches]


def test_an_error_goes_to_the_caller_whose_item_it_is(funnel):
    async def main():
        return await asyncio.gather(*(funnel.submit(item) for item in (1, -2, 3)), return_exceptions=True)

    first, second, third = asyncio.run(main())

    assert (first, third) == (2, 6)
    assert isinstance(second, ValueError)


def test_when_the_function_raises_every_caller_of_the_batch_hears_it():
    def broken(items):
        raise OSError("away")

    funnel = Funnel(broken, name="test-funnel")

    async def main():
        return await asyncio.gather(*(funnel.submit(item) for item in range(3)), return_exceptions=True)

    assert [str(error) for error in asyncio.run(main())] == ["away"] * 3
    funnel.close()


def test_a_loop_is_woken_once_for_a_whole_batch(store, funnel):
    async def main():
        loop, woken = asyncio.get_running_loop(), []
        first = await store.hold(funnel)
        rest = await submit_all(funnel, range(1, 41))
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: (woken.append(args), wake(*args))[1]
        store.free.set()
        await asyncio.gather(first, *rest)
        return len(woken)

    assert asyncio.run(main()) == 2


def test_submitters_beyond_the_limit_wait_for_room_and_all_are_served(store, funnel):
    async def main():
        first = await store.hold(funnel)
        rest = await submit_all(funnel, range(1, 1001))
        assert len(funnel._waiting) == 100
        store.free.set()
        return await asyncio.gather(first, *rest)

    assert sorted(asyncio.run(main())) == [item * 2 for item in range(1001)]
    assert max(map(len, store.batches)) == 50


def test_an_item_whose_submitter_was_cancelled_in_time_is_left_out(store, funnel):
    async def main():
        first = await store.hold(funnel)
        cancelled, kept = await submit_all(funnel, (1, 2))
        cancelled.cancel()
        await asyncio.sleep(0)
        store.free.set()
        await asyncio.gather(first, kept)

    asyncio.run(main())

    assert store.batches == [[0], [2]]


def test_submitters_that_were_cancelled_while_waiting_for_room_keep_nobody_out(store, funnel):
    async def main():
        first = await store.hold(funnel)
        inside = await submit_all(funnel, range(1, 101))
        outside = await submit_all(funnel, range(101, 200))
        for task in outside[:-1]:
            task.cancel()
        store.free.set()
        await asyncio.gather(first, *inside)
        return await outside[-1]

    assert asyncio.run(main()) == 199 * 2


def test_close_hands_on_what_was_submitted_and_refuses_the_rest(store, funnel):
    async def main():
        first = await store.hold(funnel)
        rest = await submit_all(funnel, range(1, 11))
        closing = asyncio.create_task(asyncio.to_thread(funnel.close))
        while not funnel._closed:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        with pytest.raises(Closed, match="nothing was sent"):
            await funnel.submit(11)
        store.free.set()
        await closing
        return await asyncio.gather(first, *rest)

    assert asyncio.run(main()) == [item * 2 for item in range(11)]
    funnel.close()


def test_several_loops_share_one_funnel(funnel):
    answers = []

    def one_loop(start):
        async def main():
            return await asyncio.gather(*(funnel.submit(item) for item in range(start, start + 20)))

        answers.extend(asyncio.run(main()))

    threads = [threading.Thread(target=one_loop, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [item * 2 for start in (0, 100, 200) for item in range(start, start + 20)]


def test_a_loop_that_ended_in_the_meantime_harms_nobody(store, funnel):
    async def leave():
        await store.hold(funnel)
        await submit_all(funnel, (1,))

    asyncio.run(leave())
    store.free.set()

    assert asyncio.run(funnel.submit(5)) == 10


def test_an_item_whose_thread_cannot_be_started_is_refused_and_the_next_one_tries_again(store, funnel, monkeypatch):
    def no_more_threads(thread):
        raise RuntimeError("can't start new thread")

    async def main():
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", no_more_threads)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await funnel.submit(1)
        return await funnel.submit(2)

    assert asyncio.run(main()) == 4
    assert store.batches == [[2]]
