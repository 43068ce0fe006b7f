"""The awaited face: the same answers, no blocked loop, and nothing lost or held by who is cancelled."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import App, Message, State, UsageError
from holdfast.aio.threads import MOST_CALLS
from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.errors import BackendError, Closed
from holdfast.stores.memory import MemoryBackend

PATIENCE = 20


class Slow(MemoryBackend):
    """Some verbs wait to be let go, or fail, when told to."""

    def __init__(self):
        super().__init__()
        self.gates = {}
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.failures = {}
        self.calls = []

    def hold(self, verb):
        self.gates[verb] = threading.Event()
        return self.gates[verb]

    def _pass(self, verb, function, *args, **kwargs):
        self.calls.append(verb)
        gate = self.gates.get(verb)
        if verb in self.failures:
            raise self.failures.pop(verb)
        result = function(*args, **kwargs)
        if gate is not None:
            self.entered.release()
            assert gate.wait(PATIENCE)
            self.left.release()
        return result

    def lease(self, *args, **kwargs):
        return self._pass("lease", super().lease, *args, **kwargs)

    def settle(self, *args):
        return self._pass("settle", super().settle, *args)

    def send(self, *args):
        return self._pass("send", super().send, *args)

    def stats(self, *args):
        return self._pass("stats", super().stats, *args)


@pytest.fixture
def store():
    return Slow()


@pytest.fixture
def app(store, monkeypatch):
    monkeypatch.setattr("holdfast.app.open_store", lambda url, clock: store)
    app = App("memory:")
    yield app
    for gate in store.gates.values():
        gate.set()
    app.close()


@pytest.fixture
def queue(app):
    return app.aio.queue("images")


def run(main):
    async def limited():
        async with asyncio.timeout(PATIENCE):
            return await main

    return asyncio.run(limited())


async def entered(store):
    """Wait until a call that is held has taken effect."""
    assert await asyncio.to_thread(store.entered.acquire, timeout=PATIENCE)


async def begun(task):
    """Let a task come to where it waits."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()


def cancelled(task):
    async def end():
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    return end()


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# -- the same names ------------------------------------------------------------------------------------------


def test_messages_go_in_and_come_out(queue):
    async def main():
        stored = await queue.send(b"one", headers={"a": "b"})
        await queue.send_many([b"two", Message(body=b"three")], priority=-1)
        return stored, [await queue.pop(timeout=0) for _ in range(4)]

    stored, popped = run(main())

    assert [message and message.body for message in popped] == [b"one", b"three", b"two", None]
    assert (popped[0].id, popped[0].headers) == (stored.id, {"a": "b"})


def test_a_lease_is_settled_at_the_end_of_its_block(queue):
    async def main():
        await queue.send_many([b"ack", b"bury", b"leave", b"nack"])
        async with queue.lease(limit=10) as deliveries:
            for delivery in deliveries:
                if delivery.body == b"ack":
                    delivery.ack(then=[b"next"])
                elif delivery.body == b"bury":
                    delivery.bury("no")
                elif delivery.body == b"nack":
                    delivery.nack(60)
            granted = len(deliveries)
        return granted, await queue.stats()

    granted, stats = run(main())

    assert granted == 4
    assert (stats.done, stats.dead, stats.ready, stats.scheduled, stats.running) == (1, 1, 2, 1, 0)


def test_a_block_that_fails_nacks_what_it_left(queue):
    async def main():
        await queue.send(b"")
        with pytest.raises(ValueError, match="no"):
            async with queue.lease():
                raise ValueError("no")
        return (await queue.browse()).jobs[0]

    job = run(main())
    assert (job.attempts, job.state in (State.SCHEDULED, State.READY)) == (1, True)


def test_what_is_marked_can_be_settled_at_once(queue):
    async def main():
        await queue.send_many([b"a", b"b"])
        async with queue.lease() as deliveries:
            next(iter(deliveries)).ack()
            lost = await deliveries.flush()
            return lost, (await queue.stats()).done, (await queue.stats()).running

    assert run(main()) == ([], 1, 1)


