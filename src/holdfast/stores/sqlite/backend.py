"""The contract of a queue store and all its optional powers, kept by one file that many processes share."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from functools import partial

import msgspec

from holdfast.capabilities import Logs
from holdfast.clock import SYSTEM, Clock, boot_id
from holdfast.config import QueueSettings
from holdfast.contract import Features, QueueBackend
from holdfast.delivery import Beat, Delivery, HolderInfo, QueueStats, Receipt, Settlement, State, Tidied
from holdfast.machine import STEP
from holdfast.message import FORMAT, Level, Message, Stored
from holdfast.stores.holders import seen
from holdfast.stores.sqlite import jobs, sends, upkeep
from holdfast.stores.sqlite.chances import Chances
from holdfast.stores.sqlite.connection import Location
from holdfast.stores.sqlite.doctor import SqliteDoctor
from holdfast.stores.sqlite.file import OpenFile, Reader
from holdfast.stores.sqlite.lending import Lender, Lending
from holdfast.stores.sqlite.logs import SqliteLogs
from holdfast.stores.sqlite.operations import Operations
from holdfast.stores.sqlite.orders import advance
from holdfast.stores.sqlite.schedules import KeptSchedules
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.watch import SqliteWatch
from holdfast.stores.sqlite.writer import HELD, QueueRow, Transaction, Writer, queue_row
from holdfast.stores.waiting import Waiting

MAX_BODY = 1 << 30
"""SQLite's own limit on a value is a little under this many bytes."""
LOOK_AT_CLOCK = 1.0
"""How often, in seconds, a wait looks whether somebody has set the clock; it asks the file nothing then."""
_PLACES = statements("places.sql")
_UPKEEP = statements("upkeep.sql")


