"""Settles what has been run, in batches, from a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from queue import Empty, SimpleQueue

from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Burial, Cancellation, Delivery, GiveBack, Receipt, Report, Settlement
from holdfast.errors import BackendError, Closed
from holdfast.events import BeforeBury, Cancelled, Done, Events, Lost, Sent
from holdfast.message import Stored
from holdfast.retry import Retry
from holdfast.transactions import is_done
from holdfast.worker.reporting import Reports

LARGEST_BATCH = 1000
MOST_TRIES = 3
"""So often one settlement is tried that breaks the store's code, before the job is buried instead."""
RECONNECT = Retry(attempts=None, base=0.1, cap=2.5)
"""How a worker comes back to a store that was away: full jitter, so that a thousand workers do not come at once, and
within 5 s of its return, however long it was away, though the first that it asks knows of no new master yet.
"""
LONGEST_REST = 4.0
"""Seconds that a call in vain is rested from at most, where nothing else asks for more."""


def rest_after(attempt: int, took: float, *, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to leave a server alone after so many calls in vain, of which the last took so long: one that
    is silent must not take all the time of whoever has others to ask.
    """
    return max(RECONNECT.delay(attempt, draw=draw), min(took, LONGEST_REST))


class _Note:
    """What stands in the line beside deliveries; ``reached`` is set when it and all before it are settled."""

    def __init__(self, settlement: Settlement | None = None, *, last: bool = False) -> None:
        self.settlement = settlement
        self.last = last
        self.reached = threading.Event()


class _Part:
    """What is to be settled of one ``queue``, or at first of all; ``certain`` while what is lost is known to be."""

    def __init__(self, items: list[Delivery | _Note], queue: str = "", *, certain: bool = True) -> None:
        self.items, self.queue, self.certain = items, queue, certain
        self.attempt, self.due = 0, 0.0


class Settler:
    """Takes deliveries whose settlement is set, and keeps each until the store has written it down.

    There is no timer: what arrives while the store is busy goes into the next batch. ``settled`` is called after each
    batch. While the store is away its batch is repeated, which is harmless, for ever; if only some queues are away, the
    others go on. What the store cannot write down at all is found by halving the batch, and spoils no other. ``store``
    has the further powers of ``backend``, if it is another.
    """

    def __init__(
        self,
        backend: QueueBackend,
        events: Events,
        settled: Callable[[], None],
        draw: Callable[[], float] = random.random,
        store: QueueBackend | None = None,
    ) -> None:
        self._backend = backend
        self._store = store or backend
        self._events = events
        self._settled = settled
        self._draw = draw
        self._line: SimpleQueue[Delivery | _Note] = SimpleQueue()
        self._marks: set[_Note] = set()
        self._passed: list[_Note] = []
        self._batch: Sequence[Delivery | _Note] = ()
        self._kept: dict[str, _Part] = {}
        self._reports = Reports(self._store, events.logger)
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holdfast-settler", daemon=True)
        self.put: Callable[[Delivery], None] = self._line.put
        self.counts: Counter[type] = Counter()
        self.lost = 0

    @property
    def unsettled(self) -> int:
        """How many settlements the store has not written down yet, about."""
        kept = sum(len(part.items) for part in list(self._kept.values()))
        return kept + len(self._batch) + self._line.qsize() - len(self._marks)

    def give_back(self, deliveries: Iterable[Delivery]) -> None:
        """Settle these as not started."""
        for delivery in deliveries:
            delivery.give_back()
            self.put(delivery)

    def add(self, settlements: Iterable[Settlement]) -> None:
        """Settle these too; they belong to no delivery."""
        for settlement in settlements:
            self._line.put(_Note(settlement))

    def report(self, report: Report) -> None:
        """Let what a run says of its progress be written soon; any thread, and never waits for the store."""
        if self._reports.put(report):
            self._put_mark(_Note())

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def mark(self) -> threading.Event:
        """Return an event that is set when everything put so far has been settled."""
        return self._put_mark(_Note()).reached

    def stop(self) -> None:
        """Let the thread end when everything put so far has been settled."""
        self._put_mark(_Note(last=True))

    def _put_mark(self, note: _Note) -> _Note:
        self._marks.add(note)
        self._line.put(note)
        return note

    def give_up(self) -> None:
        """Let the thread end the next time the store refuses, whatever is unsettled then."""
        self._given_up.set()
        self._put_mark(_Note())  # which wakes it

    @property
    def died(self) -> bool:
        """Whether its thread has started and ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        last = False
        while not last or self._kept:
            items = self._collect()
            if (due_in := self._reports.due_in()) is not None:
                ending = {item.settlement.receipt for item in items if item.settlement is not None}
                self._reports.write(ending, now=due_in == 0)
            if not self._settle(items):
                return
            last = self._pass(items) or last

    def _pass(self, items: Sequence[Delivery | _Note]) -> bool:
        """Tell of the marks up to here, once nothing before them is unsettled; tell whether the last is among these."""
        notes = [item for item in items if type(item) is _Note]
        self._passed += notes
        if not self._kept:
            for note in self._passed:
                note.reached.set()
            self._passed.clear()
        return any(note.last for note in notes)

    def _collect(self) -> list[Delivery | _Note]:
        following = self._line.get_nowait
        items: list[Delivery | _Note] = []
        try:
            items.append(self._line.get(timeout=self._due_in()))
            while len(items) < LARGEST_BATCH:
                items.append(following())
        except Empty:
            pass
        self._marks.difference_update([item for item in items if type(item) is _Note])
        return items

    def _due_in(self) -> float | None:
        """Return the seconds until there is something to do without anything new, None when there is nothing."""
        dues = [max(0.0, part.due - time.monotonic()) for part in self._kept.values()]
        if (reports := self._reports.due_in()) is not None:
            dues.append(reports)
        return min(dues, default=None)

    def _settle(self, items: Sequence[Delivery | _Note]) -> bool:
        """Settle these, and what was kept if it is time to; False when given up."""
        fresh = [item for item in items if item.settlement is not None]
        if self._kept:
            fresh = [item for item in fresh if not self._is_kept(item)]
        self._batch, now = fresh, time.monotonic()
        parts = [_Part(fresh)] if fresh else []
        parts += [part for part in self._kept.values() if part.due <= now or self._given_up.is_set()]
        if not all(map(self._try, parts)):
            return False
        self._settled()
        return True

    def _is_kept(self, item: Delivery | _Note) -> bool:
        """Keep what belongs to a queue that is away with the rest of it."""
        part = self._kept.get(_queue_of(item.settlement)) if item.settlement is not None else None
        if part is not None:
            part.items.append(item)
        return part is not None

    def _try(self, part: _Part) -> bool:
        """Settle a part, or keep it for later; False when given up."""
        while part.items:
            batch, began = part.items[:LARGEST_BATCH], time.monotonic()
            try:
                lost = self._insist(batch, certain=part.certain)
            except BackendError as error:
                return self._keep(part, error, time.monotonic() - began)
            if lost is None:
                return False
            del part.items[: len(batch)]
            self._account(batch, lost)
        self._kept.pop(part.queue, None)
        return True

    def _keep(self, part: _Part, error: BackendError, took: float) -> bool:
        """Keep what cannot be settled now, of each queue by itself: only some may be away. False when given up."""
        part.certain = part.certain and not error.outcome_unknown
        parts = {part.queue: part}
        if not part.queue:
            parts = self._parted(part)
            self._kept |= parts
            self._batch = ()
            if len(parts) > 1:
                return all(map(self._try, parts.values()))
        for its in parts.values():
            its.attempt += 1
            self._complain(error, its.attempt, len(its.items))
            its.due = time.monotonic() + rest_after(its.attempt, took, draw=self._draw)
        return not self._given_up.is_set()

    def _parted(self, part: _Part) -> dict[str, _Part]:
        parts = dict[str, _Part]()
        for item in part.items:
            if item.settlement is not None:
                queue = _queue_of(item.settlement)
                if queue not in parts:
                    parts[queue] = _Part([], queue, certain=part.certain)
                parts[queue].items.append(item)
        return parts

    def _insist(self, batch: Sequence[Delivery | _Note], *, certain: bool = True) -> Collection[Receipt] | None:
        """Settle until the store's code has done it; return the receipts that were lost, None when given up.

        Raises ``BackendError`` when the store cannot now.
        """
        attempt = 0
        while True:
            try:
                lost = self._backend.settle([item.settlement for item in batch if item.settlement is not None])
            except Closed:
                return None
            except BackendError as error:
                error.outcome_unknown = error.outcome_unknown or not certain
                raise
            except Exception as error:
                certain = False  # after a settle that may have worked, what is reported lost may be what worked
                attempt += 1
                self._complain(error, attempt, len(batch))
                if len(batch) > 1:
                    return self._divide(batch)
                self._replace(batch[0], error, attempt)
            else:
                return lost if certain else ()
            if self._given_up.wait(RECONNECT.delay(attempt, draw=self._draw)):
                return None

    def _divide(self, batch: Sequence[Delivery | _Note]) -> Collection[Receipt] | None:
        """Settle both halves of a batch with something in it that breaks the store's code."""
        half = len(batch) // 2
        done = [self._insist(part, certain=False) is not None for part in (batch[:half], batch[half:])]
        return () if all(done) else None

    def _replace(self, item: Delivery | _Note, error: Exception, attempt: int) -> None:
        """After enough tries bury the job instead, and give it back when even that cannot be written down."""
        settlement = item.settlement
        if settlement is None or isinstance(settlement, GiveBack):
            return
        if attempt > MOST_TRIES:
            item.settlement = GiveBack(settlement.receipt)
        elif attempt == MOST_TRIES:
            reason = f"its outcome cannot be stored: {ascii(type(error).__name__)[1:-1]}"
            item.settlement = Burial(settlement.receipt, reason)
            if isinstance(item, Delivery):
                self._events.emit(BeforeBury(item, error, reason))

    def _complain(self, error: Exception, attempt: int, results: int) -> None:
        level = logging.WARNING if attempt == 1 else logging.DEBUG
        known = isinstance(error, BackendError)
        trace = None if known else error
        self._events.logger.log(level, "%d results cannot be settled yet: %s", results, error, exc_info=trace)

    # -- what has been settled ------------------------------------------------------------------------------------

    def _account(self, items: Sequence[Delivery | _Note], lost: Collection[Receipt]) -> None:
        deliveries = [item for item in items if type(item) is Delivery]
        self.counts.update(type(delivery.settlement) for delivery in deliveries)
        if lost:
            refused = set(lost) - self._completed(deliveries, lost)
            self._report_lost([delivery for delivery in deliveries if delivery.receipt in refused])
            deliveries = [delivery for delivery in deliveries if delivery.receipt not in refused]
        self._report(deliveries)

    def _completed(self, deliveries: Sequence[Delivery], lost: Collection[Receipt]) -> set[Receipt]:
        """Return the receipts of runs that were acked inside a transaction, and committed; their end is that ack."""
        done = set[Receipt]()
        for delivery in deliveries:
            if delivery.acked is None or delivery.receipt not in lost or not self._was_committed(delivery):
                continue
            self.counts[type(delivery.settlement)] -= 1
            self.counts[Ack] += 1
            delivery.settlement = delivery.acked
            done.add(delivery.receipt)
        return done

    def _was_committed(self, delivery: Delivery) -> bool:
        try:
            return is_done(self._store, delivery)
        except Exception as error:
            self._events.logger.warning("job %s: taken to be done, as its own transaction said: %s", delivery.id, error)
            return True

    def _report_lost(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self.counts[type(delivery.settlement)] -= 1
            if type(delivery.settlement) is not GiveBack:
                self.lost += 1
                self._events.emit(Lost(delivery))

    def _report(self, deliveries: Sequence[Delivery]) -> None:
        if self._events.wants(Done):
            for delivery in deliveries:
                if type(delivery.settlement) is Ack:
                    self._events.emit(Done(delivery))
        if self._events.wants(Sent):
            for delivery in deliveries:
                self._report_follow_ups(delivery)
        if self.counts[Cancellation] and self._events.wants(Cancelled):
            for delivery in deliveries:
                if isinstance(delivery.settlement, Cancellation):
                    self._events.emit(Cancelled(delivery, delivery.settlement.reason))

    def _report_follow_ups(self, delivery: Delivery) -> None:
        if type(delivery.settlement) is Ack:
            for message in delivery.settlement.then:
                stored = Stored(delivery.queue, message.id, self._backend.features.level)
                self._events.emit(Sent(message, stored))


def _queue_of(settlement: Settlement) -> str:
    receipt = settlement.receipt
    return getattr(settlement, "queue", "") if receipt is None else receipt.queue
