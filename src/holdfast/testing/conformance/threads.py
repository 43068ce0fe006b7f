"""Cases of many threads at one store: nothing is lost, nothing doubled."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

from holdfast.delivery import Ack, Delivery, GiveBack, Nack, Receipt
from holdfast.testing.conformance.cases import PATIENCE, QUEUE, Cases, beside

THREADS = 4
EACH = 60


class ThreadCases(Cases):
    """Every method may be called from any thread at any time."""

    def _together(self, *calls: Callable[[], object]) -> None:
        """Run the calls in threads that begin at the same moment."""
        barrier = threading.Barrier(len(calls))

        def begin(call: Callable[[], object]) -> Callable[[], object]:
            return lambda: (barrier.wait(PATIENCE), call())

        futures = [beside(begin(call)) for call in calls]
        for future in futures:
            future.result(2 * PATIENCE)

    def _send_each(self, sender: int, **options: str) -> Callable[[], object]:
        def call() -> None:
            for number in range(EACH):
                self.send(f"{sender}/{number}", **options)

        return call

    def _lease_often(self, holder: str) -> None:
        for _ in range(5):
            self.lease(3, holder=holder)

    def _work_until(self, done: Counter[str], total: int, handle: Callable[[Delivery], None]) -> Callable[[], object]:
        """Lease and handle in small batches until ``done`` counts ``total`` jobs."""

        def call() -> None:
            while len(done) < total:
                for delivery in self.lease(5):
                    handle(delivery)
                self.store.wait((QUEUE,), ("",), 0.02)

        return call

    def test_senders_and_workers_lose_and_double_nothing(self) -> None:
        """Every job sent is acked exactly once (G-T2)."""
        done: Counter[str] = Counter()

        def handle(delivery: Delivery) -> None:
            done[delivery.id] += not self.settle(Ack(delivery.receipt))

        workers = [self._work_until(done, THREADS * EACH, handle) for _ in range(THREADS)]
        self._together(*(self._send_each(sender) for sender in range(THREADS)), *workers)

        assert done == Counter({f"{sender}/{number}": 1 for sender in range(THREADS) for number in range(EACH)})
        assert self.stats().done == THREADS * EACH

    def test_failures_and_returns_lose_and_double_nothing(self) -> None:
        """Nacks and give-backs between are all delivered again."""
        done: Counter[str] = Counter()

        def handle(delivery: Delivery) -> None:
            if delivery.token == 1:
                self.settle(Nack(delivery.receipt))
            elif delivery.token == 2:
                self.settle(GiveBack(delivery.receipt))
            else:
                done[f"{delivery.id} attempt {delivery.attempt}"] += not self.settle(Ack(delivery.receipt))

        self.send(*map(str, range(EACH)))
        self._together(*(self._work_until(done, EACH, handle) for _ in range(THREADS)))

        assert done == Counter(f"{number} attempt 2" for number in range(EACH))

    def test_the_same_ids_sent_at_once_are_stored_once(self) -> None:
        """One sender stored each, the others are told of a duplicate."""
        stored: Counter[str] = Counter()
        lock = threading.Lock()

        def call() -> None:
            for number in range(EACH):
                [one] = self.send(f"job {number}")
                with lock:
                    stored[one.id] += not one.duplicate

        self._together(*(call for _ in range(THREADS)))

        assert set(stored.values()) == {1}
        assert self.stats().ready == EACH

    def test_of_many_settlements_of_one_receipt_one_counts(self) -> None:
        """The others are lost."""
        self.send(*map(str, range(EACH)))
        receipts = [delivery.receipt for delivery in self.lease()]
        lost: Counter[Receipt] = Counter()
        lock = threading.Lock()

        def call() -> None:
            for receipt in receipts:
                gone = self.settle(Ack(receipt))
                with lock:
                    lost.update(gone)

        self._together(*(call for _ in range(THREADS)))

        assert lost == Counter(dict.fromkeys(receipts, THREADS - 1))

    def test_of_one_key_one_job_runs_in_however_many_threads(self) -> None:
        """And they run in order."""
        running: Counter[str] = Counter()
        together: list[str] = []
        done: Counter[str] = Counter()
        order: list[int] = []

        def handle(delivery: Delivery) -> None:
            running["now"] += 1
            if running["now"] > 1:
                together.append(delivery.id)
            order.append(int(delivery.id))
            running["now"] -= 1
            self.settle(Ack(delivery.receipt))
            done[delivery.id] += 1

        self.send(*map(str, range(EACH)), key="k")
        self._together(*(self._work_until(done, EACH, handle) for _ in range(THREADS)))

        assert not together
        assert order == sorted(order)

    def test_another_kind_is_left_in_place_under_a_producer(self) -> None:
        """Its jobs are conserved, in order, while others are leased beside (G-T9)."""
        done: Counter[str] = Counter()

        def handle(delivery: Delivery) -> None:
            self.settle(Ack(delivery.receipt))
            done[delivery.id] += 1

        self._together(self._send_each(0, kind="foreign"), self._send_each(1), self._work_until(done, EACH, handle))

        assert self.leased(kinds=("foreign",)) == [f"0/{number}" for number in range(EACH)]

    def test_retiring_beside_leases_leaves_no_job_behind(self) -> None:
        """Whatever was granted before the end comes back, nothing is granted after."""
        self.send(*map(str, range(EACH)))
        for number in range(5):
            holder = f"ending#{number}"
            self.beat(holder)
            ending = beside(partial(self._lease_often, holder))
            self.store.retire(holder, "stopped")
            ending.exception(PATIENCE)

        assert self.stats().running == 0
        assert len(self.lease()) == EACH

    def test_destroying_beside_sends_breaks_nothing(self) -> None:
        """Each send lands in the queue before or after."""
        self._together(self._send_each(0), *(lambda: self.store.destroy(QUEUE) for _ in range(3)))

        left = self.stats().ready
        assert self.store.destroy(QUEUE) == left

    def test_tidying_from_many_threads_counts_each_thing_once(self) -> None:
        """No leader is needed."""
        self.send(*map(str, range(EACH)), delay=5)
        self.send(*(f"x{number}" for number in range(EACH)), expires_in=5)
        self.elapse(5)
        done: Counter[str] = Counter()
        lock = threading.Lock()

        def call() -> None:
            for _ in range(20):
                tidied = self.store.tidy(10)
                with lock:
                    done.update(promoted=tidied.promoted, expired=tidied.expired)

        self._together(*(call for _ in range(THREADS)))

        assert done == Counter(promoted=EACH, expired=EACH)
