"""The socket by which other processes ask the owner of the queues: nobody can fill, stop or hang the owner by it."""

import errno
import os
import random
import socket
import struct
import threading

import pytest

from holdfast.capabilities import JobFilter
from holdfast.delivery import Ack, HolderInfo, Outcome, State
from holdfast.errors import BackendError, BodyTooLarge
from holdfast.message import Message
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.queue import DiskQueues, guests, wire
from holdfast.stores.disk.queue.sockets import _connect, ask
from holdfast.stores.engine import operations

QUEUE = "work"

pytestmark = pytest.mark.slow


@pytest.fixture
def owner(tmp_path):
    store = DiskQueues(tmp_path, PartitionOptions(reserve_bytes=0))
    store.send(QUEUE, [Message(id=one, body=b"x" * 1000) for one in "abcde"])
    yield store
    store.close()


@pytest.fixture
def guest(owner, tmp_path):
    store = DiskQueues(tmp_path, PartitionOptions())
    yield store
    store.close()


def connected(owner):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    _connect(connection, str(owner.directory / "socket"))
    return connection


def end(store, *results):
    """Work off as many jobs as there are results."""
    store.beat(HolderInfo(id="w#1", ttl=1000, queues=(QUEUE,), kinds=("",)))
    deliveries = store.lease(QUEUE, "w#1", os.urandom(8).hex(), limit=len(results), kinds=("",), max_format=1)
    store.settle(
        [Ack(one.receipt, result=result, keep_result=60) for one, result in zip(deliveries, results, strict=True)]
    )
    return [one.id for one in deliveries]


def test_who_announces_more_than_a_request_may_have_is_hung_up_on(owner):
    with connected(owner) as stranger:
        stranger.sendall(struct.pack(">I", wire.REQUEST_MOST + 1))

        assert stranger.recv(1) == b""


def test_garbage_of_any_kind_leaves_the_owner_as_it_was(owner, guest):
    draw, threads = random.Random(1), threading.active_count()
    for _ in range(300):
        data = draw.choice((draw.randbytes(draw.randrange(200)), b"\x92" * 5000, b"\x92\xa5browse\xdd\xff\xff\xff\xff"))
        with connected(owner) as stranger:
            stranger.sendall(struct.pack(">I", len(data)) + data)
            stranger.shutdown(draw.choice((socket.SHUT_WR, socket.SHUT_RDWR)))

    assert guest.stats(QUEUE).ready == 5
    assert threading.active_count() <= threads + 64


def test_a_request_that_is_too_large_is_refused_before_it_is_sent(owner, guest, monkeypatch):
    monkeypatch.setattr(wire, "REQUEST_MOST", 100)

    with pytest.raises(BodyTooLarge, match="a request to the owner"):
        guest.cancel(QUEUE, [str(number) for number in range(100)])


def test_an_answer_that_is_too_large_is_an_error_that_says_so(owner, guest, monkeypatch):
    monkeypatch.setattr(wire, "ANSWER_MOST", 900)

    with pytest.raises(BodyTooLarge, match="ask for fewer"):
        guest.get(QUEUE, "a")
    assert guest.stats(QUEUE).ready == 5


def test_a_page_ends_where_its_bodies_are_enough(owner, guest, monkeypatch):
    monkeypatch.setattr(operations, "PAGE_BYTES", 1500)
    ids, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = guest.browse(QUEUE, JobFilter(), limit=100, cursor=cursor)
        ids, cursor, pages = [*ids, *(job.id for job in page.jobs)], page.cursor, pages + 1

    assert (ids, pages) == (["e", "d", "c", "b", "a"], 3)
    assert len(guest.browse(QUEUE, JobFilter(), bodies=False).jobs) == 5


def test_outcomes_that_are_too_many_for_one_answer_come_in_several(owner, guest, monkeypatch):
    ids = end(owner, *(b"%d" % number * 400 for number in range(5)))
    monkeypatch.setattr(wire, "RESULTS_MOST", 900)
    asked = []
    monkeypatch.setattr(guests, "ask", lambda *given: asked.append(given) or ask(*given))

    found = guest.outcomes(QUEUE, ids)

    assert found == {one: Outcome(State.DONE, b"%d" % number * 400) for number, one in enumerate(ids)}
    assert len(asked) == 5


def test_what_is_too_large_for_the_journal_makes_nothing_anew(owner):
    journal = owner._journal
    with pytest.raises(BodyTooLarge):
        owner.send(QUEUE, [Message(id="f", body=bytes(wire.REQUEST_MOST))])

    assert owner.stats(QUEUE).ready == 5
    assert owner._journal is journal


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ECONNABORTED])
def test_an_owner_that_cannot_accept_for_a_moment_answers_after_it(owner, guest, number):
    owner._answering._socket = Refusing(owner._answering._socket, number)
    guest.stats(QUEUE)  # the accept that was going on

    assert guest.stats(QUEUE).ready == 5
    assert owner._answering._socket.refused == 3


class Refusing:
    """A listening socket whose next three accepts fail."""

    def __init__(self, real, number):
        self._real, self._number, self.refused = real, number, 0

    def accept(self):
        if self.refused < 3:
            self.refused += 1
            raise OSError(self._number, os.strerror(self._number))
        return self._real.accept()

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_an_owner_without_a_thread_to_spare_answers_who_asks_again(owner, guest, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        monkeypatch.setattr(threading.Thread, "start", start)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BackendError, match="did not answer"):
        guest.stats(QUEUE)

    assert guest.stats(QUEUE).ready == 5


def test_who_asks_and_does_not_read_keeps_nobody_else_waiting(owner, guest):
    hanging = [connected(owner) for _ in range(20)]
    try:
        assert guest.stats(QUEUE).ready == 5
    finally:
        for one in hanging:
            one.close()
