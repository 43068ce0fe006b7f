"""Logs whose servers are full, and whose users die between two steps."""

import pytest

from holdfast.config import LogSettings
from holdfast.errors import LeaseLost, QueueFull
from holdfast.logged import Columns, Offset
from holdfast.stores.redis.logs import room
from holdfast.stores.redis.scripts import Script
from tests.redis.logs import GROUP, LOG, PART, append, ask, bodies, join, key, polled

pytestmark = pytest.mark.filterwarnings("ignore:.*keeps nothing on its disk:RuntimeWarning")


# -- full servers -------------------------------------------------------------------------------------------------


def test_a_full_server_is_read_and_emptied(redis_servers, opened):
    server = redis_servers.single()
    logs = opened(server.url)
    logs.declare(LOG, LogSettings(keep_most=10))
    member, other = join(logs), join(logs, "other")
    polled(other, wait=0)
    append(logs, *["x" * 1000] * 100)
    append(logs, "last")
    server.configure(maxmemory=1)

    with pytest.raises(QueueFull):
        append(logs, "more")
    chunks = member.poll(limit=1000, wait=5)
    member.commit([Offset(0, 50, chunks[0].version, (60, 61))])
    logs.seek(LOG, "other", {0: 101})
    logs.charge(LOG, GROUP, 0, 55, run=1, reason="SIGKILL")
    member.leave()
    again = join(logs)
    assert len(polled(again)) == 51
    assert again.assigned()[0].place.finished == (60, 61)
    other.leave()
    logs.forget(LOG, "other")
    logs.declare(LOG, LogSettings(keep_most=0))
    assert logs.tidy().messages == 101
    logs.destroy(LOG)


# -- steps that somebody left undone ------------------------------------------------------------------------------


def test_a_log_that_was_half_declared_is_appended_to(logs):
    ask(logs, "DEL", key(logs, ":ends"))

    assert append(logs, "a") == 0


def test_a_log_that_was_half_destroyed_is_erased_by_who_tidies(logs, opened):
    append(logs, "a")
    logs.places.run(Script.load("logs/end"), LOG)

    opened().tidy()

    assert ask(logs, "EXISTS", *(key(logs, what) for what in PART)) == 0
    assert logs.places.names.all() == []


def test_a_log_that_was_half_destroyed_is_made_again_empty(logs, opened):
    logs.declare(LOG, LogSettings(partitions=3))
    logs.append(LOG, 2, Columns([b"old"]))
    logs.places.run(Script.load("logs/end"), LOG)
    other = opened()

    other.declare(LOG, LogSettings())

    assert append(other, "new") == 0
    assert bodies(other.read(LOG, 0, 0, limit=9, max_bytes=99)) == ["new"]
    assert ask(other, "EXISTS", *(key(other, what) for what in PART)) == 3
    other.declare(LOG, LogSettings(partitions=3))
    assert other.ends(LOG)[2].next == 0


def test_a_cut_that_was_not_made_is_made_by_who_tidies(logs, opened):
    append(logs, "a")
    append(logs, "b")
    log = logs.places.look(LOG)
    logs.places.run(Script.load("logs/floor"), LOG, log.life, 0, 1)

    assert opened().tidy().messages == 1
    assert bodies(logs.read(LOG, 0, 1, limit=9, max_bytes=99)) == ["b"]


def test_room_that_was_taken_and_not_used_is_given_back_by_who_tidies(logs):
    logs.declare(LOG, LogSettings(limit_bytes=1000))
    log = logs.places.look(LOG)
    assert room.take(logs.places, log, 900)
    with pytest.raises(QueueFull):
        append(logs, "x" * 200)

    logs.tidy()

    assert append(logs, "x" * 200) == 0


def test_a_holder_that_was_half_retired_is_dismissed_by_who_tidies(logs, opened):
    member = join(logs)
    polled(member, wait=0)
    logs.places.link.run(Script.load("logs/readers"), logs.places.keys.store, "", "retire", f"{GROUP}#1")

    opened().tidy()

    append(logs, "a")
    assert polled(join(opened(), GROUP + " two")) == ["a"]
    with pytest.raises(LeaseLost):
        polled(member)
