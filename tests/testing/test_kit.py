"""An App in the kit: on a store in memory, on the engine of production, in a time that tests move."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from holdfast import (
    CONTEXT,
    App,
    BackendError,
    Bury,
    Cancel,
    Context,
    Depends,
    Retry,
    RetryLater,
    State,
    Unique,
    UsageError,
    current_job,
)
from holdfast.capabilities import JobFilter
from holdfast.events import Event, Events, Sent
from holdfast.testing import Kit, harness

RETRY = Retry(attempts=3, base=10)


class Program:
    """A program as users write it, whose store would be a file."""

    def __init__(self, url):
        self.app = App(url, events=Events(logger=None))
        self.seen = []
        self.welcome = self.app.task(name="welcome", retry=RETRY, result=60)(self._welcome)
        self.fetch = self.app.task(name="fetch", queue="web", retry=1)(self._fetch)

    def _welcome(self, user: int, *, template: str = "plain", ctx: Context = CONTEXT) -> str:
        self.seen.append((user, ctx.attempt))
        if user == 13:
            raise ValueError("no user 13")
        return template

    async def _fetch(self, url: str) -> None:
        self.seen.append(url)


@pytest.fixture
def program(tmp_path):
    return Program(f"sqlite:///{tmp_path}/production.db")


@pytest.fixture
def kit(program):
    with harness(program.app) as kit:
        yield kit


def test_the_store_of_production_is_never_opened(program, kit, tmp_path):
    program.welcome.enqueue(1)
    kit.drain()

    assert list(tmp_path.iterdir()) == []


def test_a_drain_runs_what_is_ready_and_says_what_came_of_it(program, kit):
    job = program.welcome.enqueue(1, template="rich")
    program.fetch.enqueue("https://example.org")

    report = kit.drain()

    assert (report.done, report.runs, report.errors) == (2, 2, ())
    assert job.result(timeout=0) == "rich"
    assert sorted(program.seen, key=str) == [(1, 1), "https://example.org"]


def test_a_drain_runs_follow_ups_too(program, kit):
    @program.app.task
    def first() -> None:
        program.welcome.enqueue(2)

    first.enqueue()

    assert kit.drain().done == 2


def test_jobs_run_one_at_a_time_in_the_order_of_production(program, kit):
    running = threading.Semaphore()

    def note(name):
        assert running.acquire(blocking=False)
        program.seen.append(name)
        running.release()

    @program.app.task
    def plain(name: str) -> None:
        note(name)

    @program.app.task
    async def awaited(name: str) -> None:
        note(name)

    plain.enqueue("third")
    awaited.enqueue("fourth")
    awaited.using(priority=5).enqueue("first")
    plain.using(priority=4).enqueue("second")
    plain.enqueue("fifth")
    kit.drain()

    assert program.seen == ["first", "second", "third", "fourth", "fifth"]


def test_what_one_run_makes_ready_is_seen_before_the_next_begins(program, kit):
    @program.app.task
    def urgent() -> None:
        program.seen.append("urgent")

    @program.app.task
    def plain(number: int) -> None:
        program.seen.append(number)
        if number == 1:
            urgent.using(priority=9).enqueue()

    for number in (1, 2, 3):
        plain.enqueue(number)
    kit.drain()

    assert program.seen == [1, "urgent", 2, 3]


def test_a_failure_is_recorded_and_tried_again_after_the_whole_delay(program, kit):
    job = program.welcome.enqueue(13)

    report = kit.drain()

    assert (report.retried, report.buried) == (1, 0)
    [failure] = report.errors
    assert (failure.task, failure.job_id, failure.attempt, failure.delay) == ("welcome", job.id, 1, 10)
    assert isinstance(failure.error, ValueError)
    assert kit.advance(9.999).runs == 0
    assert kit.advance(0.001).retried == 1


def test_retries_run_at_their_instants_until_the_job_is_dead(program, kit):
    started = kit.clock.wall()
    program.welcome.enqueue(13)

    report = kit.advance(timedelta(hours=1))

    assert (report.retried, report.buried) == (2, 1)
    [letter] = kit.dead(program.welcome)
    assert letter.reason == "ValueError"
    assert [(run.started - started) / 1000 for run in letter.runs] == [0, 10, 30]
    assert kit.clock.wall() - started == 3_600_000


def test_time_passes_through_every_due_instant_in_order(program, kit):
    start, at = kit.clock.wall(), []

    @program.app.task
    def note(name: str) -> None:
        at.append((name, (kit.clock.wall() - start) / 1000))
        if name == "a":
            note.using(delay=5).enqueue("a's own")

    note.using(delay=60).enqueue("c")
    note.using(delay=10).enqueue("a")
    note.using(run_at=datetime.fromtimestamp(start / 1000 + 20, UTC)).enqueue("b")
    note.using(delay=61).enqueue("too late")
    report = kit.advance(60)

    assert at == [("a", 10), ("a's own", 15), ("b", 20), ("c", 60)]
    assert report.done == 4


def test_a_leap_runs_nothing(program, kit):
    program.welcome.using(delay=10).enqueue(1)
    program.welcome.using(expires_in=20).enqueue(2)

    kit.leap(timedelta(seconds=30))

    assert program.seen == []
    assert [job.state for job in kit.jobs()] == [State.READY, State.EXPIRED]
    assert (kit.drain().done, program.seen) == (1, [(1, 1)])


def test_what_expires_on_the_way_is_counted_and_does_not_run(program, kit):
    program.app.queue("default").pause()
    program.welcome.using(expires_in=20).enqueue(1)

    report = kit.advance(60)

    assert (report.expired, report.runs) == (1, 0)
    [job] = kit.jobs(state="expired")
    assert job.ended - job.sent == 20_000


def test_ended_jobs_are_kept_as_long_as_in_production(program, kit):
    program.welcome.enqueue(1)
    kit.drain()

    kit.advance(86_399)
    kept = kit.jobs()
    kit.advance(3600)

    assert (len(kept), kit.jobs()) == (1, [])


def test_a_handler_that_moves_the_clock_takes_that_long(program, kit):
    @program.app.task(timeout=30, retry=1)
    def slow() -> None:
        kit.clock.move(31)

    slow.enqueue()
    kit.drain()

    [letter] = kit.dead()
    assert letter.reason == "timeout"


# -- errors -------------------------------------------------------------------------------------------------------


def test_an_error_is_raised_in_the_test_with_its_traceback_if_wanted(program):
    with harness(program.app, raise_errors=True) as kit:
        program.welcome.enqueue(13)
        program.welcome.enqueue(1)

        with pytest.raises(ValueError, match="no user 13") as raised:
            kit.drain()

        assert raised.traceback[-1].name == "_welcome"
        assert kit.jobs()[0].state is State.SCHEDULED  # the failure is settled as ever
        assert kit.drain().done == 1  # and what was ready after it still is


@pytest.mark.parametrize("signal", [RetryLater(60), Bury("no"), Cancel("no")], ids=repr)
def test_what_a_handler_decides_is_no_error(program, signal):
    @program.app.task
    def decide() -> None:
        raise signal

    with harness(program.app, raise_errors=True) as kit:
        decide.enqueue()

        assert kit.drain().errors == ()


def test_a_body_that_does_not_fit_is_an_error_too(program):
    with harness(program.app, raise_errors=True) as kit:
        program.fetch.enqueue("https://example.org")
        [sent] = kit.enqueued()
        kit.app.backend.send("web", [type(sent.message)(body=b'{"url": 7}', kind="fetch")])

        with pytest.raises(Exception, match="url"):
            kit.drain()


def test_a_job_that_sends_itself_for_ever_is_an_error_of_the_test(program):
    @program.app.task
    def again() -> None:
        again.enqueue()

    with harness(program.app, most=20) as kit:
        again.enqueue()

        with pytest.raises(AssertionError, match="still ready after 20 runs"):
            kit.drain()


def test_a_job_that_hangs_is_named(program):
    let_go = threading.Event()

    @program.app.task(name="hangs")
    def hangs() -> None:
        let_go.wait(30)

    with harness(program.app, patience=0.1) as kit:
        job = hangs.enqueue()
        with pytest.raises(AssertionError, match=f"hangs {job.id}"):
            kit.drain()
        let_go.set()


def test_a_handler_cannot_drain(program):
    @program.app.task
    def drains() -> None:
        kit.drain()

    with harness(program.app, raise_errors=True) as kit:
        drains.enqueue()

        with pytest.raises(UsageError, match="running jobs already"):
            kit.drain()


# -- looking ------------------------------------------------------------------------------------------------------


def test_what_was_enqueued_is_there_with_arguments_and_options(program, kit):
    program.welcome.using(delay=180, key="user-42", priority=5).enqueue(42, template="rich")
    kit.advance(3600)

    [call] = kit.enqueued(program.welcome)

    assert (call.task, call.queue, call.arguments) == ("welcome", "default", {"user": 42, "template": "rich"})
    assert (call.delay, call.key, call.priority) == (180, "user-42", 5)
    assert str(call) == "welcome(user=42, template='rich')"
    assert [other.task for other in kit.enqueued("fetch")] == []


def test_calls_are_asserted_by_arguments_and_options(program, kit):
    program.welcome.using(delay=60, headers={"a": "1", "b": "2"}).enqueue(42)

    kit.assert_enqueued(program.welcome)
    kit.assert_enqueued(program.welcome, 42)
    kit.assert_enqueued(program.welcome, user=42)
    kit.assert_enqueued(program.welcome.using(delay=60), 42)
    kit.assert_enqueued(program.welcome.using(headers={"b": "2"}))
    kit.assert_enqueued(program.welcome.using(delay=timedelta(minutes=1), queue="default"))
    kit.assert_not_enqueued(program.welcome, 43)
    kit.assert_not_enqueued(program.welcome, 42, template="plain")
    kit.assert_not_enqueued(program.welcome.using(delay=61))
    kit.assert_not_enqueued(program.welcome.using(queue="other"))
    kit.assert_not_enqueued(program.fetch)


def test_a_failed_assertion_says_what_there_was(program, kit):
    with pytest.raises(AssertionError, match=r"no call welcome\(user=1\) was enqueued; there was none"):
        kit.assert_enqueued(program.welcome, 1)
    program.welcome.enqueue(2)
    with pytest.raises(AssertionError, match=r"with delay=5 was enqueued; there were:\n  welcome\(user=2\)"):
        kit.assert_enqueued(program.welcome.using(delay=5), 2)
    with pytest.raises(AssertionError, match=r"a call welcome\(...\) was enqueued"):
        kit.assert_not_enqueued(program.welcome)


def test_an_assertion_of_arguments_that_do_not_fit_is_an_error(program, kit):
    with pytest.raises(UsageError, match="user"):
        kit.assert_enqueued(program.welcome, "42")


def test_jobs_are_listed_in_the_order_of_sending(program, kit):
    program.welcome.enqueue(1)
    program.fetch.enqueue("a")
    program.welcome.enqueue(13)
    kit.drain()

    assert [(job.queue, job.state) for job in kit.jobs()] == [
        ("default", State.DONE),
        ("web", State.DONE),
        ("default", State.SCHEDULED),
    ]
    assert [job.kind for job in kit.jobs(program.fetch)] == ["fetch"]
    assert [job.runs[-1].error.message for job in kit.jobs("welcome", state=State.SCHEDULED)] == ["no user 13"]
    assert [job.kind for job in kit.jobs(queue="web")] == ["fetch"]


def test_listeners_of_the_app_hear_what_happens(program, kit):
    heard = []
    program.app.listen(Event, heard.append)

    program.welcome.enqueue(1)

    assert isinstance(heard[0], Sent)


# -- the App before, after and within -----------------------------------------------------------------------------


def test_afterwards_the_app_is_as_it_was(program):
    before = program.welcome.enqueue(1)
    with harness(program.app) as kit:
        program.welcome.enqueue(2)
        kit.drain()
        assert program.app.queue("default").stats().done == 1

    assert program.app.queue("default").browse(JobFilter()).jobs[0].id == before.id
    assert before.refresh().state is State.READY
    with program.app.worker(drain=True) as worker:
        worker.join(10)
    assert before.result(timeout=5) == "plain"
    program.app.close()


def test_the_app_is_as_it_was_too_when_the_kit_cannot_begin(program, monkeypatch):
    app, clock = program.app, program.app._clock
    app.schedule(every=60)(program.app.task(name="report")(lambda: None))
    monkeypatch.setattr(type(app.schedules), "register", lambda self: 1 / 0)

    with pytest.raises(ZeroDivisionError), harness(app):
        pass

    assert app._clock is clock


def test_an_app_that_was_closed_is_closed_again(program):
    program.app.close()

    with harness(program.app) as kit:
        program.welcome.enqueue(2)
        assert kit.drain().done == 1

    with pytest.raises(Exception, match="closed"):
        program.welcome.enqueue(3)


def test_a_kit_within_a_kit_begins_empty_and_leaves_the_outer_alone(program, kit):
    program.welcome.enqueue(1)

    with harness(program.app) as inner:
        assert inner.jobs() == []
        inner.leap(3600)
        program.fetch.enqueue("a")
        assert inner.drain().done == 1

    assert [call.task for call in kit.enqueued()] == ["welcome"]
    assert kit.drain().done == 1


def test_a_worker_of_the_test_itself_works_in_the_kit(program, kit):
    job = program.welcome.enqueue(1)

    with program.app.worker(drain=True) as worker:
        assert worker.join(10).done == 1

    assert job.refresh().state is State.DONE


def test_what_the_block_leaves_behind_is_let_go(program):
    with harness(program.app) as kit:
        program.app.queue("raw").send(b"x")
        with program.app.queue("raw").lease():
            pass

    assert isinstance(kit, Kit)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("holdfast-heartbeat")]


# -- async tests --------------------------------------------------------------------------------------------------


def test_a_drain_may_be_called_inside_a_running_loop(program, kit):
    async def main():
        job = await program.welcome.aenqueue(1)
        kit.drain()
        return await job.aresult(timeout=5)

    assert asyncio.run(main()) == "plain"


def test_handlers_can_use_the_loop_of_the_test_while_it_awaits(program, kit):
    async def main():
        loop, asked = asyncio.get_running_loop(), asyncio.Event()

        @program.app.task
        def ask() -> None:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
            loop.call_soon_threadsafe(asked.set)

        await ask.using(delay=5).aenqueue()
        report = await kit.aadvance(5) + await kit.adrain()
        await asked.wait()
        return report

    assert asyncio.run(main()).done == 1


def test_handlers_know_their_job(program, kit):
    @program.app.task
    async def know() -> None:
        program.seen.append(current_job().kind.rpartition(".")[2])

    know.enqueue()
    kit.drain()

    assert program.seen == ["know"]


# -- a store that fails -------------------------------------------------------------------------------------------


def test_the_store_of_the_kit_fails_on_command(program, kit):
    kit.faults.fail("send")

    with pytest.raises(BackendError, match="send failed on demand"):
        program.welcome.enqueue(1)
    assert kit.enqueued() == []
    program.welcome.enqueue(1)
    assert len(kit.enqueued()) == 1


def test_a_run_whose_settlement_seemed_to_fail_happens_once(program, kit):
    program.welcome.enqueue(1)
    kit.faults.fail("settle", after=True)

    kit.drain()

    assert program.seen == [(1, 1)]
    assert kit.jobs()[0].state is State.DONE


# -- with everything else an App has ------------------------------------------------------------------------------


def test_subscribers_run_and_are_seen(program, kit):
    @program.app.on("user.created")
    def add_to_crm(event: dict[str, int]) -> None:
        program.seen.append(event)

    program.app.publish("user.created", {"id": 7})
    report = kit.drain()

    assert (report.done, program.seen) == (2, [{"id": 7}])
    assert [str(call) for call in kit.enqueued()] == [
        "user.created(event={'id': 7})",
        "user.created/add_to_crm(event={'id': 7})",
    ]


def test_dependencies_of_the_app_are_made_anew_and_cleaned_up_with_the_block(program):
    made = []

    def connection():
        made.append("open")
        yield len(made)
        made.append("closed")

    @program.app.task
    def use(*, its: int = Depends(connection, scope="app")) -> None:
        program.seen.append(its)

    use()
    with harness(program.app) as kit:
        use.enqueue()
        use.enqueue()
        kit.drain()
        assert made == ["open", "open"]
    assert made == ["open", "open", "closed"]
    use()
    program.app.close()

    assert program.seen == [1, 2, 2, 1]
    assert made == ["open", "open", "closed", "closed"]


def test_middleware_surrounds_runs_and_sends(program, kit):
    @program.app.middleware.run
    def around(ctx: Context):
        program.seen.append("before")
        yield
        program.seen.append("after")

    program.welcome.enqueue(1)
    kit.drain()

    assert program.seen == ["before", (1, 1), "after"]


def test_schedules_tick_at_their_instants_as_time_passes(program):
    @program.app.schedule(every=timedelta(minutes=5))
    @program.app.task
    def every_five() -> None:
        program.seen.append(round((kit.clock.wall() - begun) / 1000))

    with harness(program.app) as kit:
        begun = kit.clock.wall()
        assert kit.advance(299).ticks == 0
        report = kit.advance(timedelta(minutes=15))

        assert (report.ticks, report.done) == (3, 3)
        assert program.seen == [300, 600, 900]
        assert len(kit.enqueued(every_five)) == 3
        assert len(program.app.schedules.ticks(every_five.name)) == 3


def test_cron_schedules_are_tested_from_a_chosen_start(program):
    @program.app.schedule(cron="0 9 * * MON-FRI", tz="Europe/Paris")
    @program.app.task
    def report() -> None:
        program.seen.append(datetime.fromtimestamp(kit.clock.wall() / 1000, UTC).isoformat())

    with harness(program.app, start=datetime(2026, 3, 27, tzinfo=UTC)) as kit:  # the clocks change that weekend
        kit.advance(timedelta(days=4))

    assert program.seen == ["2026-03-27T08:00:00+00:00", "2026-03-30T07:00:00+00:00"]


def test_what_a_schedule_missed_while_nobody_worked_is_caught_up_by_its_policy(program):
    @program.app.schedule(every=60)
    @program.app.task
    def minutely() -> None:
        program.seen.append("ran")

    with harness(program.app) as kit:
        kit.leap(timedelta(hours=1))
        assert kit.jobs() == []

        assert kit.drain().ticks == 1


def test_schedules_that_are_added_in_the_test_tick_too(program, kit):
    program.app.schedules.add(program.welcome.call(1), name="nightly", every=3600)

    assert kit.advance(timedelta(hours=2)).done == 2


def test_events_that_were_replaced_read_as_their_job_does(program, kit):
    program.welcome.using(unique=Unique("w", on_conflict="replace"), delay=5).enqueue(1)
    program.welcome.using(unique=Unique("w", on_conflict="replace"), delay=5).enqueue(2)

    [call] = kit.enqueued(program.welcome)

    assert call.arguments == {"user": 2}
    assert call.unique.key == "w"
    assert kit.advance(5).done == 1
