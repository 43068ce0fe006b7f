"""One member of a group, in a thread of its own: polls ahead, commits what has ended, and shares partitions."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

from holdfast.clock import Clock
from holdfast.contract import EntriesLost, LogMember
from holdfast.delivery import Delivery, HolderInfo
from holdfast.errors import BackendError, Closed, CorruptLog, HoldfastError, LeaseLost, OffsetGone
from holdfast.logged import Assigned, Crashes, Offset
from holdfast.worker.consuming.readable import Readable
from holdfast.worker.consuming.reading import Reading
from holdfast.worker.consuming.runs import Held
from holdfast.worker.consuming.unreadable import Unreadable
from holdfast.worker.consuming.window import Window
from holdfast.worker.settler import RECONNECT

LOOK_EVERY = 1.0
"""Seconds between two looks at who else reads, and whether the group is paused; a poll waits no longer."""
DEATHS_EVERY = 0.05
"""Seconds between two looks whether deaths of other processes have been charged, while messages wait for that."""
LEAVE_FOR, LEAVE_EVERY = 2.0, 10.0
"""Seconds for which partitions rest that others should have, and until that is tried again if nobody took them."""


class Host(Protocol):
    """What a source asks of the worker that it reads for. Called from the source's thread."""

    def stirred(self) -> None:
        """Hear that there may be something to take."""

    def is_paused(self, queue: str) -> bool:
        """Tell whether nothing of this queue is to be handed out."""

    def crashes(self, reading: Reading, partition: int) -> Mapping[int, Crashes] | None:
        """Return what is charged to messages of a partition; None while a death is not charged yet."""

    def bury(self, source: Source, held: Held) -> None:
        """Give a message up that may not run again."""

    def stopped(self, reading: Reading, partition: int, offset: int, reason: str) -> None:
        """Hear that a partition cannot be read from this offset on; told once."""


