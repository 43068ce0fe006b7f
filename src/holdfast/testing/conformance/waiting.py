"""Cases of waiting: what wakes a waiter, what does not, and what closing does to it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, GiveBack, HolderInfo, Nack, State
from holdfast.errors import Closed
from holdfast.message import Message
from holdfast.testing.conformance.cases import OTHER, PATIENCE, PROMPT, QUEUE, WORKER, Cases, beside

SHORT = 0.05
"""Seconds that a wait is given in which nothing should come."""

CALLS: dict[str, Callable[[QueueBackend], object]] = {
    "declare": lambda store: store.declare(QUEUE, QueueSettings()),
    "destroy": lambda store: store.destroy(QUEUE),
    "send": lambda store: store.send(QUEUE, [Message(body=b"")]),
    "lease": lambda store: store.lease(QUEUE, WORKER, "id", limit=1, kinds=("",), max_format=1),
    "wait": lambda store: store.wait((QUEUE,), ("",), SHORT),
    "settle": lambda store: store.settle([GiveBack(queue=QUEUE, lease_id="id")]),
    "beat": lambda store: store.beat(HolderInfo(id=WORKER, ttl=10)),
    "retire": lambda store: store.retire(WORKER, "stopped"),
    "holders": lambda store: store.holders(),
    "tidy": lambda store: store.tidy(),
    "stats": lambda store: store.stats(QUEUE),
    "queues": lambda store: store.queues(),
}


class WaitCases(Cases):
    """A wait ends when there may be something to lease, and not before."""

    def _wait(self, timeout: float = SHORT, *queues: str) -> bool:
        return self.store.wait(queues or (QUEUE,), ("",), timeout)

    def _is_woken_by(self, change: Callable[[], object]) -> bool:
        """Wait beside, make the change, and tell whether the waiter was woken by it."""
        waiting = beside(lambda: (self._wait(PATIENCE), time.monotonic()))
        began = time.monotonic()
        change()
        woken, ended = waiting.result(2 * PATIENCE)
        return woken and ended - began < PROMPT

    def test_a_wait_returns_at_once_when_something_is_ready(self) -> None:
        """It does not wait for the next."""
        self.send("job")

        assert self._wait(0)

    def test_a_wait_returns_false_when_its_time_is_over(self) -> None:
        """Nothing came."""
        self.declare()

        assert not self._wait(SHORT)

    def test_a_wait_for_a_queue_that_does_not_exist_ends_in_time(self) -> None:
        """It may be declared any moment."""
        assert not self._wait(SHORT, "nowhere")

    def test_a_wait_changes_nothing(self) -> None:
        """It only looks."""
        self.send("job")

        self._wait(0)

        assert self.lease_one().attempt == 1

    def test_a_send_wakes(self) -> None:
        """A missed wake-up would cost a poll interval."""
        assert self._is_woken_by(lambda: self.send("job"))

    def test_a_send_to_any_of_several_queues_wakes(self) -> None:
        """One wait for all."""
        waiting = beside(lambda: self._wait(PATIENCE, "one", "two", "three"))

        self.send("job", queue="three")

        assert waiting.result(PROMPT)

    def test_a_due_time_wakes(self) -> None:
        """Nobody has to tell."""
        self.send("job", delay=3600)

        assert self._is_woken_by(lambda: self.elapse(3600))

    def test_a_due_time_wakes_as_time_goes_by(self) -> None:
        """Also when no clock is moved, where time passes by itself; else at the next move."""
        self.send("job", delay=0.05)
        waiting = beside(lambda: self._wait(PATIENCE))

        self.elapse(0.06)

        assert waiting.result(PROMPT)

    def test_giving_back_wakes(self) -> None:
        """The job can start elsewhere."""
        self.send("job")
        receipt = self.lease_one().receipt

        assert self._is_woken_by(lambda: self.settle(GiveBack(receipt)))

    def test_giving_back_a_lease_wakes(self) -> None:
        """By its lease id too."""
        self.send("job")
        self.lease(lease_id="unknown outcome")

        assert self._is_woken_by(lambda: self.settle(GiveBack(queue=QUEUE, lease_id="unknown outcome")))

    def test_a_nack_wakes(self) -> None:
        """The retry can start."""
        self.send("job")
        receipt = self.lease_one().receipt

        assert self._is_woken_by(lambda: self.settle(Nack(receipt)))

    def test_a_freed_key_wakes(self) -> None:
        """The next of the key can start."""
        self.send("a", "b", key="k")
        receipt = self.lease_one().receipt

        assert self._is_woken_by(lambda: self.settle(Ack(receipt)))

    def test_a_follow_up_wakes(self) -> None:
        """It is a send."""
        self.send("job")
        receipt = self.lease_one().receipt

        assert self._is_woken_by(lambda: self.settle(Ack(receipt, then=(Message(id="x", body=b""),))))

    def test_the_end_of_a_holder_wakes(self) -> None:
        """Its jobs can start elsewhere."""
        self.beat(OTHER)
        self.send("job")
        self.lease(holder=OTHER)

        assert self._is_woken_by(lambda: self.store.retire(OTHER, "died"))

    def test_a_rescue_wakes(self) -> None:
        """Whoever tidied."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)
        self.elapse(11)

        assert self._is_woken_by(self.store.tidy)


