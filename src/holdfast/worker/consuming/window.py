"""The messages of one member that were polled and have not finished: what may be handed out, and what is committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

import msgspec

from holdfast.clock import Clock
from holdfast.delivery import Delivery
from holdfast.logged import Assigned, Chunk, Crashes, Offset
from holdfast.offsets import EntryTracker, OffsetTracker, Ready
from holdfast.worker.consuming.reading import Reading
from holdfast.worker.consuming.runs import Held, Runs

MOST = 2000
MOST_BYTES = 32 << 20
"""So many messages of a group, and bytes of bodies, a worker holds at most."""
MOST_FINISHED = 4000
"""How many that are done behind one that is not are remembered for the next owner; stores keep that many."""
_NO_CRASHES = Crashes()


class _Partition(msgspec.Struct):
    """One that is held: ``begun`` is as ``Assigned`` has it, ``crashes`` is None until it is opened, ``stopped`` tells
    that it goes no further.
    """

    version: int
    begun: int
    crashes: Mapping[int, Crashes] | None = None
    stopped: bool = False


class Window:
    """Every method may be called from any thread, and none blocks.

    Messages of a partition that has come new are handed out once it was opened with what is known of crashes. What may
    not run again because of those is never handed out: it is ``doomed``.
    """

    def __init__(self, reading: Reading, clock: Clock) -> None:
        self._attempts = reading.attempts
        self._is_stream = reading.is_stream
        tracker = EntryTracker if reading.is_stream else OffsetTracker
        self._tracker = tracker(limit=MOST, limit_bytes=MOST_BYTES, most_finished=MOST_FINISHED, order=reading.order)
        self.runs = Runs(reading, self._tracker, clock)
        """What was handed out."""
        self._lock = self.runs.lock
        self._assigned: Mapping[int, Assigned] = {}
        self._partitions: dict[int, _Partition] = {}
        self.doomed: deque[Held] = deque()
        """What is to be buried before it runs; some of it may be lost."""
        self._ending: list[Held] = []
        self._leaving: frozenset[int] = frozenset()

    # -- partitions come and go -----------------------------------------------------------------------------------

    def assign(self, assigned: Mapping[int, Assigned]) -> None:
        """Follow these partitions and no others; what runs of those that went is lost."""
        with self._lock:
            self._assigned = assigned
            self._tracker.assign(assigned)
            gone = [
                number
                for number, its in self._partitions.items()
                if number not in assigned or its.version < assigned[number].place.version
            ]
            self._forget(gone)

    def add(self, chunk: Chunk) -> None:
        """Take in what was polled. With a new version, what was there of its partition before is lost."""
        with self._lock:
            known, version = self._partitions.get(chunk.partition), self._version(chunk)
            if known is None or known.version != version:
                self._forget([chunk.partition])
                self._partitions[chunk.partition] = _Partition(version, self._begun(chunk.partition, version))
            elif chunk.again:
                known.crashes = None
            self._tracker.add(chunk)
            self.runs.stirred = True

    def _version(self, chunk: Chunk) -> int:
        """Return the version of the place: each entry of a stream has one of its own beside it."""
        its = self._assigned.get(chunk.partition)
        return its.place.version if its is not None and self._is_stream else chunk.version

    def _begun(self, partition: int, version: int) -> int:
        its = self._assigned.get(partition)
        return its.begun if its is not None and its.place.version == version else version

    def unopened(self) -> list[int]:
        """Return the partitions of which nothing is handed out before they are opened."""
        with self._lock:
            return [number for number, its in self._partitions.items() if its.crashes is None]

    def open(self, partition: int, crashes: Mapping[int, Crashes]) -> None:
        """Let the messages of a partition be handed out."""
        with self._lock:
            if partition in self._partitions:
                self._partitions[partition].crashes = crashes
                self.runs.stirred = True

    def lose(self, partitions: Collection[int]) -> None:
        """Hear that these are another's by now, or that their places were sought; what runs of them is lost."""
        with self._lock:
            for partition in partitions:
                self._tracker.revoke(partition)
            self._forget(partitions)

    def stop(self, held: Held) -> None:
        """Let a message be, and hand out no more of its partition, until that comes new."""
        with self._lock:
            if not held.lost:
                held.running = False  # but for the tracker, which holds the place there
                self._partitions[held.message.partition].stopped = True

    def leave(self, partitions: Collection[int]) -> None:
        """Hand out nothing of these for now, but of all others: other members are to have them."""
        with self._lock:
            if self._leaving != frozenset(partitions):
                self._leaving = frozenset(partitions)
                self.runs.stirred = True

    def _forget(self, partitions: Collection[int]) -> None:
        self.runs.forget(partitions)
        for partition in partitions:
            self._partitions.pop(partition, None)

    # -- for the member -------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more messages may be added, of partitions that are not stopped."""
        with self._lock:
            return self._tracker.room_beside(self.stopped())

    def crowding(self) -> set[int]:
        """Return the partitions that take as much room as all others have left; none when there are no others."""
        with self._lock:
            followed, stopped, room = self._tracker.partitions, self.stopped(), self.room
            if len(followed) < 2:
                return set()
            return {one for one in followed if self._tracker.room_beside(stopped | {one}) >= 2 * room}

    def stopped(self) -> set[int]:
        """Return the partitions that go no further."""
        with self._lock:
            return {number for number, its in self._partitions.items() if its.stopped}

    def busy(self) -> set[int]:
        """Return the partitions that are not to be let go: all that are followed, but of those to be left only what
        runs counts.
        """
        with self._lock:
            return self.runs.partitions() | (self._tracker.partitions - self._leaving)

    def commits(self) -> list[Offset]:
        """Return the places that have moved; see ``OffsetTracker``."""
        with self._lock:
            self._ending = self.runs.finished()
            return self._tracker.commits()

    def committed(self, offsets: Sequence[Offset], lost: Collection[int] = ()) -> None:
        """Hear that these places, the last that were asked for, are committed: what had finished by then is over.

        What was ``lost``, by offset, is another's by now: its end does not count.
        """
        with self._lock:
            for held in self._ending:
                held.lost = held.lost or held.message.offset in lost
            self._tracker.committed(offsets)
            partitions = {offset.partition for offset in offsets}
            self.runs.over(held for held in self._ending if held.message.partition in partitions)

    # -- for the worker -------------------------------------------------------------------------------------------

    def stirred(self) -> bool:
        """Tell whether there may be something to take that was not there when the last take left nothing."""
        with self._lock:
            self.runs.wake()
            return self.runs.stirred

    def take(self, limit: int, lease_id: str) -> list[Delivery]:
        """Hand out up to ``limit`` messages, each as a delivery of its next run."""
        taken: list[Delivery] = []
        with self._lock:
            self.runs.wake()
            while len(taken) < limit and (ready := self._ready(limit - len(taken))):
                taken += [self.runs.grant(held, lease_id) for held in map(self._begin, ready) if self._may_run(held)]
        return taken

    def _ready(self, limit: int) -> list[Ready]:
        ready = self._tracker.ready(limit, without=self._resting())
        self.runs.stirred = bool(ready)
        return ready

    def _may_run(self, held: Held) -> bool:
        if held.is_used_up(self._attempts):
            self.doomed.append(held)
            return False
        return True

    def _resting(self) -> set[int]:
        resting = {number for number, its in self._partitions.items() if its.crashes is None or its.stopped}
        return resting | self._leaving

    def _begin(self, ready: Ready) -> Held:
        its = self._partitions[ready.message.partition]
        return self.runs.begin(ready, its.begun, (its.crashes or {}).get(ready.message.offset, _NO_CRASHES))
