"""The ticker fires what is due, each tick once, whatever a schedule, the store or another process does."""

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from holdfast import App
from holdfast.capabilities import Cron, Definition, Every, Schedule, Template, owned
from holdfast.delivery import Ack, Beat, HolderInfo
from holdfast.errors import BackendError, BodyTooLarge
from holdfast.events import Events, ScheduleFailed, Sent, Ticked
from holdfast.schedule.planning import MOST, plan
from holdfast.schedule.ticker import Ticker
from holdfast.stores.memory import MemoryBackend
from holdfast.testing.clock import MovableClock

PATIENCE = 10
START = int(datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp() * 1000)
MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
def clock():
    return MovableClock(START, ticking=False)


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def app(clock, events):
    app = App("memory:", clock=clock, events=events)

    @app.task(queue="q", name="step")
    def step(number: int = 0) -> None: ...

    yield app
    app.close()


@pytest.fixture
def step(app):
    return app.tasks["step"]


@pytest.fixture
def ticker(app):
    return app.schedules.ticker(["q"])


def finish(app):
    """Ack everything that is ready."""
    app.backend.beat(HolderInfo(id="w#1", ttl=1e9, queues=("q",), kinds=("step",)))
    leased = app.backend.lease("q", "w#1", str(id(object())), limit=10_000, kinds=("step",), max_format=1)
    app.backend.settle([Ack(one.receipt) for one in leased])
    return len(leased)


def outcomes(app, name="step", limit=2000):
    return [tick.outcome.value for tick in reversed(app.schedules.ticks(name, limit=limit))]


def seconds_of(ticks):
    return [(tick.tick - START) / 1000 for tick in reversed(ticks)]


# -- intervals and cron -------------------------------------------------------------------------------------------


def test_an_interval_ticks_on_multiples_since_its_registration(app, step, ticker, clock):
    """G-T49: it fires again and again, never "now + interval"."""
    app.schedules.add(step.call(), every=MINUTE)
    fired = []
    for late in (61, 62, 63, 1, 1):  # whoever fires is late, the ticks are not
        clock.move(late)
        fired.append(ticker.tick())
        finish(app)

    assert fired == [1, 1, 1, 0, 0]
    assert seconds_of(app.schedules.ticks("step")) == [60, 120, 180]


def test_an_interval_can_have_a_start(app, step, ticker, clock):
    app.schedules.add(step.call(), every=timedelta(hours=1), start=datetime(2026, 3, 2, 8, 30, tzinfo=UTC))
    clock.move(HOUR)

    assert ticker.tick() == 1
    assert seconds_of(app.schedules.ticks("step")) == [1800]


def test_cron_ticks_at_its_times(app, step, ticker, clock):
    """G-T49: the next tick of a cron rule."""
    app.schedules.add(step.call(), cron="0 9 * * MON-FRI", tz="Europe/Paris")

    assert app.schedules.next("step", 2) == [
        datetime(2026, 3, 3, 8, tzinfo=UTC),  # 8:00 itself is past: the schedule is registered at that very instant
        datetime(2026, 3, 4, 8, tzinfo=UTC),
    ]
    clock.move(24 * HOUR)
    assert ticker.tick() == 1


def test_the_options_of_the_call_are_carried(app, step, ticker, clock):
    """G-T49."""
    call = step.using(priority=7, key="k", max_attempts=2, expires_in=90, headers={"a": "b"}).call(5)
    app.schedules.add(call, every=MINUTE)
    clock.move(60)
    ticker.tick()

    [job] = app.queue("q").browse().jobs
    assert (job.kind, job.body, job.priority, job.key, job.max_attempts) == ("step", b'{"number":5}', 7, "k", 2)
    assert (job.headers, job.expires) == ({"a": "b"}, START + 150_000)


def test_a_tick_on_time_is_sent_whatever_is_said_of_missed_ones(app, step, ticker, clock):
    for missed in ("latest", "all", "skip"):
        app.schedules.add(step.call(), name=missed, every=MINUTE, missed=missed)
    clock.move(60)

    assert ticker.tick() == 3


# -- missed ticks -------------------------------------------------------------------------------------------------


def test_of_missed_ticks_the_newest_runs_and_the_others_are_written_down(app, step, ticker, clock):
    """G-T53: no burst."""
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(5 * MINUTE + 1)

    assert ticker.tick() == 1
    assert outcomes(app) == ["missed"] * 4 + ["sent"]


