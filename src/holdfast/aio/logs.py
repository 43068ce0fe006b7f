"""The awaited face of a log, its groups and their members: the same names, and no event loop is ever blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self

from holdfast.aio.threads import OwnThread, Threads, answer
from holdfast.config import LogSettings
from holdfast.errors import UsageError
from holdfast.logged import Assigned, Ends, GroupInfo, StoredAt, WhenGone
from holdfast.logs import Batch, Group, GroupLag, Log, LogProducer, Member
from holdfast.logs.appends import Appends
from holdfast.logs.entries import Appendable, entry
from holdfast.logs.groups import Begin, End
from holdfast.logs.log import MOST_BYTES
from holdfast.logs.members import MOST
from holdfast.message import Level, Seconds


class AioLog:
    """A log as its users see it; each method does what that of ``Log`` does. For any number of tasks and loops."""

    def __init__(self, log: Log, threads: Callable[[], Threads], appends: Callable[[], Appends]) -> None:
        self.name = log.name
        self._log, self._threads, self._appends = log, threads, appends

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    async def declare(self, settings: LogSettings) -> None:
        """Make the log exist with all of these settings; the last ones win."""
        await self._threads().call(self._log.declare, settings)

    async def settings(self) -> LogSettings | None:
        """Return what the log was told, None when it does not exist."""
        return await self._threads().call(self._log.settings)

    async def destroy(self) -> int:
        """Remove the log with its messages and groups; return how many messages went."""
        return await self._threads().call(self._log.destroy)

    async def ends(self) -> list[Ends]:
        """Return what each partition holds, in order."""
        return await self._threads().call(self._log.ends)

    async def depth(self) -> int:
        """Return how many messages the log holds."""
        return await self._threads().call(self._log.depth)

    async def flush(self) -> Level:
        """Make everything appended so far as safe as the store can; return how safe that is."""
        return await self._threads().call(self._log.flush)

    async def append(
        self,
        body: bytes,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        partition: int | None = None,
    ) -> StoredAt:
        """Append one message; what other tasks append at the same time shares the store's append. See ``Log.append``.

        A task that is cancelled before its message was taken has appended nothing; later, its fate is unknown.
        """
        return await self._appends().append(self._log, entry(self.name, body, key, headers, partition))

    async def append_many(self, messages: Iterable[Appendable], *, partition: int | None = None) -> list[StoredAt]:
        """Append messages and return one receipt each, in order. See ``Log.append_many``."""
        return await self._threads().call(self._log.append_many, messages, partition=partition)

    def producer(
        self,
        id: int | str | None = None,
        *,
        epoch: int | None = None,
        sequences: Mapping[int, int] | None = None,
        timeout: Seconds = 0.0,
    ) -> AioProducer:
        """Return a handle whose appends the log recognises when they are repeated. See ``Log.producer``."""
        made = self._log.producer(id, epoch=epoch, sequences=sequences, timeout=timeout)
        return AioProducer(made, self._threads)

    async def read(
        self, partition: int = 0, offset: int | None = None, limit: int = 500, *, max_bytes: int = MOST_BYTES
    ) -> Batch:
        """Look at messages from ``offset`` on, by default the first that is there; no group knows of it."""
        return await self._threads().call(self._log.read, partition, offset, limit, max_bytes=max_bytes)

    async def find(self, time: datetime) -> dict[int, int]:
        """Return, by partition, the offset of the first message appended at ``time`` or later."""
        return await self._threads().call(self._log.find, time)

    def group(self, name: str, *, start: Begin = "earliest", when_gone: WhenGone = "error") -> AioGroup:
        """Return a group of readers. Touches no store. See ``Log.group``."""
        return AioGroup(self._log.group(name, start=start, when_gone=when_gone), self._threads)

    async def groups(self) -> list[GroupInfo]:
        """Return the groups there are."""
        return await self._threads().call(self._log.groups)


class AioProducer:
    """Appends that are stored once, however often they are made; each method does what that of ``LogProducer`` does."""

    def __init__(self, producer: LogProducer, threads: Callable[[], Threads]) -> None:
        self._producer, self._threads = producer, threads

    def __repr__(self) -> str:
        return f"<AioProducer of {self._producer!r}>"

    @property
    def sequences(self) -> dict[int, int]:
        """How many messages of this epoch each partition has, as far as is known."""
        return self._producer.sequences

    async def append(
        self,
        body: bytes,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        partition: int | None = None,
    ) -> StoredAt:
        """Append one message. A task that is cancelled before this began has appended nothing; later, it is appended
        all the same.
        """
        return await self._threads().call(self._producer.append, body, key, headers, partition=partition)

    async def append_many(self, messages: Iterable[Appendable], *, partition: int | None = None) -> list[StoredAt]:
        """Append messages and return one receipt each, in order."""
        return await self._threads().call(self._producer.append_many, messages, partition=partition)

    async def repeat(self) -> list[StoredAt]:
        """Make the append again that is in doubt; empty when there is none."""
        return await self._threads().call(self._producer.repeat)

    def close(self) -> None:
        """Take no more. Blocks nobody."""
        self._producer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AioGroup:
    """A group as its users see it; each method does what that of ``Group`` does. For any number of tasks and loops."""

    def __init__(self, group: Group, threads: Callable[[], Threads]) -> None:
        self.log, self.name = group.log, group.name
        self._group, self._threads = group, threads

    def __repr__(self) -> str:
        return f"<AioGroup {self.name!r} of log {self.log!r}>"

    def member(self) -> AioMember:
        """Return a member, which joins when it is entered: ``async with group.member() as member:``."""
        return AioMember(self._group)

    async def offsets(self) -> dict[int, int]:
        """Return what is committed: the offset to be read next in each partition."""
        return await self._threads().call(self._group.offsets)

    async def lag(self) -> GroupLag:
        """Return how far the group is behind what its log holds."""
        return await self._threads().call(self._group.lag)

    async def has_lag(self, more_than: int = 0) -> bool:
        """Tell whether the group is behind by more messages than that."""
        return await self._threads().call(self._group.has_lag, more_than)

    async def seek(
        self,
        *,
        to: End | None = None,
        time: datetime | None = None,
        offset: int | None = None,
        offsets: Mapping[int, int] | None = None,
        partition: int | None = None,
    ) -> dict[int, int]:
        """Let the group go on elsewhere. See ``Group.seek``."""
        return await self._threads().call(
            self._group.seek, to=to, time=time, offset=offset, offsets=offsets, partition=partition
        )

    async def forget(self) -> bool:
        """Remove the group with its offsets; tell whether there was one."""
        return await self._threads().call(self._group.forget)


class AioMember:
    """One reader in a group, in its ``async with``; each method does what that of ``Member`` does. For one task at a
    time, but ``interrupt``. It has a thread of its own, so however many wait, they keep nobody waiting.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._thread = OwnThread("holdfast-log-member")
        self._member: Member | None = None
        self._polled: Future[Batch] | None = None
        self._left_over = Batch()

    def __repr__(self) -> str:
        return f"<AioMember of {self._group!r}>"

    async def __aenter__(self) -> Self:
        if self._member is None:
            joined = self._thread.submit(self._join)
            try:
                await answer(joined)
            except BaseException:
                self._leave()  # behind the join, should it have begun
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _join(self) -> None:
        self._member = self._group.member()

    @property
    def assigned(self) -> Mapping[int, Assigned]:
        """The partitions it holds, each with the group's place when it was taken."""
        return self._joined().assigned

    async def poll(
        self, limit: int = MOST, wait: Seconds = 1.0, *, max_bytes: int = MOST_BYTES, min_bytes: int = 1
    ) -> Batch:
        """Return the next messages. See ``Member.poll``.

        Cancelling it loses none: what a cancelled poll has taken comes with the next.
        """
        member = self._joined()
        if self._polled is not None:
            await self._take_over(self._polled)
        if self._left_over:
            batch, self._left_over = self._left_over[:limit], self._left_over[limit:]
            return batch
        poll = partial(member.poll, limit, wait, max_bytes=max_bytes, min_bytes=min_bytes)
        self._polled = self._thread.submit(poll)
        await self._take_over(self._polled)
        batch, self._left_over = self._left_over, Batch()
        return batch

    async def _take_over(self, polled: Future[Batch]) -> None:
        """Wait for a poll and keep what it returned; if that is cancelled, the next one waits for it."""
        from asyncio import CancelledError

        try:
            self._left_over = await answer(polled)
        except CancelledError:
            if not polled.done():
                self.interrupt()
            raise
        except BaseException:
            self._polled = None
            raise
        self._polled = None

    async def commit(self, offsets: Mapping[int, int], *, durable: bool = False) -> dict[int, int]:
        """Set the group's place: ``batch.next_offsets``, or offsets by partition. See ``Member.commit``."""
        return await answer(self._thread.submit(self._joined().commit, offsets, durable=durable))

    def interrupt(self) -> None:
        """End the poll that is going on, or the next one. Never blocks."""
        if self._member is not None:
            self._member.interrupt()

    async def close(self) -> None:
        """Leave the group: its partitions go to other members at once, commits are durable. May be repeated."""
        await answer(self._leave())

    def _leave(self) -> Future[None]:
        self.interrupt()  # a poll that nobody waits for
        left = self._thread.submit(self._close)
        self._thread.close()
        return left

    def _close(self) -> None:
        if self._member is not None:
            self._member.close()

    def _joined(self) -> Member:
        if self._member is None:
            raise UsageError(f"{self!r} has not joined: async with group.member() as member")
        self._member._checked()  # here, where no thread begins for one that was closed
        return self._member
