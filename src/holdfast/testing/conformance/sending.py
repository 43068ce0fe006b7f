"""Cases of sending: what is stored, under which id, how large, and when it becomes due."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, State
from holdfast.errors import BodyTooLarge
from holdfast.message import DEFAULT_ATTEMPTS, Message, Stored
from holdfast.testing.conformance.cases import QUEUE, Cases


class SendCases(Cases):
    """A send stores each message once, whole, and says how safe it is."""

    def test_a_message_is_delivered_as_it_was_sent(self) -> None:
        """Every field comes back, also bytes that are no text and headers beyond ASCII (G-T16, C-T1)."""
        sent = Message(
            id="job",
            body=bytes(range(256)),
            kind="mail",
            headers={"traceparent": "00-ab-cd-01", "Größe": "ü"},
            key="customer 7",
            priority=3,
            max_attempts=7,
            timeout=12.5,
        )

        self.store.send(QUEUE, [sent])

        got = self.lease_one(kinds=("mail",))
        fields = ("id", "body", "kind", "headers", "key", "priority", "max_attempts", "timeout")
        assert [getattr(got, field) for field in fields] == [getattr(sent, field) for field in fields]

    def test_a_message_without_options_gets_the_defaults(self) -> None:
        """Defaults are filled in (G-T16, G-T34)."""
        self.store.send(QUEUE, [Message(body=b"x")])

        got = self.lease_one()
        assert (got.kind, got.key, got.priority, got.max_attempts, got.timeout, dict(got.headers)) == (
            "",
            None,
            0,
            DEFAULT_ATTEMPTS,
            None,
            {},
        )

    def test_an_empty_body_is_a_body(self) -> None:
        """A message needs no bytes."""
        self.send("job", body=b"")

        assert self.lease_one().body == b""

    def test_a_send_answers_for_each_message_in_order(self) -> None:
        """Bulk has per-item receipts, with the level the store promises."""
        level = self.store.features.level

        stored = self.send("a", "b", "c")

        assert stored == [Stored(QUEUE, id_, level, False) for id_ in "abc"]

    def test_an_empty_send_stores_nothing(self) -> None:
        """A batch of none is legal."""
        stored = self.store.send(QUEUE, [])

        assert stored == []

    def test_a_large_batch_comes_back_in_order(self) -> None:
        """Ties go by send order, also beyond a store's own batch sizes."""
        names = [f"job {number}" for number in range(2500)]

        self.send(*names)

        assert self.leased(2500) == names

    def test_an_id_sent_twice_is_stored_once(self) -> None:
        """A message id is recognised while its job waits."""
        self.send("job")

        [again] = self.send("job")

        assert again.duplicate
        assert self.stats().ready == 1

    def test_of_an_id_twice_in_a_batch_the_first_counts(self) -> None:
        """Idempotence holds inside one call too."""
        first, second = Message(id="job", body=b"first"), Message(id="job", body=b"second")

        stored = self.store.send(QUEUE, [first, second])

        assert [one.duplicate for one in stored] == [False, True]
        assert [delivery.body for delivery in self.lease()] == [b"first"]

    def test_a_batch_may_be_partly_known(self) -> None:
        """Resending after an unknown outcome stores exactly what was missing."""
        self.send("a", "c")

        stored = self.send("a", "b", "c", "d")

        assert [one.duplicate for one in stored] == [True, False, True, False]
        assert self.leased() == ["a", "c", "b", "d"]

    @pytest.mark.parametrize("state", list(State))
    def test_an_id_is_recognised_in_every_state(self, state: State) -> None:
        """A message id is recognised while its job exists in any state."""
        self.bring("job", state)

        [again] = self.send("job")

        assert again.duplicate

    def test_a_duplicate_changes_nothing_of_the_job(self) -> None:
        """What was stored first stays as it was."""
        self.send("job", body=b"first", priority=1)

        self.send("job", body=b"second", priority=9)

        got = self.lease_one()
        assert (got.body, got.priority) == (b"first", 1)

    def test_a_dropped_id_is_recognised_within_the_window(self) -> None:
        """An id is recognised at least `dedupe_window` after its end, though retention dropped the job."""
        self.declare(done_for=0, dedupe_window=100)
        self.bring("job", State.DONE)
        self.tidy_all()
        self.elapse(98)
        self.tidy_all()

        [again] = self.send("job")

        assert again.duplicate
        assert self.leased() == []

    def test_a_dropped_id_is_free_again_after_the_window(self) -> None:
        """Ids are not remembered for ever: tidying forgets them when their window is over."""
        self.declare(done_for=0, dedupe_window=100)
        self.bring("job", State.DONE)
        self.tidy_all()
        self.elapse(101)
        self.tidy_all()

        [again] = self.send("job")

        assert not again.duplicate
        assert self.leased() == ["job"]

    def test_a_receipt_of_a_forgotten_job_stays_lost_when_its_id_returns(self) -> None:
        """The token is never lowered or reset: an old holder cannot settle the new job of that id."""
        self.declare(done_for=0, dedupe_window=100)
        old = self.bring("job", State.DONE)
        assert old is not None
        self.tidy_all()
        self.elapse(101)
        self.tidy_all()
        self.send("job")
        self.lease_one()

        lost = self.settle(Ack(old))

        assert lost == [old]

    def test_the_same_id_in_another_queue_is_another_job(self) -> None:
        """Ids are per queue."""
        self.send("job")

        [other] = self.send("job", queue="elsewhere")

        assert not other.duplicate