def test_all_missed_ticks_can_run(app, step, ticker, clock):
    app.schedules.add(step.call(), every=MINUTE, missed="all", overlap="allow")
    clock.move(5 * MINUTE)

    assert ticker.tick() == 5
    assert outcomes(app) == ["sent"] * 5


def test_missed_ticks_can_be_skipped(app, step, ticker, clock):
    app.schedules.add(step.call(), every=HOUR, missed="skip")
    clock.move(5.5 * HOUR)

    assert ticker.tick() == 0
    assert outcomes(app) == ["missed"] * 5
    clock.move(0.5 * HOUR)
    assert ticker.tick() == 1


def test_catching_up_is_bounded(app, step, ticker, clock):
    """G-T55: the newest thousand."""
    app.schedules.add(step.call(), every=1, missed="all", overlap="allow")
    clock.move(86_400)

    assert ticker.tick() == MOST
    assert seconds_of(app.schedules.ticks("step", limit=2000))[0] == 86_400 - MOST + 1


def test_no_tick_comes_twice_though_the_clock_is_set_ahead_and_back(app, step, ticker, clock):
    app.schedules.add(step.call(), every=MINUTE, overlap="allow")
    clock.set_wall(HOUR)
    assert ticker.tick() == 1

    clock.set_wall(-HOUR)
    fired = []
    for _ in range(62):
        clock.move(60)
        fired.append(ticker.tick())

    assert fired == [0] * 60 + [1, 1]  # it goes on from where it had come to


def test_a_new_ticker_goes_on_where_the_last_one_ended(app, step, ticker, clock):
    """G-T52: what was fired is in the store."""
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)
    ticker.tick()
    clock.move(90)
    finish(app)

    assert app.schedules.ticker(["q"]).tick() == 1
    assert seconds_of(app.schedules.ticks("step")) == [60, 120]


# -- overlap, jitter, pause ---------------------------------------------------------------------------------------


def test_a_tick_is_skipped_while_the_job_before_it_lives(app, step, ticker, clock):
    """G-T54."""
    app.schedules.add(step.call(), every=MINUTE)
    for _ in range(3):
        clock.move(60)
        ticker.tick()

    assert outcomes(app) == ["sent", "skipped", "skipped"]


def test_every_process_draws_the_same_jitter(app, step, ticker, clock):
    app.schedules.add(step.call(), every=MINUTE, jitter=30)
    schedule = app.schedules.get("step")

    firings = [plan(schedule, START + minute * 60_000) for minute in range(1, 50)]

    assert firings == [plan(schedule, START + minute * 60_000) for minute in range(1, 50)]
    delays = [firing.ticks[-1].due - firing.ticks[-1].tick for firing in firings]
    assert min(delays) >= 0 < max(delays) < 30_000
    assert len(set(delays)) > 40


def test_jitter_delays_the_job(app, step, ticker, clock):
    app.schedules.add(step.call(), every=HOUR, jitter=timedelta(minutes=50))
    clock.move(HOUR)

    assert ticker.tick() == 1
    assert app.queue("q").stats().scheduled == 1


def test_a_paused_schedule_does_not_tick_and_goes_on_from_its_resume(app, step, ticker, clock):
    app.schedules.add(step.call(), every=MINUTE)
    app.schedules.pause("step")
    clock.move(150)
    assert ticker.tick() == 0

    app.schedules.resume("step")

    assert ticker.tick() == 0
    clock.move(30)
    assert ticker.tick() == 1
    assert seconds_of(app.schedules.ticks("step")) == [180]


def test_a_schedule_of_a_paused_queue_keeps_sending(app, step, ticker, clock):
    app.schedules.add(step.call(), every=MINUTE)
    app.queue("q").pause()
    clock.move(60)

    assert ticker.tick() == 1


def test_a_full_queue_refuses_the_tick_and_says_so(clock, events):
    app = App("memory:?max_jobs=1", clock=clock, events=events)
    step = app.task(queue="q", name="step")(lambda: None)
    app.queue("q").send(b"one")
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)

    assert app.schedules.ticker(["q"]).tick() == 0
    assert outcomes(app) == ["full"]


# -- edits and other processes ------------------------------------------------------------------------------------


def test_two_tickers_share_a_schedule(app, step, ticker, clock):
    """G-T50: one job a tick."""
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)

    assert [ticker.tick(), app.schedules.ticker(["q"]).tick()] == [1, 0]