def test_an_operator_finds_every_verb(app, queue):
    async def main():
        await queue.declare(QueueSettings(max_body=10))
        assert (await queue.settings()).max_body == 10
        first, second = await queue.send_many([b"a", b"b"])
        assert (await queue.get(first.id)).body == b"a"
        assert await queue.cancel(first.id) == {first.id: State.CANCELLED}
        assert len((await queue.browse()).jobs) == 2
        assert (await queue.replay(first.id)).moved == (first.id,)
        await queue.cancel(second.id)
        assert (await queue.reload([second.id])).moved == (second.id,)
        await queue.pause()
        paused = await queue.pop(timeout=0)
        await queue.resume()
        assert (paused, await queue.depth()) == (None, 2)
        assert await queue.flush(State.READY) == 2
        assert [one.name for one in await app.aio.queues()] == ["images"]
        assert await app.aio.rescue() == 0
        return await queue.destroy(), await app.aio.queues()

    assert run(main()) == (0, [])


def test_many_jobs_are_walked_counted_replayed_and_removed(queue):
    only = JobFilter(states=(State.CANCELLED,))

    async def main():
        sent = [stored.id for stored in await queue.send_many([b"x"] * 1200)]
        await queue.cancel(sent)
        assert [job.id async for job in queue.jobs(only, bodies=False)] == sent[::-1]
        assert (await queue.count(only)).jobs == 1200
        assert (await queue.replay(only, dry_run=True)).matching.jobs == 1200
        assert len((await queue.replay(only)).moved) == 1200
        assert await queue.remove(only) == []
        return await queue.remove(sent[:1])

    assert len(run(main())) == 1


def test_a_replay_ends_with_the_task_that_awaits_it(queue):
    stopped = threading.Event()

    async def main():
        sent = await queue.send_many([b"x"] * 10)
        await queue.cancel([stored.id for stored in sent])
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        how = {"rate": 0.001, "stop": stopped, "progress": lambda _: loop.call_soon_threadsafe(begun.set)}
        replaying = asyncio.create_task(queue.replay(JobFilter(), **how))
        await begun.wait()
        replaying.cancel()
        await asyncio.wait([replaying])
        return replaying.cancelled()

    assert run(main())
    assert stopped.is_set()


def test_slow_replays_keep_no_call_waiting(queue):
    async def main():
        ids = [stored.id for stored in await queue.send_many([b"x"] * 10)]
        await queue.cancel(ids)
        slow = [asyncio.create_task(queue.replay(ids, rate=0.001)) for _ in range(MOST_CALLS + 1)]
        await begun(slow[-1])
        assert (await queue.stats()).running == 0
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)

    run(main())


def test_kinds_that_nobody_waits_for_any_more_are_forgotten(app, queue, monkeypatch):
    monkeypatch.setattr("holdfast.aio.threads.LINGER", 0.01)
    monkeypatch.setattr("holdfast.aio.threads.LOOK_EVERY", 0.01)
    alarms = app._life.threads

    async def wait(kind):
        async with queue.lease(kinds=[kind], wait=0.01):
            pass

    for number in range(3):
        run(wait(f"kind {number}"))
        until(lambda: not any(alarm.is_awake for alarm in alarms._alarms.values()))

    assert len(alarms._alarms) == 1


def test_tasks_and_events_can_be_sent_too(app):
    heard = []

    @app.task(result=60)
    def add(a: int) -> int:
        return a + 1

    @app.on("x")
    def plain(event: int) -> None:
        heard.append(event)

    @app.on("x")
    async def awaited(event: int) -> None:
        heard.append(event)

    async def main():
        jobs = await app.aio.enqueue_many([add.call(1), add.call(2)])
        event = await app.aio.publish("x", 7, priority=3)
        with app.worker(drain=True) as worker:
            await asyncio.to_thread(worker.join)
        found = await app.aio.job("default", jobs[0].id)
        return found.state, await jobs[1].aresult(), event.queue

    assert run(main()) == (State.DONE, 3, "events")
    assert heard == [7, 7]


def test_what_is_wrong_is_said_as_on_the_other_face(queue):
    async def main():
        with pytest.raises(UsageError, match="bytes"):
            await queue.send("text")
        with pytest.raises(UsageError, match="limit"):
            async with queue.lease(limit=0):
                pass
        with pytest.raises(UsageError, match="time to wait"):
            await queue.pop(timeout=-1)

    run(main())


# -- subscribers here and now ----------------------------------------------------------------------------------


