"""Cases of stores that several processes use: through further handles, and through processes that are killed."""

from __future__ import annotations

from typing import Protocol

import pytest

from holdfast.capabilities import Cancellable, Pausable, Results
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Delivery, Receipt, State
from holdfast.errors import Closed
from holdfast.message import Message
from holdfast.testing.conformance.cases import OTHER, PATIENCE, PROMPT, QUEUE, Cases, beside
from holdfast.testing.conformance.programs import CHILD, CHILD_TTL


class HandleCases(Cases):
    """A further handle on the same store sees and does the same."""

    promises = ("multi_process",)
    other: QueueBackend

    @pytest.fixture(autouse=True)
    def _second(self, _open: None) -> None:
        self.other = self.harness.open()

    def _elsewhere(self, limit: int = 100, holder: str = OTHER) -> list[Delivery]:
        """Lease through the other handle."""
        lease_id = f"elsewhere {self.harness.wall()} {id(object())}"
        return self.other.lease(QUEUE, holder, lease_id, limit=limit, kinds=("",), max_format=1)

    def test_a_handle_is_one_of_its_own(self) -> None:
        """Closing it leaves the other open."""
        self.other.close()

        self.send("job")

        assert self.leased() == ["job"]
        with pytest.raises(Closed):
            self.other.stats(QUEUE)

    def test_what_one_sends_the_other_leases(self) -> None:
        """At once."""
        self.send("job")
        self.beat(OTHER)

        assert [one.id for one in self._elsewhere()] == ["job"]

    def test_no_job_is_granted_to_both(self) -> None:
        """A lease is the sole right."""
        self.beat(OTHER)
        self.send("a", "b", "c")

        shares = [self.leased(1), [one.id for one in self._elsewhere(1)], self.leased(5)]

        assert shares == [["a"], ["b"], ["c"]]

    def test_an_id_sent_through_both_is_stored_once(self) -> None:
        """Idempotence is the store's."""
        self.send("job")

        [again] = self.other.send(QUEUE, [self._message()])

        assert again.duplicate

    def _message(self) -> Message:
        return Message(id="job", body=b"")

    def test_one_settles_what_the_other_leased(self) -> None:
        """The receipt is proof anywhere."""
        self.send("job")
        receipt = self.lease_one().receipt

        lost = self.other.settle([Ack(receipt)])

        assert lost == []
        assert self.stats().done == 1

    def test_a_retired_holder_has_ended_everywhere(self) -> None:
        """Its settles are lost through any handle."""
        self.beat(OTHER)
        self.send("job")
        receipt = self.lease_one(holder=OTHER).receipt

        self.other.retire(OTHER, "stopped")

        assert self.settle(Ack(receipt)) == [receipt]
        assert not self.beat(OTHER).alive

    def test_a_send_wakes_a_wait_of_the_other(self) -> None:
        """Within its poll interval."""
        waiting = beside(lambda: self.other.wait((QUEUE,), ("",), PATIENCE))

        self.send("job")

        assert waiting.result(PROMPT)

    def test_a_freed_key_wakes_a_wait_of_the_other(self) -> None:
        """As a send does."""
        self.send("a", "b", key="k")
        receipt = self.lease_one().receipt
        waiting = beside(lambda: self.other.wait((QUEUE,), ("",), PATIENCE))

        self.settle(Ack(receipt))

        assert waiting.result(PROMPT)

    def test_an_interrupt_is_for_one_handle(self) -> None:
        """The other waits on."""
        self.declare()
        self.other.interrupt()

        began = beside(lambda: self.store.wait((QUEUE,), ("",), PATIENCE))
        self.send("job")

        assert began.result(PROMPT)

    def test_settings_are_seen_by_the_other(self) -> None:
        """The last declared win."""
        self.send("job")
        self.declare(done_most=3)

        assert self.other.queues() == self.store.queues()
        assert self.other.queues()[QUEUE].done_most == 3

    def test_new_settings_hold_for_the_other(self) -> None:
        """It does not go on with those it had read."""
        self.other.send(QUEUE, [self._message()])
        self.declare(done_for=0, done_most=0)
        self.bring("done", State.DONE)

        assert self.other.tidy().dropped == 1

    def test_a_destroyed_queue_is_gone_for_the_other(self) -> None:
        """And can be made anew."""
        self.other.send(QUEUE, [self._message()])
        self.store.destroy(QUEUE)

        assert self.other.stats(QUEUE).ready == 0
        [stored] = self.other.send(QUEUE, [self._message()])
        assert not stored.duplicate
        assert self.leased() == ["job"]

    def test_many_handles_lose_and_double_nothing(self) -> None:
        """Each job goes to one of them."""
        self.send(*map(str, range(200)))
        self.beat(OTHER)

        def drain(handle: QueueBackend, holder: str) -> list[str]:
            done: list[str] = []
            while batch := handle.lease(QUEUE, holder, f"{holder} {len(done)}", limit=7, kinds=("",), max_format=1):
                assert handle.settle([Ack(one.receipt) for one in batch]) == []
                done += [one.id for one in batch]
            return done

        first = beside(lambda: drain(self.store, "worker#1"))
        second = beside(lambda: drain(self.other, OTHER))

        assert sorted(first.result(PATIENCE) + second.result(PATIENCE), key=int) == list(map(str, range(200)))


