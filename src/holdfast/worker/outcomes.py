"""How a run is settled: what a handler returned or raised becomes a settlement, here and nowhere else."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.clock import SYSTEM, Clock
from holdfast.contract import QueueBackend
from holdfast.delivery import MAX_CRASHES, Ack, Burial, Cancellation, Crash, Delivery, GiveBack, Nack, Settlement
from holdfast.errors import Bury, Cancel, HoldfastError, NotSupported, RetryLater, Signal
from holdfast.events import BeforeBury, BeforeRetry, Events
from holdfast.failures import ErrorInfo, clean
from holdfast.retry import Retry, wished_delay
from holdfast.transactions import ack_in
from holdfast.worker.consuming.places import is_of_log
from holdfast.worker.context import Context, overran
from holdfast.worker.forked import end_if_forked
from holdfast.worker.handler import DEFAULT_RETRY, Handler, Misfit

MOST_DELAY = 10 * 365 * 86_400.0


class HandlerTimeout(TimeoutError):
    """A run went over its timeout: what listeners, and a retry's ``on`` and ``never``, see then."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it ran longer than its timeout of {seconds:g} s")


class ProcessDied(HoldfastError):
    """The process that a job had for itself has died: what listeners see then."""


def complete_in(
    store: QueueBackend, handlers: Mapping[str, Handler], context: Context, connection: object, value: Any
) -> None:
    """Ack a job inside its handler's own transaction, with ``value`` as its result; see ``Context.ack_in``."""
    delivery, handler, then = context.delivery, handlers[context.kind], tuple(context.follow_ups)
    if is_of_log(delivery.receipt):
        raise NotSupported(
            f"message {delivery.id} of a log cannot be completed inside a transaction, where its group's offset "
            "is not; write its id with what you write, and leave out what is there already"
        )
    if handler.encode is None:
        ack_in(store, connection, delivery, Ack(delivery.receipt, then=then))
    else:
        ack_in(store, connection, delivery, Ack(delivery.receipt, handler.encode(value), handler.keep_result, then))


