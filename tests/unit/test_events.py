"""The bus: who hears what, and what a listener cannot spoil."""

import logging

import pytest

from holdfast.delivery import Delivery, HolderInfo
from holdfast.errors import UsageError
from holdfast.events import (
    LOGGER,
    BeforeBury,
    BeforeRetry,
    Done,
    Dropped,
    Event,
    Events,
    GateClosed,
    HolderLost,
    JobEvent,
    LoopBlocked,
    Lost,
    Recovered,
    Rescued,
    Retired,
    ScheduleFailed,
    Stalled,
    Started,
    Stuck,
)

JOB = Delivery(queue="mail", id="42", token=1, attempt=2, body=b"", kind="send")


@pytest.fixture
def events():
    events = Events(logger=None)
    events.logger = LOGGER  # it hears nothing, and writes what goes wrong
    return events


def test_a_listener_hears_the_events_it_asked_for(events):
    heard = []
    events.listen(Done, heard.append)

    events.emit(Done(JOB))
    events.emit(Started(JOB))

    assert heard == [Done(JOB)]


@pytest.mark.parametrize(("event_type", "listener"), [("Done", print), (int, print), (Done(JOB), print), (Done, 5)])
def test_what_could_never_be_heard_is_refused(events, event_type, listener):
    with pytest.raises(UsageError, match="a type of event and a function"):
        events.listen(event_type, listener)


def test_who_listens_to_a_root_hears_everything_below_it(events):
    jobs, everything = [], []
    events.listen(JobEvent, jobs.append)
    events.listen(Event, everything.append)

    events.emit(Done(JOB))
    events.emit(Dropped(3))

    assert [type(event) for event in jobs] == [Done]
    assert [type(event) for event in everything] == [Done, Dropped]


def test_events_that_nobody_hears_are_not_wanted(events):
    assert not events.wants(Done)
    stop = events.listen(JobEvent, print)
    assert events.wants(Done)
    assert not events.wants(Dropped)
    stop()
    assert not events.wants(Done)


def test_the_same_listener_can_be_there_twice_and_go_once(events):
    heard = []
    events.listen(Done, heard.append)
    stop = events.listen(Done, heard.append)

    stop()
    events.emit(Done(JOB))

    assert len(heard) == 1


def test_a_listener_that_fails_is_logged_and_spoils_nothing(events, caplog):
    heard = []
    events.listen(Done, lambda event: 1 / 0)
    events.listen(Done, heard.append)

    with caplog.at_level(logging.ERROR, "holdfast"):
        events.emit(Done(JOB))

    assert len(heard) == 1
    assert "a listener to Done events failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


HOLDER = HolderInfo(id="w#1", ttl=30)


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (  # G-T33: a warning for each failed attempt
            BeforeRetry(JOB, ValueError("x"), 1.5),
            "WARNING",
            "send job 42 of queue mail, attempt 2: failed with ValueError('x'); again in 1.5 s",
        ),
        (  # G-T33: an error for each dead letter
            BeforeBury(JOB, ValueError("x"), "ValueError"),
            "ERROR",
            "send job 42 of queue mail, attempt 2: buried: ValueError",
        ),
        (Lost(JOB), "WARNING", "send job 42 of queue mail, attempt 2: counts for nothing, its lease was lost"),
        (Stuck(JOB, 31.0, "File x"), "ERROR", "over its timeout after 31 s, and cannot be stopped\nFile x"),
        (Dropped(3), "WARNING", "3 dead letters dropped by retention"),
        (Rescued(3), "WARNING", "3 jobs taken back from holders that went silent"),
        (Retired(HOLDER, 2), "WARNING", "holder w#1 retired, worker died: its process has gone; 2 jobs taken back"),
        (Stalled("w#1", 30.0, OSError("away")), "ERROR", "w#1 has been unable to lease for 30 s: OSError('away')"),
        (Recovered("w#1", 45.0), "WARNING", "worker w#1 leases again after 45 s"),
        (LoopBlocked(2.0, "File x"), "WARNING", "an async handler has blocked the event loop for 2 s\nFile x"),
        (HolderLost("w#1"), "WARNING", "holder w#1 lost its heartbeat: its leases are void"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_what_operators_should_know_is_logged(caplog, event, level, text):
    with caplog.at_level(logging.WARNING, "holdfast"):
        Events().emit(event)

    (record,) = caplog.records
    assert record.levelname == level
    assert text in record.getMessage()


@pytest.mark.parametrize(
    ("event", "extras"),
    [
        (
            BeforeRetry(JOB, ValueError("x"), 1.5),
            {"queue": "mail", "job_id": "42", "job_kind": "send", "attempt": 2, "error": "ValueError", "delay": 1.5},
        ),
        (
            BeforeBury(JOB, None, "broken"),
            {"queue": "mail", "job_id": "42", "job_kind": "send", "attempt": 2, "reason": "broken"},
        ),
        (
            Stuck(JOB, 31.0, "File x"),
            {"queue": "mail", "job_id": "42", "job_kind": "send", "attempt": 2, "seconds": 31.0},
        ),
        (Rescued(3), {"count": 3}),
        (Retired(HOLDER, 2, 1, "worker died"), {"holder": "w#1", "jobs": 2, "charged": 1, "reason": "worker died"}),
        (Stalled("w#1", 30.0, OSError("away")), {"holder": "w#1", "seconds": 30.0, "error": "OSError"}),
        (GateClosed("send"), {"job_kind": "send"}),
        (
            ScheduleFailed("mail", "daily", ValueError("x"), 2.0),
            {"queue": "mail", "schedule": "daily", "error": "ValueError", "delay": 2.0},
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_a_line_about_an_event_carries_its_fields(caplog, event, extras):
    with caplog.at_level(logging.INFO, "holdfast"):
        Events().emit(event)

    (record,) = caplog.records
    assert {name: vars(record)[name] for name in extras} == extras
    assert record.event == type(event).__name__


def test_a_failure_is_logged_with_its_traceback(caplog):
    try:
        raise ValueError("deep")
    except ValueError as error:
        with caplog.at_level(logging.WARNING, "holdfast"):
            Events().emit(BeforeRetry(JOB, error, 0))

    assert 'raise ValueError("deep")' in caplog.text


def test_jobs_that_go_well_are_not_logged(caplog):
    with caplog.at_level(logging.DEBUG, "holdfast"):
        Events().emit(Started(JOB))
        Events().emit(Done(JOB))

    assert not caplog.records