class Source:
    """Reads for one group under the holder that it was told of last. Methods may be called from any thread.

    What its store cannot do is logged and tried again, after pauses that grow; the source ends only when it is told to.
    """

    def __init__(self, reading: Reading, places: Readable, host: Host, clock: Clock, logger: logging.Logger) -> None:
        self.reading = reading
        self.window = Window(reading, clock)
        self.paused = False
        """Whether nothing is handed out."""
        self.error: Exception | None = None
        """What went wrong last, None while all is well."""
        self._places = places
        self._host = host
        self._logger = logger
        self._holder: HolderInfo | None = None
        self._joined_as = ""
        self._member: LogMember | None = None
        self._asked: deque[Future[None]] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = self._ended = self._resting = False
        self._failures = 0
        self._unreadable = Unreadable()
        self._looked = self._left = float("-inf")
        self._thread: threading.Thread | None = None
        clock.on_move(self.call)

    @property
    def holder(self) -> str:
        """The id it reads under; empty before it was told one."""
        return "" if self._holder is None else self._holder.id

    @property
    def joined(self) -> bool:
        """Whether it is a member."""
        return self._member is not None

    def stopped(self) -> set[int]:
        """Return the partitions that go no further, until somebody decides."""
        return self.window.stopped() | self._unreadable.partitions

    def hold(self, holder: HolderInfo) -> None:
        """Read under this holder from now on; what was read under another is lost."""
        with self._lock:
            changed, self._holder = self.holder != holder.id, holder
            if self._thread is None and not self._stopping:
                name = f"holdfast-consume-{self.reading.queue}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        if changed:
            self.call()

    def take(self, limit: int, lease_id: str) -> list[Delivery]:
        """Hand out what may run; that makes room for more entries of a stream, of which little is polled ahead."""
        taken = self.window.take(limit, lease_id)
        if taken and self.reading.is_stream:
            self.call()
        return taken

    def commit(self) -> None:
        """Commit what has ended, and wait for that: what is lost by then is marked so. Raises ``BackendError``."""
        asked = Future[None]()
        with self._lock:
            if self._ended or self._thread is None:
                return  # all is lost
            self._asked.append(asked)
        self.call()
        asked.result()

    def call(self) -> None:
        """Let it look again at what there is to do."""
        self._wake.set()
        if (member := self._member) is not None:
            member.interrupt()

    def rest(self, *, resting: bool) -> None:
        """Be no member, as soon as nothing runs, until this is taken back."""
        self._resting = resting
        self.call()

    def stop(self) -> None:
        """Let the thread end; its last acts are a durable commit, and to leave the group."""
        self._stopping = True
        self.call()
        with self._lock:
            self._ended = self._ended or self._thread is None

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._resting and not self.window.runs.partitions():
                    self._leave()
                else:
                    self._turn(self._joined())
                self._failures, self.error = 0, None
            except Closed as error:  # its log or group was removed, and may come again
                self._let_go()
                self._release()
                self._back_off(error)
            except Exception as error:
                self._back_off(error)
        self._end()

    def _turn(self, member: LogMember) -> None:
        self._wake.clear()
        self._answer(member)
        self._bury()
        self._look(member)
        self._open()
        if self.window.stirred() and not self.paused:
            self._host.stirred()
        self._take_in(member)

    def _take_in(self, member: LogMember) -> None:
        """Poll for what there is room for; without any, partitions come and go, and are sought, all the same."""
        assigned = member.assigned()
        room, without = self.window.room, self._without(assigned)
        if len(assigned) != 1:
            room = (room + 1) // 2  # so that one partition does not take it all
        try:
            chunks = member.poll(limit=room or 1, wait=self._patience(), busy=self.window.busy(), without=without)
        except (OffsetGone, CorruptLog) as error:
            chunks = []
            self._leave_out(error, member.assigned())
        self.window.assign(member.assigned())
        for chunk in chunks:
            self._unreadable.forget(chunk.partition)
            self.window.add(chunk)

    def _without(self, assigned: Mapping[int, Assigned]) -> Collection[int]:
        if not self.window.room:
            return assigned.keys()
        return self.window.stopped() | self.window.crowding() | self._unreadable.for_now(assigned)

    def _leave_out(self, error: OffsetGone | CorruptLog, assigned: Mapping[int, Assigned]) -> None:
        partition, offset = error.partition, error.offset if isinstance(error, OffsetGone) else error.first
        if partition in assigned and self._unreadable.add(assigned[partition].place, offset):
            self._host.stopped(self.reading, partition, offset, str(error))

    def _patience(self) -> float:
        due_in = self.window.runs.due_in()
        pause = DEATHS_EVERY if self.window.unopened() else LOOK_EVERY
        return pause if due_in is None else min(pause, due_in)

    def _back_off(self, error: Exception) -> None:
        self._failures += 1
        self.error = error
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        trace = None if isinstance(error, HoldfastError) else error
        queue = self.reading.queue
        self._logger.log(level, "consumer %s: the log cannot be read: %s", queue, error, exc_info=trace)
        self._wake.wait(RECONNECT.delay(self._failures))
        self._wake.clear()

    # -- the member -----------------------------------------------------------------------------------------------

    def _joined(self) -> LogMember:
        holder = self._holder
        assert holder is not None  # the thread starts with one
        if self._member is not None and self._joined_as != holder.id:
            self._let_go()
        if self._member is None:
            self._release()  # nothing is held, so whatever is asked for is lost
            self._member = self._places.join(self.reading, holder)
            self._joined_as = holder.id
        return self._member

    def _let_go(self) -> None:
        member, self._member = self._member, None
        self.window.assign({})
        if member is not None:
            with suppress(HoldfastError):
                member.leave()

    def _leave(self) -> None:
        """Have no partition until something happens."""
        self._wake.clear()
        self._say_last()
        self._release()
        if self._resting and not self._stopping:  # read again: what changed before the wake was cleared wakes nobody
            self._wake.wait()

    def _say_last(self) -> None:
        """Commit durably, and let everything go."""
        if self._member is not None:
            try:
                self._answer(self._member, durable=True)
            except Exception as error:
                self._logger.warning("consumer %s: its last commit failed: %s", self.reading.queue, error)
        self._let_go()

    def _end(self) -> None:
        self._say_last()
        with self._lock:
            self._ended = True
        self._release()

    # -- commits --------------------------------------------------------------------------------------------------

    def _answer(self, member: LogMember, *, durable: bool = False) -> None:
        """Commit what has ended, and tell those who asked for it before."""
        asked = len(self._asked)
        try:
            if offsets := self.window.commits():
                self._commit(member, offsets, durable=durable)
        except Closed:  # whoever asked hears that all is lost
            raise
        except Exception as error:
            self._refuse(asked, error)
            raise
        for _ in range(asked):
            self._asked.popleft().set_result(None)

    def _refuse(self, asked: int, error: Exception) -> None:
        if not isinstance(error, BackendError):  # what was to be committed is not at fault
            error = BackendError(f"the commit failed: {error!r}", retryable=True, outcome_unknown=True)
        for _ in range(asked):
            self._asked.popleft().set_exception(error)

    def _commit(self, member: LogMember, offsets: Sequence[Offset], *, durable: bool) -> None:
        try:
            member.commit(offsets, durable=durable)
        except EntriesLost as error:
            self.window.committed(offsets, error.offsets)
        except LeaseLost:
            if len(offsets) == 1:
                self.window.lose([offsets[0].partition])
                return
            for offset in offsets:  # each by itself, to see which: those that were committed may be so again
                self._commit(member, [offset], durable=durable)
        else:
            self.window.committed(offsets)

    def _release(self) -> None:
        """Let those go on who wait for a commit: what they asked for is lost."""
        while self._asked:
            self._asked.popleft().set_result(None)

    # -- what is handed out ---------------------------------------------------------------------------------------

    def _bury(self) -> None:
        while doomed := self.window.doomed:
            if not doomed[0].lost:
                self._host.bury(self, doomed[0])
            doomed.popleft()

    def _open(self) -> None:
        for partition in self.window.unopened():
            crashes = self._host.crashes(self.reading, partition)
            if crashes is not None:
                self.window.open(partition, crashes)

    def _look(self, member: LogMember) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        self.paused = self._host.is_paused(self.reading.queue)
        surplus = self._surplus(sorted(member.assigned())) if now - self._left >= LEAVE_EVERY else []
        if surplus:
            self._left = now
        if surplus or now - self._left >= LEAVE_FOR:
            self.window.leave(surplus)

    def _surplus(self, own: Sequence[int]) -> Sequence[int]:
        """Return the partitions that others should have: they would be busy for as long as there are messages."""
        if len(own) < 2:
            return ()
        logs, log = self._places.logs(), self.reading.log
        living = [len(group.members) for group in logs.groups(log) if group.name == self.reading.group]
        if not living or living[0] < 2:
            return ()
        return own[-(-logs.logs()[log].partitions // living[0]) :]