class Outcomes:
    """Turns the end of a run into its settlement, and tells listeners before a retry and before a burial.

    Safe to use from any thread. ``draw`` yields the randomness of retry delays; ``committed`` tells of a job that
    was acked inside its handler's transaction whether that has been committed.
    """

    def __init__(
        self,
        events: Events,
        clock: Clock = SYSTEM,
        draw: Callable[[], float] = random.random,
        committed: Callable[[Delivery], bool] = lambda _: False,
    ) -> None:
        self._events = events
        self._clock = clock
        self._draw = draw
        self._committed = committed

    def returned(self, delivery: Delivery, handler: Handler, context: Context, value: Any) -> Settlement:
        """Return what settles a run that ended normally with ``value``."""
        end_if_forked(context)
        if delivery.acked is not None and self._committed(delivery):
            return delivery.acked
        if context.timeout is not None and overran(context):
            return self._timed_out(delivery, handler, HandlerTimeout(context.timeout))
        then = tuple(context.follow_ups)
        if handler.encode is None:
            return Ack(delivery.receipt, then=then)
        try:
            result = handler.encode(value)
        except Exception as error:
            return self._bury(delivery, error, f"its result cannot be encoded: {ErrorInfo.of(error).message}")
        return Ack(delivery.receipt, result, handler.keep_result, then)

    def raised(
        self, delivery: Delivery, handler: Handler, context: Context, error: BaseException, *, stopped: bool = False
    ) -> Settlement:
        """Return what settles a run that ended with ``error``: a signal, a failure, or something worse.

        ``stopped`` tells that it was stopped from outside, so that an error which is no decision of the handler's
        is not its fault: the job is cancelled if that was asked for, and else goes back.
        """
        end_if_forked(context, error)
        if delivery.acked is not None and self._committed(delivery):
            return delivery.acked  # whatever came after its commit
        return self._judged(delivery, handler, context, error, stopped=stopped)

    def _judged(
        self, delivery: Delivery, handler: Handler, context: Context, error: BaseException, *, stopped: bool
    ) -> Settlement:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:  # out of a task group
            error = error.exceptions[0] if isinstance(error.exceptions[0], Signal) else error
        match error:
            case Cancel():
                return Cancellation(delivery.receipt, clean(error.reason))
            case Bury():
                return self._bury(delivery, error, clean(error.reason))
            case Misfit():
                return self._bury(delivery, error.__cause__ or error, f"undecodable: {ErrorInfo.of(error).message}")
            case RetryLater():
                return self._retry(delivery, error, error.after, count=error.count)
            case HandlerTimeout():
                return self._timed_out(delivery, handler, error)
        if stopped:
            return Cancellation(delivery.receipt) if context.cancel_requested else GiveBack(delivery.receipt)
        if context.timeout is not None and overran(context):
            return self._timed_out(delivery, handler, HandlerTimeout(context.timeout))
        return self._failed(delivery, handler, error)

    def abandoned(self, handler: Handler, context: Context) -> Settlement:
        """Return what settles a run that cannot be stopped when its process ends: it has timed out, or goes back."""
        if context.timeout is not None and overran(context):
            return self._timed_out(context.delivery, handler, HandlerTimeout(context.timeout))
        return GiveBack(context.delivery.receipt)

    def crashed(self, delivery: Delivery, reason: str) -> Settlement:
        """Return what settles a run whose process died, for ``reason``; nobody's retry policy is asked about that."""
        if delivery.acked is not None and self._committed(delivery):
            return delivery.acked
        if delivery.last_attempt or delivery.crashes + 1 >= MAX_CRASHES:
            self._events.emit(BeforeBury(delivery, ProcessDied(reason), reason))
        else:
            self._events.emit(BeforeRetry(delivery, ProcessDied(reason), 0.0))
        return Crash(delivery.receipt, reason)

    def broken(self, delivery: Delivery, error: BaseException) -> Settlement:
        """Return what settles a run whose end could not be judged because of ``error``: it has failed, and waits."""
        self._events.logger.error(
            "job %s of queue %s could not be settled as it ended", delivery.id, delivery.queue, exc_info=error
        )
        return delivery.failure(DEFAULT_RETRY.delay(delivery.attempt, draw=self._draw), ErrorInfo.of(error))

    def _failed(self, delivery: Delivery, handler: Handler, error: BaseException) -> Settlement:
        if not self._wants(delivery, handler.retry, error):
            return self._bury(delivery, error, ErrorInfo.of(error).type)
        return self._retry(delivery, error, self._delay(delivery, handler.retry, error))

    def _timed_out(self, delivery: Delivery, handler: Handler, error: HandlerTimeout) -> Settlement:
        if not self._wants(delivery, handler.retry, error):
            return self._bury(delivery, error, "timeout")
        return self._retry(delivery, error, self._delay(delivery, handler.retry, error), reason="timeout")

    # -- the two that tell ----------------------------------------------------------------------------------------

    def _retry(
        self, delivery: Delivery, error: BaseException, delay: float, *, count: bool = True, reason: str = "error"
    ) -> Settlement:
        delay = min(delay, MOST_DELAY) if delay > 0 else 0.0  # not a number becomes 0 too: no store could take it
        settlement = delivery.failure(delay, ErrorInfo.of(error), count=count, reason=reason)
        if isinstance(settlement, Nack):
            self._events.emit(BeforeRetry(delivery, error, delay))
        else:
            self._events.emit(BeforeBury(delivery, error, settlement.reason))
        return settlement

    def _bury(self, delivery: Delivery, error: BaseException, reason: str) -> Burial:
        self._events.emit(BeforeBury(delivery, error, reason))
        return Burial(delivery.receipt, reason, ErrorInfo.of(error))

    # -- asking code that is not ours: it may raise, and the job must be settled all the same ---------------------

    def _wants(self, delivery: Delivery, retry: Retry, error: BaseException) -> bool:
        if not isinstance(error, Exception):
            return True  # SystemExit and its like say nothing about the job
        try:
            return retry.wants(error, age=(self._clock.wall() - delivery.sent) / 1000)
        except Exception:
            self._events.logger.exception(
                "the retry predicate of kind %r failed; the job is tried again", delivery.kind
            )
            return True

    def _delay(self, delivery: Delivery, retry: Retry, error: BaseException) -> float:
        try:
            wished = wished_delay(error, self._clock)
        except Exception:
            wished = None
        return retry.delay(delivery.attempt, draw=self._draw) if wished is None else wished
