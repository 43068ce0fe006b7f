"""Cases of stores that are reached through connections: what a broken one means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.delivery import Ack, GiveBack
from holdfast.errors import BackendError
from holdfast.testing.conformance.cases import PROMPT, QUEUE, Cases, beside

TRIES = 50


class ConnectionCases(Cases):
    """After a cut the handle works again, by itself or after errors that say so."""

    promises = ("multi_host",)

    def _until_it_works(self, call: Callable[[], object]) -> None:
        """Repeat a call until it works; every error on the way is retryable."""
        for _ in range(TRIES):
            error = _error_of(call)
            if error is None:
                return
            assert error.retryable
        pytest.fail("the handle did not recover")

    def test_a_cut_handle_works_again(self) -> None:
        """Its errors are retryable until it does."""
        self.send("job")
        self.harness.cut(self.store)

        self._until_it_works(self.stats)

        assert self.leased() == ["job"]

    def test_a_send_over_a_cut_can_be_repeated(self) -> None:
        """With the same ids, nothing is lost or doubled."""
        self.harness.cut(self.store)
        self._until_it_works(lambda: self.send("a", "b"))

        assert self.leased() == ["a", "b"]

    def test_a_lease_over_a_cut_can_be_given_back(self) -> None:
        """Whether it was granted or not."""
        self.send("job")
        self.harness.cut(self.store)
        _error_of(lambda: self.lease(lease_id="over a cut"))
        self._until_it_works(self.stats)

        self.settle(GiveBack(queue=QUEUE, lease_id="over a cut"))

        assert [(one.id, one.attempt) for one in self.lease()] == [("job", 1)]

    def test_a_settle_over_a_cut_counts_once(self) -> None:
        """Repeating it is harmless."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.harness.cut(self.store)
        self._until_it_works(lambda: self.settle(Ack(receipt)))

        assert self.stats().done == 1

    def test_leases_outlive_connections(self) -> None:
        """They belong to the holder."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.harness.cut(self.store)

        self._until_it_works(self.stats)

        assert self.settle(Ack(receipt)) == []

    def test_a_wait_outlives_a_cut(self) -> None:
        """Or fails as retryable; it never hangs beyond its time."""
        waiting = beside(lambda: self.store.wait((QUEUE,), ("",), 0.2))
        self.harness.cut(self.store)

        error = waiting.exception(PROMPT)

        assert error is None or (isinstance(error, BackendError) and error.retryable)


def _error_of(call: Callable[[], object]) -> BackendError | None:
    try:
        call()
    except BackendError as error:
        return error
    return None
