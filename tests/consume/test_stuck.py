"""A partition that goes no further: the others of its worker go on, it is told once, and it goes on by itself."""

import pytest

from holdfast import Retry
from holdfast.config import LogSettings
from holdfast.events import PartitionStopped
from holdfast.logged import LogMessage
from holdfast.worker.consuming import window
from tests.consume.conftest import STORES, wait_until

LATER = Retry(attempts=2, base=3600, jitter="none")


@pytest.fixture
def gone(orders):
    """The log with two partitions; in the first, what the group was to read next is gone."""
    orders.log.declare(LogSettings(partitions=2))
    orders.append(b"0", b"1", b"2")
    orders.seek({0: 0, 1: 0})
    orders.log.declare(LogSettings(partitions=2, keep_most=1))
    while orders.app.log_backend.tidy().more:
        pass
    orders.log.declare(LogSettings(partitions=2))
    assert [lag.gone for lag in orders.lag()] == [True, False]
    return orders


@pytest.fixture
def narrow(monkeypatch):
    """A worker that holds few messages."""
    monkeypatch.setattr(window, "MOST", 4)


def on_stores_that_drop_single_appends(test):
    return pytest.mark.parametrize("url", STORES[:2], indirect=True)(test)


@on_stores_that_drop_single_appends
def test_a_partition_that_cannot_be_read_keeps_no_other_back(gone, worker, heard, ear):
    @gone.app.consume(log="orders", group="billing")
    def bill(message: LogMessage) -> None:
        heard.note((message.partition, message.offset))

    worker()
    (stopped,) = ear.wait_for(PartitionStopped)
    assert (stopped.partition, stopped.offset) == (0, 0)
    for offset in range(3):
        gone.append(b"", partition=1)
        heard.wait_for(offset + 1)
    gone.seek({0: 2})
    gone.wait_for_lag(0)

    assert heard == [(1, 0), (1, 1), (1, 2), (0, 2)]
    assert len(ear.heard(PartitionStopped)) == 1


@on_stores_that_drop_single_appends
def test_a_drain_ends_though_a_partition_cannot_be_read(gone, work, heard, ear):
    @gone.app.consume(log="orders", group="billing")
    def bill(message: LogMessage) -> None:
        heard.note((message.partition, message.offset))

    gone.append(b"", b"", partition=1)
    work()

    assert heard == [(1, 0), (1, 1)]
    assert len(ear.heard(PartitionStopped)) == 1


def test_what_lies_behind_a_stopped_message_keeps_no_other_partition_back(orders, worker, heard, ear, narrow):
    @orders.app.consume(log="orders", group="billing", retry=Retry(attempts=1), dead_letters="stop")
    def bill(message: LogMessage) -> None:
        heard.note((message.partition, message.offset))
        if message.partition == 0:
            raise ValueError("never")

    orders.log.declare(LogSettings(partitions=2))
    orders.append(*[b""] * 20, key="a")
    worker()
    ear.wait_for(PartitionStopped)
    orders.append(*[b""] * 9, partition=1)
    heard.wait_for(10)
    orders.seek({0: 19})
    heard.wait_for(11)

    assert heard == [(0, 0), *((1, offset) for offset in range(9)), (0, 19)]


def test_what_waits_behind_a_retry_keeps_no_other_partition_back(orders, worker, heard, narrow):
    @orders.app.consume(log="orders", group="billing", retry=LATER)
    def bill(message: LogMessage) -> None:
        heard.note((message.partition, message.offset))
        if message.partition == 0:
            raise ValueError("later")

    orders.log.declare(LogSettings(partitions=2))
    orders.append(*[b""] * 20, key="a")
    worker()
    heard.wait_for(1)
    orders.append(*[b""] * 9, partition=1)
    heard.wait_for(10)

    assert heard == [(0, 0), *((1, offset) for offset in range(9))]


def test_what_is_done_behind_a_retry_is_not_done_again_by_the_next_worker(orders, worker, heard):
    @orders.app.consume(log="orders", group="billing", retry=LATER)
    def bill(message: LogMessage) -> None:
        heard.note(message.offset)
        if message.offset == 0:
            raise ValueError("later")

    orders.log.append_many([b""] * 3000, partition=0)
    first = worker()
    heard.wait_for(3000)
    first.stop()
    first.join(30)
    worker()
    heard.wait_for(3001)
    orders.append(b"")
    heard.wait_for(3002)

    assert heard[3000:] == [0, 3000]


def test_a_quiet_worker_lets_a_stopped_partition_go(orders, worker, ear):
    @orders.app.consume(log="orders", group="billing", retry=Retry(attempts=1), dead_letters="stop")
    def bill(body: bytes) -> None:
        raise ValueError("never")

    orders.append(b"")
    stopped = worker()
    ear.wait_for(PartitionStopped)
    stopped.quiet()

    wait_until(lambda: orders.lag()[0].member is None)


def test_a_seek_counts_though_no_further_message_can_be_held(orders, worker, heard, narrow):
    @orders.app.consume(log="orders", group="billing", retry=LATER)
    def bill(message: LogMessage) -> None:
        heard.note(message.offset)
        if message.offset == 0:
            raise ValueError("later")

    orders.append(*[b""] * 10, key="a")
    worker()
    heard.wait_for(1)
    orders.seek({0: 8})
    orders.wait_for_lag(0)

    assert heard == [0, 8, 9]
