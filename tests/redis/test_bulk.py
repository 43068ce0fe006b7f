"""Sends of more messages than one script stores."""

import pytest

from holdfast.config import QueueSettings
from holdfast.errors import BodyTooLarge, QueueFull
from holdfast.message import Message, Unique
from holdfast.stores.redis.backend import AT_ONCE, BYTES_AT_ONCE
from tests.redis.fixtures import Place
from tests.redis.harness import RedisHarness

QUEUE = "work"
MANY = 2 * AT_ONCE + 1


@pytest.fixture
def store(tmp_path, redis_place):
    with RedisHarness(redis_place, tmp_path) as harness:
        yield harness.open()


def messages(number=MANY, **options):
    return [Message(id=f"job {one}", body=b"x", **options) for one in range(number)]


def test_all_are_stored_in_their_order(store):
    stored = store.send(QUEUE, messages())

    assert [one.id for one in stored] == [f"job {one}" for one in range(MANY)]
    assert not any(one.duplicate for one in stored)
    assert store.stats(QUEUE).ready == MANY


def test_an_id_twice_is_one_job_wherever_it_is(store):
    batch = messages()

    stored = store.send(QUEUE, [*batch, batch[0]])

    assert [one.id for one in stored if one.duplicate] == ["job 0"]
    assert store.stats(QUEUE).ready == MANY


def test_a_unique_key_twice_is_one_job_wherever_it_is(store):
    last = Message(id="last", body=b"", unique=Unique("k"))

    stored = store.send(QUEUE, [Message(id="first", body=b"", unique=Unique("k")), *messages(), last])

    assert (stored[-1].id, stored[-1].duplicate) == ("first", True)


def test_nothing_is_stored_when_the_last_is_too_large(store):
    store.declare(QUEUE, QueueSettings(max_body=1))

    with pytest.raises(BodyTooLarge):
        store.send(QUEUE, [*messages(), Message(body=b"xx")])

    assert store.stats(QUEUE).ready == 0


def test_nothing_is_stored_beyond_a_limit(store):
    store.declare(QUEUE, QueueSettings(limit=MANY - 1))

    with pytest.raises(QueueFull):
        store.send(QUEUE, messages())

    assert store.stats(QUEUE).ready == 0
    assert len(store.send(QUEUE, messages(MANY - 1))) == MANY - 1


@pytest.mark.parametrize("limit", [None, 5])
def test_a_body_that_no_server_takes_is_refused_for_its_size(redis_servers, tmp_path, limit):
    server = redis_servers.single(proto_max_bulk_len=f"{BYTES_AT_ONCE}")
    with RedisHarness(Place(server.url, "large:", 0, server), tmp_path) as harness:
        store = harness.open()
        store.declare(QUEUE, QueueSettings(limit=limit))

        with pytest.raises(BodyTooLarge):
            store.send(QUEUE, [Message(body=bytes(BYTES_AT_ONCE + 1))])


def test_nothing_is_stored_beyond_the_limit_of_a_queue_that_the_server_has_lost(store, redis_place):
    store.declare(QUEUE, QueueSettings(limit=AT_ONCE))
    redis_place.ask("FLUSHDB")

    with pytest.raises(QueueFull):
        store.send(QUEUE, messages())

    assert store.stats(QUEUE).ready == 0


def test_a_send_is_no_larger_than_a_server_takes_at_once(redis_servers, tmp_path):
    server = redis_servers.single(client_query_buffer_limit=f"{4 * BYTES_AT_ONCE}")
    with RedisHarness(Place(server.url, "large:", 0, server), tmp_path) as harness:
        large = [Message(id=f"job {one}", body=b"x" * (1 << 20)) for one in range(6 * BYTES_AT_ONCE >> 20)]

        stored = harness.open().send(QUEUE, large)

        assert [one.id for one in stored] == [one.id for one in large]
