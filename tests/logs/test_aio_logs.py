"""app.aio.log(...): the same answers, no blocked loop, and no message lost to who is cancelled."""

import asyncio
import threading

import pytest

from holdfast import App, Closed, LeaseLost, UsageError
from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.errors import BodyTooLarge
from holdfast.stores.memory import MemoryBackend
from holdfast.testing.faults import Faults

PATIENCE = 20


def run(main):
    async def limited():
        async with asyncio.timeout(PATIENCE):
            return await main()

    return asyncio.run(limited())


def test_a_log_is_appended_to_read_and_looked_after(app):
    async def main():
        log = app.aio.log("orders", partitions=2)
        assert (await log.append(b"a", key="k")).offset == 0
        assert len(await log.append_many([b"b", (b"c", "x")])) == 2
        assert await log.depth() == 3
        assert len(await log.read(0)) + len(await log.read(1)) == 3
        assert (await log.settings()).partitions == 2
        await log.declare(LogSettings(partitions=3))
        assert len(await log.ends()) == 3
        await log.flush()
        assert [one.name for one in await app.aio.logs()] == ["orders"]
        assert [one.name for one in await app.aio.select(names="orders")] == ["orders"]
        assert await log.destroy() == 3

    run(main)


def test_appends_of_many_tasks_are_all_stored_each_task_in_order(app):
    async def task(log, number):
        return [await log.append(b"%d.%d" % (number, step), key=str(number)) for step in range(20)]

    async def main():
        log = app.aio.log("orders", partitions=4)
        return await asyncio.gather(*(task(log, number) for number in range(16)))

    receipts = run(main)

    log = app.log("orders")
    for number, its in enumerate(receipts):
        assert len({place.partition for place in its}) == 1
        offsets = [place.offset for place in its]
        assert offsets == sorted(offsets)
        bodies = [log.read(place.partition, place.offset, 1)[0].body for place in its]
        assert bodies == [b"%d.%d" % (number, step) for step in range(20)]
    assert log.depth() == 320


def test_appends_share_the_stores_appends():
    faults = Faults()
    app = App("memory:")
    with app._life.lend(faults.wrap(MemoryBackend()), SYSTEM):

        async def main():
            log = app.aio.log("orders")
            await log.append(b"")
            before = faults.calls["append"]
            with faults.hold("append") as hold:
                tasks = [asyncio.create_task(log.append(b"%d" % number)) for number in range(50)]
                await asyncio.to_thread(hold.wait)
                hold.let_go()
                await asyncio.gather(*tasks)
            return faults.calls["append"] - before

        assert run(main) <= 2


def test_a_message_that_is_refused_spoils_no_other(memory):
    memory.log("orders", max_body=5).append(b"")
    other = memory.log("audit")

    async def main():
        log = memory.aio.log("orders")
        bodies = [b"ok", b"too large", b"ok", b"ok", b"large too"]
        return await asyncio.gather(
            *(log.append(body) for body in bodies), memory.aio.log("audit").append(b""), return_exceptions=True
        )

    answers = run(main)

    assert [isinstance(answer, BodyTooLarge) for answer in answers] == [False, True, False, False, True, False]
    assert (memory.log("orders").depth(), other.depth()) == (4, 1)


def test_a_wrong_body_is_refused_at_once(memory):
    async def main():
        with pytest.raises(UsageError, match="bytes"):
            await memory.aio.log("orders").append("text")
        assert await memory.aio.logs() == []

    run(main)


def test_appends_under_way_are_stored_when_the_app_closes():
    app = App("memory:")
    with app:
        app.log("orders").append(b"")
        store = app.log_backend

        async def main():
            tasks = [asyncio.create_task(app.aio.log("orders").append(b"")) for _ in range(20)]
            await asyncio.sleep(0)
            depth = []
            store_close = store.close

            def close():
                depth.append(sum(ends.next for ends in store.ends("orders")))
                store_close()

            app.backend.close, closing = close, app.backend.close
            await asyncio.to_thread(app.close)
            closing()
            await asyncio.gather(*tasks)
            return depth

        assert run(main) == [21]


