"""One member of a group: it holds partitions by having their offset files locked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from holdfast.contract import LogMember
from holdfast.errors import BackendError, Closed, LeaseLost, OffsetGone, UsageError
from holdfast.logged import Assigned, Chunk, Offset, WhenGone
from holdfast.stores.disk.logs.basket import Basket
from holdfast.stores.disk.logs.groups import Changes
from holdfast.stores.disk.logs.held import Held, Reading, take
from holdfast.stores.disk.logs.offset_file import Place
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.registry import register, roll, unregister
from holdfast.stores.disk.logs.waking import Waker, new_waker
from holdfast.stores.refused import offset_gone

LOOK_EVERY = 0.25
"""Seconds after which a member looks who lives, and at the places of its partitions, though nobody said anything."""


class DiskMember(LogMember):
    """Reads for ``holder``. One thread polls and commits; the lock is for those who end it from others."""

    def __init__(
        self, reading: Reading, holder: str, when_gone: WhenGone, on_end: Callable[[DiskMember], None]
    ) -> None:
        """Join; ``FileNotFoundError`` when the group is gone. ``on_end`` is called when it has let go of everything."""
        self._reading = reading
        self._store, self._log, self._group = reading
        self.holder = holder
        self._when_gone, self._on_end = when_gone, on_end
        self._files = self._store.files
        self._registered = register(self._group, holder)
        self._held: dict[int, Held] = {}
        self._lock = threading.RLock()
        self._waker: Waker | None = None
        self._interrupted = False
        self._end: type[Closed | LeaseLost] | None = None
        self._why = ""
        self._polling = False
        self._changes: Changes | None = None
        self._next_look = 0.0
        self._surplus = False  # what is to be let go of as soon as it is not busy
        self._turn = 0
        self._group.touch(self._store.clock.wall())
        self._group.ring()
        made = self._group.look_for_changes()
        self._made = made.made if made is not None else b""

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
        end, found = time.monotonic() + wait, Basket(limit, max_bytes, min_bytes)
        self._polling = True
        try:
            with self._store.at_work(self._group.log):
                return self._poll(found, end, busy, without)
        except BaseException:
            self._put_back(found.chunks)
            raise
        finally:
            self._polling = False
            self._close_waker()

    def _poll(self, found: Basket, end: float, busy: Collection[int], without: Collection[int]) -> list[Chunk]:
        while True:
            before = found.messages
            with self._lock:
                self._refresh(found, busy)
                self._gather(found, without)
            left = end - time.monotonic()
            if found.enough() or left <= 0 or self._interrupted:
                self._interrupted = False
                return found.chunks
            self._pause(min(left, LOOK_EVERY), fresh=found.messages > before)

    def _pause(self, seconds: float, *, fresh: bool) -> None:
        """Wait for a change. The first time there is one at once: what came before the waker was there."""
        if self._waker is not None:
            self._waker.wait(seconds, fresh=fresh)
            return
        with self._lock:
            self._waker = new_waker()
            self._watch()

    def _close_waker(self) -> None:
        with self._lock:
            if self._waker is not None and self._end is not None and not self._polling:
                self._waker.close()

    def _watch(self) -> None:
        if self._waker is not None:
            tails = [self._log.directory.partition(number) / "tail" for number in self._held]
            self._waker.watch([self._group.changes, *tails])

    def _refresh(self, found: Basket, busy: Collection[int]) -> None:
        """Look who lives and where the group stands, when somebody changed that or it was not looked at for long."""
        if self._end is not None:
            raise self._end(self._why)
        changes = self._group.look_for_changes()
        if changes is None or changes.made != self._made:
            self._end_with(Closed, f"{self._name} was removed; join again to begin anew")
        if changes == self._changes and time.monotonic() < self._next_look and not self._surplus:
            return
        self._changes, self._next_look = changes, time.monotonic() + LOOK_EVERY
        self._look_for_removal()
        self._look_for_seeks(found)
        try:
            self._share(found, busy)
        except FileNotFoundError:  # the group went in this instant
            self._next_look = 0.0
            return
        self._watch()

    def _look_for_removal(self) -> None:
        try:
            removed = self._store.log(self._group.log) is not self._log
        except UsageError:
            removed = True
        if removed:
            self._end_with(Closed, f"log {self._group.log!r} was removed")
        if self._files.identity(self._registered.path) is None:
            self._end_with(LeaseLost, f"holder {self.holder!r} was retired; join again under a new incarnation")

    def _end_with(self, error: type[Closed | LeaseLost], why: str) -> NoReturn:
        self.end(error, why)
        raise error(why)

    def _look_for_seeks(self, found: Basket) -> None:
        for number, held in self._held.items():
            if held.sought():
                found.drop(number)

    # -- sharing --------------------------------------------------------------------------------------------------

    def _share(self, found: Basket, busy: Collection[int]) -> None:
        members = roll(self._group)
        if members.dead:
            self._group.touch(self._store.clock.wall())
        count = self._log.settings.partitions
        share = -(-count // max(1, len(members.live)))
        if len(self._held) > share:
            idle = sorted(self._held.keys() - set(busy), reverse=True)[: len(self._held) - share]
            for number in idle:
                found.drop(number)
            self._let_go(idle)
        self._surplus = len(self._held) > share
        for number in range(count):
            if len(self._held) >= share:
                break
            if number not in self._held:
                self._take(number)

    def _take(self, number: int) -> None:
        held = take(self._reading, number, self.holder)
        if held is not None:
            self._held[number] = held

    def _let_go(self, numbers: Iterable[int]) -> None:
        """Give partitions back, what was committed there durable, and tell the others."""
        gone = [self._held.pop(number) for number in numbers]
        for held in gone:
            self._store.syncer.forget(held.file)
            try:
                held.file.sync()
            except FileNotFoundError:
                pass  # its group is no more
            except (OSError, BackendError) as error:
                text = f"{held.file.path} could not be synced: {error}; after a power cut its messages may come again"
                self._store.report(text)
            finally:
                held.file.close()
        if gone:
            with suppress(FileNotFoundError):
                self._group.ring()

    # -- reading --------------------------------------------------------------------------------------------------

    def _gather(self, found: Basket, without: Collection[int]) -> None:
        """Take what there is, partition after partition, each time from another one on."""
        numbers, wrong = sorted(self._held.keys() - without), None
        self._turn += 1
        first = self._turn % len(numbers) if numbers else 0
        for number in numbers[first:] + numbers[:first]:
            if found.full():
                return
            try:
                self._read(found, self._held[number])
            except Exception as error:  # what there is goes first; the error comes again
                wrong = error
        if wrong is not None and not found.messages:
            raise wrong

    def _read(self, found: Basket, held: Held) -> None:
        try:
            chunks = held.read(found.room())
        except OffsetGone as error:
            if self._when_gone == "error":
                raise
            held.position = error.first if self._when_gone == "earliest" else error.next
            chunks = held.read(found.room())
        for chunk in chunks:
            if not found.take(chunk):
                return
            held.position = chunk.next

    def _put_back(self, chunks: Sequence[Chunk]) -> None:
        """Read these again: the poll that found them failed, and nobody has got them."""
        with self._lock:
            for chunk in reversed(chunks):
                held = self._held.get(chunk.partition)
                if held is not None and held.place.version == chunk.version:
                    held.position = chunk.base

    def interrupt(self) -> None:
        self._interrupted = True
        waker = self._waker
        if waker is not None:
            waker.wake()

    def look_again(self, log: OpenLog) -> None:
        """Hear that something was appended to this log in this process."""
        waker = self._waker
        if waker is not None and log is self._log:
            waker.hint()

    # -- commit ---------------------------------------------------------------------------------------------------

    def commit(self, offsets: Sequence[Offset], *, durable: bool = False) -> dict[int, int]:
        with self._lock, self._store.at_work(self._group.log):
            if self._end is Closed:
                raise Closed(self._why)
            for offset in offsets:
                self._check_end(offset)
            now = self._store.clock.wall()
            committed = {
                offset.partition: place.next for offset in offsets if (place := self._commit(offset, now)) is not None
            }
            for number in committed:
                if durable:
                    self._held[number].file.sync()
                else:
                    self._store.syncer.dirty(self._held[number].file)
            if lost := [offset.partition for offset in offsets if offset.partition not in committed]:
                raise self._lease_lost(lost)
            return committed

    def _commit(self, offset: Offset, now: int) -> Place | None:
        """Move the place; None when the partition, or its version, is no longer this member's."""
        held = self._held.get(offset.partition)
        if held is None or held.place.version != offset.version:
            return None
        return held.commit(offset, now)

    def _check_end(self, offset: Offset) -> None:
        held = self._held.get(offset.partition)
        if held is None or offset.next <= held.position:
            return
        ends = self._log.ends(offset.partition)
        if offset.next > ends.next:
            raise offset_gone(self._group.log, ends, offset.next)

    def _lease_lost(self, partitions: list[int]) -> LeaseLost:
        return LeaseLost(
            f"{self._name}: partitions {', '.join(map(str, sorted(partitions)))} are no longer held by this member, "
            "or were sought; what it polled there before is delivered again"
        )

    # -- the rest -------------------------------------------------------------------------------------------------

    def assigned(self) -> dict[int, Assigned]:
        with self._lock:
            if self._end is Closed:
                raise Closed(self._why)
            return {number: held.taken for number, held in self._held.items()}

    def leave(self) -> None:
        self.end(Closed, f"this member has left {self._name}")

    def end(self, error: type[Closed | LeaseLost], why: str) -> int:
        """Let go of everything; whoever calls from now on gets this error. Return how many partitions it held."""
        with self._lock:
            if self._end is not None:
                if error is Closed:
                    self._end, self._why = error, why
                return 0
            self._end, self._why = error, why
            count = len(self._held)
            self._let_go(list(self._held))
            with suppress(FileNotFoundError):
                self._group.touch(self._store.clock.wall())
            unregister(self._files, self._registered)
            with suppress(FileNotFoundError):
                self._group.ring()
            if self._waker is not None:
                self._waker.wake()
            self._close_waker()
            self._on_end(self)
            return count

    def abandon(self) -> None:
        """Let go of it in a child just forked, whose parent goes on with it."""
        self._lock = threading.RLock()
        self._end, self._why = Closed, "a member does not outlive a fork; join in the new process"
        for held in self._held.values():
            held.file.abandon()
        self._held.clear()
        self._files.close(self._registered.fd)

    @property
    def _name(self) -> str:
        return f"group {self._group.name!r} of log {self._group.log!r}"
