"""The bare loop on SQLite, synced at every commit: the store's statements on one connection, without its writer thread.

Two commits a batch: what is leased is written down before anything is called, what was called after.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from benchmarks.bare import BATCH
from benchmarks.job import BODY, Request, Stopwatch, emit, noop, request
from holdfast.clock import SYSTEM, boot_id
from holdfast.delivery import Ack, Delivery, HolderInfo, Receipt
from holdfast.message import FORMAT, Level, Message
from holdfast.stores.sqlite import jobs, sends, upkeep
from holdfast.stores.sqlite.connection import Connection, Location
from holdfast.stores.sqlite.file import OpenFile
from holdfast.stores.sqlite.writer import Transaction

QUEUE, KIND, HOLDER = "default", "noop", "bare#1"

Result = TypeVar("Result")


class File:
    """One connection, and transactions on it one after the other."""

    def __init__(self, asked: Request) -> None:
        self.connection: Connection = OpenFile(Location(asked.directory / "bare.db", sync="full")).connection()
        self._lanes: dict[tuple[int, str, int], int] = {}

    def commit(self, command: Callable[[Transaction], Result]) -> Result:
        self.connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction(self.connection, SYSTEM, self._lanes)
        result = command(transaction)
        transaction.flush()
        self.connection.execute("COMMIT")
        return result

    def send(self, messages: list[Message]) -> None:
        self.commit(lambda tx: sends.send(tx, QUEUE, messages, Level.SYNCED))

    def lease(self, wanted: jobs.Wanted) -> list[Delivery]:
        return self.commit(lambda tx: jobs.lease(tx, wanted))

    def settle(self, acks: list[Ack]) -> list[Receipt]:
        return self.commit(lambda tx: jobs.settle(tx, acks, Level.SYNCED))


def fill(file: File, number: int) -> float:
    body = BODY.encode()
    messages = [Message(body=body, kind=KIND) for _ in range(number)]
    watch = Stopwatch()
    for start in range(0, number, BATCH):
        file.send(messages[start : start + BATCH])
    return watch.rate(number)


def process(file: File, number: int) -> float:
    decode, kinds = msgspec.json.decode, frozenset({KIND})
    holder = HolderInfo(id=HOLDER, ttl=3600.0, queues=(QUEUE,), kinds=(KIND,))
    file.commit(lambda tx: upkeep.beat(tx, holder, boot_id()))
    watch, done = Stopwatch(), 0
    while granted := file.lease(jobs.Wanted(QUEUE, HOLDER, str(done), BATCH, kinds, FORMAT)):
        acks = []
        for delivery in granted:
            noop(**decode(delivery.body))
            acks.append(Ack(Receipt(QUEUE, delivery.id, delivery.token)))
        done += len(acks) - len(file.settle(acks))
    rate = watch.rate(number)
    assert done == number
    return rate


def main() -> None:
    asked = request()
    file = File(asked)
    enqueued = fill(file, asked.jobs)
    processed = process(file, asked.jobs)
    settings = {name: file.connection.execute(f"pragma {name}")[0][0] for name in ("journal_mode", "synchronous")}
    version = file.connection.execute("select sqlite_version()")[0][0]
    emit(f"SQLite {version}", {"batch": BATCH} | settings, {"processed": processed, "enqueued": enqueued})


main()