def test_publish_now_awaits_the_subscribers_in_order_off_the_loop(app):
    heard = []

    @app.on("x")
    def first(event: int) -> None:
        heard.append(("first", threading.current_thread() is threading.main_thread()))

    @app.on("x")
    async def second(event: int) -> None:
        await asyncio.sleep(0)
        heard.append(("second", True))

    @app.on("x")
    def third(event: int) -> None:
        raise ValueError("stop")

    @app.on("x")
    async def fourth(event: int) -> None:
        heard.append("fourth")

    async def main():
        await app.aio.publish_now("nobody", 1)
        with pytest.raises(ValueError, match="stop"):
            await app.aio.publish_now("x", 1)

    run(main())
    assert heard == [("first", False), ("second", True)]


def test_nothing_needs_the_executor_of_the_loop(app, queue):
    """It may be filled with other things of the program."""
    heard, full = [], threading.Event()

    @app.task(result=60)
    def work() -> int:
        return 7

    @app.on("x")
    def plain(event: int) -> None:
        heard.append(event)

    job = work.enqueue()
    with app.worker(drain=True) as worker:
        worker.join()

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        filling = loop.run_in_executor(None, full.wait, PATIENCE)
        await app.aio.publish_now("x", 1)
        reports = [reported async for reported in job.aprogress()]
        value = await job.aresult(timeout=0)
        full.set()
        assert await filling
        return reports, value

    assert run(main()) == ([], 7)
    assert heard == [1]


def test_a_plain_subscriber_is_waited_for_by_who_is_cancelled(app):
    entered, go, ended = threading.Event(), threading.Event(), []

    @app.on("x")
    def plain(event: int) -> None:
        entered.set()
        assert go.wait(PATIENCE)
        ended.append(event)

    async def main():
        publishing = asyncio.create_task(app.aio.publish_now("x", 1))
        assert await asyncio.to_thread(entered.wait, PATIENCE)
        publishing.cancel()
        await begun(publishing)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await publishing

    run(main())
    assert ended == [1]


def test_a_kind_that_is_none_is_refused_here_and_now(app):
    async def main():
        with pytest.raises(UsageError, match="kind of an event"):
            await app.aio.publish_now(7, 1)

    run(main())
    with pytest.raises(UsageError, match="kind of an event"):
        app.publish_now("", 1)


# -- no loop is blocked ----------------------------------------------------------------------------------------


def test_a_store_that_hangs_blocks_no_loop(store, queue):
    gate = store.hold("stats")

    async def main():
        asking = asyncio.create_task(queue.stats())
        await entered(store)
        gate.set()  # this line is reached, so the loop turns
        return await asking

    assert run(main()).ready == 0


def test_however_many_wait_the_next_call_is_made(queue):
    async def main():
        waiting = [asyncio.create_task(queue.pop()) for _ in range(MOST_CALLS * 5)]
        await begun(waiting[0])
        await queue.send_many([str(number).encode() for number in range(len(waiting))])
        return {message.body for message in await asyncio.gather(*waiting)}

    assert run(main()) == {str(number).encode() for number in range(MOST_CALLS * 5)}


def test_tasks_wait_on_many_queues_at_once(app):
    async def main():
        queues = [app.aio.queue(f"q{number}") for number in range(20)]
        waiting = [asyncio.create_task(queue.pop()) for queue in queues]
        await begun(waiting[0])
        for queue in reversed(queues):
            await queue.send(queue.name.encode())
        return [message.body.decode() for message in await asyncio.gather(*waiting)]

    assert run(main()) == [f"q{number}" for number in range(20)]


def test_a_wait_ends_with_its_time(queue):
    async def main():
        popped = await queue.pop(timeout=0.05)
        async with queue.lease(wait=0.05) as deliveries:
            return popped, len(deliveries)

    assert run(main()) == (None, 0)


def test_sends_at_the_same_time_share_round_trips(store, queue):
    async def main():
        gate = store.hold("send")
        first = asyncio.create_task(queue.send(b"first"))
        await entered(store)
        rest = [asyncio.create_task(queue.send(b"")) for _ in range(50)]
        await begun(rest[-1])
        gate.set()
        await asyncio.gather(first, *rest)

    run(main())
    assert store.calls.count("send") == 2


# -- cancelling ------------------------------------------------------------------------------------------------


