"""Own clients and pools: what reaches a store's opener, and what is refused."""

import sqlite3

import apsw
import pytest

from holdfast import App
from holdfast.capabilities import Logs
from holdfast.config import parse_url
from holdfast.errors import ConfigError, NotSupported
from holdfast.stores import open_logs, open_store
from holdfast.stores.memory import MemoryBackend

pytestmark = pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")


def with_threads(path):
    return sqlite3.connect(path, check_same_thread=False)


def test_memory_takes_neither_client_nor_pool():
    for name in ("client", "pool"):
        with pytest.raises(NotSupported, match=f"memory.* no {name}=, neither client= nor pool="):
            open_store(parse_url("memory:"), **{name: object()})


def test_sqlite_takes_a_client_and_no_pool(tmp_path):
    with pytest.raises(NotSupported, match="no pool=, only client="):
        App(f"sqlite:///{tmp_path}/jobs.db", pool=object()).queues()
    with pytest.raises(ConfigError, match="a function"):
        App(f"sqlite:///{tmp_path}/jobs.db", client=apsw.Connection(":memory:")).queues()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("driver", "connect"), [("apsw", apsw.Connection), ("sqlite3", with_threads)])
def test_the_store_works_on_connections_that_the_program_opens(tmp_path, driver, connect):
    paths = []

    def client(path):
        paths.append(path)
        connection = connect(path)
        if driver == "apsw":
            connection.row_trace = lambda cursor, row: None
            connection.create_scalar_function("theirs", lambda: 7)
        else:
            connection.row_factory, connection.text_factory = sqlite3.Row, bytes
            connection.create_function("theirs", 0, lambda: 7)
        return connection

    with App(f"sqlite:///{tmp_path}/jobs.db?driver={driver}", client=client) as app:

        @app.task(name="add", result=60)
        def add(a: int) -> int:
            return a + 1

        job = add.enqueue(1)
        with app.worker(drain=True) as worker:
            worker.join(30)

        assert job.result(10) == 2
        assert app.backend._reader.read(lambda one: one.execute("SELECT theirs()")) == [(7,)]
    assert set(paths) == {f"{tmp_path}/jobs.db"}


def test_connections_of_the_other_library_are_refused_and_closed(tmp_path):
    opened = []

    def client(path):
        opened.append(with_threads(path))
        return opened[0]

    with pytest.raises(ConfigError, match=r"not an apsw\.Connection"):
        App(f"sqlite:///{tmp_path}/a.db", client=client).queues()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_connections_for_one_thread_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="check_same_thread=False"):
        App(f"sqlite:///{tmp_path}/a.db?driver=sqlite3", client=sqlite3.connect).queues()


def test_a_store_of_others_gets_what_its_opener_names(monkeypatch):
    got = []

    def open_own(url, *, clock, pool=None):
        got.append(pool)
        return MemoryBackend(clock)

    monkeypatch.setattr("holdfast.stores._opener", lambda url: open_own)
    pool = object()
    App("own:", pool=pool).queues()
    App("own:").queues()
    with pytest.raises(NotSupported, match="no client=, only pool="):
        App("own:", client=pool).queues()

    assert got == [pool, None]


def test_logs_are_asked_of_the_store_that_holds_them(monkeypatch):
    class Both(MemoryBackend, Logs):
        def open_logs(self):
            return self

    monkeypatch.setattr("holdfast.stores._opener", lambda url: lambda url, *, clock: Both(clock))

    logs = open_logs(parse_url("both:"))

    assert isinstance(logs, Both)


def test_a_store_without_logs_is_closed_and_says_so(monkeypatch):
    closed = []

    class QueuesAlone:
        def close(self):
            closed.append(self)

    monkeypatch.setattr("holdfast.stores._opener", lambda url: lambda url, *, clock: QueuesAlone())
    with pytest.raises(NotSupported, match="holds no logs"):
        open_logs(parse_url("own:"))
    assert len(closed) == 1
