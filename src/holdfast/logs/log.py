"""The portable log: append messages, look at them, and look after the place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar, cast

from holdfast.config import LogSettings
from holdfast.contract import LogBackend
from holdfast.declared import DeclaredLogs
from holdfast.errors import BodyTooLarge, OffsetGone, UsageError
from holdfast.logged import Columns, Ends, GroupInfo, StoredAt, WhenGone
from holdfast.logs.batch import Batch
from holdfast.logs.beats import Beats
from holdfast.logs.entries import (
    Appendable,
    Entry,
    Share,
    column,
    each,
    entries,
    entry,
    partition_for,
    receipts,
    shares,
)
from holdfast.logs.groups import Begin, Group
from holdfast.logs.producers import LogProducer, identity
from holdfast.message import Level, Seconds, check_whole, instant, seconds

T = TypeVar("T")

MOST_BYTES = 16 << 20
"""How many bytes of bodies one read returns, unless it is told otherwise."""


class Log:
    """A log as its users see it: messages are appended, and stay until retention drops them. Thread-safe.

    ``store`` returns the open logs, and may open them; it is asked at every call. ``declared`` knows what this log was
    told, which is written at the first use. An append makes a log that does not exist; whatever else is asked of one is
    a ``UsageError`` that names those there are.
    """

    def __init__(
        self, name: str, store: Callable[[], LogBackend], declared: DeclaredLogs, beats: Callable[[], Beats]
    ) -> None:
        self.name = name
        self._store, self._declared, self._beats = store, declared, beats

    def __repr__(self) -> str:
        return f"<Log {self.name!r}>"

    # -- the place ------------------------------------------------------------------------------------------------

    def declare(self, settings: LogSettings) -> None:
        """Make the log exist with all of these settings; the last ones win. Partitions never become fewer."""
        if not isinstance(settings, LogSettings):
            raise UsageError(f"log {self.name!r} is declared with LogSettings(…), not {settings!r:.80}")
        self._declared.declare(self._store(), self.name, settings)

    def settings(self) -> LogSettings | None:
        """Return what the log was told, None when it does not exist."""
        return self._opened().logs().get(self.name)

    def destroy(self) -> int:
        """Remove the log with its messages and groups; return how many messages went. Nothing old comes back."""
        try:
            return self._store().destroy(self.name)
        finally:
            self._declared.forget(self.name)

    def ends(self) -> list[Ends]:
        """Return what each partition holds, in order."""
        return self._opened().ends(self.name)

    def depth(self) -> int:
        """Return how many messages the log holds. How far a group is behind is :meth:`Group.lag`."""
        return sum(ends.next - ends.first for ends in self.ends())

    def flush(self) -> Level:
        """Make everything appended so far as safe as the store can; return how safe that is."""
        return self._opened().flush(self.name)

    # -- in -------------------------------------------------------------------------------------------------------

    def append(
        self,
        body: bytes,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        partition: int | None = None,
    ) -> StoredAt:
        """Append one message and return its place, as safe on return as the store promises.

        Messages of one ``key`` go to one partition, and so keep their order: to that which Kafka's default partitioner
        would choose. Without a key the partitions take turns; ``partition`` chooses one in any case. ``UsageError``
        names what does not fit; ``QueueFull``, and nothing is stored, when the log or its disk is full. Send middleware
        does not surround appends.
        """
        return self._insist(partial(self._append_one, entry(self.name, body, key, headers, partition)))

    def append_many(self, messages: Iterable[Appendable], *, partition: int | None = None) -> list[StoredAt]:
        """Append messages and return one receipt each, in order. Each is a body, ``(body, key)`` or a ``Message``.

        Costs one append a partition; those without a key go to one together. Each append is made whole or not at all:
        when one raises, those of other partitions may be stored. A :meth:`producer` can repeat such a call.
        """
        given = list(messages)
        if not given:
            return []
        if set(map(type, given)) == {bytes}:
            return self._insist(partial(self._append_bodies, cast("list[bytes]", given), partition))
        return self._insist(partial(self._append_shares, entries(self.name, given, partition)))

    def producer(
        self,
        id: int | str | None = None,
        *,
        epoch: int | None = None,
        sequences: Mapping[int, int] | None = None,
        timeout: Seconds = 0.0,
    ) -> LogProducer:
        """Return a handle whose appends the log recognises when they are repeated; see :class:`LogProducer`.

        Without an ``id`` it is a new one, known to nobody else. With one of your own give the
        ``epoch`` too, which must rise with each life of the producer: appends of older ones are refused from then on.
        ``sequences`` says how many messages of this epoch each partition has, to go on where another life ended.
        Failed appends are repeated for up to ``timeout`` seconds.
        """
        return LogProducer(self, identity(id, epoch), sequences or {}, seconds(timeout, "timeout"))

    # What begins with an underscore here is also used by producers and by the awaited face, holdfast.aio.

    def _append_one(self, one: Entry, store: LogBackend) -> StoredAt:
        partition = partition_for(one, self._declared.partitions(store, self.name), self._declared.turn)
        return store.append(self.name, partition, column(one))

    def _append_shares(self, given: Sequence[Entry], store: LogBackend) -> list[StoredAt]:
        shared = self._shares(given, store)
        return receipts(shared, [store.append(self.name, share.partition, share.columns) for share in shared])

    def _shares(self, given: Sequence[Entry], store: LogBackend) -> list[Share]:
        return shares(given, self._declared.partitions(store, self.name), self._declared.turn)

    def _append_bodies(self, bodies: list[bytes], partition: int | None, store: LogBackend) -> list[StoredAt]:
        partitions = self._declared.partitions(store, self.name)
        if partition is None:
            partition = 0 if partitions == 1 else self._declared.turn(partitions)
        return each(store.append(self.name, partition, Columns(bodies)), len(bodies))

    def _insist(self, append: Callable[[LogBackend], T]) -> T:
        """Append; once more if somebody had removed the log, which this makes anew."""
        store = self._store()
        try:
            return append(store)
        except BodyTooLarge:
            raise
        except UsageError:
            if self.name in store.logs():
                raise
            self._declared.forget(self.name)
            return append(store)

    # -- out ------------------------------------------------------------------------------------------------------

    def read(
        self, partition: int = 0, offset: int | None = None, limit: int = 500, *, max_bytes: int = MOST_BYTES
    ) -> Batch:
        """Look at up to ``limit`` messages from ``offset`` on, by default from the first; no group knows of it.

        Empty at the end. ``OffsetGone`` when that offset is no longer there or not yet, ``CorruptLog`` where bytes are
        damaged; go on at ``batch.next_offsets[partition]``.
        """
        check_whole(limit, f"log {self.name!r}: limit", 1)
        store = self._opened()
        if offset is not None:
            return Batch(store.read(self.name, partition, offset, limit=limit, max_bytes=max_bytes))
        while True:
            first = self._ends_of(store, partition).first
            with suppress(OffsetGone):  # dropped meanwhile
                return Batch(store.read(self.name, partition, first, limit=limit, max_bytes=max_bytes))

    def _ends_of(self, store: LogBackend, partition: int) -> Ends:
        every = store.ends(self.name)
        for ends in every:
            if ends.partition == partition:
                return ends
        raise UsageError(f"log {self.name!r} has no partition {partition!r}; it has {len(every)}, from 0 on")

    def find(self, time: datetime) -> dict[int, int]:
        """Return, by partition, the offset of the first message appended at ``time`` or later, the end if none was."""
        store, moment = self._opened(), instant(time, "time")
        return {ends.partition: store.find(self.name, ends.partition, moment) for ends in store.ends(self.name)}

    def group(self, name: str, *, start: Begin = "earliest", when_gone: WhenGone = "error") -> Group:
        """Return a group of readers. Touches no store; the group is made when somebody joins or seeks.

        A new one begins at ``start``: ``earliest``, ``latest``, at a time (an aware ``datetime``), or an offset. When
        retention has removed what it was to read next, its polls raise ``OffsetGone``, or jump to where ``when_gone``
        says.
        """
        return Group(self.name, name, self._opened, self._beats, start=start, when_gone=when_gone)

    def groups(self) -> list[GroupInfo]:
        """Return the groups there are."""
        return self._opened().groups(self.name)

    def _opened(self) -> LogBackend:
        store = self._store()
        self._declared.write(store, self.name)
        return store
