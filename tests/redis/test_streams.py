"""Streams that others fill, read by consumers: what handlers get, and what the group knows afterwards."""

import msgspec
import pytest

from holdfast import CONTEXT, Context, Retry, State
from holdfast.capabilities import JobFilter
from holdfast.config import parse_url
from holdfast.contract import StreamReading
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError
from holdfast.events import Done, Lost
from holdfast.logged import LogMessage, Start
from holdfast.stores.redis.keys import Keys
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Options
from holdfast.stores.redis.streams import RedisStreams
from holdfast.stores.redis.streams.group import Group
from tests.consume.conftest import Heard, wait_until
from tests.redis.fixtures import Place
from tests.redis.streams import PREFIX, Stream
from tests.worker.conftest import PATIENCE, Barrier, Ear

AT_ONCE = Retry(attempts=3, base=0, jitter="none")


@pytest.fixture
def orders(redis_place):
    return Stream(redis_place)


@pytest.fixture
def make_app(orders):
    made = []

    def make(**options):
        made.append(orders.open(**options))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def barrier():
    barrier = Barrier()
    yield barrier
    barrier.let_go()


@pytest.fixture
def worker(app):
    made = []

    def start(app=app, **options):
        made.append(app.worker(**options))
        made[-1].start()
        return made[-1]

    yield start
    for worker in made:
        worker.stop()
    for worker in made:
        worker.join(PATIENCE * 3)


@pytest.fixture
def work(worker):
    def work(**options):
        report = worker(drain=True, **options).join(PATIENCE * 3)
        assert report is not None, "the worker has not drained"
        return report

    return work


def dead(app, queue="orders.billing"):
    page = app.queue(queue).browse(JobFilter(states=(State.DEAD,)))
    return [app.backend.get(queue, job.id) for job in page.jobs]


def fields_to(heard):
    """Return a handler that notes all fields of its entries."""

    def bill(entry: dict[str, str]) -> None:
        heard.note(entry)

    return bill


# -- what a handler gets --------------------------------------------------------------------------------------


