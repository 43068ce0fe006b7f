"""Cases of stores that keep everything when they are closed and opened again."""

from __future__ import annotations

from typing import Protocol

import pytest

from holdfast.capabilities import Cancellable, Inspectable, Pausable, Results
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, GiveBack, Nack, Outcome, State
from holdfast.errors import LeaseLost
from holdfast.failures import ErrorInfo
from holdfast.testing.conformance.cases import LONG, OTHER, QUEUE, WORKER, Cases


class DurableCases(Cases):
    """What was durable on return is there after a restart."""

    promises = ("durable",)

    def _restart(self) -> None:
        self.store = self.harness.reopen()

    @pytest.mark.parametrize("state", list(State))
    def test_jobs_survive_in_every_state(self, state: State) -> None:
        """And are counted as before."""
        self.bring("a", state)
        self.bring("b", state)
        before = self.stats()

        self._restart()

        assert self.stats() == before

    def test_messages_survive_whole(self) -> None:
        """In their order."""
        self.send("low", body=bytes(range(256)), headers={"a": "ü"}, key="k", max_attempts=None, timeout=2.5)
        self.send("high", priority=9)

        self._restart()

        high, low = self.lease()
        assert (high.id, low.id) == ("high", "low")
        assert (low.body, low.headers, low.key, low.max_attempts, low.timeout) == (
            bytes(range(256)),
            {"a": "ü"},
            "k",
            None,
            2.5,
        )

    def test_leases_survive(self) -> None:
        """A holder that lives on can settle."""
        self.send("job")
        receipt = self.lease_one().receipt

        self._restart()

        assert self.leased() == []
        assert self.settle(Ack(receipt)) == []

    def test_lease_ids_survive(self) -> None:
        """A lease of unknown outcome can be given back after a restart."""
        self.send("job")
        self.lease(lease_id="unknown outcome")

        self._restart()
        self.settle(GiveBack(queue=QUEUE, lease_id="unknown outcome"))

        assert self.leased() == ["job"]

    def test_counters_survive(self) -> None:
        """Attempts, crashes and token go on."""
        self.beat(OTHER)
        self.send("job")
        self.store.retire(OTHER, "died", [self.lease_one(holder=OTHER).receipt])
        self.settle(Nack(self.lease_one().receipt))

        self._restart()

        got = self.lease_one()
        assert (got.attempt, got.crashes, got.token) == (3, 1, 3)

    def test_holders_survive(self) -> None:
        """With their ttl: the silent one is rescued after a restart too."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)

        self._restart()

        assert {holder.id for holder in self.store.holders()} == {WORKER, OTHER}
        self.elapse(11)
        assert self.store.tidy().rescued == 1

    def test_the_end_of_a_holder_survives(self) -> None:
        """It stays ended."""
        self.beat(OTHER)
        self.store.retire(OTHER, "stopped")

        self._restart()

        assert not self.beat(OTHER).alive
        with pytest.raises(LeaseLost):
            self.lease(holder=OTHER)

    def test_ids_survive(self) -> None:
        """Of jobs, and of those dropped within their window."""
        self.declare(done_for=0)
        self.bring("dropped", State.DONE)
        self.tidy_all()
        self.send("waiting")

        self._restart()

        assert [one.duplicate for one in self.send("dropped", "waiting", "new")] == [True, True, False]

    def test_settings_survive(self) -> None:
        """All of them."""
        self.declare(max_body=10, done_for=1.5)

        self._restart()

        assert self.store.queues() == {QUEUE: QueueSettings(max_body=10, done_for=1.5)}

    def test_delays_go_on(self) -> None:
        """Time passes while the store is closed."""
        self.send("job", delay=LONG)

        self._restart()

        assert self.leased() == []
        self.elapse(LONG)
        self.beat()
        assert self.leased() == ["job"]

    def test_keys_survive(self) -> None:
        """The head keeps its place, the others theirs."""
        self.send("a", "b", "c", key="k")
        self.settle(Nack(self.lease_one().receipt, delay=5))

        self._restart()

        assert (self.leased(), self.stats().held) == ([], 2)
        self.elapse(5)
        assert self.leased() == ["a"]

    def test_order_survives(self) -> None:
        """What is sent after a restart goes behind what was sent before."""
        self.send("a", "b")
        self._restart()
        self.send("c")

        assert self.leased() == ["a", "b", "c"]

    def test_destroyed_queues_stay_destroyed(self) -> None:
        """And their receipts stay lost."""
        self.send("job")
        old = self.lease_one().receipt
        self.store.destroy(QUEUE)

        self._restart()
        self.send("job")
        self.lease_one()

        assert self.settle(Ack(old)) == [old]

    def test_closing_loses_nothing(self) -> None:
        """And says so."""
        for state in State:
            self.bring(state.value, state)

        assert self.store.close() == 0

    def test_a_tidy_after_a_restart_does_what_was_left(self) -> None:
        """Due and expired jobs, and retention."""
        self.declare(done_for=5)
        self.send("due", delay=5)
        self.send("over", expires_in=5)
        self.bring("done", State.DONE)
        self.elapse(60)

        self._restart()

        tidied = self.store.tidy()
        assert (tidied.promoted, tidied.expired) == (1, 1)
        assert tidied.dropped >= 1


class _Store(QueueBackend, Cancellable, Inspectable, Pausable, Results, Protocol): ...


class DurablePowersCases(Cases):
    """What the optional powers store is durable, too."""

    promises = ("durable",)
    needs = (Cancellable, Inspectable, Pausable, Results)
    store: _Store

    def _restart(self) -> None:
        store = self.harness.reopen()
        assert isinstance(store, type(self.store))
        self.store = store

    def test_a_pause_survives(self) -> None:
        """Pause is durable."""
        self.send("job")
        self.store.pause(QUEUE)

        self._restart()

        assert (self.stats().paused, self.leased()) == (True, [])

    def test_a_request_to_cancel_survives(self) -> None:
        """Its holder hears of it all the same."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.store.cancel(QUEUE, ["job"])

        self._restart()

        assert self.beat().cancels == (receipt,)
        self.settle(Nack(receipt))
        assert self.stats().cancelled == 1

    def test_results_survive(self) -> None:
        """They are stored with the ack."""
        self.send("job")
        self.settle(Ack(self.lease_one().receipt, b"value", 60))

        self._restart()

        assert self.store.outcomes(QUEUE, ["job"]) == {"job": Outcome(State.DONE, b"value")}

    def test_runs_survive(self) -> None:
        """With their errors."""
        self.send("job")
        self.settle(Nack(self.lease_one().receipt, error=ErrorInfo("ValueError", "boom", "Traceback …")))
        before = self.store.get(QUEUE, "job")

        self._restart()

        assert before is not None
        assert self.store.get(QUEUE, "job") == before