def test_a_pop_that_is_cancelled_while_it_waits_takes_nothing(store, queue):
    async def main():
        waiting = asyncio.create_task(queue.pop())
        await begun(waiting)
        await cancelled(waiting)
        await queue.send(b"kept")
        return await queue.pop(timeout=PATIENCE)

    assert run(main()).body == b"kept"


@pytest.mark.parametrize("verb", ["pop", "lease"])
def test_what_was_leased_for_one_who_is_cancelled_goes_back_unburned(store, queue, verb):
    async def lease():
        async with queue.lease(wait=None):
            raise AssertionError("cancelled before")

    async def main():
        stored = await queue.send(b"kept")
        gate = store.hold("lease")
        waiting = asyncio.create_task(queue.pop() if verb == "pop" else lease())
        await entered(store)  # it is granted, and its thread has not answered yet
        await cancelled(waiting)
        gate.set()
        store.gates.clear()
        return await queue.pop(timeout=PATIENCE), stored

    message, stored = run(main())

    assert message.id == stored.id
    assert store.get("images", stored.id).attempts == 1


@pytest.fixture
def began(store):
    """Begin a task that pops; return it when its ack is under way, and what lets that end."""

    async def begin(pop, create_task=asyncio.create_task):
        gate = store.hold("settle")
        popping = create_task(pop())
        await entered(store)
        return popping, gate

    return begin


def test_a_message_that_is_being_acknowledged_when_its_task_is_cancelled_is_returned_first(store, queue, began):
    got = []

    async def consume():
        while True:
            got.append(await queue.pop())

    async def main():
        await queue.send_many([b"taken", b"kept"])
        consuming, gate = await began(consume)
        consuming.cancel()
        await asyncio.sleep(0)
        consuming.cancel()  # however often
        await begun(consuming)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await consuming
        return await queue.pop(timeout=PATIENCE), await queue.pop(timeout=0)

    kept, nothing = run(main())

    assert ([message.body for message in got], kept.body, nothing) == ([b"taken"], b"kept", None)
    assert store.calls.count("send") == 1


def test_a_task_group_ends_though_a_message_came_first(queue, began):
    got = []

    async def consume():
        got.append((await queue.pop()).body)
        await asyncio.Event().wait()

    async def main():
        await queue.send(b"taken")
        async with asyncio.TaskGroup() as group:
            consuming, gate = await began(consume, group.create_task)
            await begun(consuming)
            asyncio.get_running_loop().call_soon(gate.set)
            raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        run(main())
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert got == [b"taken"]


def test_a_time_that_is_over_while_a_message_is_acknowledged_lets_it_through(queue, began):
    async def pop():
        limit = asyncio.timeout(None)
        limits.append(limit)
        async with limit:
            message = await queue.pop()
        for _ in range(5):
            await asyncio.sleep(0)  # nothing is left of the cancellation
        return message, asyncio.current_task().cancelling()

    limits = []

    async def main():
        await queue.send(b"taken")
        popping, gate = await began(pop)
        limits[0].reschedule(0)
        await begun(popping)
        gate.set()
        return await popping

    message, cancelling = run(main())

    assert (message.body, cancelling) == (b"taken", 0)


def test_a_time_that_is_over_ends_what_comes_after_the_message_in_its_block(queue, began):
    limits, got = [], []

    async def pop():
        limit = asyncio.timeout(None)
        limits.append(limit)
        async with limit:
            got.append(await queue.pop())
            await asyncio.Event().wait()

    async def main():
        await queue.send(b"taken")
        popping, gate = await began(pop)
        limits[0].reschedule(0)
        await begun(popping)
        gate.set()
        with pytest.raises(TimeoutError):
            await popping
        return asyncio.current_task().cancelling()

    assert (run(main()), len(got)) == (0, 1)


def test_an_ack_that_fails_for_a_task_that_is_cancelled_takes_nothing(store, queue, app, began):
    async def main():
        stored = await queue.send(b"kept")
        popping, gate = await began(queue.pop)
        await cancelling(popping)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await popping
        return stored

    async def cancelling(task):
        task.cancel()
        await begun(task)

    settle = MemoryBackend.settle
    refused = iter([BackendError("away")])

    def failing(self, settlements):
        for error in refused:
            store.entered.release()
            assert store.gates["settle"].wait(PATIENCE)
            raise error
        return settle(self, settlements)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBackend, "settle", failing)
        stored = run(main())

    assert app.queue("images").pop(PATIENCE).id == stored.id