def test_a_ticker_that_was_stopped_before_it_fired_is_fenced(app, step, ticker, clock):
    """G-T51, G-T58: what it read is stale, by another's fire or by an edit."""
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)
    stale = plan(app.schedules.get("step"), clock.wall())
    app.schedules.edit("step", call=step.call(9))

    assert app.backend.fire([stale]) == [None]
    assert ticker.tick() == 1
    assert app.queue("q").browse().jobs[0].body == b'{"number":9}'
    assert app.backend.fire([stale]) == [None]


def test_each_queue_of_a_schedule_is_served_and_judged_on_its_own(app, step, clock):
    app.schedules.add(step.call(), every=MINUTE, queues=["q", "r"])
    clock.move(60)

    assert app.schedules.ticker(["q"]).tick() == 1
    assert app.schedules.ticker(["r"]).tick() == 1
    assert [one.queue for one in app.schedules.list()] == ["q", "r"]


def test_listeners_hear_of_ticks_and_of_what_is_sent(app, step, ticker, clock, events):
    heard = []
    events.listen(Ticked, heard.append)
    events.listen(Sent, heard.append)
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(121)
    ticker.tick()

    missed, sent, stored = heard
    assert (missed.schedule, missed.outcome, missed.job) == ("step", "missed", None)
    assert (sent.outcome, sent.job) == ("sent", stored.stored.id)
    assert stored.message.id == stored.stored.id


# -- what is broken -----------------------------------------------------------------------------------------------


def broken(app, name, clock):
    """Store a schedule as a machine with other zones might."""
    rule = Cron("* * * * *", "Mars/Olympus")
    definition = Definition(rule=rule, template=Template(kind="step", body=b"{}"))
    app.backend.save_schedule(Schedule(queue="q", name=name, definition=definition, next=clock.wall()), 0)


@pytest.mark.slow
def test_a_broken_schedule_is_reported_and_stops_no_other(app, step, ticker, clock, events):
    """G-T61, with more broken ones than one look-up returns."""
    failed = []
    events.listen(ScheduleFailed, failed.append)
    for number in range(150):
        broken(app, f"broken {number}", clock)
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)

    assert ticker.tick() == 1
    assert {one.schedule for one in failed} == {f"broken {number}" for number in range(150)}
    assert "Mars/Olympus" in str(failed[0].error)


def test_send_middleware_surrounds_the_jobs_of_ticks(app, step, ticker, clock, events):
    sent, later = [], []
    events.listen(Sent, lambda event: sent.append(event.message))

    @app.middleware.send
    def trace(sending):
        later.append((sending.queue, len(sending.messages), sending.later))
        sending.messages = [
            msgspec.structs.replace(message, id="x", headers={"trace": "42"}) for message in sending.messages
        ]
        yield

    app.schedules.add(step.call(), every=MINUTE, missed="all", overlap="allow")
    clock.move(120)
    assert ticker.tick() == 2

    ticks = app.schedules.ticks("step")
    assert later == [("q", 2, True)]
    assert {job.id for job in app.queue("q").jobs()} == {tick.job for tick in ticks}
    assert [dict(job.headers) for job in app.queue("q").jobs()] == [{"trace": "42"}] * 2
    assert [(message.id in {tick.job for tick in ticks}, message.headers) for message in sent] == [
        (True, {"trace": "42"})
    ] * 2


def test_a_send_middleware_that_fails_is_reported_and_the_tick_comes_later(app, step, ticker, clock, events):
    failed, fails = [], [True]
    events.listen(ScheduleFailed, failed.append)

    @app.middleware.send
    def failing(sending):
        if fails:
            raise ValueError("no tenant")
        yield

    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)
    assert ticker.tick() == 0
    assert [str(one.error) for one in failed] == ["no tenant"]

    fails.clear()
    clock.move(59)
    assert ticker.tick() == 1


def test_a_broken_schedule_is_put_off_and_goes_on_once_it_is_mended(app, step, ticker, clock, events):
    failed = []
    events.listen(ScheduleFailed, failed.append)
    broken(app, "step", clock)
    ticker.tick()
    ticker.tick()
    assert len(failed) == 1

    app.schedules.edit("step", cron="* * * * *")
    clock.move(60)

    assert ticker.tick() == 1