def test_a_consumer_gets_all_fields_of_what_redis_cli_added(orders, app, work, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    orders.feed(['XADD orders * id 1 name "Ana Maria"', "XADD orders * id 2"])

    report = work()

    assert (list(heard), report.done) == ([{"id": "1", "name": "Ana Maria"}, {"id": "2"}], 2)
    assert (orders.pending(), len(orders.ids()), orders.groups()) == ([], 2, ["billing"])


def test_numbers_are_made_of_texts_as_the_annotation_says(orders, app, work, heard):
    class Order(msgspec.Struct):
        id: int
        total: float

    @app.consume(stream="orders", group="billing")
    def bill(order: Order) -> None:
        heard.note(order)

    orders.add(id="7", total="12.5")
    work()

    assert list(heard) == [Order(7, 12.5)]


def test_one_field_is_decoded_by_the_codec(orders, app, work, heard):
    @app.consume(stream="orders", group="billing", field="data")
    def bill(order: dict[str, int]) -> None:
        heard.note(order)

    orders.add(data='{"id": 7}', sent_by="a program")
    work()

    assert list(heard) == [{"id": 7}]


def test_a_handler_may_have_the_bytes_of_a_field_and_the_id_of_the_entry(orders, app, work, heard):
    @app.consume(stream="orders", group="billing", field="data", key="customer")
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        heard.note((ctx.id, message.body, message.key, message.time))

    orders.add("1700000000000-3", data=b"\xff\x00", customer="ana")
    work()

    assert list(heard) == [("orders/billing/1700000000000-3", b"\xff\x00", "ana", 1_700_000_000_000)]


UNREADABLE = {"data": ("no JSON", "invalid"), "other": ("1", "the entry has no field 'data'")}


@pytest.mark.parametrize("field", UNREADABLE)
def test_an_entry_that_cannot_be_decoded_is_a_dead_letter_and_the_rest_goes_on(orders, app, work, heard, field):
    value, said = UNREADABLE[field]

    @app.consume(stream="orders", group="billing", field="data")
    def bill(order: dict[str, int]) -> None:
        heard.note(order)

    bad = orders.add(**{field: value})
    orders.add(data='{"id": 7}')
    work()

    (letter,) = dead(app)
    assert (list(heard), orders.pending()) == ([{"id": 7}], [])
    assert (letter.id, letter.kind) == (f"orders/billing/{bad}", "orders.billing")
    assert said in letter.reason


def test_bytes_that_are_no_text_are_kept_in_the_dead_letter(orders, app, work, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    orders.add(id=b"\xff")
    work()

    (letter,) = dead(app)
    assert (list(heard), letter.body) == ([], b'{"id": "\xff"}')


# -- failing --------------------------------------------------------------------------------------------------


def test_what_fails_runs_again_in_place_and_keeps_those_of_its_key_waiting(orders, app, work, heard):
    @app.consume(stream="orders", group="billing", key="customer", retry=AT_ONCE)
    def bill(entry: dict[str, str], *, ctx: Context = CONTEXT) -> None:
        heard.note((entry["customer"], entry["n"], ctx.attempt))
        if entry["n"] == "1" and ctx.attempt < 3:
            raise ValueError("not yet")

    for number in (1, 2):
        for customer in ("ana", "ben"):
            orders.add(customer=customer, n=str(number))
    work(concurrency=4)

    for customer in ("ana", "ben"):
        its = [(number, attempt) for one, number, attempt in heard if one == customer]
        assert its == [("1", 1), ("1", 2), ("1", 3), ("2", 1)]
    assert (orders.pending(), dead(app)) == ([], [])


def test_what_fails_for_good_is_a_dead_letter_that_runs_again_when_it_is_replayed(orders, app, work, heard):
    @app.consume(stream="orders", group="billing", retry=AT_ONCE)
    def bill(entry: dict[str, str]) -> None:
        heard.note(entry["id"])
        if len(heard) <= 3:
            raise ValueError("no")

    entry = orders.add(id="7")
    work()
    (letter,) = dead(app)
    app.queue("orders.billing").replay([letter.id])
    work()

    assert (letter.id, letter.attempts, list(heard)) == (f"orders/billing/{entry}", 3, ["7"] * 4)
    assert (dead(app), orders.pending()) == ([], [])


def test_three_thousand_entries_that_fail_once_are_all_done(orders, app, work):
    done, failed = set(), set()

    @app.consume(stream="orders", group="billing", retry=AT_ONCE)
    def bill(entry: dict[str, str]) -> None:
        if entry["n"] not in failed:
            failed.add(entry["n"])
            raise ValueError("once")
        done.add(entry["n"])

    orders.feed(f"XADD orders * n {number}" for number in range(3000))
    report = work(concurrency=8)

    assert (len(done), report.retried, dead(app), orders.pending()) == (3000, 3000, [], [])


# -- sharing --------------------------------------------------------------------------------------------------


def test_two_groups_have_every_entry_each(orders, app, work, heard):
    @app.consume(stream="orders", group="billing")
    def bill(entry: dict[str, str]) -> None:
        heard.note(("billing", entry["n"]))

    @app.consume(stream="orders", group="shipping")
    def ship(entry: dict[str, str]) -> None:
        heard.note(("shipping", entry["n"]))

    for number in range(5):
        orders.add(n=str(number))
    work()

    assert sorted(heard) == [(group, str(number)) for group in ("billing", "shipping") for number in range(5)]


def test_two_workers_share_a_stream_and_a_busy_one_hoards_nothing(orders, make_app, worker, heard, barrier):
    def handler(name):
        def bill(entry: dict[str, str], *, ctx: Context = CONTEXT) -> None:
            heard.note((name, entry["n"]))
            if entry["n"] == "first":
                barrier(None, ctx)

        return bill

    for name in ("one", "two"):
        app = make_app(name=name)
        app.consume(stream="orders", group="billing")(handler(name))
        worker(app, concurrency=1)
    orders.add(n="first")
    heard.wait_for(1)
    for number in range(20):
        orders.add(n=str(number))
    wait_until(lambda: len(heard) >= 20)
    barrier.let_go()
    heard.wait_for(21)

    wait_until(lambda: orders.pending() == [])
    assert len([name for name, _ in heard[1:] if name != heard[0][0]]) >= 19


# -- the group ------------------------------------------------------------------------------------------------


def test_a_group_may_begin_at_what_comes_after_it(orders, app, worker, heard):
    app.consume(stream="orders", group="billing", start="latest")(fields_to(heard))
    orders.add(n="old")
    worker()
    wait_until(lambda: orders.groups() == ["billing"])
    orders.add(n="new")
    heard.wait_for(1)

    assert list(heard) == [{"n": "new"}]


def test_a_stream_that_is_not_there_is_waited_for(orders, app, worker, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    worker()
    wait_until(lambda: orders.groups() == ["billing"])
    orders.add(n="1")
    heard.wait_for(1)


def test_a_key_that_is_no_stream_is_told_to_name_another(orders, app):
    orders.place.ask("SET", "orders", "not a stream")
    streams = app.backend.open_streams()

    for ask in (lambda: streams.groups("orders"), lambda: streams.lag("orders", "billing")):
        with pytest.raises(BackendError, match=r"the key 'orders' holds is no stream .*: name another stream"):
            ask()


def test_a_group_that_is_destroyed_under_a_worker_goes_on_where_it_stood(orders, app, worker, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    worker()
    for number in range(10):
        orders.add(n=str(number))
    heard.wait_for(10)
    wait_until(lambda: orders.place.ask("HGET", f"{PREFIX}stream:{{orders.billing}}", "stood") == orders.ids()[-1])
    orders.place.ask("XGROUP", "DESTROY", "orders", "billing")
    orders.add(n="10")
    heard.wait_for(11)
    wait_until(lambda: orders.pending() == [])

    assert [one["n"] for one in heard] == [str(number) for number in range(11)]


def test_a_flushed_server_under_a_worker_is_read_from_its_first_new_entry_on(orders, app, worker, heard):
    app.consume(stream="orders", group="billing", start="latest")(fields_to(heard))
    worker(ttl=6.0)  # the server has forgotten who lives, until the next beat
    wait_until(lambda: orders.groups() == ["billing"])
    orders.add("5-0", n="5")
    heard.wait_for(1)
    orders.place.ask("FLUSHDB")
    orders.add("1-0", n="1")
    heard.wait_for(2)

    assert [one["n"] for one in heard] == ["5", "1"]


def test_an_entry_that_is_deleted_while_it_is_pending_is_off_the_list(orders, app, work, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    gone, stays = orders.add(n="1"), orders.add(n="2")
    orders.place.ask("XGROUP", "CREATE", "orders", "billing", "0")
    orders.place.ask("XREADGROUP", "GROUP", "billing", f"{PREFIX}worker#gone", "COUNT", "10", "STREAMS", "orders", ">")
    orders.place.ask("XDEL", "orders", gone)
    assert orders.pending() == [gone, stays]

    work()

    assert ([one["n"] for one in heard], orders.pending()) == (["2"], [])
    assert f"{PREFIX}worker#gone" not in orders.consumers()


def test_a_consumer_of_another_program_keeps_what_it_has_until_it_is_idle_for_long(orders, app, work, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    theirs = [orders.add(n="1"), orders.add(n="2")]
    orders.place.ask("XGROUP", "CREATE", "orders", "billing", "0")
    orders.place.ask("XREADGROUP", "GROUP", "billing", "theirs", "COUNT", "10", "STREAMS", "orders", ">")
    orders.place.ask("XCLAIM", "orders", "billing", "theirs", "0", theirs[0], "IDLE", "3600000")
    orders.add(n="3")

    work()

    assert [one["n"] for one in heard] == ["1", "3"]
    assert (orders.pending(), "theirs" in orders.consumers()) == ([theirs[1]], True)


def test_nothing_is_deleted_unless_that_is_asked_for(orders, app, work, heard):
    app.consume(stream="orders", group="billing", delete=True)(fields_to(heard))
    orders.add(n="1")
    work()

    assert (len(heard), orders.ids(), orders.groups()) == (1, [], ["billing"])


def test_an_entry_that_another_has_claimed_meanwhile_stays_his(orders, app, worker, heard, barrier):
    @app.consume(stream="orders", group="billing")
    def bill(entry: dict[str, str], *, ctx: Context = CONTEXT) -> None:
        heard.note(entry["n"])
        barrier(None, ctx)

    ear = Ear(app.events)
    entry = orders.add(n="1")
    worker()
    heard.wait_for(1)
    orders.place.ask("XCLAIM", "orders", "billing", "theirs", "0", entry)
    barrier.let_go()
    ear.wait_for(Lost)

    assert orders.place.ask("XPENDING", "orders", "billing", "-", "+", "10", "theirs")[0][0] == entry


def test_a_full_server_is_worked_off(redis_servers, heard, barrier):
    server = redis_servers.single()
    orders = Stream(Place(server.url, "", 0, server))
    for number in range(20):
        orders.add(n=str(number))
    with orders.open() as app:

        @app.consume(stream="orders", group="billing")
        def bill(entry: dict[str, str], *, ctx: Context = CONTEXT) -> None:
            barrier(None, ctx)
            heard.note(entry["n"])

        app.worker(concurrency=2).start()
        barrier.wait_for_entries(2)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        barrier.let_go()
        heard.wait_for(20)
        wait_until(lambda: orders.pending() == [])
        server.ask("CONFIG", "SET", "maxmemory", "0")


def test_connections_that_are_cut_lose_no_entry(orders, app, worker, heard):
    @app.consume(stream="orders", group="billing")
    def bill(entry: dict[str, str]) -> None:
        heard.note(int(entry["n"]))

    worker(concurrency=4)
    for number in range(400):
        orders.add(n=str(number))
        if number % 50 == 25:
            orders.place.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: set(heard) == set(range(400)))
    wait_until(lambda: orders.pending() == [])


def test_what_a_stopped_worker_has_not_finished_the_next_one_takes_at_once(orders, make_app, worker, heard):
    entered = Heard()
    app = make_app()

    @app.consume(stream="orders", group="billing", retry=Retry(attempts=None, base=600, jitter="none"))
    def fail(entry: dict[str, str]) -> None:
        entered.note(entry["n"])
        raise ValueError("later")

    for number in range(3):
        orders.add(n=str(number))
    first = worker(app)
    entered.wait_for(3)
    first.stop()
    first.join(PATIENCE)
    pending = orders.pending()

    other = make_app()
    other.consume(stream="orders", group="billing")(fields_to(heard))
    worker(other)
    heard.wait_for(3)

    assert (len(pending), sorted(one["n"] for one in heard)) == (3, ["0", "1", "2"])
    wait_until(lambda: orders.pending() == [] and len(orders.consumers()) == 1)


def test_who_joins_while_another_looks_who_has_gone_keeps_its_entries(orders, app):
    """The look at who lives is over, that at who is a consumer has not begun: another has joined in between."""
    entry, store = orders.add(n="1"), app.backend
    here, there = (HolderInfo(id=f"{name}#1", ttl=60.0) for name in ("here", "there"))
    store.beat(here)

    def look_late():
        known = store.holders()
        if orders.groups() and not orders.pending():
            store.beat(there)
            orders.place.ask("XREADGROUP", "GROUP", "billing", f"{PREFIX}there#1", "STREAMS", "orders", ">")
        return known

    streams = RedisStreams(Link(Options.of(parse_url(orders.url))), Keys(PREFIX), look_late)
    member = streams.join("orders", "billing", here, start=Start(), reading=StreamReading())
    polled = member.poll(limit=10, wait=0)
    member.leave()

    assert (polled, orders.pending()) == ([], [entry])
    assert orders.place.ask("XPENDING", "orders", "billing", "-", "+", "10", f"{PREFIX}there#1")[0][0] == entry


# -- looking --------------------------------------------------------------------------------------------------


def test_the_lag_of_a_group_has_what_nobody_was_given_and_what_is_not_finished(orders, app, work, heard):
    app.consume(stream="orders", group="billing")(fields_to(heard))
    orders.add(n="0")
    work()
    orders.add(n="1")
    orders.place.ask("XREADGROUP", "GROUP", "billing", "theirs", "COUNT", "10", "STREAMS", "orders", ">")
    orders.add(n="2")

    undelivered, theirs = app.backend.open_streams().lag("orders", "billing")

    assert (undelivered.messages, undelivered.member) == (1, None)
    assert (theirs.messages, theirs.member) == (1, "theirs")
    assert theirs.age < PATIENCE


def test_the_lag_of_a_stream_that_is_consumed_is_a_metric(orders, app, work, heard):
    from prometheus_client import CollectorRegistry, generate_latest

    from holdfast.metrics import Metrics

    registry = CollectorRegistry()
    Metrics(app, registry=registry)
    app.consume(stream="orders", group="billing")(fields_to(heard))
    orders.place.ask("XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM")
    orders.add(n="0")

    text = generate_latest(registry).decode()  # of a process that reads nothing itself, such as a supervisor

    assert 'holdfast_group_lag_messages{group="billing",log="orders"} 1.0' in text
    assert 'holdfast_group_lag_seconds{group="billing",log="orders"}' in text


def test_where_the_server_does_not_know_the_lag_nothing_is_made_up(orders, app, heard):
    from prometheus_client import CollectorRegistry, generate_latest

    from holdfast.metrics import Metrics

    registry = CollectorRegistry()
    Metrics(app, registry=registry)
    app.consume(stream="orders", group="billing")(fields_to(heard))
    first, *_ = [orders.add(n=str(number)) for number in range(5)]
    orders.place.ask("XGROUP", "CREATE", "orders", "billing", "0")
    orders.place.ask("XREADGROUP", "GROUP", "billing", "theirs", "COUNT", "1", "STREAMS", "orders", ">")
    orders.place.ask("XACK", "orders", "billing", first)
    orders.place.ask("XDEL", "orders", orders.ids()[2])

    (lag,) = app.backend.open_streams().lag("orders", "billing")
    text = generate_latest(registry).decode()

    assert (lag.messages, lag.more) == (1, True)
    assert lag.age < PATIENCE
    assert 'holdfast_group_lag_messages{group="billing"' not in text
    assert 'holdfast_group_lag_seconds{group="billing",log="orders"}' in text


def test_a_clock_of_the_server_that_goes_back_makes_no_entry_older_than_its_member(orders, app, monkeypatch):
    """The tracker takes nothing that is older than the place it follows; it would be nobody's for ever."""
    holder, streams = HolderInfo(id="here#1", ttl=60.0), app.backend.open_streams()
    app.backend.beat(holder)
    member = streams.join("orders", "billing", holder, start=Start(), reading=StreamReading())
    joined = member.assigned()[0].place.version
    monkeypatch.setattr(Group, "time", lambda self: joined - 5000)
    orders.add(n="1")

    (chunk,) = member.poll(limit=10, wait=0)
    member.leave()

    assert chunk.version >= joined


def test_a_run_of_an_entry_is_told_as_that_of_any_job(orders, app, work, heard):
    ear = Ear(app.events)
    app.consume(stream="orders", group="billing")(fields_to(heard))
    entry = orders.add(n="0")
    work()

    (done,) = ear.heard(Done)
    assert (done.job.queue, done.job.id, done.job.attempt) == ("orders.billing", f"orders/billing/{entry}", 1)
