"""Cases of a holder whose end comes from several sides at once, while what it ran is being settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Crash, HolderInfo, Receipt, Settlement
from holdfast.testing.conformance.cases import Cases, at_once

JOBS = 12
ROUNDS = 8
TTL = 10.0


class RaceCases(Cases):
    """Exactly one of all who come takes each job, and charges it once."""

    @pytest.mark.parametrize("third", ["retire", "tidy", "beat"])
    @pytest.mark.parametrize("second", ["retire", "tidy"])
    @pytest.mark.parametrize("settlement", [Ack, partial(Crash, reason="died")], ids=["ack", "crash"])
    def test_each_job_is_taken_once_and_charged_once(
        self, settlement: Callable[[Receipt], Settlement], second: str, third: str
    ) -> None:
        """Settled, or taken back by whoever came first; each has a handle of its own, where a store gives several."""
        stores = [self.harness.open() for _ in range(5)]
        for number in range(ROUNDS):
            holder = f"dying#{number}"
            receipts = self._held(holder)
            calls = [partial(_settle, [settlement(one) for one in receipts[half::2]]) for half in range(2)]
            calls += [partial(ENDS[verb], holder, receipts) for verb in ("retire", second, third)]

            *settled, first, one, other = at_once(5, partial(_call, calls, stores))

            assert sum(settled) + first + one + other == JOBS
            assert [first, one, other].count(0) >= 2
            self._check(left=JOBS - sum(settled) * (settlement is Ack))

    def _held(self, holder: str) -> list[Receipt]:
        """Let a holder lease jobs, and be silent until its ttl is over."""
        self.store.beat(HolderInfo(id=holder, ttl=TTL))
        self.send(*(f"{holder} {number}" for number in range(JOBS)))
        receipts = [one.receipt for one in self.lease(JOBS, holder=holder)]
        self.elapse(TTL + 1)
        return receipts

    def _check(self, left: int) -> None:
        """What was not done is there once, charged an attempt and at most a crash."""
        again = self.lease(2 * JOBS)
        assert [(one.attempt, one.crashes <= 1) for one in again] == [(2, True)] * left
        assert self.settle(*(Ack(one.receipt) for one in again)) == []
        assert self.stats().running == 0


def _call(calls: Sequence[Callable[[QueueBackend], int]], stores: Sequence[QueueBackend], who: int) -> int:
    return calls[who](stores[who])


def _settle(settlements: Sequence[Settlement], store: QueueBackend) -> int:
    return sum(store.settle([one]) == [] for one in settlements)


def _retire(holder: str, charged: Sequence[Receipt], store: QueueBackend) -> int:
    return store.retire(holder, "died", charged)


def _tidy(holder: str, charged: Sequence[Receipt], store: QueueBackend) -> int:
    return store.tidy().rescued


def _beat(holder: str, charged: Sequence[Receipt], store: QueueBackend) -> int:
    store.beat(HolderInfo(id=holder, ttl=TTL))
    return 0


ENDS = {"retire": _retire, "tidy": _tidy, "beat": _beat}
"""What each does that comes, and how many jobs it took by that."""
