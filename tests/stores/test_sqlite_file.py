"""What only a SQLite file can meet: modes, drivers, foreign and newer files, full disks, files that vanish."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import apsw
import pytest

from benchmarks.ours.statements import Statements
from holdfast.config import QueueSettings, parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError, ConfigError, NotSupported, QueueFull
from holdfast.message import Level, Message, Unique
from holdfast.stores import open_store
from holdfast.stores.sqlite import migrate
from holdfast.testing import MovableClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
def open_(path):
    opened = []

    def open_(options=""):
        opened.append(open_store(parse_url(f"sqlite:///{path}{options}")))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_0600_and_made_directories_0700_whatever_the_umask(tmp_path):
    umask = os.umask(0)
    try:
        store = open_store(parse_url(f"sqlite:///{tmp_path}/a/b/jobs.db"))
        store.send("work", [Message(body=b"x")])
        modes = {file.name: mode(file) for file in (tmp_path / "a" / "b").iterdir()}
        store.close()
    finally:
        os.umask(umask)

    assert modes == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600}
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_a_place_that_was_there_and_is_away_may_come_back(tmp_path):
    """What never was there is a mistake in the URL; what was is waited for."""
    place, away = tmp_path / "place", tmp_path / "away"
    store = open_store(parse_url(f"sqlite:///{place}/jobs.db"))
    store.send("work", [Message(body=b"x")])
    place.rename(away)
    place.touch()

    with pytest.raises(BackendError, match="is away: Not a directory") as failure:
        store.send("work", [Message(body=b"y")])
    with pytest.raises(ConfigError, match="must exist or be creatable"):
        open_store(parse_url(f"sqlite:///{place}/other.db")).queues()

    assert failure.value.retryable
    place.unlink()
    away.rename(place)
    store.send("work", [Message(body=b"y")])
    assert store.stats("work").ready == 2
    store.close()


def test_nothing_is_touched_before_first_use(open_, path):
    open_()

    assert not path.exists()


def test_a_send_is_synced_by_default_and_only_written_by_choice(open_):
    full, normal = open_(), open_("?sync=normal")

    assert full.send("work", [Message(body=b"x")])[0].level is Level.SYNCED
    assert normal.send("work", [Message(body=b"x")])[0].level is Level.WRITTEN


@pytest.mark.filterwarnings("ignore:.*WAL-reset race:RuntimeWarning")
def test_a_file_that_moved_is_bound_as_long_as_a_connection_of_ours_is_open(path, open_):
    """What bears a file's number once it is gone is another file: file systems give numbers again. The program may have
    opened that one by then.
    """
    first = open_()
    first.send("work", [Message(body=b"x")])
    moved = path.rename(path.with_name("moved.db"))
    other = parse_url(f"sqlite:///{moved}?driver=sqlite3")

    with pytest.raises(ConfigError, match="has been open"):
        open_store(other).stats("work")

    first.close()
    with closing(sqlite3.connect(moved)) as theirs, closing(open_store(other)) as store:
        theirs.execute("PRAGMA schema_version")
        assert store.send("work", [Message(body=b"x")])[0].level is Level.SYNCED


def test_a_file_open_through_one_driver_is_refused_to_the_other(open_):
    open_().send("work", [Message(body=b"x")])

    with pytest.raises(ConfigError, match=r"has been open .* through apsw; .*: open it with \?driver=apsw"):
        open_("?driver=sqlite3").send("work", [Message(body=b"x")])


@contextmanager
def busy_connection(path):
    """The program's own, in the middle of a statement; yields what ends that."""
    is_running, may_end = threading.Event(), threading.Event()

    def hold():
        is_running.set()
        may_end.wait(30)

    with closing(apsw.Connection(str(path))) as connection, ThreadPoolExecutor(1) as threads:
        connection.create_scalar_function("hold", hold, 0)
        threads.submit(connection.execute, "SELECT hold()")
        is_running.wait(30)
        yield may_end
        may_end.set()


def test_a_busy_connection_to_another_file_is_in_nobodys_way(open_, path):
    with busy_connection(path.with_name("other.db")):
        assert open_("?busy=0.1").send("work", [Message(body=b"x")])[0].level is Level.SYNCED