def test_one_that_the_store_cannot_fire_stops_no_other(app, step, clock, events):
    """G-T61."""
    failed = []
    events.listen(ScheduleFailed, failed.append)

    class Choking(MemoryBackend):
        def fire(self, firings):
            if any(firing.name == "poison" for firing in firings):
                raise ValueError("choked")
            return super().fire(firings)

    store = Choking(clock)
    template = Template(kind="step", body=b"{}")
    for name in ("poison", "good"):
        definition = Definition(rule=Cron("* * * * *"), template=template)
        store.save_schedule(Schedule(queue="q", name=name, definition=definition, next=clock.wall()), 0)

    assert Ticker(store, ["q"], events=events, clock=clock).tick() == 1
    assert [one.schedule for one in failed] == ["poison"]


def test_code_that_cannot_be_registered_stops_no_other(clock, events, caplog):
    app = App("memory:", clock=clock, events=events)
    failed = []
    events.listen(ScheduleFailed, failed.append)
    app.backend.declare("q", msgspec.structs.replace(_settings(), max_body=10))

    @app.schedule(every=MINUTE, kwargs={"text": "x" * 100})
    @app.task(queue="q", name="large")
    def large(text: str) -> None: ...

    @app.schedule(every=MINUTE)
    @app.task(queue="q", name="small")
    def small() -> None: ...

    ticker = app.schedules.ticker(["q"])
    ticker.tick()
    clock.move(60)

    assert ticker.tick() == 1
    assert {one.schedule for one in failed} == {"large"}
    assert isinstance(failed[0].error, BodyTooLarge)


def _settings():
    from holdfast.config import QueueSettings

    return QueueSettings()


# -- the thread ---------------------------------------------------------------------------------------------------


class Looked(MemoryBackend):
    """Tells when it was looked into; ``passes`` seconds pass with each look."""

    def __init__(self, clock):
        super().__init__(clock)
        self.clock, self.looked, self.passes = clock, threading.Semaphore(0), 0.0

    def due_schedules(self, *args, **kwargs):
        found = super().due_schedules(*args, **kwargs)
        self.clock.move(self.passes)
        self.looked.release()
        return found


@pytest.fixture
def started(events):
    """Start a ticker; it ends with the test. ``heard`` counts its ticks."""
    tickers, heard = [], threading.Semaphore(0)
    events.listen(Ticked, lambda _: heard.release())

    def start(ticker):
        tickers.append(ticker)
        ticker.start()
        return heard

    yield start
    for ticker in tickers:
        ticker.stop()
    for ticker in tickers:
        assert ticker.join(PATIENCE)


def test_the_thread_fires_when_the_clock_is_moved(app, step, ticker, clock, started):
    """G-T49: at least twice."""
    app.schedules.add(step.call(), every=MINUTE, overlap="allow")
    heard = started(ticker)
    for _ in range(3):
        clock.move(60)
        assert heard.acquire(timeout=PATIENCE)

    assert outcomes(app) == ["sent"] * 3


def test_the_thread_hears_of_a_schedule_that_comes_late(app, step, ticker, clock, started):
    """G-T49: registering wakes it."""
    heard = started(ticker)
    app.schedules.add(step.call(), every=MINUTE)
    clock.move(60)

    assert heard.acquire(timeout=PATIENCE)


def test_the_thread_sleeps_until_the_next_tick_of_a_clock_that_goes_on(events, started):
    clock = MovableClock()
    app = App("memory:", clock=clock, events=events)
    step = app.task(queue="q", name="step")(lambda: None)
    app.schedules.add(step.call(), every=0.05, overlap="allow")
    heard = started(app.schedules.ticker(["q"]))

    for _ in range(3):
        assert heard.acquire(timeout=PATIENCE)


def test_a_beat_wakes_it_for_what_another_process_has_changed(app, step, ticker, clock, started):
    heard, store = started(ticker), app.backend
    definition = Definition(rule=Cron("* * * * *"), template=Template(kind="step", body=b"{}"))
    store.save_schedule(Schedule(queue="q", name="theirs", definition=definition, next=clock.wall()), 0)

    ticker.heard(Beat(alive=True, next_tick=0.0))

    assert heard.acquire(timeout=PATIENCE)


class Slept(MovableClock):
    """A clock that nobody hears of when it is moved, like that of a machine that sleeps and wakes up."""

    def on_move(self, moved):
        pass


