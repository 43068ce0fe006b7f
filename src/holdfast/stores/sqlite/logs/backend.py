"""The contract of a store of logs, kept by one file that many processes share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from holdfast.clock import Clock
from holdfast.config import BATCH_MOST, LogSettings
from holdfast.contract import Features, LogBackend
from holdfast.errors import BackendError, QueueFull
from holdfast.logged import Chunk, Columns, Ends, LogTidied, Producer, StoredAt
from holdfast.message import Level
from holdfast.stores.budget import Budget
from holdfast.stores.sqlite.connection import Connection, Location, is_full
from holdfast.stores.sqlite.file import OpenFile, Reader
from holdfast.stores.sqlite.logs import appends, places, reading, retention
from holdfast.stores.sqlite.logs.grouping import SqliteGroups
from holdfast.stores.sqlite.logs.places import LogRow, log_of, partition_of
from holdfast.stores.sqlite.writer import Writer

CLEAR_STEP = 10_000
"""How many appends of a destroyed log go in one transaction: others must not wait for a million."""


class SqliteLogs(SqliteGroups, LogBackend):
    """Logs in a SQLite file in WAL mode. Any number of processes of one machine may append and read."""

    def __init__(
        self, place: Location, writer: Writer, clock: Clock, boot: str, close_store: Callable[[], object]
    ) -> None:
        super().__init__(Reader(place), writer, clock, boot)
        self._close_store = close_store
        level = Level.SYNCED if place.sync == "full" else Level.WRITTEN
        self.features = Features(level=level, durable=True, multi_process=True, multi_host=False, max_body=BATCH_MOST)
        self._level = level
        self._syncing = OpenFile(msgspec.structs.replace(place, sync="full"))
        self._known: dict[str, LogRow] = {}

    # -- logs -----------------------------------------------------------------------------------------------------

    def declare(self, log: str, settings: LogSettings) -> None:
        self.write(lambda tx: places.declare(tx, log, settings))

    def logs(self) -> dict[str, LogSettings]:
        return {log.name: log.settings for log in self.reader.read(places.all_logs)}

    def destroy(self, log: str) -> int:
        messages = self.write(lambda tx: retention.destroy(tx, log))
        while messages and self.write(lambda tx: retention.clear(tx, CLEAR_STEP), quiet=True):
            pass
        return messages

    # -- messages -------------------------------------------------------------------------------------------------

    def append(self, log: str, partition: int, columns: Columns, *, producer: Producer | None = None) -> StoredAt:
        known = self._known.get(log)
        while True:
            if known is None or not 0 <= partition < known.settings.partitions:
                known = self._look_up(log, partition)
            new = appends.packed(log, known.settings, columns)
            stored = self._append(known, partition, new, producer)
            if stored is not None:
                offset, duplicate = stored
                return StoredAt(log, partition, offset, self._level, duplicate)
            known = None

    def _look_up(self, log: str, partition: int) -> LogRow:
        def look(connection: Connection) -> LogRow:
            known = log_of(connection, log)
            partition_of(connection, known, partition)
            return known

        self._known[log] = known = self.reader.read(look)
        return known

    def _append(
        self, log: LogRow, partition: int, new: appends.Packed, producer: Producer | None
    ) -> tuple[int, bool] | None:
        try:
            stored = self.write(lambda tx: appends.append(tx, log, partition, new, producer), quiet=True)
        except BackendError as error:
            if is_full(error):
                raise QueueFull(f"log {log.name!r}: {error}") from error
            raise
        self.wakes.ring(log.number)
        return stored

    def flush(self, log: str) -> Level:
        self.reader.read(lambda connection: log_of(connection, log))
        if self._level is not Level.SYNCED:
            self._sync()
        return Level.SYNCED

    def _sync(self) -> None:
        """Commit on a connection that waits for the disk: what others have written to the WAL before is synced too."""
        with self._syncing:
            connection = self._syncing.connection()
            try:
                connection.execute("UPDATE holdfast_meta SET value = value WHERE name = 'version'")
            except BackendError:
                self._syncing.close()
                raise

    def read(self, log: str, partition: int, offset: int, *, limit: int, max_bytes: int) -> list[Chunk]:
        def look(connection: Connection) -> list[Chunk]:
            known = log_of(connection, log)
            while True:
                its = partition_of(connection, known, partition)
                reading.check_offset(log, its, offset)
                found, _ = reading.read(connection, known, its, offset, Budget(limit, max_bytes))
                if found or offset == its.next or limit < 1:
                    return found

        return self.reader.read(look)

    def ends(self, log: str) -> list[Ends]:
        return self.reader.read(lambda connection: reading.ends(connection, log_of(connection, log)))

    def find(self, log: str, partition: int, time: int) -> int:
        def look(connection: Connection) -> int:
            return reading.find(connection, partition_of(connection, log_of(connection, log), partition), time)

        return self.reader.read(look)

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tidy(self, limit: int = 1000) -> LogTidied:
        now, done = self.now(), LogTidied()
        signs = self.reader.read(lambda connection: retention.signs(connection, now.boot, now.uptime))
        if signs.left:
            done += LogTidied(more=self.write(lambda tx: retention.clear(tx, limit), quiet=True))
        if signs.holders:
            self.write(lambda tx: retention.forget_holders(tx, now.boot), quiet=True)
        for log in self.reader.read(places.all_logs):
            if self.reader.read(partial(retention.idle, log=log, now=now)):
                done += self.write(partial(retention.expire, log=log, boot=now.boot))
            goals = self.reader.read(partial(retention.droppable, log=log, now=now.wall))
            if goals:
                done += self._drop(log, goals, limit)
        return done

    def _drop(self, log: LogRow, goals: dict[int, int], limit: int) -> LogTidied:
        """Drop what a round may, in transactions that are short."""
        done = LogTidied()
        while True:
            step, appends_ = self.write(partial(retention.drop, log=log, goals=goals, limit=limit), quiet=True)
            limit -= appends_
            done = msgspec.structs.replace(done, more=False) + step
            if not step.more or limit < 1:
                return done

    def close(self) -> None:
        self._close_store()

    def end(self) -> None:
        """Let go of everything of the logs; the store is closing."""
        for member in list(self._members):
            member.leave()
        self.reader.close()
        with self._syncing:
            self._syncing.close()
        self.wakes.ring_all()