class QuietCases(Cases):
    """What does not wake, and how a wait is ended from outside."""

    def _wait(self, timeout: float = SHORT) -> bool:
        return self.store.wait((QUEUE,), ("",), timeout)

    def test_another_kind_does_not_wake(self) -> None:
        """There is nothing for this worker."""
        self.send("job", kind="foreign")

        assert not self._wait()

    def test_another_queue_does_not_wake(self) -> None:
        """It was not asked for."""
        self.send("job", queue="elsewhere")

        assert not self._wait()

    def test_a_future_job_does_not_wake(self) -> None:
        """Not before it is due."""
        self.send("job", delay=3600)

        assert not self._wait()

    def test_a_held_job_does_not_wake(self) -> None:
        """It waits for its key."""
        self.send("a", "b", key="k")
        self.lease()

        assert not self._wait()

    def test_a_false_wake_up_does_not_come_twice(self) -> None:
        """A due job of another kind may wake once; after the lease that found nothing, no more."""
        self.send("job", kind="foreign", delay=5)
        self.elapse(5)
        self._wait()
        self.lease()

        assert not self._wait()

    def test_an_expired_job_does_not_wake_twice(self) -> None:
        """There is nothing to lease."""
        self.send("job", expires_in=5)
        self.elapse(5)
        self._wait()
        self.lease()

        assert not self._wait()

    def test_an_interrupt_ends_a_wait(self) -> None:
        """From another thread, at once, and the answer is False."""
        waiting = beside(lambda: self._wait(PATIENCE))

        self.store.interrupt()

        assert waiting.result(PROMPT) is False

    def test_an_interrupt_ends_the_next_wait_when_none_is_going_on(self) -> None:
        """It is not lost between two waits."""
        self.store.interrupt()
        began = time.monotonic()

        woken = self._wait(PATIENCE)

        assert not woken
        assert time.monotonic() - began < PROMPT

    def test_an_interrupt_ends_one_wait_only(self) -> None:
        """The one after it waits again."""
        self.store.interrupt()
        self._wait(PATIENCE)
        self.send("job")

        assert self._wait(PATIENCE)


class CloseCases(Cases):
    """Closing ends everything, once."""

    def test_closing_twice_is_safe(self) -> None:
        """The second call returns 0."""
        self.send("job")
        self.store.close()

        assert self.store.close() == 0

    def test_closing_counts_what_is_lost(self) -> None:
        """Waiting and running jobs of a store that is not durable; else nothing."""
        for state in State:
            self.bring(state.value, state)

        lost = self.store.close()

        assert lost == (0 if self.store.features.durable else 3)

    def test_closing_ends_waits(self) -> None:
        """They return, or raise `Closed` when they begin later."""
        waiting = beside(lambda: self.store.wait((QUEUE,), ("",), PATIENCE))

        self.store.close()

        ended = waiting.exception(PROMPT)
        assert isinstance(ended, Closed) if ended else waiting.result() is False

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
    def test_a_closed_store_refuses_every_call(self, call: Callable[[QueueBackend], object]) -> None:
        """Enqueue after close is an error of its own (G-T6)."""
        self.store.close()

        with pytest.raises(Closed):
            call(self.store)
