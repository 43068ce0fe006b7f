"""Runs plain functions in threads. A thread cannot be stopped from outside, and this runner says so."""

from __future__ import annotations

import contextvars
import itertools
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from holdfast.delivery import Delivery
from holdfast.events import Started, Stuck
from holdfast.worker.context import CURRENT, Context, overran
from holdfast.worker.inbox import Inbox
from holdfast.worker.runners.runner import Desk, Tally, stack_of

MAX_REPLACED = 3
"""How many threads over their timeout are replaced by new ones; a process with more of them is not well."""


class ThreadRunner:
    """``slots`` threads that take from one line. One that runs over its job's timeout is replaced, up to a limit."""

    apart = False

    def __init__(self, kinds: Collection[str], slots: int, desk: Desk) -> None:
        self.kinds = frozenset(kinds)
        self._slots = slots
        self._desk = desk
        self._inbox = Inbox(slots)
        self._roster = _Roster(Tally(0, 0.0), tuple(_Hand(self._inbox, desk) for _ in range(slots)))

    @property
    def slots(self) -> int:
        return self._slots + sum(hand.stuck and hand.leaving for hand in self._roster.hands)

    def start(self) -> None:
        for hand in self._roster.hands:
            hand.start()

    def serve(self) -> None:
        """Run jobs in the calling thread, in place of its first one, until it is stopped; not to be started then."""
        self._roster.hands[0].run()

    def opened(self) -> None:
        pass  # threads can run jobs from the start

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._inbox.put(deliveries)

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        return self._inbox.take_back(wanted)

    def tally(self) -> Tally:
        return self._roster.tally()

    def running(self) -> list[Context]:
        return [context for hand in self._roster.hands if (context := hand.context) is not None]

    def interrupt(self, contexts: Sequence[Context]) -> bool:
        return False  # a thread stops when its handler looks at the flags of its context, or ends

    def look_after(self) -> int:
        for hand in self._roster.hands:
            context = hand.context
            if context is not None and not hand.stuck and overran(context):
                self._report(hand, context)
        return sum(hand.stuck for hand in self._roster.hands)

    def _report(self, hand: _Hand, context: Context) -> None:
        stuck = sum(hand.stuck for hand in self._roster.hands)
        hand.stuck = True
        if stuck < MAX_REPLACED:
            hand.leaving = True
            self._replace()
        seconds = (self._desk.clock.boot() - context.started) / 1000
        self._desk.events.emit(Stuck(context.delivery, seconds, stack_of(hand)))

    def _replace(self) -> None:
        substitute = _Hand(self._inbox, self._desk)
        self._roster = self._roster.with_one_more(substitute)
        substitute.start()

    def stop(self) -> None:
        for _ in self._roster.hands:
            self._inbox.dismiss()

    def join(self, timeout: float | None = None) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        for hand in self._roster.hands:
            hand.join(None if end is None else max(0.0, end - time.monotonic()))
        return not any(hand.is_alive() for hand in self._roster.hands)


_numbers = itertools.count(1)


class _Hand(threading.Thread):
    """One thread, the run it is in, and what it has done so far; others read these and set ``stuck``, ``leaving``."""

    def __init__(self, inbox: Inbox, desk: Desk) -> None:
        super().__init__(name=f"holdfast-thread-{next(_numbers)}", daemon=True)
        self.context: Context | None = None
        self.ended = 0
        self.seconds = 0.0
        self.stuck = self.leaving = False
        self._inbox = inbox
        self._desk = desk

    def run(self) -> None:
        take, wait, work = self._inbox.take, self._inbox.wait, self._work
        while not self.leaving:
            try:
                delivery = take()
            except IndexError:
                if not wait():
                    return
            else:
                work(delivery)
        self.stuck = False
        self._inbox.call()  # a call that came while this thread was leaving is for another one

    def _work(self, delivery: Delivery) -> None:
        desk, begun = self._desk, time.perf_counter()
        try:
            delivery.settlement = None
            self._settle(delivery)
        except BaseException as error:
            delivery.settlement = desk.outcomes.broken(delivery, error)
        desk.settle(delivery)
        desk.published.end(delivery)
        self.context = None
        self.seconds += time.perf_counter() - begun
        self.ended += 1
        self.stuck = self.stuck and self.leaving

    def _settle(self, delivery: Delivery) -> None:
        desk = self._desk
        handler = desk.handlers[delivery.kind]
        context = self.context = desk.context(delivery, handler)
        if desk.events.wants(Started):
            desk.events.emit(Started(delivery))
        try:
            # In variables of its own: what one handler sets there, the next does not see.
            value = contextvars.Context().run(_call, handler.run, delivery, context)
        except BaseException as error:
            delivery.settlement = desk.outcomes.raised(delivery, handler, context, error)
        else:
            delivery.settlement = desk.outcomes.returned(delivery, handler, context, value)


def _call(run: Callable[[Delivery, Context], Any], delivery: Delivery, context: Context) -> Any:
    CURRENT.set(context)
    return run(delivery, context)


class _Roster(NamedTuple):
    """The threads there are, and what those did that have left. Replaced as a whole, so that readers need no lock."""

    left: Tally
    hands: tuple[_Hand, ...]

    def tally(self) -> Tally:
        ended, seconds = self.left
        return Tally(ended + sum(hand.ended for hand in self.hands), seconds + sum(hand.seconds for hand in self.hands))

    def with_one_more(self, hand: _Hand) -> _Roster:
        alive = [known for known in self.hands if known.is_alive()]
        gone = tuple(known for known in self.hands if known not in alive)
        return _Roster(_Roster(self.left, gone).tally(), (*alive, hand))