class SqliteBackend(Operations, KeptSchedules, Lending, SqliteDoctor, Logs, QueueBackend):
    """Queues and logs in a SQLite file in WAL mode. Any number of processes of one machine may have it open."""

    def __init__(self, place: Location, clock: Clock = SYSTEM) -> None:
        level = Level.SYNCED if place.sync == "full" else Level.WRITTEN
        self.features = Features(level=level, durable=True, multi_process=True, multi_host=False, max_body=MAX_BODY)
        self._place, self._clock = place, clock
        self._boot_id = boot_id()
        self._waiting = Waiting(clock)
        self._watches: set[SqliteWatch] = set()
        self._writer = Writer(OpenFile(place), clock, changed=self._changed, listened=self._listened)
        self._reader = Reader(place)
        self._looker = Reader(place)
        self._chances = Chances(self._looker, self._writer, clock)
        self._lender = Lender(place, self._reader, clock)
        self._logs = SqliteLogs(place, self._writer, clock, self._boot_id, self.close)

    def _listened(self) -> bool:
        return self._waiting.has_waiters() or self._logs.wakes.has_listeners()

    def _changed(self) -> None:
        self._waiting.wake()
        self._logs.wakes.ring_all()
        for watch in list(self._watches):
            watch.wake()

    def open_logs(self) -> SqliteLogs:
        return self._logs

    # -- places ---------------------------------------------------------------------------------------------------

    def declare(self, queue: str, settings: QueueSettings) -> None:
        text = msgspec.json.encode(settings).decode()

        def command(tx: Transaction) -> None:
            tx.execute(_PLACES["set_settings"], (tx.declared(queue).number, text))
            tx.altered(queue)

        self._writer.run(command)

    def destroy(self, queue: str) -> int:
        return self._writer.run(lambda tx: upkeep.destroy(tx, queue))

    def queues(self) -> dict[str, QueueSettings]:
        rows = self._reader.read(lambda connection: connection.execute(_PLACES["all_queues"]))
        return {queue.name: queue.settings for queue in map(queue_row, rows)}

    # -- send, lease, wait, settle --------------------------------------------------------------------------------

    def send(self, queue: str, messages: Sequence[Message], *, limited: bool = True) -> list[Stored]:
        return self._writer.run(lambda tx: sends.send(tx, queue, messages, self.features.level, limited=limited))

    def lease(
        self, queue: str, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], max_format: int
    ) -> list[Delivery]:
        wanted = jobs.Wanted(queue, holder, lease_id, limit, kinds, max_format)
        return self._writer.run(lambda tx: jobs.lease(tx, wanted))

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        return self._waiting.wait(self._chances.look(queues, kinds, timeout), timeout, poll=LOOK_AT_CLOCK)

    def interrupt(self) -> None:
        self._waiting.interrupt()

    def settle(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        return self._writer.run(lambda tx: jobs.settle(tx, settlements, self.features.level))

    # -- holders --------------------------------------------------------------------------------------------------

    def beat(self, holder: HolderInfo) -> Beat:
        return self._writer.run(lambda tx: upkeep.beat(tx, holder, self._boot_id), quiet=True)

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None = ()) -> int:
        def command(tx: Transaction) -> int:
            return jobs.take_back(tx, holder, reason, charged) if upkeep.end_holder(tx, holder) else 0

        return self._writer.run(command)

    def holders(self) -> list[HolderInfo]:
        rows = self._reader.read(lambda connection: connection.execute(_UPKEEP["live_holders"]))
        now, here = self._clock.boot(), self._boot_id
        return [
            seen(msgspec.json.decode(info, type=HolderInfo), expires if boot == here else None, now)
            for info, boot, expires in rows
        ]

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tidy(self, limit: int = 1000) -> Tidied:
        look = partial(upkeep.signs, boot_id=self._boot_id, now=self._clock.wall(), boot=self._clock.boot())
        signs, rescued = self._reader.read(look), 0
        if signs.holders:
            rescued = self._writer.run(lambda tx: upkeep.rescue(tx, self._boot_id, limit))
            signs = self._reader.read(look)  # what was taken back may have ended
        tidied = Tidied(rescued=rescued, more=rescued >= limit)
        for queue in signs.queues:
            tidied += self._writer.run(partial(upkeep.tidy_queue, name=queue, limit=limit))
        return tidied

    def stats(self, queue: str) -> QueueStats:
        while (stats := self._writer.run(lambda tx: self._counted(tx, queue))) is None:
            pass
        return stats

    def _counted(self, tx: Transaction, name: str) -> QueueStats | None:
        """Return the statistics, or None when there was more to write down than fits one transaction."""
        queue = tx.queue(name)
        if queue is None:
            return QueueStats(queue=name)
        if max(advance(tx, queue)) == STEP:
            return None
        counts = tx.counts(queue)
        oldest = tx.execute(_PLACES["oldest_ready"], (queue.number,))[0][0]
        return QueueStats(
            queue=name,
            **{state.value: counts.get(state, 0) for state in State},
            held=counts.get(HELD, 0),
            paused=queue.paused,
            oldest_ready=None if oldest is None else max(0, tx.now - oldest) / 1000,
            unhandled=self._unhandled(tx, queue),
        )

    def _unhandled(self, tx: Transaction, queue: QueueRow) -> dict[str, int]:
        live = (
            msgspec.json.decode(info, type=HolderInfo)
            for info, boot, expires in tx.execute(_UPKEEP["live_holders"])
            if boot == self._boot_id and expires > tx.boot
        )
        served = set(itertools.chain.from_iterable(one.kinds for one in live if queue.name in one.queues))
        return {
            kind if format_ <= FORMAT else f"{kind} (format {format_})": jobs
            for kind, format_, jobs in tx.execute(_PLACES["standing"], (queue.number,))
            if kind not in served or format_ > FORMAT
        }

    def close(self) -> int:
        self._waiting.close()
        for watch in list(self._watches):
            watch.close()
        self._logs.end()
        self._writer.close()
        self._reader.close()
        self._looker.close()
        return 0