def test_a_member_polls_and_commits(app):
    async def main():
        log = app.aio.log("orders")
        await log.append_many([b"%d" % number for number in range(5)])
        group = log.group("billing")
        async with group.member() as member:
            batch = await member.poll(limit=3, wait=5)
            assert batch.bodies == [b"0", b"1", b"2"]
            assert await member.commit(batch.next_offsets) == {0: 3}
            assert list(member.assigned) == [0]
        assert (await group.lag()).messages == 2
        assert await group.has_lag(1)
        assert await group.offsets() == {0: 3}
        assert await group.seek(to="latest") == {0: 5}
        assert [one.name for one in await log.groups()] == ["billing"]
        assert await group.forget()

    run(main)


def test_new_messages_wake_a_poll_and_the_loop_goes_on(app):
    async def main():
        log = app.aio.log("orders")
        await log.append(b"old")
        async with log.group("billing", start="latest").member() as member:
            polling = asyncio.create_task(member.poll(wait=60))
            await asyncio.sleep(0)
            await log.append(b"new")
            assert (await polling).bodies == [b"new"]

    run(main)


def test_what_a_cancelled_poll_has_taken_comes_with_the_next(memory):
    async def main():
        log = memory.aio.log("orders")
        await log.append_many([b"%d" % number for number in range(10)])
        async with log.group("billing").member() as member:
            seen = []
            while len(seen) < 10:
                polling = asyncio.create_task(member.poll(limit=3, wait=5))
                for _ in range(len(seen) % 4):
                    await asyncio.sleep(0)
                polling.cancel()
                try:
                    seen += (await polling).bodies
                except asyncio.CancelledError:
                    seen += (await member.poll(limit=2, wait=0)).bodies
            assert seen == [b"%d" % number for number in range(10)]

    run(main)


def test_cancelling_a_poll_that_waits_ends_it(app):
    async def main():
        log = app.aio.log("orders")
        await log.append(b"old")
        async with log.group("billing", start="latest").member() as member:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await member.poll(wait=3600)
            await log.append(b"new")
            batch = await member.poll(wait=10) or await member.poll(wait=10)
            assert batch.bodies == [b"new"]
            await member.commit(batch.next_offsets)

    run(main)
    assert not app.log("orders").group("billing").has_lag()


def test_an_interrupted_poll_returns_nothing(memory):
    async def main():
        log = memory.aio.log("orders")
        await log.append(b"old")
        async with log.group("billing", start="latest").member() as member:
            member.interrupt()
            assert not await member.poll(wait=3600)

    run(main)


def test_an_older_commit_loses_to_a_seek(app):
    async def main():
        log = app.aio.log("orders")
        await log.append_many([b"a", b"b"])
        group = log.group("billing")
        async with group.member() as member:
            batch = await member.poll(wait=5)
            await group.seek(offset=0)
            with pytest.raises(LeaseLost):
                await member.commit(batch.next_offsets)

    run(main)


def test_a_member_is_used_in_its_block(memory):
    async def main():
        log = memory.aio.log("orders")
        await log.append(b"a")
        member = log.group("billing").member()
        with pytest.raises(UsageError, match="async with"):
            await member.poll()
        async with member:
            assert await member.poll(wait=5)
        with pytest.raises(Closed):
            await member.poll()
        await member.close()

    run(main)


def test_a_member_that_was_closed_leaves_no_thread(memory):
    async def main():
        log = memory.aio.log("orders")
        await log.append(b"a")
        before = set(threading.enumerate())
        async with log.group("billing").member() as member:
            await member.poll(wait=5)
            return [one for one in set(threading.enumerate()) - before if one.name == "holdfast-log-member"]

    (thread,) = run(main)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_member_whose_join_fails_says_why(memory):
    async def main():
        with pytest.raises(UsageError, match="nothing"):
            async with memory.aio.log("nothing").group("billing").member():
                pass

    run(main)


def test_a_producer_repeats_what_was_in_doubt():
    faults = Faults()
    app = App("memory:")
    with app._life.lend(faults.wrap(MemoryBackend()), SYSTEM):

        async def main():
            log = app.aio.log("orders")
            async with log.producer(timeout=30) as producer:
                faults.fail("append", after=True)
                assert (await producer.append(b"a")).duplicate
                assert len(await producer.append_many([b"b", b"c"])) == 2
                assert await producer.repeat() == []
            assert await log.depth() == 3

        run(main)
