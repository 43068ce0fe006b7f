"""What code declares and what a program changes at run time: app.schedules and @app.schedule."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast import App
from holdfast.capabilities import Cron, Every
from holdfast.contract import Features, QueueBackend
from holdfast.delivery import State
from holdfast.errors import NotSupported, UsageError
from holdfast.message import Level
from holdfast.testing.clock import MovableClock

START = int(datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def clock():
    return MovableClock(START, ticking=False)


@pytest.fixture(params=["memory:", "sqlite:///{}/jobs.db"])
def app(request, tmp_path, clock):
    app = App(request.param.format(tmp_path), clock=clock)

    @app.task(queue="q", name="step")
    def step(number: int = 0) -> None: ...

    yield app
    app.close()


@pytest.fixture
def step(app):
    return app.tasks["step"]


def rule_of(app, name="step"):
    return app.schedules.get(name).definition.rule


# -- code ---------------------------------------------------------------------------------------------------------


def test_a_declared_schedule_leaves_the_task_as_it_was(app):
    @app.task(queue="q", name="report")
    def report() -> str:
        return "done"

    assert app.schedule(cron="0 9 * * MON-FRI", tz="Europe/Paris")(report) is report
    assert report() == "done"


def test_declaring_touches_no_store(app, step):
    app.schedule(every=60)(step)

    assert app.schedules.list() == []


def test_what_code_declares_is_registered_under_its_tasks_name(app, step):
    app.schedule(cron="0 9 * * MON-FRI", tz="Europe/Paris", kwargs={"number": 3}, missed="all", overlap="replace")(step)

    [schedule] = app.schedules.register()

    assert (schedule.queue, schedule.name, schedule.version) == ("q", "step", 1)
    definition = schedule.definition
    assert definition.rule == Cron("0 9 * * MON-FRI", "Europe/Paris")
    assert (definition.template.kind, definition.template.body) == ("step", b'{"number":3}')
    assert (definition.missed, definition.overlap, definition.source) == ("all", "replace", "code")


def test_a_plain_function_is_refused_naming_the_order(app):
    with pytest.raises(UsageError, match=r"put @app\.schedule\(…\) above @app\.task"):

        @app.schedule(every=60)
        def report() -> None: ...


def test_a_second_schedule_of_a_task_needs_a_name(app, step):
    app.schedule(every=60)(step)

    with pytest.raises(UsageError, match=r"there is a schedule 'step' already; .*@app\.schedule\(name=…\)"):
        app.schedule(every=90)(step)
    app.schedule(every=90, name="step often")(step)
    assert [one.name for one in app.schedules.register()] == ["step", "step often"]


def test_registering_again_changes_nothing(app, step, clock):
    """Every worker does it at its start, and must not fence the others."""
    app.schedule(every=60)(step)
    first = app.schedules.register()
    clock.move(30)

    assert app.schedules.register() == first


def test_registering_again_keeps_the_next_tick_though_options_change(app, step, clock):
    """G-T58: the watermark stays, and whoever has read the old definition is fenced."""
    app.schedules.add(step.call(1), every=60)
    clock.move(30)

    [again] = app.schedules.add(step.call(2), every=60, overlap="allow")

    assert (again.next, again.version) == (START + 60_000, 2)
    assert again.definition.rule == Every(60.0, START)


def test_another_rule_starts_anew(app, step, clock):
    app.schedules.add(step.call(), every=60)
    clock.move(30)

    [again] = app.schedules.add(step.call(), every=90)

    assert again.definition.rule == Every(90.0, START + 30_000)
    assert again.next == START + 120_000


def test_a_pause_outlives_a_restart_of_the_code(app, step, clock):
    app.schedule(every=60)(step)
    app.schedules.register()
    app.schedules.pause("step")

    app.schedules.register()

    assert app.schedules.get("step").paused
    assert app.schedules.get("step").next is None


def test_code_takes_over_a_manual_schedule_of_its_name(app, step):
    app.schedules.add(step.call(), every=60)
    app.schedule(every=60)(step)

    [schedule] = app.schedules.register()

    assert (schedule.definition.source, schedule.next) == ("code", START + 60_000)


def test_a_schedule_of_code_that_no_worker_lists_is_an_orphan(app, step):
    app.schedule(every=60)(step)
    app.schedules.register()
    app.schedules.add(step.call(), name="manual", every=60)

    assert [(one.name, one.orphaned) for one in app.schedules.list()] == [("manual", False), ("step", True)]


def test_an_orphan_does_not_tick(app, step, clock):
    """The deployment that declared it is gone."""
    app.schedule(every=60)(step)
    app.schedules.register()
    clock.move(60)
    other = App(app.url.text, clock=clock) if app.url.scheme == "sqlite" else None

    if other is not None:
        assert other.schedules.ticker(["q"]).tick() == 0
        other.close()
    assert app.schedules.ticker(["q"]).tick() == 1


def test_a_worker_serves_the_queues_of_declared_schedules_too(app, step, clock):
    app.schedule(every=60, queues=["eu", "us"])(step)

    assert app.schedules.queues() == ["eu", "us"]
    with app.worker() as worker:
        assert worker.holder


# -- run time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "needs cron= or every="),
        ({"cron": "* * * * *", "every": 60}, "one of the two"),
        ({"cron": "* * * *"}, "has 4 fields"),
        ({"cron": "61 * * * *"}, "minute '61'"),
        ({"cron": "* * * * *", "tz": "Europe/Pariss"}, "did you mean 'Europe/Paris'"),
        ({"cron": "* * * * *", "start": datetime(2026, 1, 1, tzinfo=UTC)}, "start= belongs to every="),
        ({"every": 60, "tz": "UTC"}, "tz= belongs to cron="),
        ({"every": 0}, "every= must be"),
        ({"every": 60, "start": datetime(2026, 1, 1)}, "start must be a datetime with a time zone"),  # noqa: DTZ001
        ({"every": 60, "missed": "some"}, "missed must be 'latest', 'all' or 'skip', not 'some'"),
        ({"every": 60, "overlap": "some"}, "overlap must be"),
        ({"every": 60, "jitter": -1}, "jitter must be seconds"),
        ({"every": 60, "queues": "q"}, "queues must be several texts"),
        ({"every": 60, "name": "a\nb"}, "name must be a printable text"),
        ({"every": 60, "overlapp": "skip"}, r"unknown schedule option 'overlapp' \(did you mean 'overlap'\?\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(app, step, options, text):
    """G-T49: a wrong specification, before anything is stored."""
    with pytest.raises(UsageError, match=text):
        app.schedules.add(step.call(), **options)

    assert app.schedules.list() == []


def test_a_call_with_a_delay_is_refused(app, step):
    with pytest.raises(UsageError, match="has no delay"):
        app.schedules.add(step.using(delay=5).call(), every=60)


def test_what_code_declares_is_not_added_by_hand(app, step):
    app.schedule(every=60)(step)
    app.schedules.register()

    with pytest.raises(UsageError, match="is one of code"):
        app.schedules.add(step.call(), every=60)
    with pytest.raises(UsageError, match="declared in code"):
        app.schedules.edit("step", every=90)


def test_an_edit_changes_what_is_given(app, step, clock):
    app.schedules.add(step.call(1), every=60, overlap="allow")
    clock.move(30)

    [edited] = app.schedules.edit("step", jitter=5)
    assert (edited.next, edited.definition.jitter, edited.definition.overlap) == (START + 60_000, 5.0, "allow")
    [edited] = app.schedules.edit("step", cron="0 9 * * *")
    assert (rule_of(app), edited.next) == (Cron("0 9 * * *"), START + 3_600_000)
    [edited] = app.schedules.edit("step", call=step.call(2))
    assert edited.definition.template.body == b'{"number":2}'
    assert edited.version == 4


def test_a_paused_schedule_that_is_edited_stays_paused(app, step, clock):
    app.schedules.add(step.call(), every=60)
    app.schedules.pause("step")

    [edited] = app.schedules.edit("step", every=90)
    assert (edited.paused, edited.next) == (True, None)
    [resumed] = app.schedules.resume("step")
    assert (resumed.paused, resumed.next) == (False, START + 90_000)


def test_pausing_twice_is_no_change(app, step):
    app.schedules.add(step.call(), every=60)

    [first], [second] = app.schedules.pause("step"), app.schedules.pause("step")

    assert first.paused
    assert second.paused


def test_running_now_sends_the_call_and_is_no_tick(app, step):
    app.schedules.add(step.call(7), every=60)
    app.schedules.pause("step")

    [stored] = app.schedules.run("step")

    assert app.queue("q").get(stored.id).body == b'{"number":7}'
    assert app.schedules.ticks("step") == []
    assert app.job("q", stored.id).refresh().state is State.READY


def test_the_next_ticks_can_be_seen(app, step):
    app.schedules.add(step.call(), every=timedelta(minutes=30))
    noon = datetime(2026, 3, 2, 8, tzinfo=UTC)

    assert app.schedules.next("step", 3) == [noon + timedelta(minutes=30 * n) for n in (1, 2, 3)]
    app.schedules.pause("step")
    assert app.schedules.next("step", 1) == [noon + timedelta(minutes=30)]


def test_ticks_can_be_paged_by_time(app, step, clock):
    app.schedules.add(step.call(), every=60)
    clock.move(180)
    app.schedules.ticker(["q"]).tick()

    newest = app.schedules.ticks("step", limit=1)
    before = datetime.fromtimestamp(newest[0].tick / 1000, UTC)
    assert [tick.outcome.value for tick in app.schedules.ticks("step", before=before)] == ["missed", "missed"]


def test_a_removed_schedule_is_gone(app, step, clock):
    app.schedules.add(step.call(), every=60)

    assert [one.name for one in app.schedules.remove("step")] == ["step"]

    clock.move(60)
    assert app.schedules.ticker(["q"]).tick() == 0
    assert app.schedules.list() == []


def test_an_unknown_name_suggests_the_nearest(app, step):
    app.schedules.add(step.call(), every=60)

    for verb in (app.schedules.get, app.schedules.pause, app.schedules.run, app.schedules.remove, app.schedules.next):
        with pytest.raises(UsageError, match=r"no schedule is called 'stap' \(did you mean 'step'\?\)"):
            verb("stap")
    with pytest.raises(UsageError, match="in queue 'r'"):
        app.schedules.get("step", "r")


def test_a_schedule_of_several_queues_is_changed_in_all_or_in_one(app, step):
    app.schedules.add(step.call(), every=60, queues=["a", "b"])

    assert [one.queue for one in app.schedules.pause("step")] == ["a", "b"]
    assert [one.queue for one in app.schedules.resume("step", "b")] == ["b"]
    assert [(one.queue, one.paused) for one in app.schedules.list()] == [("a", True), ("b", False)]
    assert [stored.queue for stored in app.schedules.run("step")] == ["a", "b"]
    with pytest.raises(UsageError, match=r"is in the queues 'a', 'b': say which, with queue="):
        app.schedules.get("step")
    assert app.schedules.get("step", "a").queue == "a"


def test_a_store_without_the_power_says_so(clock):
    class Bare(QueueBackend):
        features = Features(level=Level.MEMORY, durable=False, multi_process=False, multi_host=False, max_body=1)

        def close(self):
            return 0

    app = App("memory:", clock=clock)
    app._life._open_store = Bare

    with pytest.raises(NotSupported, match="Bare keeps no schedules"):
        app.schedules.list()
