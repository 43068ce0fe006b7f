"""The portable queue: what goes in, what comes out, and what happens to leases that nobody settled."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.delivery import Matching, Nack, Replayed, State
from holdfast.errors import BackendError, BodyTooLarge, Closed, NotSupported, UsageError
from holdfast.events import BeforeBury, BeforeRetry, Event, Events, Lost, Sent
from holdfast.heartbeat import Heartbeat, this_process
from holdfast.message import Message
from holdfast.queues import Queue
from holdfast.stores.memory import MemoryBackend
from holdfast.testing.clock import MovableClock
from tests.worker.faulty import Faulty


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def store(clock):
    store = Faulty(MemoryBackend(clock))
    yield store
    store.close()


@pytest.fixture
def heartbeat(store, clock):
    heartbeat = Heartbeat(store, this_process("app"), clock=clock)
    yield heartbeat
    heartbeat.stop()
    heartbeat.join(10)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def queue(store, heartbeat, heard):
    events = Events(logger=None)
    events.listen(Event, heard.append)
    return Queue("images", lambda: store._store, lambda: heartbeat, events)


@pytest.fixture
def troubled(store, heartbeat):
    """The same queue on a store that fails on demand."""
    return Queue("images", lambda: store, lambda: heartbeat, Events(logger=None))


def bodies(deliveries):
    return [delivery.body for delivery in deliveries]


# -- in -------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_stored_with_its_options(queue):
    stored = queue.send(b"x", key="42", priority=5, headers={"a": "b"}, delay=timedelta(seconds=5))

    view = queue.get(stored.id)
    assert (view.body, view.key, view.priority, view.headers) == (b"x", "42", 5, {"a": "b"})
    assert view.state is State.SCHEDULED


def test_many_are_sent_in_one_call_and_in_order(queue):
    receipts = queue.send_many([b"1", Message(body=b"2", id="two"), b"3"], priority=7)

    assert [queue.get(stored.id).body for stored in receipts] == [b"1", b"2", b"3"]
    assert [queue.get(stored.id).priority for stored in receipts] == [7, 0, 7]
    assert queue.send_many([]) == []


def test_an_id_that_is_known_is_a_duplicate(queue):
    assert not queue.send(b"x", id="one").duplicate
    assert queue.send(b"x", id="one").duplicate
    assert queue.depth() == 1


def test_a_send_is_told(queue, heard):
    stored = queue.send(b"x")

    (sent,) = heard
    assert isinstance(sent, Sent)
    assert (sent.stored, sent.message.body) == (stored, b"x")


def test_bytes_of_any_make_are_taken(queue):
    queue.send_many([bytearray(b"a"), memoryview(b"b")])

    with queue.lease() as deliveries:
        assert bodies(deliveries) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("send", "text"),
    [
        (lambda queue: queue.send("text"), "queue 'images': a body is bytes, not str; encode it first"),
        (lambda queue: queue.send(b"", priority=101), "queue 'images': priority must be a whole number"),
        (lambda queue: queue.send(b"", delay=-1), "queue 'images': delay must be seconds"),
        (lambda queue: queue.send(b"", dely=1), "queue 'images': unknown send option 'dely'"),
        (lambda queue: queue.send(b"", run_at=datetime(2030, 1, 1)), "run_at must be a datetime with a time zone"),  # noqa: DTZ001
        (lambda queue: queue.send(b"", delay=1, run_at=datetime.now(UTC)), "give delay or run_at, not both"),
        (lambda queue: queue.send_many([b"", b""], id="one"), "one id cannot be that of several messages"),
        (lambda queue: queue.lease(0).__enter__(), "limit is a whole number from 1 to 1000, not 0"),
        (
            lambda queue: queue.lease(kinds="resize").__enter__(),
            r"queue 'images': kinds are several texts: kinds=\['resize'\]",
        ),
        (lambda queue: queue.pop(timeout=-1), "queue 'images': the time to wait must be seconds"),
    ],
)
def test_a_wrong_call_names_the_queue_and_the_option_and_does_nothing(queue, send, text):
    with pytest.raises(UsageError, match=text.replace("(", r"\(")):
        send(queue)

    assert queue.depth() == 0


@pytest.mark.parametrize("name", ["", "x" * 256, 42])
def test_a_name_is_a_short_text(store, heartbeat, name):
    with pytest.raises(UsageError, match="the name of a queue"):
        Queue(name, lambda: store, lambda: heartbeat, Events(logger=None))


def test_a_body_beyond_the_limit_is_refused(queue):
    queue.declare(QueueSettings(max_body=3))

    with pytest.raises(BodyTooLarge):
        queue.send_many([b"abc", b"abcd"])

    assert queue.depth() == 0


# -- lease ----------------------------------------------------------------------------------------------------


def test_a_block_settles_what_it_marked_and_gives_back_the_rest_unburned(queue):
    ids = [stored.id for stored in queue.send_many([b"ack", b"nack", b"bury", b"nothing"])]

    with queue.lease() as deliveries:
        assert len(deliveries) == 4
        for delivery in deliveries:
            match delivery.body:
                case b"ack":
                    delivery.ack()
                case b"nack":
                    delivery.nack(60)
                case b"bury":
                    delivery.bury("of no use")

    views = [queue.get(job_id) for job_id in ids]
    assert [view.state for view in views] == [State.DONE, State.SCHEDULED, State.DEAD, State.READY]
    assert [view.attempts for view in views] == [1, 1, 1, 0]


def test_a_block_settles_in_one_call(troubled, store):
    troubled.send_many([b""] * 10)

    with troubled.lease() as deliveries:
        for delivery in deliveries:
            delivery.ack()

    assert store.calls["settle"] == 1


def test_a_block_that_fails_nacks_what_it_did_not_mark(queue, heard):
    done, failed = [stored.id for stored in queue.send_many([b"1", b"2"])]

    def work():
        with queue.lease() as (first, _):
            first.ack()
            raise ValueError("boo")

    with pytest.raises(ValueError, match="boo"):
        work()

    assert queue.get(done).state is State.DONE
    view = queue.get(failed)
    assert view.state in (State.SCHEDULED, State.READY)
    assert (view.attempts, view.runs[0].error.message) == (1, "boo")
    (retry,) = [event for event in heard if isinstance(event, BeforeRetry)]
    assert str(retry.error) == "boo"


def test_a_block_that_fails_buries_what_has_no_attempt_left(queue, heard):
    stored = queue.send(b"", max_attempts=1)

    with pytest.raises(ValueError, match="boo"), queue.lease():
        raise ValueError("boo")

    assert (queue.get(stored.id).state, queue.get(stored.id).reason) == (State.DEAD, "ValueError")
    assert [type(event) for event in heard[1:]] == [BeforeBury]


def test_a_block_that_is_interrupted_burns_nothing(queue):
    stored = queue.send(b"")

    with pytest.raises(KeyboardInterrupt), queue.lease():
        raise KeyboardInterrupt

    assert (queue.get(stored.id).state, queue.get(stored.id).attempts) == (State.READY, 0)


def test_flush_settles_at_once_and_returns_what_was_lost(queue, store, heartbeat, heard):
    queue.send_many([b"1", b"2"])
    with queue.lease() as deliveries:
        first, second = deliveries
        first.ack()
        assert deliveries.flush() == []
        assert queue.stats().done == 1

        store.retire(heartbeat.holder, "thought dead")
        second.ack()
        assert deliveries.flush() == [second.receipt]

    assert [event.job.id for event in heard if isinstance(event, Lost)] == [second.id]


def test_a_lease_can_wait_for_work(queue):
    sender = threading.Timer(0.01, queue.send, [b"late"])
    sender.start()

    with queue.lease(wait=10) as deliveries:
        assert bodies(deliveries) == [b"late"]
    sender.join()


def test_a_lease_of_nothing_is_empty(queue):
    with queue.lease() as deliveries:
        assert len(deliveries) == 0


def test_a_lease_takes_only_the_kinds_it_names(queue):
    queue.send_many([b"raw", Message(body=b"task", kind="resize")])

    with queue.lease(kinds=["resize"]) as deliveries:
        assert bodies(deliveries) == [b"task"]


def test_a_holder_that_was_ended_unnoticed_is_followed_by_a_new_one(queue, store, heartbeat):
    queue.send_many([b"1"])
    assert queue.pop(0)
    store.retire(heartbeat.holder, "thought dead")
    queue.send(b"2")

    assert queue.pop(0).body == b"2"


# -- pop ------------------------------------------------------------------------------------------------------


def test_pop_takes_one_message_out_for_good(queue):
    queue.send(b"x", key="42", priority=3, headers={"a": "b"})

    message = queue.pop(timeout=0)

    assert (message.body, message.key, message.priority, message.headers) == (b"x", "42", 3, {"a": "b"})
    assert (queue.stats().done, queue.depth()) == (1, 0)


def test_pop_of_an_empty_queue_looks_once_or_waits_its_time(queue):
    assert queue.pop(timeout=0) is None
    assert queue.pop(timeout=0.01) is None


def test_pop_without_a_timeout_waits_until_there_is_something(queue):
    popped = []
    popper = threading.Thread(target=lambda: popped.append(queue.pop()))
    popper.start()

    queue.send(b"x")

    popper.join(10)
    assert popped[0].body == b"x"


def test_a_close_ends_a_pop_that_waits(queue, store):
    errors = []

    def pop():
        try:
            queue.pop()
        except Closed as error:
            errors.append(error)

    popper = threading.Thread(target=pop)
    popper.start()
    store.close()

    popper.join(10)
    assert len(errors) == 1


def test_two_poppers_never_get_the_same_message(queue):
    queue.send_many([b"%d" % number for number in range(200)])
    popped = []

    def pop():
        while (message := queue.pop(0)) is not None:
            popped.append(message.body)

    poppers = [threading.Thread(target=pop) for _ in range(4)]
    for popper in poppers:
        popper.start()
    for popper in poppers:
        popper.join(10)

    assert sorted(map(int, popped)) == list(range(200))


# -- a store in trouble ---------------------------------------------------------------------------------------


def test_a_lease_of_unknown_outcome_leaves_nothing_behind(troubled, store):
    stored = troubled.send(b"")
    store.fail("lease", 1, after=True)

    with pytest.raises(BackendError):
        troubled.pop(0)

    assert troubled.pop(0).id == stored.id  # the next call gave back first what the last had been granted


def test_what_a_block_could_not_settle_is_settled_later(troubled, store, heartbeat):
    troubled.send_many([b"1", b"2"])
    store.fail("settle", 1)

    with pytest.raises(BackendError), troubled.lease() as (first, _):
        first.ack()
    heartbeat.pay()

    assert (troubled.stats().done, troubled.depth()) == (1, 1)


def test_a_delivery_that_no_store_can_settle_goes_back_and_the_others_are_settled(queue, caplog):
    odd, good = [stored.id for stored in queue.send_many([b"odd", b"good"])]

    def work():
        with queue.lease() as (first, second):
            first.settlement = Nack(first.receipt, "soon")
            second.ack()

    with pytest.raises(TypeError):
        work()

    assert [queue.get(job_id).state for job_id in (odd, good)] == [State.READY, State.DONE]
    assert queue.pop(0).id == odd


def test_a_message_that_could_not_be_acknowledged_goes_back(troubled, store, heartbeat):
    stored = troubled.send(b"")
    store.fail("settle", 1)

    with pytest.raises(BackendError):
        troubled.pop(0)
    heartbeat.pay()

    view = store.get("images", stored.id)
    assert (view.state, view.attempts) == (State.READY, 0)


# -- the place ------------------------------------------------------------------------------------------------


def test_jobs_can_be_buried_replayed_reloaded_and_flushed(queue):
    one, two, three = [stored.id for stored in queue.send_many([b"1", b"2", b"3"])]
    with queue.lease() as deliveries:
        for delivery in deliveries:
            delivery.bury("of no use")

    assert queue.replay(one).moved == (one,)
    assert queue.reload([two, "unknown"]).moved == (two,)
    assert (queue.get(one).attempts, queue.get(two).attempts) == (0, 1)
    assert queue.flush(State.DEAD) == 1
    assert queue.get(three) is None


def test_all_that_match_can_be_replayed(queue):
    ids = [stored.id for stored in queue.send_many([b""] * 1500)]
    for _ in range(2):
        with queue.lease(limit=1000) as deliveries:
            for delivery in deliveries:
                delivery.bury("of no use")

    replayed = queue.replay(JobFilter(states=(State.DEAD,), reason="of no use"))

    assert sorted(replayed.moved) == sorted(ids)


def test_jobs_can_be_cancelled(queue):
    stored = queue.send(b"")

    assert queue.cancel(stored.id) == {stored.id: State.CANCELLED}


def test_a_paused_queue_hands_out_nothing(queue):
    queue.send(b"")
    queue.pause()
    assert queue.pop(0) is None
    queue.resume()
    assert queue.pop(0)


def test_browse_pages_through_all_jobs(queue):
    queue.send_many([b""] * 5)

    first = queue.browse(limit=3)
    second = queue.browse(limit=3, cursor=first.cursor)

    assert (len(first.jobs), len(second.jobs)) == (3, 2)


def test_a_destroyed_queue_is_empty(queue):
    queue.send_many([b"", b""])

    assert queue.destroy() == 2
    assert queue.depth() == 0


class Bare:
    """A store without any optional power."""


@pytest.mark.parametrize(
    "use",
    [
        lambda queue: queue.get("x"),
        lambda queue: queue.browse(),
        lambda queue: queue.cancel("x"),
        lambda queue: queue.replay("x"),
        lambda queue: queue.reload("x"),
        lambda queue: next(queue.jobs()),
        lambda queue: queue.count(JobFilter(key="k")),
        lambda queue: queue.remove("x"),
        lambda queue: queue.flush(State.DEAD),
        lambda queue: queue.pause(),
        lambda queue: queue.resume(),
    ],
)
def test_a_power_that_the_store_lacks_is_refused_by_name(heartbeat, use):
    queue = Queue("images", Bare, lambda: heartbeat, Events(logger=None))

    with pytest.raises(NotSupported, match=r"queue 'images' cannot .*: Bare does not have that power"):
        use(queue)


@pytest.mark.parametrize(
    ("field", "value"),
    [("priority", 101), ("id", ""), ("id", "a\0b"), ("key", "\ud800"), ("max_attempts", 0), ("delay", -1.0)],
)
def test_a_message_made_by_hand_is_checked_as_options_are(queue, field, value):
    with pytest.raises(UsageError, match=field):
        queue.send_many([Message(**{"body": b"x", field: value})])


# -- many jobs at once --------------------------------------------------------------------------------------------


DEAD = JobFilter(states=(State.DEAD,))


class Clockless:
    """Stands for the event that ends a replay: notes how long it was to be waited for, and does not wait."""

    def __init__(self, most=None):
        self.waits, self.most = [], most

    def wait(self, seconds):
        self.waits.append(seconds)

    def is_set(self):
        return self.most is not None and len(self.waits) >= self.most


def die(queue, count):
    """Send so many messages, and bury them."""
    sent = [stored.id for stored in queue.send_many([b"x"] * count)]
    while queue.stats().dead < len(sent):
        with queue.lease(limit=1000) as deliveries:
            for delivery in deliveries:
                delivery.bury("no")
    return sent


def test_all_matching_jobs_come_page_by_page(queue):
    sent = [stored.id for stored in queue.send_many([b"x"] * 2500)]

    assert [job.id for job in queue.jobs()] == sent[::-1]
    assert next(queue.jobs()).body == b"x"
    assert next(queue.jobs(bodies=False)).body == b""
    assert list(queue.jobs(DEAD)) == []


def test_matching_jobs_are_counted(queue):
    queue.send_many([b"x"] * 1500)
    queue.send_many([b"x"] * 3, key="k")

    assert queue.count() == Matching(1503)
    assert queue.count(JobFilter(key="k")) == Matching(3)
    assert queue.count(DEAD) == Matching(0)


def test_a_count_has_its_bounds_and_says_so(queue, monkeypatch):
    monkeypatch.setattr("holdfast.bulk.PAGES_COUNTED", 2)
    queue.send_many([b"x"] * 2500, key="k")

    assert str(queue.count(JobFilter(key="k"))) == "at least 2000"
    assert str(queue.count()) == "2500"


def test_all_dead_letters_are_replayed_and_their_number_told(queue):
    sent, told = die(queue, 900), []

    replayed = queue.replay(DEAD, progress=told.append)

    assert sorted(replayed.moved) == sorted(sent)
    assert replayed.matching == Matching(900)
    assert told == [500, 900]
    assert queue.replay(DEAD).moved == ()


@pytest.mark.parametrize("verb", ["replay", "reload"])
def test_a_dry_run_only_counts(queue, verb):
    first, *_ = die(queue, 3)

    revive = getattr(queue, verb)

    assert revive(DEAD, dry_run=True) == Replayed(matching=Matching(3))
    assert revive(JobFilter(), dry_run=True) == Replayed(matching=Matching(3))
    assert revive([first, first, "unknown"], dry_run=True) == Replayed(matching=Matching(1))
    assert queue.stats().dead == 3


def test_a_replay_keeps_to_its_rate(queue):
    die(queue, 100)
    stop = Clockless()

    assert len(queue.replay(DEAD, rate=50, stop=stop).moved) == 100

    assert len(stop.waits) == 19  # batches of five, the first at once
    assert stop.waits[-1] == pytest.approx(95 / 50, abs=0.5)


def test_a_replay_can_be_stopped_while_it_waits(queue):
    die(queue, 100)

    assert len(queue.replay(DEAD, rate=50, stop=Clockless(most=3)).moved) == 15

    assert queue.stats().dead == 85


@pytest.mark.parametrize("verb", ["replay", "reload"])
def test_jobs_that_die_again_as_fast_as_they_are_revived_do_not_make_it_endless(queue, verb):
    die(queue, 1200)
    times = Counter()

    def die_again(_):
        with queue.lease(limit=1000) as deliveries:
            for delivery in deliveries:
                times[delivery.id] += 1
                delivery.bury("again")

    assert len(getattr(queue, verb)(DEAD, progress=die_again).moved) == 1200

    assert set(times.values()) == {1}
    assert queue.stats().dead == 1200


def test_an_impossible_rate_and_an_unknown_option_are_errors(queue):
    with pytest.raises(UsageError, match="a rate is more than 0 jobs a second"):
        queue.replay(DEAD, rate=0)
    with pytest.raises(UsageError, match=r"unknown option 'rat'.*'rate'"):
        queue.replay(DEAD, rat=5)


def test_matching_jobs_are_removed_and_others_stay(queue):
    dead = die(queue, 3)
    [waiting] = queue.send_many([b"x"])

    assert queue.remove([waiting.id, dead[0]], states=[State.DEAD]) == [dead[0]]
    assert sorted(queue.remove(DEAD)) == sorted(dead[1:])
    assert queue.remove(JobFilter(states=(State.RUNNING,))) == []
    assert [job.id for job in queue.jobs()] == [waiting.id]


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda queue: queue.declare(None), "declared with QueueSettings"),
        (lambda queue: queue.declare({"limit": 3}), "declared with QueueSettings"),
        (lambda queue: queue.browse(cursor="none"), "'none' is not the cursor of a page"),
        (lambda queue: queue.browse(JobFilter(states=("daed",))), "'daed' is not a valid State; there are scheduled, "),
        (lambda queue: queue.browse(JobFilter(states="dead")), r"states are several: \('dead',\)"),
        (lambda queue: queue.browse(JobFilter(states=State.DEAD)), "states are several"),
        (lambda queue: queue.remove("x", states="dead"), "states are several"),
        (lambda queue: queue.remove("x", states=["daed"]), "not a valid State"),
        (lambda queue: queue.flush("daed"), "not a valid State"),
        (lambda queue: queue.lease(kinds=[]).__enter__(), "kinds is empty"),
    ],
)
def test_what_would_mean_nothing_is_refused(queue, use, text):
    queue.send(b"kept")

    with pytest.raises(UsageError, match=text):
        use(queue)

    assert queue.stats().ready == 1


def test_states_may_be_given_as_texts(queue):
    queue.send_many([b"a", b"b"])
    only = JobFilter(states=("ready",))

    assert only == JobFilter(states=(State.READY,))
    assert queue.remove(only, states=["ready"])
    assert queue.flush("ready") == 0