class _Store(QueueBackend, Cancellable, Pausable, Results, Protocol): ...


class HandlePowersCases(Cases):
    """What one handle does with its optional powers holds for the other."""

    promises = ("multi_process",)
    needs = (Cancellable, Pausable, Results)
    store: _Store
    other: _Store

    @pytest.fixture(autouse=True)
    def _second(self, _open: None) -> None:
        other = self.harness.open()
        assert isinstance(other, type(self.store))
        self.other = other

    def test_a_pause_holds_for_the_other(self) -> None:
        """It grants no lease."""
        self.send("job")
        self.other.pause(QUEUE)

        assert self.leased() == []
        self.other.resume(QUEUE)
        assert self.leased() == ["job"]

    def test_resuming_wakes_a_wait_of_the_other(self) -> None:
        """Within its poll interval."""
        self.send("job")
        self.store.pause(QUEUE)
        waiting = beside(lambda: self.other.wait((QUEUE,), ("",), PATIENCE))

        self.store.resume(QUEUE)

        assert waiting.result(PROMPT)

    def test_a_holder_hears_of_a_request_made_elsewhere(self) -> None:
        """In its beat."""
        self.send("job")
        receipt = self.lease_one().receipt

        self.other.cancel(QUEUE, ["job"])

        assert self.beat().cancels == (receipt,)

    def test_a_watch_is_told_of_an_end_elsewhere(self) -> None:
        """It looks again, at the latest after its poll interval."""
        self.send("job")
        receipt = self.lease_one().receipt
        watch = self.store.watch()
        watch.add(QUEUE, ["job"])
        waiting = beside(lambda: watch.wait(PATIENCE))

        self.other.settle([Ack(receipt)])

        assert waiting.result(PROMPT) == [(QUEUE, "job")]


class KillCases(Cases):
    """A process killed with SIGKILL loses nothing that was promised."""

    promises = ("multi_process",)

    def test_what_a_killed_sender_was_told_is_stored(self) -> None:
        """`send` returns when the promised level is reached."""
        told = self.harness.kill("send", after=20)

        stored = set(self.leased(10_000))

        assert set(told) <= stored
        assert len(stored) <= len(told) + 1

    def test_a_killed_sender_can_send_again(self) -> None:
        """The same ids are safe: nothing is doubled."""
        told = self.harness.kill("send", after=20)

        self.send(*told)

        got = self.leased(10_000)
        assert len(got) == len(set(got))

    def test_the_jobs_of_a_killed_worker_come_back(self) -> None:
        """When its ttl has passed, one attempt further."""
        self.send(*map(str, range(10)))
        told = self.harness.kill("lease", after=10)

        assert self.leased() == []
        self.elapse(CHILD_TTL + 1)
        assert self.store.tidy().rescued == 10
        assert {f"{one.id} {one.token - 1}": one.attempt for one in self.lease()} == dict.fromkeys(told, 2)

    def test_a_killed_worker_can_be_retired_at_once(self) -> None:
        """Whoever saw it die charges what ran; the rest is unburned."""
        self.send(*map(str, range(10)))
        told = self.harness.kill("lease", after=10)
        ran, token = told[0].split()

        taken = self.store.retire(CHILD, "worker died: SIGKILL", [Receipt(QUEUE, ran, int(token))])

        assert taken == 10
        assert {one.id: one.attempt for one in self.lease()} == {
            str(number): 2 if str(number) == ran else 1 for number in range(10)
        }

    def test_what_a_killed_worker_was_told_is_done_is_done(self) -> None:
        """And runs no second time."""
        self.send(*map(str, range(300)))
        told = self.harness.kill("settle", after=20)

        self.store.retire(CHILD, "worker died: SIGKILL")

        again = set(self.leased(300))
        assert not again & set(told)
        assert len(again) + self.stats().done == 300
