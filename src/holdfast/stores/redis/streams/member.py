"""A member of a group of a foreign stream: a consumer, called after its holder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from holdfast.contract import EntriesLost, LogMember, StreamReading
from holdfast.delivery import HolderInfo
from holdfast.entries import PARTITION, entry_at, offset_of, time_of
from holdfast.errors import Closed, HoldfastError, LeaseLost
from holdfast.logged import Assigned, Chunk, Offset, written_headers
from holdfast.stores.redis.blocking import Blocking
from holdfast.stores.redis.streams.group import Entry, Group, entries_in, is_gone

LOOK_EVERY = 1.0
"""Seconds between two looks for entries of those who are gone."""


def living(holders: Collection[HolderInfo]) -> set[str]:
    """Return the ids of those that beat."""
    return {holder.id for holder in holders if holder.beaten is not None and holder.beaten < holder.ttl}


class RedisStreamMember(LogMember):
    """See ``StreamGroups.join``. What a broken connection may have taken away is read again with the next poll."""

    def __init__(
        self,
        group: Group,
        holder: HolderInfo,
        begun: int,
        reading: StreamReading,
        holders: Callable[[], Collection[HolderInfo]],
    ) -> None:
        self._group, self._holder, self._reading, self._holders = group, holder, reading, holders
        self._consumer = group.keys.consumer(holder.id)
        self._blocking = Blocking(group.link)
        self._called = threading.Event()
        self._ending = threading.Lock()
        self._closed = False
        self._now = group.time()
        self._assigned = {PARTITION: Assigned(Offset(PARTITION, 0, self._now), begun)}
        self._held: set[str] = set()
        self._had: str | None = "0-0"  # from where on what this consumer has is to be read; None when it is in hand
        self._look_at = 0.0
        self._mean = 1

    # -- poll -----------------------------------------------------------------------------------------------------

    def poll(
        self,
        *,
        limit: int,
        wait: float,
        max_bytes: int = 16 << 20,
        min_bytes: int = 1,
        busy: Collection[int] = (),
        without: Collection[int] = (),
    ) -> list[Chunk]:
        self._check()
        with self._failing():
            if PARTITION in without:
                self._rest(wait)
                return []
            most = max(1, min(limit, max_bytes // self._mean))
            return self._again(most) or self._taken(most) or self._new(most, wait)

    def _again(self, limit: int) -> list[Chunk]:
        """Return what this consumer has, and nobody here."""
        while self._had is not None:
            found = self._group.had(self._consumer, self._had, max(limit, 100))
            missed = [one for one in found if one[0] not in self._held][:limit]
            self._had = (missed or found)[-1][0] if found else None
            if chunks := self._chunks(missed, self._time() + 1, again=True):
                return chunks
        return []

    def _taken(self, limit: int) -> list[Chunk]:
        """Return what those had who are gone; look for that now and then."""
        if time.monotonic() < self._look_at:
            return []
        consumers = self._group.consumers()  # first: a holder lives before it is a consumer
        alive = living(self._holders())
        if self._holder.id not in alive:
            raise LeaseLost(f"{self._group}: holder {self._holder.id!r} has ended, or does not beat")
        gone, others = self._group.without(consumers, alive)
        taken = list[Entry]()
        if gone or others:
            idle = int(self._holder.ttl * 1000)
            taken = self._group.take(self._consumer, limit, idle, gone, others)
        if len(taken) < limit:
            self._look_at = time.monotonic() + LOOK_EVERY
        self._group.note_standing()
        return self._chunks(taken, self._time() + 1, again=True)

    def _time(self) -> int:
        """Return the server's time, but never less than before: what comes later has no lower version."""
        self._now = max(self._now, self._group.time())
        return self._now

    def _new(self, limit: int, wait: float) -> list[Chunk]:
        patience = min(wait, max(0.0, self._look_at - time.monotonic()))
        if self._called.is_set():
            self._called.clear()
            patience = 0.0
        if patience < 0.001:
            return self._chunks(self._group.read(self._consumer, limit), self._now)
        command = self._group.reading(self._consumer, limit, int(patience * 1000))
        found = self._blocking.wait([(self._group.stream, command)], patience)
        self._called.clear()
        return self._chunks(entries_in(found[0][1]) if found else [], self._now)

    def _chunks(self, found: Sequence[Entry], version: int, *, again: bool = False) -> list[Chunk]:
        """Return entries as messages; those that the stream has no more are left out."""
        chunks, shape = list[Chunk](), self._reading.shape
        for entry, pairs in found:
            if pairs is None:
                continue
            offset, its = offset_of(entry), shape.content(pairs)
            headers = [written_headers(its.headers)] if its.headers else None
            keys = None if its.key is None else [its.key]
            chunks.append(Chunk(PARTITION, offset, time_of(offset), [its.body], keys, headers, version, again))
            self._held.add(entry)
            self._mean = max(1, (7 * self._mean + len(its.body)) // 8)
        return chunks

    def _rest(self, wait: float) -> None:
        self._called.wait(wait)
        self._called.clear()

    def interrupt(self) -> None:
        self._called.set()
        with self._ending:  # what is closed may be another's descriptor by now
            if not self._closed:
                self._blocking.interrupt()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Read again what this consumer has after whatever goes wrong; say ``Closed`` when the group is gone."""
        try:
            yield
        except HoldfastError as error:
            self._had = "0-0"
            if is_gone(error):
                raise Closed(f"{self._group} is gone; it is made again") from error
            raise

    # -- commit ---------------------------------------------------------------------------------------------------

    def commit(self, offsets: Sequence[Offset], *, durable: bool = False) -> dict[int, int]:
        self._check()
        ended = [entry for offset in offsets for entry in offset.finished]
        if any(offset.version != self._assigned[PARTITION].place.version for offset in offsets):
            raise LeaseLost(f"{self._group}: these entries were polled by another member")
        with self._failing():
            lost = self._group.commit(self._consumer, list(map(entry_at, ended)), delete=self._reading.delete)
        self._held.difference_update(map(entry_at, ended))
        self._group.notes.forget(ended)
        if lost:
            raise EntriesLost(f"{self._group}: others have {', '.join(lost[:5])} by now", set(map(offset_of, lost)))
        return {}

    def assigned(self) -> dict[int, Assigned]:
        return dict(self._assigned)

    def leave(self) -> None:
        with self._ending:
            if self._closed:
                return
            self._closed = True
            self._blocking.close()
        with suppress(HoldfastError):  # whoever lives removes it, once its holder has ended
            self._group.leave(self._consumer)

    def _check(self) -> None:
        if self._closed:
            raise Closed(f"a member of {self._group} has left")
