"""Programs that the process tests start: ``python -m tests.processes.programs NAME URL …``, one JSON line a fact."""

import asyncio
import itertools
import json
import os
import random
import sqlite3
import sys
import threading
import time
import zlib
from pathlib import Path

from holdfast import CONTEXT, App, Cancel, Context, current_job
from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.delivery import Ack, GiveBack, HolderInfo, Nack
from holdfast.message import Message, Unique
from holdfast.stores import open_store
from holdfast.testing import SharedClock

QUEUE = "work"


def say(**facts):
    # One write, so that threads neither mix their lines nor leave one in a buffer when the process is killed.
    os.write(sys.stdout.fileno(), (json.dumps(facts) + "\n").encode())


def body_of(job_id):
    """A body that tells whether it is whole: a checksum, then up to 20 kB that depend on the id."""
    noise = random.Random(job_id).randbytes(random.Random(job_id).randrange(20_000))
    return zlib.crc32(noise).to_bytes(4, "little") + noise


def trade(url, seconds):
    """Send and lease and ack on one queue, in batches of all sizes, until the time is over."""
    store, end = open_store(parse_url(url)), time.monotonic() + float(seconds)
    holder, draw = f"trader#{os.getpid()}", random.Random(os.getpid())
    store.beat(HolderInfo(id=holder, ttl=60.0, queues=(QUEUE,), kinds=("",)))
    sent, acked, lost, turn = [], [], 0, 0
    while time.monotonic() < end:
        turn += 1
        batch = [
            Message(id=f"{holder}-{turn}-{n}", body=b"x" * draw.randrange(200)) for n in range(draw.randrange(1, 40))
        ]
        sent += [one.id for one in store.send(QUEUE, batch)]
        leased = store.lease(QUEUE, holder, f"{holder}-{turn}", limit=draw.randrange(1, 60), kinds=("",), max_format=1)
        lost += len(store.settle([Ack(one.receipt) for one in leased]))
        acked += [one.id for one in leased]
    store.close()
    say(sent=sent, acked=acked, lost=lost)


def pour(url):
    """Send batches for ever; say the ids of each when the store has said that it is stored."""
    store, draw = open_store(parse_url(url)), random.Random(os.getpid())
    while True:
        batch = [Message(body=b"") for _ in range(draw.randrange(1, 10))]
        whole = [Message(id=one.id, body=body_of(one.id), key=draw.choice([None, "a", "b"])) for one in batch]
        say(stored=[one.id for one in store.send(QUEUE, whole)])


def labour(url):
    """Work on tasks with a real worker until killed or drained; say when each job starts."""
    app = App(url)

    @app.task(queue=QUEUE, name="step")
    def step(number: int) -> None:
        say(started=number, token=current_job().token)
        time.sleep(0.002)

    with app:
        app.worker([QUEUE], concurrency=4, embedded=False, drain=True, ttl=2.0).run()
    say(drained=True)


def cling(url):
    """Work with a real worker on jobs that never end; say which process a job has started in."""
    app = App(url)

    @app.task(queue=QUEUE, name="step")
    def step(number: int) -> None:
        say(started=os.getpid(), at=time.monotonic())
        threading.Event().wait()

    app.worker([QUEUE], embedded=False).run()


def endure(url):
    """Work on jobs that never end by themselves, in a thread and on the loop; say when each starts and is stopped."""
    app = App(url)

    @app.task(queue=QUEUE, name="thread")
    def in_thread(number: int, *, ctx: Context = CONTEXT) -> None:
        say(started="thread")
        while not ctx.cancel_requested:
            time.sleep(0.001)
        say(stopped="thread", at=time.monotonic())
        raise Cancel("as asked")

    @app.task(queue=QUEUE, name="loop")
    async def on_loop(number: int) -> None:
        say(started="loop")
        try:
            await asyncio.Event().wait()
        finally:
            say(stopped="loop", at=time.monotonic())

    app.worker([QUEUE], embedded=False).run()


def hoard(url, is_async):
    """Work with a real worker that leases far ahead, on quick jobs and on two that never end; say which those are."""
    app = App(url)

    def step(number: int) -> None:
        if number < 1000:
            say(started=number)
            threading.Event().wait()

    async def async_step(number: int) -> None:
        if number < 1000:
            say(started=number)
            await asyncio.Event().wait()

    app.task(queue=QUEUE, name="step")(async_step if int(is_async) else step)
    app.worker([QUEUE], concurrency=2, embedded=False).run()


def insist(url, times):
    """Send the same unique key again and again; say what was answered, and between which instants."""
    store, answers = open_store(parse_url(url)), []
    for _ in range(int(times)):
        before = SYSTEM.wall()
        [stored] = store.send(QUEUE, [Message(body=b"", max_attempts=None, unique=Unique("the only one"))])
        answers.append([stored.id, stored.duplicate, before, SYSTEM.wall()])
    store.close()
    say(answers=answers)


def serve(url, stop):
    """Lease and settle, some jobs only after a failure or when given back, until told to stop and nothing is left."""
    store, holder, turn = open_store(parse_url(url)), f"server#{os.getpid()}", 0
    store.beat(HolderInfo(id=holder, ttl=600.0, queues=(QUEUE,), kinds=("",)))
    verbs = itertools.cycle([Ack, Ack, Nack, Ack, GiveBack, Ack])
    while True:
        leased = store.lease(QUEUE, holder, f"{holder}-{turn}", limit=10, kinds=("",), max_format=1)
        store.settle([next(verbs)(one.receipt) for one in leased])
        turn += 1
        if not leased and Path(stop).exists():
            break
        store.wait([QUEUE], ("",), 0.05)
    store.close()
    say(turns=turn)


def tick(url, clock):
    """Fire what is due whenever a line comes in; say how many jobs that sent."""
    app = App(url, clock=SharedClock(Path(clock), ticking=False))
    ticker = app.schedules.ticker([QUEUE])
    for _ in sys.stdin:
        say(sent=ticker.tick())


def transact(url, driver):
    """Work on jobs, each of which counts itself in a table and is acked in the same transaction, until killed."""
    import apsw

    library = sqlite3 if driver == "sqlite3" else apsw
    app, place = App(url), parse_url(url).path

    @app.task(queue=QUEUE, name="count", retry=1000)
    def count(number: int, *, ctx: Context = CONTEXT) -> None:
        connection = library.Connection(place)
        connection.execute("PRAGMA busy_timeout = 20000")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO done VALUES (?)", (number,))
        count.using(connection=connection).enqueue(number + 1000) if number < 1000 else None
        say(acking=number)
        ctx.ack_in(connection)
        say(acked=number)
        connection.execute("COMMIT")
        say(committed=number)
        connection.close()

    with app:
        app.worker([QUEUE], concurrency=2, embedded=False, drain=True, ttl=2.0).run()
    say(drained=True)


PROGRAMS = {
    program.__name__: program for program in (transact, trade, pour, labour, cling, endure, hoard, insist, serve, tick)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