def test_an_ack_that_has_not_begun_is_not_made_for_a_task_that_is_cancelled(store, app, queue):
    async def main():
        stored = await queue.send(b"kept")
        leased = store.hold("lease")
        popping = asyncio.create_task(queue.pop())
        await entered(store)
        store.gates.clear()
        gate = store.hold("stats")
        busy = [asyncio.create_task(queue.stats()) for _ in range(MOST_CALLS - 1)]
        for _ in busy:
            await entered(store)
        busy += [asyncio.create_task(queue.stats())]  # in line, before the ack
        await begun(busy[-1])
        leased.set()
        await entered(store)
        await asyncio.sleep(0.01)  # the ack is in line by now; or else it never gets there
        await cancelled(popping)
        gate.set()
        await asyncio.gather(*busy)
        return stored, store.get("images", (await queue.pop(timeout=PATIENCE)).id)

    stored, job = run(main())

    assert (job.id, job.attempts) == (stored.id, 1)


def test_many_that_are_cancelled_at_any_moment_lose_nothing(app, queue):
    bodies = {str(number).encode() for number in range(200)}

    async def main():
        got = []

        async def take():
            while True:
                message = await queue.pop()
                got.append(message.body)

        for body in bodies:
            await queue.send(body)
        while len(got) < len(bodies):
            takers = [asyncio.create_task(take()) for _ in range(10)]
            for _ in range(3 + len(got) % 7):
                await asyncio.sleep(0.001)
            for taker in takers:
                taker.cancel()
            await asyncio.gather(*takers, return_exceptions=True)
            if not (await queue.stats()).ready and len(got) < len(bodies):
                await asyncio.sleep(0.01)
        return got

    got = run(main())

    assert sorted(got) == sorted(bodies)
    until(lambda: app.queue("images").stats().running == 0)


def test_a_block_that_is_cancelled_gives_back_what_it_left_and_settles_what_it_marked(app, queue):
    async def main():
        await queue.send_many([b"a", b"b"])

        async def hold():
            async with queue.lease() as deliveries:
                next(iter(deliveries)).ack()
                holding.set()
                await asyncio.Event().wait()

        holding = asyncio.Event()
        holder = asyncio.create_task(hold())
        await holding.wait()
        await cancelled(holder)

    run(main())
    until(lambda: app.queue("images").stats().running == 0)
    stats = app.queue("images").stats()
    assert (stats.done, stats.ready) == (1, 1)


def test_an_error_of_the_store_reaches_who_asked(store, queue):
    store.failures["stats"] = BackendError("away")

    with pytest.raises(BackendError, match="away"):
        run(queue.stats())


def test_a_waiting_pop_meets_the_error_of_its_store(store, queue):
    async def main():
        waiting = asyncio.create_task(queue.pop())
        await asyncio.sleep(0.05)
        store.failures["lease"] = BackendError("away")
        await queue.send(b"")
        with pytest.raises(BackendError, match="away"):
            await waiting

    run(main())


# -- the App's life --------------------------------------------------------------------------------------------


def test_closing_the_app_ends_who_waits(app, queue):
    async def main():
        waiting = [asyncio.create_task(queue.pop()) for _ in range(3)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(app.close)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in run(main())] == [Closed] * 3


def test_an_app_that_was_opened_again_serves_again():
    app = App("memory:")
    queue = app.aio.queue("q")

    async def main():
        async with app:
            await queue.stats()
        with pytest.raises(Closed):
            await queue.stats()
        async with app:
            await queue.send(b"x")
            return await queue.pop(timeout=0)

    assert run(main()).body == b"x"


def test_several_loops_may_use_it(app, queue):
    async def pop():
        return (await queue.pop(PATIENCE)).body

    got = []
    threads = [threading.Thread(target=lambda: got.append(asyncio.run(pop()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    app.queue("images").send_many([b"a", b"b", b"c"])
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(got) == [b"a", b"b", b"c"]


def test_a_loop_that_ended_in_the_middle_holds_nothing(app, queue):
    async def main():
        waiting = [asyncio.ensure_future(queue.pop()) for _ in range(5)]
        await begun(waiting[0])

    run(main())  # which cancels them
    app.queue("images").send(b"kept")

    assert app.queue("images").pop(PATIENCE).body == b"kept"
