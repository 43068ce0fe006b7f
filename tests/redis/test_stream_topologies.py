"""Consumers of streams on a Cluster, where the name decides the place, and through Sentinels, over failovers."""

import pytest

from holdfast import App
from tests.consume.conftest import Heard
from tests.redis.programs import until
from tests.worker.conftest import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
MANY = 60


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def consume(heard):
    """Let an App on these servers work on streams; it ends with the test."""
    made = []

    def consume(url, *streams):
        app = App(f"{url}?prefix=hf:")
        for stream in streams:

            def bill(entry: dict[str, str]) -> None:
                heard.note(int(entry["n"]))

            app.consume(stream=stream, group="billing")(bill)
        made.append(app)
        app.worker(concurrency=4).start()

    yield consume
    for app in made:
        app.close()


def test_streams_of_several_slots_of_a_cluster_are_consumed_by_one_worker(cluster_place, consume, heard):
    streams = ("orders", "returns", "{a}moves")
    consume(cluster_place.url, *streams)
    for number in range(MANY):
        stream = streams[number % 3]
        cluster_place.on.owner(stream).ask("XADD", stream, "*", "n", str(number))
    heard.wait_for(MANY)

    for stream in streams:
        owner = cluster_place.on.owner(stream)
        until(lambda stream=stream, owner=owner: owner.ask("XPENDING", stream, "billing")[0] == 0, "all finished")
    assert sorted(heard) == list(range(MANY))


def test_a_failover_of_a_clusters_node_loses_no_entry(redis_servers, consume, heard):
    cluster = redis_servers.cluster()
    consume(cluster.url, "orders")
    add(cluster.owner("orders"), range(MANY))
    heard.wait_for(MANY)

    cluster.fail_over("orders")
    add(cluster.owner("orders"), range(MANY, 2 * MANY))

    until(lambda: set(heard) == set(range(2 * MANY)), "all handled", PATIENCE * 3, lambda: sorted(heard))
    until(lambda: cluster.owner("orders").ask("XPENDING", "orders", "billing")[0] == 0, "all finished")


def test_a_killed_master_behind_sentinels_loses_no_entry(redis_servers, consume, heard):
    sentinels = redis_servers.sentinels()
    consume(sentinels.url, "orders")
    add(sentinels.master, range(MANY))
    heard.wait_for(MANY)

    promoted = sentinels.promoted(sentinels.kill_master())
    add(promoted, range(MANY, 2 * MANY))

    until(lambda: set(heard) >= set(range(MANY, 2 * MANY)), "all handled", PATIENCE * 3, lambda: sorted(heard))
    until(lambda: promoted.ask("XPENDING", "orders", "billing")[0] == 0, "all finished", 30)


def add(server, numbers):
    for number in numbers:
        server.ask("XADD", "orders", "*", "n", str(number))
