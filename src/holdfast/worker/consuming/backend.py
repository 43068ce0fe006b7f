"""The messages of groups beside the jobs of queues: a worker leases, waits, settles and beats for both alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from holdfast.capabilities import DeadLetters, ForeignStreams
from holdfast.clock import Clock
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import Beat, Delivery, GiveBack, HolderInfo, QueueStats, Receipt, Settlement, Tidied
from holdfast.errors import BackendError, HoldfastError, NotSupported, UsageError
from holdfast.events import Events, PartitionStopped
from holdfast.logged import Crashes
from holdfast.logs.opening import OpenLogs
from holdfast.message import Message, Stored
from holdfast.worker.consuming.failing import Failing
from holdfast.worker.consuming.places import is_of_log, is_of_stream
from holdfast.worker.consuming.readable import Readable
from holdfast.worker.consuming.reading import Reading
from holdfast.worker.consuming.runs import Held
from holdfast.worker.consuming.settling import Settling
from holdfast.worker.consuming.source import Source
from holdfast.worker.housekeeping import retire_all_gone

REPLAYED_EVERY = 1.0
"""Seconds between two looks for replayed dead letters of a group that has messages all the time."""
LAST_COMMIT = 1.0
"""Seconds that the end of a holder waits for its last commits."""


class Consuming(QueueBackend):
    """``store`` with the groups of ``readings`` beside its queues; without any it only sees to what died reading.

    What the store can do beyond a ``QueueBackend`` is asked of ``store_behind``. ``logs`` are opened when something is
    to be read or charged. ``NotSupported`` when there is no place for dead letters, or for the streams to be read.
    """

    def __init__(
        self,
        store: QueueBackend,
        logs: OpenLogs,
        events: Events,
        clock: Clock,
        readings: Sequence[Reading] = (),
    ) -> None:
        for reading in readings:
            _check(store, reading)
        self.features = store.features
        self.store = store
        self._places = places = Readable(store, logs)
        self._readings = list(readings)
        self._failing = Failing(store, places, events, lambda: retire_all_gone(self, events))
        self._settling = Settling(store, self._failing)
        self._events = events
        host = _Host(store, self._failing, events, self._stirred)
        self._sources = {one.queue: Source(one, places, host, clock, events.logger) for one in readings}
        self._waiting = False
        self._replayed: dict[str, float] = {}

    # -- leases ---------------------------------------------------------------------------------------------------

    def lease(
        self, queue: str, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], max_format: int
    ) -> list[Delivery]:
        source = self._sources.get(queue)
        messages = source if source is not None and source.holder == holder and _has_any(source, kinds) else None
        # What has stirred may turn out to be nothing; who drains then ends, and has not looked for jobs.
        if messages and not self._is_time_for(queue) and (taken := messages.take(limit, lease_id)):
            return taken
        jobs = self.store.lease(queue, holder, lease_id, limit=limit, kinds=kinds, max_format=max_format)
        if messages is None or len(jobs) == limit:
            return jobs
        return jobs + messages.take(limit - len(jobs), lease_id)

    def _is_time_for(self, queue: str) -> bool:
        """Tell whether replayed dead letters have waited long enough for a group that always has messages."""
        now = time.monotonic()
        if now - self._replayed.get(queue, 0.0) < REPLAYED_EVERY:
            return False
        self._replayed[queue] = now
        return True

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        sources = [self._sources[queue] for queue in queues if queue in self._sources]
        if not sources:
            return self.store.wait(queues, kinds, timeout)
        self._waiting = True  # before it is looked: what stirs from here on ends the wait
        try:
            if any(_has_any(source, kinds) for source in sources):
                return True
            found = self.store.wait(queues, kinds, timeout)
            return found or any(_has_any(source, kinds) for source in sources)
        finally:
            self._waiting = False

    def interrupt(self) -> None:
        self.store.interrupt()

    def _stirred(self) -> None:
        if self._waiting:
            self.store.interrupt()

    def settle(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        jobs, messages = list[Settlement](), dict[str, list[Settlement]]()
        for one in settlements:
            if one.receipt is not None and is_of_log(one.receipt):
                messages.setdefault(one.receipt.queue, []).append(one)
                continue
            jobs.append(one)
            if isinstance(one, GiveBack) and one.receipt is None and one.queue in self._sources:
                self._settling.give_back(self._sources[one.queue], one.lease_id)
        lost = self.store.settle(jobs) if jobs else []
        for queue, its in messages.items():
            lost += self._settle_messages(queue, its)
        return lost

    def _settle_messages(self, queue: str, settlements: Sequence[Settlement]) -> list[Receipt]:
        source = self._sources.get(queue)
        if source is None:
            return self._failing.settle_for_others(settlements)
        try:
            return self._settling.settle(source, settlements)
        except BackendError as error:  # others of the same batch may have taken effect by now
            error.outcome_unknown = True
            raise
        finally:
            if source.window.stirred():
                self._stirred()

    # -- holders --------------------------------------------------------------------------------------------------

    def beat(self, holder: HolderInfo) -> Beat:
        answer = self.store.beat(holder)
        is_own = holder.pid in (0, os.getpid())
        if not answer.alive or (is_own and not self._sources):
            return answer
        if is_own:
            for queue, source in self._sources.items():
                source.hold(holder)
                source.paused = source.paused or queue in answer.paused
        try:
            alive = self._places.beat(holder, self._readings if is_own else ())
        except HoldfastError as error:  # the jobs of queues go on; members ask for themselves
            self._events.logger.debug("the logs did not answer a beat: %s", error)
            return answer
        return answer if alive else msgspec.structs.replace(answer, alive=False)

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None = ()) -> int:
        its = [source for source in self._sources.values() if source.holder == holder]
        for source in its:
            source.stop()
        for source in its:
            source.join(LAST_COMMIT)
        messages = [receipt for receipt in charged or () if is_of_log(receipt)]
        returned = self._retire_reader(holder, reason, messages) if messages or its else 0
        jobs = None if charged is None else [receipt for receipt in charged if not is_of_log(receipt)]
        return returned + self.store.retire(holder, reason, jobs)

    def _retire_reader(self, holder: str, reason: str, charged: list[Receipt]) -> int:
        try:
            returned = self._failing.charge_all(charged, reason)
            if any(not reading.is_stream for reading in self._readings) or not all(map(is_of_stream, charged)):
                self._places.logs().retire(holder)
        except BackendError:
            raise
        except HoldfastError as error:  # such as an App that was given no logs
            self._events.logger.warning("what %s read of logs cannot be seen to: %s", holder, error)
            return 0
        return returned

    def holders(self) -> list[HolderInfo]:
        return self.store.holders()

    # -- what is the store's --------------------------------------------------------------------------------------

    def declare(self, queue: str, settings: QueueSettings) -> None:
        self.store.declare(queue, settings)

    def destroy(self, queue: str) -> int:
        return self.store.destroy(queue)

    def send(self, queue: str, messages: Sequence[Message], *, limited: bool = True) -> list[Stored]:
        return self.store.send(queue, messages, limited=limited)

    def tidy(self, limit: int = 1000) -> Tidied:
        return self.store.tidy(limit)

    def stats(self, queue: str) -> QueueStats:
        return self.store.stats(queue)

    def queues(self) -> dict[str, QueueSettings]:
        return self.store.queues()

    def close(self) -> int:
        return self.store.close()


class _Host:
    """What the sources of one worker ask for."""

    def __init__(self, store: QueueBackend, failing: Failing, events: Events, stirred: Callable[[], None]) -> None:
        self._store = store
        self._failing = failing
        self._events = events
        self.stirred = stirred

    def is_paused(self, queue: str) -> bool:
        return self._store.stats(queue).paused

    def crashes(self, reading: Reading, partition: int) -> Mapping[int, Crashes] | None:
        return self._failing.crashes(reading, partition)

    def bury(self, source: Source, held: Held) -> None:
        self._failing.bury_doomed(source, held)

    def stopped(self, reading: Reading, partition: int, offset: int, reason: str) -> None:
        self._events.emit(PartitionStopped(reading.log, reading.group, partition, offset, reason))


def store_behind(backend: QueueBackend) -> QueueBackend:
    """Return the store itself, whose further powers can be asked for."""
    return backend.store if isinstance(backend, Consuming) else backend


def is_behind(backend: QueueBackend) -> bool:
    """Tell whether there are messages that a worker has to handle before it has drained its groups.

    What another member holds is that one's to handle; a group that is paused, or stopped, has nothing to do.
    """
    if not isinstance(backend, Consuming):
        return False
    return any(_is_behind(source, backend._places) for source in backend._sources.values())


def rest(backend: QueueBackend, *, resting: bool) -> None:
    """Let other members have the partitions, once nothing runs of them, for as long as this one is ``resting``."""
    if isinstance(backend, Consuming):
        for source in backend._sources.values():
            source.rest(resting=resting)


def _check(store: QueueBackend, reading: Reading) -> None:
    """Raise ``NotSupported`` for what no waiting brings."""
    if reading.is_stream and not isinstance(store, ForeignStreams):
        raise NotSupported(
            f"consumer {reading.kind!r} reads stream {reading.log!r}, and {type(store).__name__} has no streams: open "
            "the App on redis:// or valkey://, where the stream is"
        )
    if reading.dead_letters == "queue" and not isinstance(store, DeadLetters):
        raise NotSupported(
            f'{type(store).__name__} keeps no dead letters of logs: consumer {reading.kind!r} needs dead_letters="stop"'
        )


def _has_any(source: Source, kinds: Collection[str]) -> bool:
    return not source.paused and source.reading.kind in kinds and source.window.stirred()


def _is_behind(source: Source, places: Readable) -> bool:
    reading, stopped = source.reading, source.stopped()
    if source.paused or not source.holder:
        return False
    if not source.joined:
        return not isinstance(source.error, UsageError)  # such as that there is no such log
    try:
        lags, groups = places.lag(reading), places.group(reading)
    except UsageError:  # it has just been removed, which its member will see
        return True
    # A store may name, for a moment, who held a partition before.
    living = {holder for group in groups for holder in group.members}
    others = living - {source.holder}
    return any(lag.messages and lag.member not in others and lag.partition not in stopped for lag in lags)
