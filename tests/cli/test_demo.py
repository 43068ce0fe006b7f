import json
import shutil
from pathlib import Path

import msgspec
import pytest

from holdfast.app import App
from holdfast.capabilities import JobFilter
from holdfast.delivery import State
from holdfast.demo import progress, runs
from holdfast.demo import run as course_of
from holdfast.demo.checks import attempts_used, check
from holdfast.demo.plan import bring, make_plan, standard_library
from holdfast.demo.progress import NAME, PROGRESS
from holdfast.demo.run import run
from holdfast.demo.runs import LOG, Audit, Run
from holdfast.demo.survey import QUEUE, Survey, declare, survey, survey_file
from holdfast.events import Events

FILES = 101
"""Enough for each kind of planned failure: every 25th file, the 100th, and the two that are missing."""


def write_sources(folder):
    folder.mkdir()
    for number in range(FILES):
        (folder / f"file{number:03}.py").write_text(f"import os, json\nfrom . import x\nname = {number}\n")
    return folder


@pytest.fixture
def sources(tmp_path):
    """A directory with Python files."""
    return write_sources(tmp_path / "sources")


@pytest.fixture
def place(tmp_path):
    """Where the demo's databases go."""
    place = tmp_path / "place"
    place.mkdir()
    return place


# -- the task ---------------------------------------------------------------------------------------------------


def test_a_file_is_surveyed():
    assert survey(b"import os.path, json\nfrom . import a\nfrom os import b\nc = d + c\n") == Survey(
        lines=4, names=3, imports={"os": 2, "json": 1, ".": 1}
    )


def test_of_a_file_that_does_not_parse_the_lines_are_counted():
    assert survey(b"a = (\n\n") == Survey(lines=2, names=0, imports={})


def test_the_task_is_still_a_plain_function(sources):
    assert survey_file(str(sources / "file000.py")).lines == 3


def test_the_standard_library_has_several_hundred_files_to_survey(tmp_path):
    plan = make_plan(standard_library(), tmp_path)

    assert len(plan) > 300
    assert not any("site-packages" in one.source.parts for one in plan)


def test_who_fails_is_planned_by_place(sources, place):
    failures = [one.failures for one in make_plan(sources, place)]

    assert [at for at, number in enumerate(failures, start=1) if number == 1] == [25, 50, 75]
    assert [at for at, number in enumerate(failures, start=1) if number == 2] == [100]
    assert [at for at, number in enumerate(failures, start=1) if number == 3] == [3, 12]


# -- the command ------------------------------------------------------------------------------------------------


def test_the_demo_ends_by_itself_keeps_its_promises_and_leaves_nothing_behind(holdfast, sources, place):
    answer = holdfast("demo", "--source", sources, "--dir", place)

    assert answer.code == 0
    assert answer.out.splitlines()[:6] == [
        "101 files: 303 lines, 101 names, 303 imports",
        "imported most: os 101, json 101",
        "",
        "done at the first attempt      95",
        "done after one retry            3",
        "done after two retries          1",
    ]
    assert "dead letters                    2  repaired, replayed: 2" in answer.out
    assert "events logged and read        112\n" in answer.out
    assert "ticks, one a second " in answer.out
    assert answer.out.count("kept  ") == 9
    assert list(place.iterdir()) == []


def test_the_demo_tells_the_same_as_json(holdfast, sources, place):
    document = holdfast("demo", "--source", sources, "--dir", place, "--json").document

    assert document["ok"] is True
    assert document["done_in_attempt"] == {"1": 95, "2": 3, "3": 1}
    assert (document["dead"], document["replayed"]) == (2, 2)
    assert len(document["done_at_ticks"]) == document["ticks"]
    assert document["events"] == 112
    assert document["top_imports"][0] == {"module": "os", "count": 101}
    assert all(check["kept"] for check in document["checks"])
    assert document["url"] is None


def test_a_kept_database_can_be_looked_at_with_the_commands_that_are_printed(holdfast, sources, place):
    said = holdfast("demo", "--source", sources, "--dir", place, "--keep").out

    commands = [line.split()[1:] for line in said.splitlines() if line.startswith("  holdfast ")]
    assert len(commands) == 6
    assert [holdfast(*command).code for command in commands] == [0] * 6


def test_a_broken_promise_makes_the_demo_fail_and_keeps_the_database(holdfast, monkeypatch, sources, place):
    monkeypatch.setattr(course_of, "replay_dead", lambda app: [])

    answer = holdfast("demo", "--source", sources, "--dir", place)

    assert "the demo did not keep its promises; its database is kept to look at" in answer.complaint
    assert "BROKEN  nothing is left waiting, running or dead\n          2 jobs are dead" in answer.out
    assert "BROKEN  the dead letters were those planned, and all were replayed" in answer.out
    assert "holdfast jobs list --url" in answer.out
    assert [file.name for folder in place.iterdir() for file in folder.glob("demo.db")] == ["demo.db"]


def test_a_broken_promise_is_false_in_json(holdfast, monkeypatch, sources, place):
    monkeypatch.setattr(course_of, "replay_dead", lambda app: [])

    answer = holdfast("demo", "--source", sources, "--dir", place, "--json")

    assert answer.code == 1
    document = json.loads(answer.out)
    assert document["ok"] is False
    assert document["url"].endswith("/demo.db")


def test_a_job_that_never_ends_is_named(holdfast, monkeypatch, sources, place):
    monkeypatch.setattr(course_of, "PATIENCE", 0.0)

    assert "has not ended after 0 s" in holdfast("demo", "--source", sources, "--dir", place).complaint
    assert list(place.iterdir()) == []


