"""Callers' connections to SQLite: what is refused, what is left as it was, and when a transaction begins."""

import sqlite3
import sys
import threading
from contextlib import suppress
from functools import partial

import apsw
import pytest

from holdfast import App, UsageError
from holdfast.errors import BackendError, ConfigError, NotSupported
from holdfast.message import Level
from holdfast.stores.sqlite import lending

pytestmark = pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")

LIBRARIES = {"apsw": apsw, "sqlite3": sqlite3}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


@pytest.fixture
def plain():
    """The standard library's module, for what only it has."""
    return sqlite3


@pytest.fixture
def make(tmp_path):
    """Open an App on a file, and connections of its library to the same file."""
    opened = []

    def make(library, options=""):
        app = App(f"sqlite:///{tmp_path}/jobs.db?driver={library.__name__}{options}")
        opened.append(app)
        return app

    yield make
    for app in opened:
        app.close()


@pytest.fixture
def connect(tmp_path):
    opened = []

    def connect(library, **options):
        opened.append(library.Connection(f"{tmp_path}/jobs.db", **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def open_app(make, library):
    """An App whose file has its tables."""
    app = make(library)
    app.queues()
    return app


def ready(app, queue="q"):
    return app.queue(queue).stats().ready


# -- when the transaction begins and ends ------------------------------------------------------------------------


def test_a_with_block_commits_or_rolls_back_what_was_sent_in_it(open_app, library, connect):
    connection, queue = connect(library), open_app.queue("q")
    with connection:
        connection.execute("CREATE TABLE orders (number)")
        queue.send(b"a", connection=connection)
    with suppress(ZeroDivisionError), connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        queue.send(b"b", connection=connection)
        raise ZeroDivisionError

    assert ready(open_app) == 1
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_sqlite3_begins_a_transaction_for_the_send_that_its_commit_ends(make, plain, connect):
    app, connection = make(plain), connect(plain)
    app.queue("q").send(b"a", connection=connection)

    assert connection.in_transaction
    connection.commit()
    assert ready(app) == 1


def test_sqlite3_begins_nothing_that_nobody_would_commit(make, plain, connect):
    app, connection = make(plain), connect(plain, isolation_level=None)
    app.queues()
    with pytest.raises(UsageError, match="BEGIN IMMEDIATE"):
        app.queue("q").send(b"a", connection=connection)
    connection.execute("BEGIN")
    app.queue("q").send(b"a", connection=connection)
    connection.execute("COMMIT")

    assert ready(app) == 1


def test_apsw_outside_a_transaction_is_refused(make, connect):
    app, connection = make(apsw), connect(apsw)
    app.queues()

    with pytest.raises(UsageError, match="with connection:"):
        app.queue("q").send(b"a", connection=connection)
    assert ready(app) == 0


def test_a_savepoint_of_the_callers_undoes_only_its_own(open_app, library, connect):
    connection, queue = connect(library), open_app.queue("q")
    connection.execute("BEGIN")
    queue.send(b"a", connection=connection)
    connection.execute("SAVEPOINT holdfast")  # the name that the store's own has, too
    queue.send(b"b", connection=connection)
    connection.execute("ROLLBACK TO holdfast")
    queue.send(b"c", connection=connection)
    connection.execute("COMMIT")

    assert ready(open_app) == 2


def test_a_send_that_fails_leaves_no_transaction_open_that_it_began(make, plain, connect):
    app, connection = make(plain), connect(plain)
    with pytest.raises(UsageError, match="max_body"):
        app.queue("q").send(b"x" * (1 << 21), connection=connection)

    assert not connection.in_transaction
    app.queue("q").send(b"a")


def test_the_level_is_what_the_callers_commit_reaches(open_app, library, connect):
    connection = connect(library)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN")
    written = open_app.queue("q").send(b"a", connection=connection).level
    connection.execute("COMMIT")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN")
    synced = open_app.queue("q").send(b"a", connection=connection).level
    connection.execute("ROLLBACK")

    assert (written, synced) == (Level.WRITTEN, Level.SYNCED)


def test_sends_wait_for_other_writers_though_the_connection_would_not(open_app, library, connect, monkeypatch):
    waiting, other, asked = connect(library), connect(library), []
    waiting.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    waiting.execute("BEGIN")

    def pause():
        asked.append(True)
        if other.in_transaction:
            other.execute("COMMIT")

    monkeypatch.setattr(lending, "_pause", pause)
    open_app.queue("q").send(b"a", connection=waiting)
    waiting.execute("COMMIT")

    assert asked == [True]
    assert ready(open_app) == 1


# -- what is the caller's stays the caller's ----------------------------------------------------------------------


def test_what_is_set_on_a_sqlite3_connection_neither_matters_nor_changes(make, plain, connect):
    app, connection = make(plain), connect(plain)
    seen = []
    connection.row_factory, connection.text_factory = plain.Row, bytes
    connection.set_trace_callback(seen.append)
    with connection:
        app.queue("q").send(b"a", connection=connection, headers={"x": "y"})
        row = connection.execute("SELECT 'text' AS it").fetchone()

    assert (row["it"], connection.row_factory, connection.text_factory) == (b"text", plain.Row, bytes)
    assert seen
    assert ready(app) == 1


def test_what_is_set_on_an_apsw_connection_neither_matters_nor_changes(make, connect):
    app, connection = make(apsw), connect(apsw)
    app.queues()
    traced = []

    def rows(cursor, row):
        return {"it": row[0]}

    def statements(cursor, sql, bindings):
        traced.append(sql)
        return True

    connection.row_trace, connection.exec_trace = rows, statements
    with connection:
        app.queue("q").send(b"a", connection=connection)
        row = connection.execute("SELECT 'text'").fetchone()

    assert (row, connection.row_trace, connection.exec_trace) == ({"it": "text"}, rows, statements)
    assert not [sql for sql in traced if "holdfast_job" in sql]
    assert ready(app) == 1


# -- what is refused ----------------------------------------------------------------------------------------------


def test_a_connection_to_another_file_is_refused(open_app, library, tmp_path):
    other = library.Connection(f"{tmp_path}/other.db")
    with pytest.raises(UsageError, match=r"other\.db.*jobs\.db"):
        open_app.queue("q").send(b"a", connection=other)
    other.close()
    memory = library.Connection(":memory:")
    with pytest.raises(UsageError, match="no file"):
        open_app.queue("q").send(b"a", connection=memory)
    memory.close()


def test_a_connection_of_the_other_library_is_refused(open_app, library, tmp_path):
    other = sqlite3 if library is apsw else apsw
    foreign = other.Connection(f"{tmp_path}/other.db")

    with pytest.raises(UsageError, match=f"driver={other.__name__}"):
        open_app.queue("q").send(b"a", connection=foreign)
    foreign.close()


def test_a_file_that_the_program_has_open_through_the_other_library_is_not_opened(library, tmp_path):
    other = sqlite3 if library is apsw else apsw
    theirs = other.Connection(f"{tmp_path}/mixed.db")
    theirs.execute("CREATE TABLE orders (number)")
    app = App(f"sqlite:///{tmp_path}/mixed.db?driver={library.__name__}")

    with pytest.raises(ConfigError, match=f"driver={other.__name__}"):
        app.queues()
    theirs.close()
    app.close()


def test_a_file_that_the_program_has_open_through_the_same_library_is_opened(library, tmp_path):
    theirs = library.Connection(f"{tmp_path}/shared.db")
    theirs.execute("CREATE TABLE orders (number)")
    app = App(f"sqlite:///{tmp_path}/shared.db?driver={library.__name__}")

    assert app.queues() == []
    app.close()
    theirs.close()


def test_a_read_only_connection_is_refused(open_app, library, tmp_path):
    reading = (
        apsw.Connection(f"{tmp_path}/jobs.db", flags=apsw.SQLITE_OPEN_READONLY)
        if library is apsw
        else sqlite3.connect(f"file:{tmp_path}/jobs.db?mode=ro", uri=True)
    )
    reading.execute("BEGIN")
    with pytest.raises(UsageError, match="read-only"):
        open_app.queue("q").send(b"a", connection=reading)
    reading.close()


def test_a_closed_connection_is_refused(open_app, library, connect):
    connection = connect(library)
    connection.close()

    with pytest.raises(UsageError, match="closed"):
        open_app.queue("q").send(b"a", connection=connection)


def test_a_connection_of_another_thread_is_refused(make, plain, connect):
    app, connection, errors = make(plain), connect(plain), []
    app.queues()

    def send():
        try:
            app.queue("q").send(b"a", connection=connection)
        except UsageError as error:
            errors.append(str(error))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert "thread" in errors[0]


def test_a_transaction_that_read_before_others_wrote_is_refused(open_app, library, connect):
    connection, queue = connect(library), open_app.queue("q")
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM holdfast_job").fetchall()
    queue.send(b"a")

    with pytest.raises(BackendError, match="BEGIN IMMEDIATE") as refused:
        queue.send(b"b", connection=connection)
    assert not refused.value.retryable
    connection.execute("ROLLBACK")
    assert ready(open_app) == 1


def test_a_file_without_tables_is_to_be_opened_first(make, library, connect):
    app, connection = make(library), connect(library)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(UsageError, match="with app:"):
        app.queue("q").send(b"a", connection=connection)
    connection.execute("ROLLBACK")


def test_memory_takes_no_connection(plain):
    with App("memory:") as app, pytest.raises(NotSupported, match="connection="):
        app.queue("q").send(b"a", connection=object())


# -- beside an open transaction -----------------------------------------------------------------------------------


def test_what_would_wait_for_its_own_threads_transaction_is_refused_at_once(open_app, library, connect):
    connection, queue = connect(library), open_app.queue("q")
    connection.execute("BEGIN")
    queue.send(b"a", connection=connection)
    for call in (partial(queue.send, b"b"), queue.stats, queue.pause):
        with pytest.raises(UsageError, match="connection="):
            call()
    connection.execute("COMMIT")
    queue.send(b"b")

    assert ready(open_app) == 2


def test_other_threads_wait_for_the_transaction_and_then_go_on(open_app, library, connect):
    connection, queue = connect(library), open_app.queue("q")
    connection.execute("BEGIN")
    queue.send(b"a", connection=connection)
    other = threading.Thread(target=queue.send, args=(b"b",))
    other.start()
    connection.execute("COMMIT")
    other.join(30)

    assert ready(open_app) == 2


def test_a_connection_that_merely_reads_later_stands_in_nobodys_way(open_app, library, connect):
    connection, queue = connect(library), open_app.queue("q")
    connection.execute("BEGIN")
    queue.send(b"a", connection=connection)
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM holdfast_job").fetchall()
    queue.send(b"b")
    connection.execute("ROLLBACK")

    assert ready(open_app) == 2


@pytest.mark.parametrize("options", [{}, *([{"autocommit": False}] if sys.version_info >= (3, 12) else [])])
def test_a_send_between_two_transactions_makes_neither_too_old_to_write(make, plain, connect, options):
    app, connection = make(plain), connect(plain, **options)
    queue = app.queue("q")
    queue.send(b"a")
    for end in (connection.commit, connection.rollback, connection.commit):
        queue.send(b"b", connection=connection)
        end()
        queue.send(b"c")

    assert ready(app) == 6


def test_a_send_beside_an_unknown_transaction_ends_with_an_error_that_names_connection(make, library, connect):
    app, connection = make(library, "&busy=0.2"), connect(library)
    app.queues()
    connection.execute("BEGIN IMMEDIATE")

    with pytest.raises(BackendError, match="connection=") as refused:
        app.queue("q").send(b"a")
    assert refused.value.retryable
    connection.execute("ROLLBACK")