def test_a_busy_connection_of_the_program_is_asked_when_it_is_not_busy(open_, path):
    with busy_connection(path) as may_end:
        with pytest.raises(BackendError, match=r"has been busy for 0.1 s, and may be to .*jobs.db") as caught:
            open_("?driver=sqlite3&busy=0.1").stats("work")
        assert caught.value.retryable

        threading.Timer(0.05, may_end.set).start()
        with pytest.raises(ConfigError, match="through apsw"):
            open_("?driver=sqlite3").stats("work")


def test_an_old_library_is_warned_of(open_):
    if sqlite3.sqlite_version_info >= (3, 51, 3):
        open_("?driver=sqlite3").stats("work")
        return
    with pytest.warns(RuntimeWarning, match="WAL-reset race fixed in 3.51.3"):
        open_("?driver=sqlite3").stats("work")


def test_a_file_of_a_newer_release_is_left_alone(open_, path):
    open_().send("work", [Message(body=b"x")])
    in_other_process(path, "UPDATE holdfast_meta SET value = 99 WHERE name = 'version'")

    with pytest.raises(NotSupported, match=r"tables of version 99, this release knows \d+; upgrade Holdfast"):
        open_().send("work", [Message(body=b"y")])

    assert in_other_process(path, "SELECT count(*) FROM holdfast_job") == "1"


def test_a_file_of_the_first_release_gets_the_tables_that_it_lacks(open_, path):
    """G-T59: schedules come to a file that had none."""
    in_other_process(path, f"CREATE TABLE holdfast_meta {META}")
    for statement in migrate._statements(1)[1:]:
        in_other_process(path, statement)
    in_other_process(path, "INSERT INTO holdfast_meta VALUES ('version', 1)")

    open_().send("work", [Message(body=b"x")])

    assert tables(path) == tables_of_a_new_file(path.parent / "new.db")


def test_a_migration_known_later_than_its_successors_is_still_carried_out(open_, path, monkeypatch):
    known = migrate.known()
    monkeypatch.setattr(migrate, "known", lambda: (1, known[-1]))
    store = open_()
    store.declare("work", QueueSettings())
    store.close()
    monkeypatch.undo()

    open_().send("work", [Message(body=b"y")])

    assert tables(path) == tables_of_a_new_file(path.parent / "new.db")


META = "(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID"


def tables(path):
    return in_other_process(path, "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema ORDER BY name)")


def tables_of_a_new_file(path):
    store = open_store(parse_url(f"sqlite:///{path}"))
    store.send("work", [Message(body=b"x")])
    store.close()
    return tables(path)


def test_a_file_that_is_no_database_is_said_to_be_damaged(open_, path):
    path.write_bytes(b"these are not the jobs you are looking for" * 100)

    with pytest.raises(BackendError, match="is damaged or no SQLite database") as caught:
        open_().send("work", [Message(body=b"x")])

    assert not caught.value.retryable


def test_the_tables_of_an_application_stay_beside_ours(open_, path):
    in_other_process(path, "CREATE TABLE customer (name TEXT)")

    open_().send("work", [Message(body=b"x")])

    assert in_other_process(path, "SELECT count(*) FROM customer") == "0"


def test_a_write_lock_held_too_long_elsewhere_names_the_way_out(open_, path):
    store = open_("?busy=0.1")
    store.send("work", [Message(body=b"x")])
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holding.stdout.readline()

    with pytest.raises(BackendError, match=r"writing for 0\.1 s; .* end it before you send") as caught:
        store.send("work", [Message(body=b"y")])
    holding.communicate("\n")

    assert caught.value.retryable
    assert not store.send("work", [Message(body=b"y")])[0].duplicate


HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


def test_a_deleted_file_is_made_again(open_, path):
    store = open_()
    store.send("work", [Message(body=b"x")])
    for file in path.parent.iterdir():
        file.unlink()

    store.send("work", [Message(body=b"y")])

    assert store.stats("work").ready == 1
    assert path.exists()


@pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")
@pytest.mark.parametrize("library", [apsw, sqlite3], ids=lambda library: library.__name__)
def test_who_opens_a_file_that_another_makes_waits_for_it(open_, path, monkeypatch, library):
    statements = Statements(monkeypatch.setattr)
    with closing(library.Connection(str(path))) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")

        opened = pool.submit(open_(f"?driver={library.__name__}").queues)

        while statements.made["PRAGMA journal_mode = WAL"] < 2 and not opened.done():
            threading.Event().wait(0.001)
        other.execute("ROLLBACK")
        assert opened.result(10) == {}


