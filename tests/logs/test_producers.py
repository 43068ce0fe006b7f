"""log.producer(...): an append that is repeated is stored once."""

import threading

import pytest

from holdfast import App, BackendError, Closed, UsageError
from holdfast.capabilities import Logs
from holdfast.clock import SYSTEM
from holdfast.stores.memory import MemoryBackend
from holdfast.testing.faults import Faults


@pytest.fixture
def faults():
    faults = Faults()
    yield faults
    faults.mend()


@pytest.fixture
def faulty(faults):
    """An App whose store fails on command."""
    app = App("memory:")
    with app._life.lend(faults.wrap(MemoryBackend()), SYSTEM):
        yield app


def test_a_wrapped_store_holds_logs_that_fail_on_command(faulty, faults):
    assert isinstance(faulty.backend, Logs)
    faulty.log("orders").append(b"")
    faults.fail("append")
    with pytest.raises(BackendError):
        faulty.log("orders").append(b"")
    assert faulty.log("orders").depth() == 1


def test_a_producer_appends(app):
    log = app.log("orders", partitions=2)
    with log.producer() as producer:
        assert [producer.append(b"a", partition=0).offset, producer.append(b"b", partition=0).offset] == [0, 1]
        stored = producer.append_many([(b"c", "x"), b"d", (b"e", "x")])
    assert log.depth() == 5
    assert len(stored) == 3
    assert not any(place.duplicate for place in stored)
    with pytest.raises(Closed):
        producer.append(b"late")


def test_an_append_of_unknown_outcome_is_repeated_and_stored_once(faulty, faults):
    log = faulty.log("orders")
    producer = log.producer()
    producer.append(b"first")
    faults.fail("append", after=True)
    with pytest.raises(BackendError) as caught:
        producer.append_many([b"a", b"b"])
    assert caught.value.outcome_unknown

    with pytest.raises(UsageError, match="repeat"):
        producer.append(b"other")
    stored = producer.repeat()

    assert [(place.offset, place.duplicate) for place in stored] == [(1, True), (2, True)]
    assert producer.repeat() == []
    producer.append(b"last")
    assert log.read().bodies == [b"first", b"a", b"b", b"last"]


def test_what_was_not_come_to_is_appended_by_the_repetition(faulty, faults):
    log = faulty.log("orders", partitions=2)
    producer = log.producer()
    faults.fail("append", nth=2)
    with pytest.raises(BackendError):
        producer.append_many([(b"%d" % number, str(number)) for number in range(10)])

    assert len(producer.repeat()) == 10

    assert sorted(log.read(0).bodies + log.read(1).bodies) == [b"%d" % number for number in range(10)]


def test_an_append_that_is_refused_is_not_in_doubt(faulty, faults):
    producer = faulty.log("orders").producer()
    faults.fail("append", retryable=False)
    with pytest.raises(BackendError):
        producer.append(b"a")
    assert producer.append(b"b").offset == 0


def test_an_append_stays_in_doubt_until_a_repetition_succeeds(faulty, faults):
    producer = faulty.log("orders").producer()
    faults.fail("append", after=True)
    faults.fail("append", retryable=False)
    for append in (lambda: producer.append(b"a"), producer.repeat):
        with pytest.raises(BackendError):
            append()
    with pytest.raises(UsageError, match="repeat"):
        producer.append(b"b")
    assert producer.repeat()[0].duplicate
    assert producer.append(b"b").offset == 1


def test_a_producer_repeats_by_itself_for_so_long(faulty, faults):
    producer = faulty.log("orders").producer(timeout=30)
    faults.fail("append", after=True, times=2)
    assert producer.append(b"a").duplicate
    assert faulty.log("orders").read().bodies == [b"a"]


def test_closing_ends_the_repetition(faulty, faults):
    producer = faulty.log("orders").producer(timeout=3600)
    faulty.log("orders").append(b"")
    faults.cut()
    closing = threading.Timer(0.1, producer.close)
    closing.start()
    with pytest.raises(BackendError):
        producer.append(b"a")
    closing.join()


def test_a_new_epoch_shuts_the_older_out(app):
    log = app.log("orders")
    older, newer = log.producer("importer", epoch=1), log.producer("importer", epoch=2)
    older.append(b"a")
    newer.append(b"b")
    with pytest.raises(UsageError):
        older.append(b"c")
    assert log.read().bodies == [b"a", b"b"]


def test_another_life_goes_on_where_one_ended(app):
    log = app.log("orders")
    first = log.producer(7, epoch=1)
    first.append_many([b"a", b"b"])
    again = log.producer(7, epoch=1, sequences=first.sequences)
    assert not again.append(b"c").duplicate
    assert log.read().bodies == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"id": "importer"}, "epoch"),
        ({"epoch": 3}, "id of its own"),
        ({"id": 0, "epoch": 1}, "id of a producer"),
        ({"id": 5, "epoch": 70_000}, "epoch of a producer"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_a_producer_that_cannot_be_is_refused(given, named):
    with pytest.raises(UsageError, match=named):
        App("memory:").log("orders").producer(**given)


def test_two_producers_do_not_disturb_each_other(app):
    log = app.log("orders")
    producers = [log.producer() for _ in range(2)]
    threads = [
        threading.Thread(target=lambda producer=producer: [producer.append(b"") for _ in range(50)])
        for producer in producers
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.depth() == 200
