"""The contract of a store of logs, kept by a server that many hosts share."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.clock import Clock
from holdfast.config import BATCH_MOST, LogSettings
from holdfast.contract import Features, LogBackend
from holdfast.logged import Chunk, Columns, Ends, LogTidied, Producer, StoredAt
from holdfast.message import Level
from holdfast.stores.budget import Budget
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.logs import keeping, reading, room, views
from holdfast.stores.redis.logs.appends import Appends
from holdfast.stores.redis.logs.groups import RedisGroups
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.logs.readers import Readers
from holdfast.stores.redis.scripts import Script

_FORGET = Script.load("logs/forget")


class RedisLogs(RedisGroups, LogBackend):
    """Logs in a Redis or Valkey; the servers of a cluster share their partitions."""

    def __init__(self, link: Link, clock: Clock, close_store: Callable[[], object]) -> None:
        keys, times = Keys(link.options.prefix), Times(clock)
        super().__init__(LogPlaces(link, keys, times), Readers(link, keys, times), clock)
        level = link.options.level
        self.features = Features(level=level, durable=True, multi_process=True, multi_host=True, max_body=BATCH_MOST)
        self._level, self._close_store = level, close_store
        self._appends = Appends(self.places, level)

    # -- logs -----------------------------------------------------------------------------------------------------

    def declare(self, log: str, settings: LogSettings) -> None:
        self.places.declare(log, settings)
        if settings.limit_bytes is not None:
            room.put_right(self.places, self.places.known(log))

    def logs(self) -> dict[str, LogSettings]:
        return {log.name: log.settings for log in self.places.all()}

    def destroy(self, log: str) -> int:
        return self.places.destroy(log)

    # -- messages -------------------------------------------------------------------------------------------------

    def append(self, log: str, partition: int, columns: Columns, *, producer: Producer | None = None) -> StoredAt:
        return self._appends.append(log, partition, columns, producer)

    def flush(self, log: str) -> Level:
        """Everything is as safe as it can be: an append has waited for that."""
        self.places.look(log)
        return self._level

    def read(self, log: str, partition: int, offset: int, *, limit: int, max_bytes: int) -> list[Chunk]:
        return reading.read(self.places, log, partition, offset, Budget(limit, max_bytes))

    def ends(self, log: str) -> list[Ends]:
        return self.places.ends(self.places.look(log))

    def find(self, log: str, partition: int, time: int) -> int:
        return reading.find(self.places, log, partition, time)

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tidy(self, limit: int = 1000) -> LogTidied:
        self.places.finish_destroying()
        self.readers.tidy()
        done = LogTidied()
        for log in self.places.all():
            done += self._expire(log)
            done += keeping.drop(self.places, log, self.clock.wall(), limit)
            if log.settings.limit_bytes is not None:
                room.put_right(self.places, log)
        return done

    def _expire(self, log: Log) -> LogTidied:
        """Remove the groups that nobody has read for longer than the log keeps them."""
        if log.settings.group_expiry is None:
            return LogTidied()
        most, gone = int(log.settings.group_expiry * 1000), list[tuple[str, str]]()
        groups = views.standings(self.places, log)
        known = views.holders_of(self.readers, groups)
        for group in groups:
            is_idle = group.idle_with(known) > most and not group.living(known)
            if is_idle and self.places.run(_FORGET, log.name, group.name, group.number, group.seen):
                gone.append((log.name, group.name))
        return LogTidied(groups=tuple(gone))

    def close(self) -> None:
        self._close_store()

    def end(self) -> None:
        """Let go of everything of the logs; the store is closing."""
        if not self.is_closed:
            self.leave_all()
            self.is_closed = True