def test_a_failing_command_does_not_spoil_those_that_share_its_commit(open_):
    store = open_()
    store.beat(HolderInfo(id="worker#1", ttl=60.0))
    outcomes = []
    start = threading.Barrier(16)

    def send(number):
        start.wait()
        try:
            store.send("work", [Message(body=b"x" * (2 << 20) if number % 4 == 0 else b"x")])
            outcomes.append("stored")
        except Exception as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["BodyTooLarge"] * 4 + ["stored"] * 12
    assert store.stats("work").ready == 12


def test_a_full_disk_stops_writes_keeps_reads_and_resumes(path):
    program = f"{FULL_DISK}\nmain({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.split() == ["refused", "retryable", "readable", "resumed"], done.stderr


FULL_DISK = """
import resource, signal
from holdfast.config import QueueSettings, parse_url
from holdfast.errors import BackendError
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.sqlite import migrate

def main(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = open_store(parse_url(f"sqlite:///{path}"))
    stored = store.send("work", [Message(body=b"x")])[0].id
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        for _ in range(100):
            store.send("work", [Message(body=b"x" * 100_000)])
    except BackendError as error:
        print("refused", "retryable" if error.retryable else repr(error))
    print("readable" if store.get("work", stored) else "unreadable")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.send("work", [Message(body=b"x")])
    print("resumed")
"""


@pytest.mark.slow
def test_a_fork_in_the_midst_of_everything_leaves_a_child_that_can_use_the_store(path):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, path], timeout=60, check=False)

    assert done.returncode == 0


FORKS = """
import os, signal, sys, threading
from holdfast.config import QueueSettings, parse_url
from holdfast.delivery import State
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.sqlite import migrate

def open_():
    return open_store(parse_url(f"sqlite:///{sys.argv[1]}?sync=normal"))

def hammer(act):
    while not over.is_set():
        act()

store, over = open_(), threading.Event()
watch = store.watch()
watch.add("work", [store.send("work", [Message(body=b"")])[0].id])
acts = [lambda: store.send("work", [Message(body=b"")]), lambda: store.get("work", "x"), lambda: watch.wait(0.001),
        lambda: open_().close()]
threads = [threading.Thread(target=hammer, args=(act,), daemon=True) for act in acts]
for thread in threads:
    thread.start()
for number in range(60):
    child = os.fork()
    if not child:
        signal.alarm(10)  # a child that hangs ends itself, and with it the test
        mine = open_()
        mine.send("work", [Message(body=b"", id=f"child {number}")])
        os._exit(0 if mine.get("work", f"child {number}") else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, (number, status)
over.set()
for thread in threads:
    thread.join()
"""


def test_a_send_to_a_full_queue_makes_no_jobs_ready(path):
    """A backlog of a million would be made ready in one transaction, while everybody waits."""
    clock = MovableClock(ticking=False)
    store = open_store(parse_url(f"sqlite:///{path}"), clock=clock)
    store.declare("q", QueueSettings(limit=2))
    store.send("q", [Message(body=b"", delay=1), Message(body=b"", delay=1)])
    clock.move(1)

    with pytest.raises(QueueFull):
        store.send("q", [Message(body=b"")])
    store.close()

    assert in_other_process(path, "SELECT count(*) FROM holdfast_job WHERE state = 'scheduled'") == "2"


def test_tidying_says_that_there_is_more_until_the_last_slot_of_removed_jobs_is_gone(open_, path):
    store = open_()
    ids = [stored.id for key in "abcde" for stored in store.send("q", [Message(body=b"", unique=Unique(key))])]
    assert len(store.remove("q", ids)) == 5

    rounds = 1
    while store.tidy(2).more:
        rounds += 1

    assert rounds == 3
    assert in_other_process(path, "SELECT count(*) FROM holdfast_slot") == "0"


def in_other_process(path, sql):
    """Run one statement where the standard library's SQLite cannot harm the locks of ours."""
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); r = c.execute(sys.argv[2]).fetchall(); c.commit()"
    command = [sys.executable, "-c", f"{program}; print(*r[0] if r else ())", path, sql]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
