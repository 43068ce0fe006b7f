"""A session for each job, a database for the worker, a middleware around both; and a fake in their place."""

import logging
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing

from holdfast import App, Bury, Context, Depends, Retry

logging.disable()  # the failure is on purpose
folder = tempfile.TemporaryDirectory()
app = App(f"sqlite:///{folder.name}/jobs.db")


def database() -> Iterator[str]:
    path = f"{folder.name}/shop.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as db:
        db.execute("CREATE TABLE stock (item TEXT, number INTEGER CHECK (number > 0))")
        yield path
        print("rows kept:", db.execute("SELECT * FROM stock").fetchall())


def session(path: str = Depends(database, scope="worker")) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as db:
        yield db
        db.commit()  # comes only after a run that went well


@app.middleware.run
def told(ctx: Context) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        print("refused:", error)
        raise Bury(error) from error


@app.task(retry=Retry(attempts=3, base=0))
def deliver(item: str, number: int, *, db: sqlite3.Connection = Depends(session)) -> None:
    db.execute("INSERT INTO stock VALUES ('delivery note', 1)")
    db.execute("INSERT INTO stock VALUES (?, ?)", (item, number))


def main() -> None:
    with app:
        deliver.enqueue("pears", 4)
        deliver.enqueue("plums", -1)
        with app.worker(drain=True, concurrency=1) as worker:
            worker.join()
        with app.dependencies.override(session, lambda: sqlite3.connect(":memory:")):
            try:
                deliver("figs", 2)
            except sqlite3.OperationalError as error:
                print("in the fake:", error)
    folder.cleanup()


if __name__ == "__main__":
    main()