def test_a_beat_wakes_it_after_the_machine_has_slept(events, started):
    clock = Slept(START, ticking=False)
    store = Looked(clock)
    definition = Definition(rule=Cron("* * * * *"), template=Template(kind="step", body=b"{}"))
    store.save_schedule(Schedule(queue="q", name="theirs", definition=definition, next=START + 60_000), 0)
    ticker = Ticker(store, ["q"], events=events, clock=clock)
    heard = started(ticker)
    assert store.looked.acquire(timeout=PATIENCE)
    while ticker._wakes_at is None:  # about to wait for a minute
        store.looked.acquire(timeout=0.01)

    clock.move(3600)
    ticker.heard(Beat(alive=True, next_tick=-3540.0))

    assert heard.acquire(timeout=PATIENCE)


def test_a_stop_ends_it_though_something_ticks_faster_than_it_is_fired(events, started):
    clock = Slept(START, ticking=False)
    store = Looked(clock)
    store.passes = 1.0
    definition = Definition(rule=Every(0.5, START), template=Template(kind="step", body=b"{}"), overlap="allow")
    store.save_schedule(Schedule(queue="q", name="fast", definition=definition, next=START), 0)
    ticker = Ticker(store, ["q"], events=events, clock=clock)
    heard = started(ticker)
    for _ in range(3):
        assert heard.acquire(timeout=PATIENCE)

    ticker.stop()

    assert ticker.join(PATIENCE)


@pytest.mark.slow
def test_a_store_that_is_away_is_asked_again(clock, caplog):
    class Away(MemoryBackend):
        failures = 3

        def due_schedules(self, *args, **kwargs):
            self.failures -= 1
            if self.failures >= 0:
                raise BackendError("away", retryable=self.failures % 2 == 0)
            return super().due_schedules(*args, **kwargs)

    store = Away(clock)
    definition = Definition(rule=Cron("* * * * *"), template=Template(kind="step", body=b"{}"))
    store.save_schedule(Schedule(queue="q", name="s", definition=definition, next=clock.wall()), 0)

    events, fired = Events(), threading.Event()
    events.listen(Ticked, lambda _: fired.set())
    ticker = Ticker(store, ["q"], events=events, clock=clock)
    ticker.start()
    assert fired.wait(PATIENCE)
    ticker.stop()
    assert ticker.join(PATIENCE)
    assert "schedules cannot be fired: away" in caplog.text


def test_an_idle_ticker_asks_the_store_nothing(clock, events, started):
    asked = []

    class Counting(MemoryBackend):
        def due_schedules(self, *args, **kwargs):
            asked.append(1)
            looked.set()
            return super().due_schedules(*args, **kwargs)

    looked = threading.Event()
    ticker = Ticker(Counting(clock), ["q"], events=events, clock=clock)
    started(ticker)
    assert looked.wait(PATIENCE)
    for _ in range(100):
        ticker.heard(Beat(alive=True))

    assert len(asked) == 1


def test_a_closed_store_ends_the_thread(app, ticker):
    ticker.start()
    app.backend.close()
    ticker.wake()

    assert ticker.join(PATIENCE)


# -- workers ------------------------------------------------------------------------------------------------------


def test_a_worker_fires_the_schedules_of_its_queues_and_runs_their_jobs(clock, events):
    app = App("memory:", clock=clock, events=events)
    ran = threading.Semaphore(0)

    @app.schedule(every=MINUTE, kwargs={"number": 4})
    @app.task(queue="q", name="step")
    def step(number: int) -> None:
        assert number == 4
        ran.release()

    app.schedules.register()
    with app, app.worker():
        clock.move(60)
        assert ran.acquire(timeout=PATIENCE)


def test_a_worker_lists_what_its_code_declares(clock, events):
    app = App("memory:", clock=clock, events=events)

    @app.schedule(every=MINUTE)
    @app.task(queue="q", name="step")
    def step() -> None: ...

    app.schedules.register()
    assert app.schedules.get("step").orphaned
    with app.worker(idle_poll=0.01) as worker:
        listed = _wait_for_holder(app, worker)
        assert listed == (owned("q", "step"),)
        assert not app.schedules.get("step").orphaned
    assert app.schedules.get("step").orphaned
    app.close()


def _wait_for_holder(app, worker):
    for _ in range(1000):
        for holder in app.backend.holders():
            return holder.schedules
        app.backend.wait(["q"], ["step"], 0.01)
    raise AssertionError("the worker never beat")