class BodyCases(Cases):
    """A queue's body limits are kept before anything is written."""

    def test_a_body_above_the_limit_is_refused(self) -> None:
        """`BodyTooLarge` is the caller's to mend."""
        self.declare(max_body=10)

        with pytest.raises(BodyTooLarge, match="work"):
            self.send("job", body=b"x" * 11)

    def test_a_body_below_the_minimum_is_refused(self) -> None:
        """The minimum is configurable too."""
        self.declare(min_body=2)

        with pytest.raises(BodyTooLarge):
            self.send("job", body=b"x")

    def test_one_refused_body_keeps_the_whole_batch_out(self) -> None:
        """Refused before writing: nothing of the call is stored."""
        self.declare(max_body=10)

        with pytest.raises(BodyTooLarge):
            self.store.send(QUEUE, [Message(id="small", body=b"x"), Message(id="large", body=b"x" * 11)])

        assert self.stats().ready == 0

    @pytest.mark.parametrize("size", [2, 10])
    def test_a_body_at_the_limit_is_stored(self, size: int) -> None:
        """Both limits are inclusive."""
        self.declare(min_body=2, max_body=10)

        self.send("job", body=b"x" * size)

        assert self.lease_one().body == b"x" * size

    def test_the_default_limit_is_a_mebibyte(self) -> None:
        """1 MiB fits into a queue that nobody declared, one byte more does not."""
        self.send("fits", body=b"x" * (1 << 20))

        with pytest.raises(BodyTooLarge):
            self.send("too large", body=b"x" * ((1 << 20) + 1))

        assert self.leased() == ["fits"]

    def test_a_raised_limit_holds_for_the_next_send(self) -> None:
        """Declaring again takes effect at once."""
        self.declare(max_body=10)
        self.declare(max_body=20)

        self.send("job", body=b"x" * 20)

        assert self.leased() == ["job"]


class DelayCases(Cases):
    """A delayed job is scheduled until it is due, and nobody gets it before."""

    def test_a_delayed_job_is_not_leased_before_it_is_due(self) -> None:
        """A future job is not eligible (C-T4, G-T18)."""
        self.send("job", delay=5)
        self.elapse(4)

        got = self.leased()

        assert got == []

    def test_a_delayed_job_is_leased_once_it_is_due(self) -> None:
        """It arrives when its time has come (C-T5)."""
        self.send("job", delay=5)
        self.elapse(5)

        got = self.leased()

        assert got == ["job"]

    def test_a_due_instant_is_absolute(self) -> None:
        """`due` is in ms of UTC."""
        self.send("job", due=self.harness.wall() + 5000)
        self.elapse(5)

        got = self.leased()

        assert got == ["job"]

    def test_a_due_instant_wins_over_a_delay(self) -> None:
        """Both given, the instant counts."""
        self.send("job", due=self.harness.wall() + 60_000, delay=1)
        self.elapse(5)

        got = self.leased()

        assert got == []

    def test_a_due_instant_in_the_past_means_now(self) -> None:
        """It goes behind what is ready, not before it."""
        self.send("first")
        self.send("second", due=self.harness.wall() - 60_000)

        got = self.leased()

        assert got == ["first", "second"]

    def test_due_jobs_come_in_the_order_they_became_due(self) -> None:
        """A job due earlier is never starved by one due later of the same priority."""
        self.send("third", delay=30)
        self.send("first", delay=10)
        self.send("second", delay=20)
        self.elapse(40)

        got = self.leased()

        assert got == ["first", "second", "third"]

    def test_a_due_job_stands_behind_those_ready_before_it_was_due(self) -> None:
        """The order is that of becoming ready, not of sending."""
        self.send("due later", delay=5)
        self.elapse(1)
        self.send("ready before")
        self.elapse(5)
        self.send("ready after")

        got = self.leased()

        assert got == ["ready before", "due later", "ready after"]

    def test_many_due_jobs_come_oldest_due_first(self) -> None:
        """They are made ready in bounded steps, and no step overtakes another."""
        batch = [Message(id=str(n), body=b"", delay=3000 - n) for n in range(2500)]
        self.store.send(QUEUE, batch)
        self.elapse(3001)

        got = [job for _ in range(5) for job in self.leased(500)]

        assert got == [message.id for message in reversed(batch)]

    def test_a_wall_clock_set_forward_makes_jobs_due(self) -> None:
        """Due times are by the wall clock."""
        self.send("job", delay=3600)
        self.harness.set_wall(3600)

        got = self.leased()

        assert got == ["job"]

    def test_a_wall_clock_set_back_keeps_ready_jobs_ready(self) -> None:
        """What had become ready stays so."""
        self.send("job")
        self.harness.set_wall(-3600)

        got = self.leased()

        assert got == ["job"]
