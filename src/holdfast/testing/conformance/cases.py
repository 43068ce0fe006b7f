"""What all cases share: a store with one worker that beats, and short words to send, lease, settle and look."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import pytest

from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import (
    Ack,
    Beat,
    Burial,
    Cancellation,
    Delivery,
    HolderInfo,
    QueueStats,
    Receipt,
    Settlement,
    State,
)
from holdfast.message import FORMAT, Message, Stored
from holdfast.testing.conformance.harness import Harness
from holdfast.testing.conformance.meant import Meant

T = TypeVar("T")

QUEUE = "work"
WORKER = "worker#1"
OTHER = "other#1"
LONG = 1_000_000.0
"""The ttl of the worker that every case has: it does not end while a case moves the clock."""
PATIENCE = 20.0
"""How long a wait may take before a case gives up, in real seconds."""
PROMPT = 10.0
"""A wait that ends within this many seconds was woken, and did not merely look again at its end."""

_lease_ids = (f"lease-{number}" for number in itertools.count(1))


class Cases(Meant):
    """The base of all case classes of queues."""

    harness: Harness
    store: QueueBackend

    @pytest.fixture(autouse=True)
    def _open(self, harness: Harness) -> None:
        self.harness = harness
        self.store = harness.open()
        self.beat()

    def send(self, *job_ids: str, queue: str = QUEUE, **options: Any) -> list[Stored]:
        """Send one message for each id in one call; its body is its id."""
        return self.store.send(queue, [self.message(id_, **options) for id_ in job_ids])

    def message(self, job_id: str, **options: Any) -> Message:
        """Return a message; its body is its id."""
        return Message(**{"id": job_id, "body": job_id.encode()} | options)

    def lease(
        self,
        limit: int = 100,
        *,
        queue: str = QUEUE,
        holder: str = WORKER,
        kinds: Collection[str] = ("",),
        lease_id: str | None = None,
        max_format: int = FORMAT,
    ) -> list[Delivery]:
        """Lease up to ``limit`` jobs, under a fresh lease id unless one is given."""
        lease_id = next(_lease_ids) if lease_id is None else lease_id
        return self.store.lease(queue, holder, lease_id, limit=limit, kinds=kinds, max_format=max_format)

    def lease_one(self, **options: Any) -> Delivery:
        """Lease one job, which must be there."""
        [delivery] = self.lease(1, **options)
        return delivery

    def leased(self, limit: int = 100, **options: Any) -> list[str]:
        """Lease, and return the ids in the order they were granted."""
        return [delivery.id for delivery in self.lease(limit, **options)]

    def settle(self, *settlements: Settlement) -> list[Receipt]:
        """Settle in one batch; return the receipts that were lost."""
        return self.store.settle(settlements)

    def beat(
        self, holder: str = WORKER, *, ttl: float = LONG, kinds: tuple[str, ...] = ("",), queue: str = QUEUE
    ) -> Beat:
        """Let a holder beat, for the first time or again."""
        return self.store.beat(HolderInfo(id=holder, ttl=ttl, kinds=kinds, queues=(queue,)))

    def elapse(self, seconds: float) -> None:
        """Let time pass on every clock."""
        self.harness.elapse(seconds)

    def stats(self, queue: str = QUEUE) -> QueueStats:
        """Return the queue's counts."""
        return self.store.stats(queue)

    def declare(self, **settings: Any) -> None:
        """Declare the queue with these settings."""
        self.store.declare(QUEUE, QueueSettings(**settings))

    def tidy_all(self) -> None:
        """Tidy until there is nothing more to do."""
        while self.store.tidy().more:
            pass

    def bring(self, job_id: str, state: State, **options: Any) -> Receipt | None:
        """Send a job and bring it into ``state``; return the receipt of its run, if it had one.

        It is of a kind of its own, so that no other job comes between.
        """
        options = {"kind": job_id} | options
        if state is State.SCHEDULED:
            options = {"delay": LONG} | options
        if state is State.EXPIRED:
            options = {"expires_in": 0.0} | options
        self.send(job_id, **options)
        if state in {State.SCHEDULED, State.READY, State.EXPIRED}:
            return None
        receipt = self.lease_one(kinds=(options["kind"],)).receipt
        if state is State.DONE:
            self.settle(Ack(receipt))
        elif state is State.DEAD:
            self.settle(Burial(receipt, "given up"))
        elif state is State.CANCELLED:
            self.settle(Cancellation(receipt))
        return receipt


def ids(deliveries: Collection[Delivery]) -> list[str]:
    """Return the ids of deliveries, in their order."""
    return [delivery.id for delivery in deliveries]


def at_once(threads: int, call: Callable[[int], T]) -> list[T]:
    """Call it in so many threads at the same time, each with its number; return what they returned."""
    gate = threading.Barrier(threads)

    def run(number: int) -> T:
        gate.wait(PATIENCE)
        return call(number)

    return [future.result(PATIENCE) for future in [beside(partial(run, number)) for number in range(threads)]]


def beside(call: Callable[[], T]) -> Future[T]:
    """Run ``call`` in a thread of its own; the future has what it returned or raised."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
