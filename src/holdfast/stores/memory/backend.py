"""The contract of a queue store, kept by machines behind one lock and one condition."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from holdfast.clock import SYSTEM, Clock
from holdfast.config import QueueSettings
from holdfast.contract import Features, QueueBackend
from holdfast.delivery import (
    ENDED,
    Ack,
    Beat,
    Delivery,
    GiveBack,
    HolderInfo,
    QueueStats,
    Receipt,
    Settlement,
    State,
    Tidied,
)
from holdfast.errors import BodyTooLarge, Closed, LeaseLost, QueueFull
from holdfast.machine import charged_runs, next_change, queue_full
from holdfast.message import FORMAT, Level, Message, Stored
from holdfast.stores.holders import seen
from holdfast.stores.memory.doctor import MemoryDoctor
from holdfast.stores.memory.lent import Holder
from holdfast.stores.memory.operations import MemoryWatch, Operations, advance_fully
from holdfast.stores.memory.queue import MemoryQueue
from holdfast.stores.memory.schedules import KeptSchedules, QueueSchedules
from holdfast.stores.waiting import Waiting

MAX_BODY = 1 << 30
DEFAULT_MAX_JOBS = 1_000_000
DEFAULT_MAX_BYTES = 1 << 30
HOLDER_KEPT_MS = 3_600_000
"""How long an ended holder is remembered, so that its late beat is told that it has ended."""


class MemoryBackend(Operations, KeptSchedules, MemoryDoctor, QueueBackend):
    """Queues in the memory of this process. ``max_jobs`` and ``max_bytes`` (of bodies) bound it: ``QueueFull``."""

    features = Features(level=Level.MEMORY, durable=False, multi_process=False, multi_host=False, max_body=MAX_BODY)

    def __init__(
        self, clock: Clock = SYSTEM, *, max_jobs: int = DEFAULT_MAX_JOBS, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        self._clock = clock
        self._max_jobs, self._max_bytes = max_jobs, max_bytes
        self._lock = threading.Condition(threading.RLock())
        self._waiting = Waiting(clock, self._lock)
        self._closed = False
        self._seq = itertools.count(1)
        self._bytes = 0
        self._places: dict[str, MemoryQueue] = {}
        self._schedules: dict[str, QueueSchedules] = {}
        self._tokens: dict[str, int] = {}
        self._holders: dict[str, Holder] = {}
        self._watches: set[MemoryWatch] = set()
        clock.on_move(self._wake_watches)

    # -- places ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise Closed("the memory store is closed")
            yield
            self._waiting.wake()

    def _place(self, queue: str) -> MemoryQueue:
        if queue not in self._places:
            self._places[queue] = MemoryQueue(QueueSettings(), self._tokens.get(queue, 0))
        return self._places[queue]

    def declare(self, queue: str, settings: QueueSettings) -> None:
        with self._open():
            self._place(queue).machine.settings = settings

    def destroy(self, queue: str) -> int:
        with self._open():
            place = self._places.pop(queue, None)
            self._schedules.pop(queue, None)
            if place is None:
                return 0
            heads = place.machine.heads
            self._tokens[queue] = place.machine.highest_token()
            self._bytes -= place.forget(list(heads.values()))
            self._tell_watches(queue, list(heads))
            return len(heads)

    def queues(self) -> dict[str, QueueSettings]:
        with self._open():
            return {name: place.machine.settings for name, place in self._places.items()}

    # -- send, lease, wait ----------------------------------------------------------------------------------------

    def send(self, queue: str, messages: Sequence[Message]) -> list[Stored]:
        with self._open():
            place, now = self._place(queue), self._clock.wall()
            self._check_room(queue, place, messages, now)
            return self._store(queue, place, messages, now)

    def _store(self, queue: str, place: MemoryQueue, messages: Sequence[Message], now: int) -> list[Stored]:
        answers, gained = place.send(messages, self._seq, now)
        self._bytes += gained
        return [Stored(queue, job_id, Level.MEMORY, duplicate) for job_id, duplicate in answers]

    def _send_tick(self, queue: str, message: Message, *, limited: bool) -> Stored:
        place, now = self._place(queue), self._clock.wall()
        if limited:
            self._make_room(queue, place, [message], now)
        return self._store(queue, place, [message], now)[0]

    def _check_room(self, queue: str, place: MemoryQueue, messages: Sequence[Message], now: int) -> None:
        for message in messages:
            self._check_body(queue, place.machine.settings, message.body)
        self._make_room(queue, place, messages, now)

    def _check_body(self, queue: str, settings: QueueSettings, body: bytes) -> None:
        if not settings.min_body <= len(body) <= settings.max_body:
            raise BodyTooLarge(
                f"queue {queue!r}: a body of {len(body)} bytes is outside {settings.min_body} … "
                f"{settings.max_body}; store it elsewhere and send its address, or raise max_body"
            )

    def _make_room(self, queue: str, place: MemoryQueue, messages: Sequence[Message], now: int) -> None:
        self._check_limit(queue, place, messages, now)
        if self._has_room(messages):
            return
        new = list(place.machine.plan(messages, now).new.values())
        for other in self._places.values():
            self._drop(other, now, len(other.records))
        if not self._has_room(new):
            raise QueueFull(f"the memory store is full ({self._max_jobs} jobs, {self._max_bytes} bytes of bodies)")

    def _check_limit(self, queue: str, place: MemoryQueue, messages: Sequence[Message], now: int) -> None:
        machine, limit = place.machine, place.machine.settings.limit
        if limit is None or machine.waiting() + len(messages) <= limit:
            return
        self._tell_watches(queue, advance_fully(place, now))
        new = len(machine.plan(messages, now).new)
        if new and machine.waiting() + new > limit:
            raise queue_full(queue, limit, machine.waiting(), new)

    def _has_room(self, messages: Sequence[Message]) -> bool:
        jobs = sum(len(place.records) for place in self._places.values()) + len(messages)
        return jobs <= self._max_jobs and self._bytes + sum(len(m.body) for m in messages) <= self._max_bytes

    def lease(
        self, queue: str, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], max_format: int
    ) -> list[Delivery]:
        with self._open():
            known = self._holders.get(holder)
            if known is None or known.ended is not None:
                raise LeaseLost(f"holder {holder!r} has ended or never beat; take a new incarnation")
            place, now = self._places.get(queue), self._clock.wall()
            if place is None:
                return []
            machine = place.machine
            expired, _ = machine.advance(now)
            granted, late = machine.lease(holder, lease_id, limit=limit, kinds=kinds, max_format=max_format, now=now)
            self._tell_watches(queue, [head.id for head in (*expired, *late)])
            return [place.deliver(queue, head) for head in granted]

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        return self._waiting.wait(lambda: self._until_chance(queues, kinds), timeout)

    def _until_chance(self, queues: Sequence[str], kinds: Collection[str]) -> float | None:
        """Return the seconds until a lease may find something, 0 for now, None when nothing is in sight."""
        now = self._clock.wall()
        places = [self._places[queue] for queue in queues if queue in self._places]
        chances = [place.machine.next_chance(kinds, FORMAT, now) for place in places]
        return min(((chance - now) / 1000 for chance in chances if chance is not None), default=None)

    def interrupt(self) -> None:
        self._waiting.interrupt()

    # -- settle ---------------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        lost: list[Receipt] = []
        with self._open():
            now = self._clock.wall()
            for settlement in settlements:
                receipt = settlement.receipt
                if receipt is None:
                    self._give_back_lease(settlement, now)
                elif not self._settle_one(receipt, settlement, now):
                    lost.append(receipt)
        return lost

    def _settle_one(self, receipt: Receipt, settlement: Settlement, now: int) -> bool:
        place = self._places.get(receipt.queue)
        head = None if place is None else place.settle(settlement, now)
        if place is None or head is None:
            return False
        if isinstance(settlement, Ack) and settlement.then:
            self._store(receipt.queue, place, settlement.then, now)
        if self._watches and head.ended is not None:
            self._tell_watches(receipt.queue, [head.id])
        return True

    def _give_back_lease(self, settlement: Settlement, now: int) -> None:
        if not isinstance(settlement, GiveBack) or settlement.queue not in self._places:
            return
        place = self._places[settlement.queue]
        for head in place.machine.granted(settlement.lease_id):
            place.settle(GiveBack(Receipt(settlement.queue, head.id, head.token)), now)

    # -- holders --------------------------------------------------------------------------------------------------

    def beat(self, holder: HolderInfo) -> Beat:
        with self._open():
            known = self._holders.setdefault(holder.id, Holder(holder))
            if known.ended is not None:
                return Beat(alive=False)
            known.info = holder
            known.expires = self._clock.boot() + int(holder.ttl * 1000)
            cancels = [
                Receipt(name, head.id, head.token)
                for name, place in self._places.items()
                for head in place.machine.cancels(holder.id)
            ]
            mine = [name for name in holder.queues if name in self._places]
            paused = frozenset(name for name in mine if self._places[name].machine.paused)
            next_tick = self._next_tick(holder.queues, holder.schedules)
            return Beat(
                alive=True,
                cancels=tuple(cancels),
                paused=paused,
                soonest=self._soonest(holder.id),
                next_tick=next_tick,
                command=known.command,
            )

    def _soonest(self, holder: str) -> float | None:
        """Return the seconds until the first of the other holders falls silent."""
        living = (other for id_, other in self._holders.items() if id_ != holder and other.ended is None)
        expires = min((other.expires for other in living), default=None)
        return None if expires is None else max(0, expires - self._clock.boot()) / 1000

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None = ()) -> int:
        with self._open():
            return self._retire(holder, reason, charged)

    def _retire(self, holder: str, reason: str, charged: Collection[Receipt] | None) -> int:
        known = self._holders.get(holder)
        if known is None or known.ended is not None:
            return 0
        known.ended = self._clock.boot()
        now, taken = self._clock.wall(), 0
        for queue, place in self._places.items():
            heads = place.retire(holder, reason, charged_runs(charged, queue), now)
            self._tell_watches(queue, [head.id for head in heads if head.ended is not None])
            taken += len(heads)
        return taken

    def holders(self) -> list[HolderInfo]:
        with self._open():
            boot = self._clock.boot()
            return [seen(one.info, one.expires, boot) for one in self._holders.values() if one.ended is None]

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tidy(self, limit: int = 1000) -> Tidied:
        with self._open():
            now, rescued = self._clock.wall(), self._rescue(limit)
            tidied = Tidied(rescued=rescued, more=rescued >= limit)
            for queue, place in self._places.items():
                tidied += self._tidy_place(queue, place, now, limit)
            return tidied

    def next_change(self) -> int | None:
        """Return the ms (wall) at which something next happens here by time alone, None for never; changes nothing."""
        with self._open():
            changes = [next_change(place.machine) for place in self._places.values()]
            return min((change for change in changes if change is not None), default=None)

    def _tidy_place(self, queue: str, place: MemoryQueue, now: int, limit: int) -> Tidied:
        over, due = place.machine.advance(now, limit)
        self._tell_watches(queue, [head.id for head in over])
        lapsed, states = self._drop(place, now, limit)
        ticks = self._drop_ticks(queue, place.machine.settings.ticks_for, now, limit)
        more = max(len(over), due, lapsed, ticks, *(states.count(state) for state in ENDED)) >= limit
        return Tidied(0, len(over), due, len(states), states.count(State.DEAD), more)

    def _rescue(self, limit: int) -> int:
        """Take back the jobs of silent holders, whole holders at a time, until ``limit`` is reached."""
        boot, rescued = self._clock.boot(), 0
        for holder_id, holder in list(self._holders.items()):
            if holder.ended is not None and holder.ended + HOLDER_KEPT_MS <= boot:
                del self._holders[holder_id]
            elif holder.ended is None and holder.expires <= boot and rescued < limit:
                rescued += self._retire(holder_id, "its worker went silent", None)
        return rescued

    def _drop(self, place: MemoryQueue, now: int, limit: int) -> tuple[int, list[State]]:
        """Drop what retention no longer keeps; return how many results that was, and the states of the jobs."""
        lapsed, dropped, freed = place.drop(now, limit)
        self._bytes -= freed
        return lapsed, [head.state for head in dropped]

    def stats(self, queue: str) -> QueueStats:
        with self._open():
            place, now = self._places.get(queue), self._clock.wall()
            if place is None:
                return QueueStats(queue=queue)
            self._tell_watches(queue, advance_fully(place, now))
            machine = place.machine
            oldest = machine.ready.oldest()
            return QueueStats(
                queue=queue,
                **{state.value: count for state, count in machine.counts.items()},
                held=machine.ready.held,
                paused=machine.paused,
                oldest_ready=None if oldest is None else max(0, now - oldest) / 1000,
                unhandled=self._unhandled(queue, machine.ready.by_kind()),
            )

    def _unhandled(self, queue: str, ready: dict[tuple[str, int], int]) -> dict[str, int]:
        served = {
            kind
            for holder in self._holders.values()
            if holder.ended is None and holder.expires > self._clock.boot() and queue in holder.info.queues
            for kind in holder.info.kinds
        }
        return {
            kind if format_ <= FORMAT else f"{kind} (format {format_})": count
            for (kind, format_), count in ready.items()
            if count and (kind not in served or format_ > FORMAT)
        }

    def close(self) -> int:
        with self._lock:
            if self._closed:
                return 0
            self._closed = True
            self._waiting.close()
            self._wake_watches()
            for place in self._places.values():
                advance_fully(place, self._clock.wall())
            live = (State.SCHEDULED, State.READY, State.RUNNING)
            return sum(place.machine.counts[state] for place in self._places.values() for state in live)
