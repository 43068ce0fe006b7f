"""What type checkers see of logs: right use passes, and each ignored line is an error they must report."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

from holdfast import App, LogMessage, Message, StoredAt
from holdfast.aio import AioLog
from holdfast.config import LogSettings
from holdfast.logged import Assigned, GroupInfo
from holdfast.logs import Batch, Group, GroupLag, Log, LogProducer
from holdfast.queues import Queue

app = App("memory:", logs="memory:")

log = app.log("orders", partitions=4, keep_for=timedelta(days=1), until_consumed=True, labels={"team": "shop"})
assert_type(log, Log)
app.log("orders", partitons=4)  # type: ignore[call-arg]
app.log("orders", partitions="4")  # type: ignore[arg-type]

assert_type(log.append(b"body", key="42", headers={"trace": "1"}), StoredAt)
assert_type(log.append_many([b"body", (b"body", "key"), Message(body=b"body"), *log.read()]), list[StoredAt])
log.append("text")  # type: ignore[arg-type]
log.append_many(["text"])  # type: ignore[list-item]
assert_type(log.settings(), LogSettings | None)
assert_type(log.groups(), list[GroupInfo])
assert_type(log.find(datetime.now(UTC)), dict[int, int])

with log.producer(timeout=5) as producer:
    assert_type(producer, LogProducer)
    assert_type(producer.repeat(), list[StoredAt])

batch = log.read(partition=0, offset=0, limit=5)
assert_type(batch, Batch)
assert_type(batch[0], LogMessage)
assert_type(batch[1:], Batch)
assert_type(batch.bodies, list[bytes])

group = log.group("billing", start=datetime.now(UTC), when_gone="latest")
assert_type(group, Group)
assert_type(group.lag(), GroupLag)
log.group("billing", start="middle")  # type: ignore[arg-type]
log.group("billing", when_gone="never")  # type: ignore[arg-type]
group.seek(to="middle")  # type: ignore[arg-type]
with group.member() as member:
    polled = member.poll(limit=500, wait=1.0)
    assert_type(member.commit(polled.next_offsets, durable=True), dict[int, int])
    member.commit({0: 5})
    assert_type(member.assigned, Mapping[int, Assigned])

assert_type(app.logs("orders.*", labels={"team": "shop"}), list[Log])
assert_type(app.select(ids="orders"), list[Queue | Log])


async def awaited() -> None:
    its = app.aio.log("orders", partitions=4)
    assert_type(its, AioLog)
    assert_type(await its.append(b"body", key="42"), StoredAt)
    async with its.group("billing").member() as one:
        found = await one.poll(wait=timedelta(seconds=1))
        assert_type(found, Batch)
        await one.commit(found.next_offsets)
