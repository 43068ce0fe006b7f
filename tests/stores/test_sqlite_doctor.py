"""What the doctor of a SQLite file finds when something is wrong with it."""

import sqlite3
from types import SimpleNamespace

import apsw
import pytest

from holdfast.delivery import Ack, HolderInfo
from holdfast.message import Message
from holdfast.stores.sqlite import doctor
from tests.stores.sqlite_harness import SqliteHarness

pytestmark = pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")


@pytest.fixture
def harness(tmp_path):
    with SqliteHarness(tmp_path) as harness:
        yield harness


@pytest.fixture
def store(harness):
    store = harness.open()
    store.send("work", [Message(id="a", body=b"a"), Message(id="b", body=b"b", key="k")])
    return store


@pytest.fixture
def file(tmp_path):
    return tmp_path / "jobs.db"


def found(store, level):
    return [one.what for one in store.examine() if one.level == level]


def edit(file, sql):
    theirs = apsw.Connection(str(file))
    theirs.execute(sql)
    theirs.close()


def test_a_healthy_file_is_well_in_every_respect(store):
    store.beat(HolderInfo(id="w#1", ttl=1000.0, queues=("work",), kinds=("",)))
    [a, _] = store.lease("work", "w#1", "l", limit=2, kinds=("",), max_format=9)
    store.settle([Ack(a.receipt, b"kept", 60.0)])

    assert found(store, "error") == found(store, "warn") == []
    told = "\n".join(found(store, "ok"))
    for text in ("permissions are 0600", "free on its disk", "pages are sound", "tables are of version", "SQLite 3.",
                 "through apsw", "commits wait for the disk", "WAL of", "counts are those of its jobs", "1 holders",
                 "totals of its logs",
                 "queue 'work'"):  # fmt: skip
        assert text in told


def test_permissions_for_others_are_warned_of(store, file):
    file.chmod(0o644)

    assert "its permissions are 0644" in found(store, "warn")


def test_wrong_counts_are_an_error_that_names_the_queue(store, file):
    edit(file, "UPDATE holdfast_count SET jobs = jobs + 5 WHERE state = 'ready'")

    assert found(store, "error") == ["counts are wrong: queue 'work', kind '': 7 ready counted, 2 found"]


def test_counts_without_jobs_and_jobs_without_counts_are_errors(store, file):
    edit(file, "DELETE FROM holdfast_count")
    assert "0 ready counted, 2 found" in found(store, "error")[0]
    edit(file, "INSERT INTO holdfast_count VALUES (99, 'dead', 1)")
    assert "queue None, kind None: 1 dead counted, 0 found" in found(store, "error")[0]


def test_a_holder_that_went_silent_is_warned_of(store, harness):
    store.beat(HolderInfo(id="w#1", ttl=10.0, queues=("work",), kinds=("",)))
    harness.elapse(11)

    assert "holders went silent: w#1" in found(store, "warn")


def test_a_damaged_file_is_an_error(store, harness, file):
    harness.close()
    with file.open("r+b") as raw:
        raw.seek(file.stat().st_size // 2)
        raw.write(b"\xff" * 8192)

    [error] = [one for one in harness.open().examine() if one.level == "error"][:1]
    assert "damaged" in error.what or "damaged" in error.why
    assert "copy" in error.advice


def test_what_is_no_database_is_an_error(harness, file):
    file.write_bytes(b"not a database" * 1000)

    [error] = [one for one in harness.open().examine() if one.level == "error"]
    assert "no SQLite database" in error.why


def test_tables_of_a_newer_release_are_an_error(store, harness, file):
    harness.close()
    edit(file, "UPDATE holdfast_meta SET value = 99 WHERE name = 'version'")
    reopened = harness.open()

    assert "version 99" in str([one for one in reopened.examine() if one.level == "error"])


def test_little_room_is_warned_of_and_no_room_an_error(store, monkeypatch):
    for free, level in ((100 << 20, "warn"), (1 << 20, "error")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        assert f"{free >> 20} MiB free on its disk" in found(store, level)


def test_a_network_file_system_is_an_error(store, monkeypatch):
    monkeypatch.setattr(doctor, "file_system", lambda path: "nfs4")

    assert "the file lies on nfs4" in found(store, "error")


def test_a_library_with_the_wal_reset_race_is_warned_of(tmp_path):
    with SqliteHarness(tmp_path, "?driver=sqlite3") as harness:
        warned = [one for one in harness.open().examine() if one.level == "warn"]
    expected = sqlite3.sqlite_version_info < (3, 51, 3)

    assert [f"SQLite {sqlite3.sqlite_version} through sqlite3"] * expected == [one.what for one in warned]


def test_a_wal_that_cannot_shrink_is_warned_of(store, monkeypatch):
    monkeypatch.setattr(doctor, "LARGE_WAL", 1)

    assert any(what.startswith("WAL of") for what in found(store, "warn"))


def test_a_file_that_somebody_keeps_from_being_written_is_an_error(tmp_path):
    with SqliteHarness(tmp_path, "?busy=0.1") as harness:
        store = harness.open()
        store.send("work", [Message(body=b"")])
        caller = harness.connect()
        caller.begin()

        assert "it cannot be written" in found(store, "error")
        caller.rollback()
