"""The logs of an App over its life: tidied, lent to a test, forked, closed."""

import logging
import subprocess
import sys
import textwrap
import threading
from types import ModuleType

import pytest

from holdfast import App, Closed
from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.errors import NotSupported
from holdfast.events import Event, Events, GroupExpired, GroupPins, LogTrimmed
from holdfast.stores import LOGS_BUILT_IN, open_logs
from holdfast.stores.memory import MemoryBackend
from holdfast.testing import harness
from holdfast.testing.clock import MovableClock
from holdfast.worker import tidying as tidying_module


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def app(clock):
    app = App("memory:", clock=clock, events=Events(None))
    yield app
    app.close()


@pytest.fixture
def heard(app):
    heard = []
    app.listen(Event, heard.append)
    return heard


def tidy(app):
    app._life.tidy(threading.Event())


def test_retention_is_told(app, clock, heard):
    log = app.log("orders", keep_for=60)
    log.append_many([b"12345", b"6"])
    clock.move(61)
    log.append(b"new")

    tidy(app)

    assert [(event.messages, event.bytes > 0) for event in heard if isinstance(event, LogTrimmed)] == [(2, True)]
    assert log.read().bodies == [b"new"]
    tidy(app)
    assert len(heard) == 1


def test_a_group_that_expires_is_told(app, clock, heard):
    log = app.log("orders", group_expiry=60)
    log.append(b"")
    log.group("billing").seek(to="earliest")
    clock.move(61)
    tidy(app)
    assert heard == [GroupExpired("orders", "billing")]


def test_a_group_that_keeps_data_unread_is_told_once_a_day(app, clock, heard):
    log = app.log("orders", until_consumed=True, keep_for=60)
    log.append(b"12345")
    log.group("billing").seek(to="earliest")
    clock.move(120)
    tidy(app)
    assert heard == []

    clock.move(3600)
    tidy(app)
    clock.move(3600)
    tidy(app)
    (told,) = heard
    assert isinstance(told, GroupPins)
    assert (told.log, told.group, round(told.idle)) == ("orders", "billing", 3720)
    assert told.bytes > 0

    clock.move(86_400)
    tidy(app)
    assert len(heard) == 2
    log.group("billing").forget()
    tidy(app)
    assert [type(event) for event in heard] == [GroupPins, GroupPins, LogTrimmed]


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (LogTrimmed(3, 100), logging.INFO),
        (GroupExpired("orders", "billing"), logging.WARNING),
        (GroupPins("orders", "billing", 100, 3600.0), logging.WARNING),
    ],
)
def test_an_operator_reads_of_it(event, level, caplog):
    with caplog.at_level(logging.INFO, logger="holdfast"):
        Events().emit(event)
    (record,) = caplog.records
    assert record.levelno == level
    assert all(str(value) in record.getMessage() for value in (100, "billing") if value in record.__dict__.values())


def test_an_app_that_only_appends_tidies_all_the_same(monkeypatch):
    monkeypatch.setattr(tidying_module, "TIDY_EVERY", 0.01)
    app = App("memory:")
    trimmed = threading.Event()
    app.listen(LogTrimmed, lambda event: trimmed.set())
    app.log("orders", keep_most=1).append_many([b"a"])
    app.log("orders").append(b"b")
    assert trimmed.wait(20)
    app.close()


def test_an_app_in_the_kit_has_logs_of_its_own(tmp_path):
    app = App(f"sqlite:///{tmp_path}/jobs.db", logs=f"sqlite:///{tmp_path}/logs.db")
    with harness(app) as kit:
        app.log("orders", partitions=2).append(b"in the kit")
        with app.log("orders").group("billing").member() as member:
            assert len(member.poll(wait=0)) == 1
        before = app.log_backend.ends("orders")
        kit.clock.move(60)
        assert app.log_backend.ends("orders") == before
    assert list(tmp_path.iterdir()) == []

    app.log("orders").append(b"outside")
    with harness(app):
        assert app.logs() == []
    assert app.log("orders").depth() == 1
    app.close()


def open_alone(url, *, clock):
    """Open logs that no queue stands beside, as a third party's store may."""
    return open_logs(parse_url("memory:"), clock=clock)


def test_an_app_of_a_store_without_queues_serves_its_logs(monkeypatch):
    module = ModuleType("alone")
    module.open_alone = open_alone
    monkeypatch.setitem(sys.modules, "alone", module)
    monkeypatch.setitem(LOGS_BUILT_IN, "onlylogs", "alone:open_alone")
    app = App("onlylogs:")
    for _ in range(2):
        with app:
            assert app.log("orders").append(b"").offset == 0
            assert [place.name for place in app.select()] == ["orders"]
            with pytest.raises(NotSupported, match="logs"):
                app.queue("mail").send(b"")


def test_a_closed_app_has_no_member_left():
    app = App("memory:")
    app.log("orders").append(b"")
    member = app.log("orders").group("billing").member()
    app.close()
    with pytest.raises(Closed):
        member.poll()
    member.close()


def test_a_store_without_logs_says_what_to_do(monkeypatch):
    class Bare:
        """A store of queues alone."""

        def __init__(self):
            self._store = MemoryBackend()

        def __getattr__(self, name):
            if name == "open_logs":
                raise AttributeError(name)
            return getattr(self._store, name)

    monkeypatch.setattr("holdfast.app.open_store", lambda url, clock: Bare())
    app = App("memory:")
    with pytest.raises(NotSupported, match="logs="):
        app.log("orders").append(b"")
    app.queue("mail").send(b"")
    assert [place.name for place in app.select()] == ["mail"]
    app.close()


FORK = """
    import os, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads: that is the test
    from holdfast import App, Closed
    app = App("sqlite:///jobs.db")
    log = app.log("orders")
    log.append(b"parent")
    with log.group("billing").member() as member:
        batch = member.poll(wait=10)
        child = os.fork()
        if child == 0:
            try:
                member.poll()
            except Closed as error:
                print(error)
            member.close()
            print("child at", log.append(b"child").offset)
            with log.group("billing").member() as own:
                print("child has", list(own.assigned), own.poll(wait=0).bodies)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("parent", member.commit(batch.next_offsets), member.poll(wait=10).bodies)
"""


@pytest.mark.slow
def test_after_a_fork_the_child_opens_anew_and_the_parent_goes_on(tmp_path):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    refused, *others = sorted(done.stdout.splitlines())
    assert "join anew" in refused
    assert others == ["child at 1", "child has [] []", "parent {0: 1} [b'child']"]


def test_lent_logs_end_with_the_loan():
    app = App("memory:")
    with app._life.lend(MemoryBackend(), SYSTEM):
        member = app.log("orders", partitions=1)
        member.append(b"")
        inside = app.log("orders").group("billing").member()
    with pytest.raises(Closed):
        inside.poll()
    inside.close()
