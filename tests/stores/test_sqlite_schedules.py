"""What schedules cost in a file: a look-up is as cheap with 100 000 of them as with 100."""

import pytest

from holdfast import App
from holdfast.capabilities import Definition, Every, Schedule, Template
from holdfast.config import parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import UsageError
from holdfast.events import Events, ScheduleFailed
from holdfast.stores import open_store
from holdfast.stores.sqlite.connection import Connection, Location
from holdfast.stores.sqlite.schedules import due
from holdfast.testing import MovableClock

STEPS = 10
"""How many of SQLite's own steps one count stands for."""


@pytest.fixture
def file(tmp_path):
    """A file with one schedule that is due and ``many`` of later, in the queue ``q``."""

    def make(many):
        path, clock = tmp_path / f"{many}.db", MovableClock(ticking=False)
        store = open_store(parse_url(f"sqlite:///{path}?sync=normal"), clock=clock)
        definition = Definition(rule=Every(60.0, 0), template=Template(kind="k", body=b""))
        store.save_schedule(Schedule(queue="q", name="due", definition=definition, next=clock.wall()), 0)
        store.close()
        connection = Connection(Location(path))
        connection.execute(COPY, (many, clock.wall()))
        return connection, clock

    return make


COPY = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
INSERT INTO holdfast_schedule (queue, name, definition, source, next, version, created)
SELECT queue, 'later ' || n, definition, iif(n % 2, 'manual', 'code'), ?2 + n, 1, ?2 FROM holdfast_schedule, number
"""


def steps_of(connection, look):
    """Return what ``look`` returns, how many statements it made, and how many steps they took."""
    counted, statements = [], []
    connection._raw.set_progress_handler(lambda: bool(counted.append(1)), STEPS)
    execute, connection.execute = connection.execute, lambda *args: (statements.append(1), execute(*args))[1]
    found = look(connection)
    connection._raw.set_progress_handler(None)
    del connection.execute
    return found, len(statements), len(counted)


@pytest.mark.slow
def test_looking_for_what_is_due_costs_the_same_with_100_000_schedules(file):
    seen = []
    for many in (100, 100_000):
        connection, clock = file(many)
        found, *cost = steps_of(connection, lambda it, now=clock.wall(): due(it, ["q"], [], 100, now))
        assert [one.name for one in found.schedules] == ["due"]
        assert found.next == clock.wall() + 1
        seen.append(cost)
        connection.close()

    (few, few_steps), (many, many_steps) = seen
    assert few == many == 2
    assert abs(few_steps - many_steps) <= 2, "the look-up walks"


def test_a_beat_asks_one_more_question_whether_there_are_schedules_or_not(tmp_path):
    clock = MovableClock(ticking=False)
    store = open_store(parse_url(f"sqlite:///{tmp_path}/jobs.db"), clock=clock)

    assert store.beat(HolderInfo(id="w#1", ttl=10.0, queues=("q", "r"))).next_tick is None
    store.close()


def test_a_damaged_schedule_is_reported_and_stops_no_other(tmp_path):
    """G-T61."""
    clock, failed = MovableClock(ticking=False), []
    events = Events(logger=None)
    events.listen(ScheduleFailed, failed.append)
    app = App(f"sqlite:///{tmp_path}/jobs.db", clock=clock, events=events)
    step = app.task(queue="q", name="step")(lambda: None)
    for name in ("good", "poison"):
        app.schedules.add(step.call(), name=name, every=60)
    app.backend._writer.run(lambda tx: tx.execute(DAMAGE))
    clock.move(60)
    ticker = app.schedules.ticker(["q"])

    assert [ticker.tick(), ticker.tick()] == [1, 0]
    assert [one.schedule for one in failed] == ["poison"]
    assert [one.name for one in app.schedules.list()] == ["good"]
    app.close()


def test_a_damaged_schedule_is_told_to_who_adds_it_again_and_can_be_removed(tmp_path):
    app = App(f"sqlite:///{tmp_path}/jobs.db")
    step = app.task(queue="q", name="step")(lambda: None)
    app.schedules.add(step.call(), name="poison", every=60)
    app.backend._writer.run(lambda tx: tx.execute(DAMAGE))

    with pytest.raises(UsageError, match="cannot be read"):
        app.schedules.add(step.call(), name="poison", every=60)
    assert app.schedules.remove("poison") == []
    assert [one.name for one in app.schedules.add(step.call(), name="poison", every=60)] == ["poison"]
    with pytest.raises(UsageError, match="no schedule is called 'posion'"):
        app.schedules.remove("posion")
    app.close()


DAMAGE = "UPDATE holdfast_schedule SET definition = '{}' WHERE name = 'poison'"
