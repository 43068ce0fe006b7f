"""The contract of a queue store, kept by an engine behind one lock and one condition."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from holdfast.clock import Clock
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import (
    Ack,
    Beat,
    Burial,
    Delivery,
    HolderInfo,
    Nack,
    QueueStats,
    Receipt,
    Settlement,
    State,
    Tidied,
)
from holdfast.errors import Closed, LeaseLost
from holdfast.message import FORMAT, Message, Stored
from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.engine import Engine
from holdfast.stores.engine.face import C, T
from holdfast.stores.engine.kept_schedules import KeptSchedules
from holdfast.stores.engine.leasing import papers_of
from holdfast.stores.engine.operations import Operations
from holdfast.stores.engine.outcomes import Outcomes
from holdfast.stores.engine.place import Place
from holdfast.stores.engine.watching import EngineWatch
from holdfast.stores.waiting import Waiting

Item = TypeVar("Item")
LIVE = (State.SCHEDULED, State.READY, State.RUNNING)


def parts(items: Sequence[Item], size: Callable[[Item], int], most: int) -> Iterator[tuple[Item, ...]]:
    """Return the items in their order, in parts of at most so many bytes or of one item."""
    part: list[Item] = []
    total = 0
    for item in items:
        total += size(item)
        if part and total > most:
            yield tuple(part)
            part, total = [], size(item)
        part.append(item)
    yield tuple(part)


class EngineBackend(Operations, Outcomes, KeptSchedules, QueueBackend):
    """Queues of an engine, which is this process's own. ``name`` is what errors call the store."""

    command_most = sys.maxsize
    """How many bytes of bodies, results and errors one command may have, if they are several."""

    def __init__(self, engine: Engine, clock: Clock, name: str) -> None:
        self._engine, self._clock, self._name = engine, clock, name
        self._lock = threading.Condition(threading.RLock())
        self._waiting = Waiting(clock, self._lock)
        self._watches: set[EngineWatch] = set()
        self._closed = False
        self._next_number = 1
        engine.ended = self._tell_watches
        clock.on_move(self._wake_watches)

    # -- carrying out ---------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self, *, durable: bool = False) -> Iterator[None]:
        with self._lock:
            self._check_open()
            yield
            self._waiting.wake()
            reached = self._reached()
        if durable:
            self._make_durable(reached)

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the {self._name} is closed")

    def _reached(self) -> object:
        """Return how far what was done goes, for ``_make_durable``."""
        return None

    def _make_durable(self, reached: Any) -> None:
        """Block until all that was done by then is safe to the store's level."""

    def _do(self, carry_out: Callable[[C, At], T], command: C, papers: int = 0) -> T:
        first, self._next_number = self._next_number, self._next_number + papers
        return carry_out(command, At(self._clock.wall(), self._clock.boot(), first))

    def _catch_up(self, *queues: str) -> None:
        now = self._clock.wall()
        behind = tuple(queue for queue in queues if self._engine.is_behind(queue, now))
        if behind:
            self._do(self._engine.advance, commands.Advance(behind))

    def _tell_watches(self, queue: str, job_ids: Collection[str]) -> None:
        for watch in self._watches if job_ids else ():
            watch.tell(queue, job_ids)

    def _wake_watches(self) -> None:
        with self._lock:
            for watch in self._watches:
                watch.look_again()

    # -- places ---------------------------------------------------------------------------------------------------

    def declare(self, queue: str, settings: QueueSettings) -> None:
        with self._open(durable=True):
            self._do(self._engine.declare, commands.Declare(queue, settings))

    def destroy(self, queue: str) -> int:
        with self._open(durable=True):
            return self._do(self._engine.destroy, commands.Destroy(queue))

    def queues(self) -> dict[str, QueueSettings]:
        with self._open():
            return {name: place.machine.settings for name, place in self._engine.places.items()}

    # -- send, lease, wait, settle --------------------------------------------------------------------------------

    def send(self, queue: str, messages: Sequence[Message], *, limited: bool = True) -> list[Stored]:
        with self._open(durable=True):
            if limited:
                self._make_room(queue, messages)
            answers = [
                answer
                for part in parts(messages, _body_size, self.command_most)
                for answer in self._do(self._engine.send, commands.Send(queue, part), len(part))
            ]
            return [Stored(queue, job_id, self.features.level, duplicate) for job_id, duplicate in answers]

    def _make_room(self, queue: str, messages: Sequence[Message]) -> None:
        self._engine.check_bodies(queue, [message.body for message in messages])
        if self._engine.nears_limit(queue, messages):
            self._catch_up(queue)
        self._engine.make_room(queue, messages, self._clock.wall())

    def lease(
        self, queue: str, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], max_format: int
    ) -> list[Delivery]:
        with self._open():
            if not self._engine.holds(holder):
                raise LeaseLost(f"holder {holder!r} has ended or never beat; take a new incarnation")
            now, wanted = self._clock.wall(), tuple(kinds)
            chance = self._engine.chance((queue,), wanted, max_format, now)
            if chance is None or chance > now:
                return []
            command = commands.Lease(queue, holder, lease_id, limit, wanted, max_format)
            granted = self._do(self._engine.lease, command)
            delivered, lost = self._engine.places[queue].deliver(queue, granted)
            if lost:  # else every lease to come would meet them again
                self._do(self._engine.settle, commands.Settle(tuple(lost)))
            return delivered

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        return self._waiting.wait(lambda: self._until_chance(queues, kinds), timeout)

    def _until_chance(self, queues: Sequence[str], kinds: Collection[str]) -> float | None:
        """Return the seconds until a lease may find something, 0 for now, None when nothing is in sight."""
        now = self._clock.wall()
        chance = self._engine.chance(queues, kinds, FORMAT, now)
        return None if chance is None else (chance - now) / 1000

    def interrupt(self) -> None:
        self._waiting.interrupt()

    def settle(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        with self._open(durable=True):
            return [
                receipt
                for part in parts(settlements, _papers_size, self.command_most)
                for receipt in self._do(self._engine.settle, commands.Settle(part), sum(map(papers_of, part)))
            ]

    # -- holders and housekeeping ---------------------------------------------------------------------------------

    def beat(self, holder: HolderInfo) -> Beat:
        with self._open():
            return self._do(self._engine.beat, commands.Beat(holder))

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None = ()) -> int:
        with self._open(durable=True):
            if not self._engine.holds(holder):
                return 0
            runs = None if charged is None else tuple(charged)
            return self._do(self._engine.retire, commands.Retire(holder, reason, runs))

    def holders(self) -> list[HolderInfo]:
        with self._open():
            return self._engine.live_holders(self._clock.boot())

    def tidy(self, limit: int = 1000) -> Tidied:
        with self._open():
            return self._do(self._engine.tidy, commands.Tidy(limit))

    def next_change(self) -> int | None:
        """Return the ms (wall) at which something next happens here by time alone, None for never; changes nothing."""
        with self._open():
            return self._engine.next_change()

    def stats(self, queue: str) -> QueueStats:
        with self._open():
            self._catch_up(queue)
            place, now = self._engine.places.get(queue), self._clock.wall()
            if place is None:
                return QueueStats(queue=queue)
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
        served = self._engine.served(queue, self._clock.boot())
        return {
            kind if format_ <= FORMAT else f"{kind} (format {format_})": count
            for (kind, format_), count in ready.items()
            if count and (kind not in served or format_ > FORMAT)
        }

    def close(self) -> int:
        with self._lock:
            if self._closed:
                return 0
            lost = 0
            if not self.features.durable:
                self._catch_up(*self._engine.places)
                lost = sum(map(_live, self._engine.places.values()))
            self._closed = True
            self._waiting.close()
            self._wake_watches()
            self._release()
            return lost

    def _release(self) -> None:
        """Let go of what the store has open."""


def _body_size(message: Message) -> int:
    return len(message.body)


def _papers_size(settlement: Settlement) -> int:
    if isinstance(settlement, Ack):
        return len(settlement.result or b"") + sum(map(_body_size, settlement.then))
    error = settlement.error if isinstance(settlement, (Nack, Burial)) else None
    return 0 if error is None else len(error.message) + len(error.traceback)


def _live(place: Place) -> int:
    return sum(place.machine.counts[state] for state in LIVE)
