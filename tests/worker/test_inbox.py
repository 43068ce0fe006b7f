"""The line that threads take jobs from."""

import threading

import pytest

from holdfast.delivery import Delivery
from holdfast.worker.inbox import Inbox


def deliveries(count):
    return [Delivery(queue="q", id=str(number), token=1, attempt=1, body=b"") for number in range(count)]


def ids(taken):
    return [delivery.id for delivery in taken]


def test_what_is_put_is_taken_in_order():
    inbox = Inbox(takers=1)
    inbox.put(deliveries(3))

    assert ids(inbox.take() for _ in range(3)) == ["0", "1", "2"]
    with pytest.raises(IndexError):
        inbox.take()


def test_what_is_taken_back_is_not_taken_and_the_rest_keeps_its_order():
    inbox = Inbox(takers=1)
    inbox.put(deliveries(5))

    back = inbox.take_back(lambda delivery: int(delivery.id) % 2 == 0)

    assert ids(back) == ["0", "2", "4"]
    assert ids(inbox.take() for _ in range(2)) == ["1", "3"]


def test_no_taker_sleeps_while_there_is_work():
    inbox, taken, done = Inbox(takers=3), [], threading.Semaphore(0)

    def work():
        while True:
            try:
                taken.append(inbox.take())
                done.release()
            except IndexError:
                if not inbox.wait():
                    return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2000):  # most of the time the line runs dry in between
        inbox.put(deliveries(2))
    for _ in range(4000):
        assert done.acquire(timeout=10)
    for _ in threads:
        inbox.dismiss()
    for thread in threads:
        thread.join(10)

    assert len(taken) == 4000


def test_calls_that_nobody_answered_do_not_pile_up():
    inbox = Inbox(takers=3)
    for _ in range(1000):
        inbox.put(deliveries(10))

    assert inbox._calls.qsize() == 3
