"""log.group(...): members poll, commit and share; lag, seek and forget, on each store that holds logs."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from holdfast import App, Closed, LeaseLost, OffsetGone, UsageError
from holdfast.testing.clock import MovableClock


def filled(app, number=5, partitions=1):
    """Return a log with so many messages in partition 0."""
    log = app.log("orders", partitions=partitions)
    log.append_many([b"%d" % one for one in range(number)], partition=0)
    return log


def test_a_group_goes_on_where_it_committed(app):
    group = filled(app).group("billing")
    with group.member() as member:
        batch = member.poll(limit=3, wait=5)
        assert batch.bodies == [b"0", b"1", b"2"]
        assert member.commit(batch.next_offsets, durable=True) == {0: 3}
    with group.member() as member:
        assert member.poll(wait=5).bodies == [b"3", b"4"]


def test_what_is_not_committed_comes_again(app):
    group = filled(app).group("billing")
    with group.member() as member:
        assert len(member.poll(wait=5)) == 5
    with group.member() as member:
        assert len(member.poll(wait=5)) == 5


def test_a_member_is_not_given_the_same_twice(app):
    with filled(app).group("billing").member() as member:
        assert member.poll(limit=2, wait=5).bodies == [b"0", b"1"]
        assert member.poll(limit=2, wait=5).bodies == [b"2", b"3"]


def test_groups_do_not_see_each_other(app):
    log = filled(app)
    for name in ("billing", "audit"):
        with log.group(name).member() as member:
            member.commit(member.poll(wait=5).next_offsets)
    assert sorted(group.name for group in log.groups()) == ["audit", "billing"]


def test_a_plain_offset_is_committed_too(app):
    group = filled(app).group("billing")
    with group.member() as member:
        member.poll(wait=5)
        assert member.commit({0: 2}) == {0: 2}
        assert member.commit({0: 1}) == {0: 2}
    assert group.offsets() == {0: 2}


def test_a_part_of_a_batch_is_committed(app):
    group = filled(app).group("billing")
    with group.member() as member:
        member.commit(member.poll(wait=5)[:2].next_offsets)
    assert group.lag().messages == 3


def test_a_commit_of_what_is_not_held_is_lost(app):
    filled(app, partitions=2)
    with app.log("orders").group("billing").member() as member:
        member.poll(wait=5)
        member.close()
        with pytest.raises(Closed):
            member.commit({0: 1})
    with app.log("orders").group("audit").member() as member, pytest.raises(LeaseLost):
        member.commit({0: 1})


@pytest.mark.parametrize(("start", "first"), [("earliest", 0), ("latest", 5), (2, 2)])
def test_a_new_group_begins_where_it_was_told(app, start, first):
    log = filled(app)
    with log.group("new", start=start).member():
        assert log.group("new").offsets() == {0: first}


def test_a_new_group_begins_at_a_time(app):
    log = filled(app)
    with log.group("new", start=datetime.now(UTC) + timedelta(hours=1)).member():
        assert log.group("new").offsets() == {0: 5}


@pytest.mark.parametrize("start", ["middle", -1, 1.5, datetime(2026, 1, 1)])  # noqa: DTZ001 - that is refused
def test_a_start_that_is_none_is_refused(memory, start):
    with pytest.raises(UsageError, match="start"):
        memory.log("orders").group("new", start=start)


def test_lag_tells_messages_and_age(app):
    log = filled(app, partitions=2)
    group = log.group("billing")
    group.seek(offsets={0: 3})

    lag = group.lag()

    assert (lag.messages, [one.messages for one in lag.partitions]) == (2, [2, 0])
    assert lag.age is not None
    assert lag.age >= 0
    assert group.has_lag()
    assert group.has_lag(more_than=1)
    assert not group.has_lag(more_than=2)
    group.seek(to="latest")
    assert (group.lag().messages, group.lag().age, group.has_lag()) == (0, None, False)


def test_a_group_that_is_not_there_is_named(app):
    log = filled(app)
    log.group("billing").seek(to="earliest")
    with pytest.raises(UsageError, match="biling"):
        log.group("biling").lag()


def test_seeking_replays_and_an_older_commit_loses(app):
    group = filled(app).group("billing")
    with group.member() as member:
        old = member.poll(wait=5)
        member.commit(old.next_offsets)
        assert group.seek(offset=1) == {0: 1}
        with pytest.raises(LeaseLost):
            member.commit(old.next_offsets)
        again = member.poll(wait=5)
        assert again.bodies == [b"1", b"2", b"3", b"4"]
        with pytest.raises(LeaseLost):
            member.commit(old.next_offsets)
        assert member.commit({0: 2}) == {0: 2}
        assert member.commit(again.next_offsets) == {0: 5}


def test_a_group_is_sought_by_time_and_ends(app):
    log = filled(app, partitions=2)
    group = log.group("billing")
    begin = datetime.fromtimestamp(log.read()[0].time / 1000, UTC)

    assert group.seek(to="latest") == {0: 5, 1: 0}
    assert group.seek(time=begin) == {0: 0, 1: 0}
    assert group.seek(time=begin + timedelta(hours=1), partition=0) == {0: 5}
    assert group.seek(to="earliest", partition=0) == {0: 0}
    assert group.offsets() == {0: 0, 1: 0}


@pytest.mark.parametrize(
    "where", [{}, {"to": "latest", "offset": 1}, {"to": "middle"}, {"offset": 0, "partition": 7}, {"offsets": {9: 0}}]
)
def test_a_seek_that_says_nothing_clear_is_refused(memory, where):
    group = filled(memory).group("billing")
    with pytest.raises(UsageError):
        group.seek(**where)


def test_a_seek_beside_the_ends_changes_nothing(app):
    group = filled(app).group("billing")
    group.seek(offset=2)
    with pytest.raises(OffsetGone):
        group.seek(offset=6)
    assert group.offsets() == {0: 2}


def test_a_forgotten_group_is_gone(app):
    group = filled(app).group("billing")
    group.seek(to="latest")
    assert group.forget()
    assert not group.forget()


def test_two_members_share_the_partitions_and_one_takes_over(app):
    log = app.log("orders", partitions=2)
    for partition in (0, 1):
        log.append(b"%d" % partition, partition=partition)
    group = log.group("billing")
    with group.member() as second:
        with group.member() as first:
            first.poll(wait=0)
            second.poll(wait=0)
            assert sorted([*first.assigned, *second.assigned]) == [0, 1]
            assert len(first.assigned) == 1
        taken: set[int] = set()
        while len(taken) < 2:  # it takes them as it polls
            second.poll(wait=5)
            taken = set(second.assigned)


def test_new_messages_wake_a_poll(app):
    log = filled(app)
    with log.group("billing", start="latest").member() as member:
        member.poll(wait=0)
        appending = threading.Timer(0.05, log.append, [b"new"])
        appending.start()
        assert member.poll(wait=30).bodies == [b"new"]
        appending.join()


def test_a_poll_is_interrupted_from_another_thread(app):
    with filled(app).group("billing", start="latest").member() as member:
        member.interrupt()
        assert not member.poll(wait=60)


def test_a_closed_member_does_nothing_more(app):
    member = filled(app).group("billing").member()
    member.close()
    member.close()
    with pytest.raises(Closed):
        member.poll()


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": "5"}, {"wait": -1}])
def test_a_poll_that_cannot_be_is_refused(memory, wrong):
    with filled(memory).group("billing").member() as member, pytest.raises(UsageError):
        member.poll(**wrong)


def test_a_member_keeps_its_partitions_however_long_a_batch_takes():
    clock = MovableClock()
    with App("memory:", clock=clock) as app:
        group = filled(app).group("billing")
        with group.member() as member:
            batch = member.poll(wait=5)
            beats = threading.Semaphore(0)
            seen, store = app.log_backend.beat, app.log_backend

            def beat(holder):
                beats.release()
                return seen(holder)

            store.beat = beat
            for _ in range(10):  # of 12 s, where the ttl is 30
                clock.move(12)
                assert beats.acquire(timeout=20)
            with group.member() as other:
                assert not other.poll(wait=0)
            member.commit(batch.next_offsets)


def test_nothing_beats_once_all_members_have_left():
    with App("memory:") as app:
        group, before = filled(app).group("billing"), set(threading.enumerate())
        with group.member():
            beating = next(one for one in set(threading.enumerate()) - before if one.name == "holdfast-log-beats")
        beating.join(20)
        assert not beating.is_alive()