# -- what the checks notice -------------------------------------------------------------------------------------


PERIOD = 0.05


@pytest.fixture(scope="module")
def went_well(tmp_path_factory):
    """A demo that went well: its database, its plan and its course. It takes a second, so each test looks at a copy."""
    folder = tmp_path_factory.mktemp("demo")
    plan = make_plan(write_sources(folder / "sources"), folder)
    with App(f"sqlite:///{folder}/jobs.db", events=Events(logger=None)) as app:
        course = run(app, plan, period=PERIOD)
    return folder / "jobs.db", plan, course


@pytest.fixture
def app(url, tmp_path, went_well):
    """An App on a copy of the demo's database, with all that the demo declares."""
    shutil.copyfile(went_well[0], tmp_path / "jobs.db")
    with App(url, events=Events(logger=None)) as app:
        declare(app)
        progress.declare(app, PERIOD)
        runs.declare(app)
        yield app


@pytest.fixture
def course(app, went_well):
    """The plan and the course of the demo, and what the checks say against it."""

    _, plan, done = went_well
    return Demo(app, list(plan), msgspec.structs.replace(done, results=dict(done.results), audit=read(done.audit)))


class Demo:
    def __init__(self, app, plan, course):
        self.app, self.plan, self.course = app, plan, course

    def against(self):
        return [text for check_ in check(self.app, self.plan, self.course) for text in check_.against]


def read(other):
    """Return an audit that has read what another has."""
    audit = Audit()
    audit.reads, audit.story = dict(other.reads), dict(other.story)
    return audit


def test_nothing_speaks_against_a_demo_that_went_well(app, course):
    assert course.against() == []
    assert attempts_used(app, course.course) == {1: 95, 2: 3, 3: 1}


def test_the_schedule_ticked_while_the_demo_ran_and_no_longer(app, course):
    ticks = course.course.progress.ticks

    assert len(ticks) >= 5  # the retries alone take 0.6 s
    assert len(course.course.progress.done) == len(ticks)
    assert app.schedules.get(NAME).paused


def test_a_tick_whose_job_is_gone_is_noticed(app, course):
    app.backend.flush(PROGRESS, State.DONE)

    assert len(course.against()) == len(course.course.progress.ticks)
    assert course.against()[0].endswith("was sent; its job is not there")


def test_a_job_of_no_tick_is_noticed(app, course):
    [extra] = app.schedules.run(NAME)

    assert course.against() == [f"job {extra.id} is no tick's"]


def test_a_tick_left_out_is_noticed(course):
    ticks = list(course.course.progress.ticks)
    del ticks[1]
    course.course = msgspec.structs.replace(
        course.course, progress=msgspec.structs.replace(course.course.progress, ticks=ticks)
    )

    assert "a tick was left out" in course.against()


def test_a_job_too_many_is_noticed(app, course):
    extra = app.tasks["holdfast.demo.survey"].enqueue(str(course.plan[0].path))
    with app.worker([QUEUE]):
        extra.result(timeout=30)

    assert course.against() == [
        f"{course.plan[0].path} has 2 jobs",
        "102 jobs are done, of 101 files",
        f"job {extra.id}: the log has done, not nothing",
        "group audit has 1 messages to read",
    ]


def test_a_job_that_was_never_done_is_noticed(app, course):
    app.tasks["holdfast.demo.survey"].enqueue("/nowhere.py")

    assert "/nowhere.py has a job and is not in the plan" in course.against()
    assert "1 jobs are ready" in course.against()


def test_a_lost_job_is_noticed(app, course):
    app.backend.flush(QUEUE, app.backend.browse(QUEUE, JobFilter()).jobs[0].state)

    assert f"{course.plan[0].path} has 0 jobs" in course.against()
    assert "0 jobs are done, of 101 files" in course.against()


def test_a_failure_that_was_not_planned_is_noticed(course):
    course.plan[0] = msgspec.structs.replace(course.plan[0], failures=2)

    job = course.course.jobs[0].id
    assert course.against() == [
        f"{course.plan[0].path} was done in attempt 1, after 0 failures, not 2",
        f"job {job}: the log has done, not failed, failed, done",
        f"job {job}: group audit has done, not failed, failed, done",
    ]


def test_an_event_too_many_is_noticed(app, course):
    job = course.course.jobs[0].id
    app.log(LOG).append(msgspec.json.encode(Run(job, "failed")), key=job)

    assert course.against() == [
        f"job {job}: the log has done, failed, not done",
        "group audit has 1 messages to read",
    ]


def test_an_event_that_was_read_twice_is_noticed(course):
    audit = course.course.audit
    message = next(iter(audit.reads))
    audit.reads[message] = 2

    assert course.against() == [f"message {message} was read 2 times"]


def test_a_wrong_result_is_noticed(course):
    results = course.course.results
    results[course.course.jobs[0].id] = Survey(lines=4, names=1, imports={})

    assert "304 lines in the results, 303 in the files" in course.against()
    assert "the imports in the results are not those in the files" in course.against()


def test_what_is_missing_is_brought_only_when_it_is_time(sources, place):
    plan = make_plan(sources, place)
    missing = [one for one in plan if one.missing]
    assert not any(one.path.exists() for one in missing)

    bring(plan)

    assert all(one.path.read_bytes() == one.source.read_bytes() for one in missing)
    assert Path(missing[0].path).parent == place
