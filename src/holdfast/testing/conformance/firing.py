"""Cases of firing: a tick is written down once, in one step with its job, and judged by the jobs before it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from holdfast.capabilities import Cancellable, Inspectable, Planned, Schedules, Template, Tick, TickOutcome, tick_id
from holdfast.delivery import Ack, State
from holdfast.message import Message, Unique
from holdfast.testing.conformance.cases import QUEUE
from holdfast.testing.conformance.scheduling import BEGIN, HOUR, NAME, SECOND, ScheduleBase


class FireCases(ScheduleBase):
    """Ticks are written down in one step with their jobs."""

    needs = (Schedules, Inspectable, Cancellable)

    def test_a_tick_sends_its_message(self) -> None:
        """Under an id that everybody derives alike; the schedule goes on to its next tick."""
        self.keep(template=Template(kind="report", body=b"hello", headers={"a": "b"}, priority=3, max_attempts=2))

        fired = self.fire(BEGIN)

        job = tick_id(QUEUE, NAME, BEGIN)
        assert fired == [Tick(tick=BEGIN, outcome=TickOutcome.SENT, job=job, at=self.harness.wall())]
        assert self.store.ticks(QUEUE, NAME) == fired
        [delivery] = self.lease(kinds=("report",))
        assert (delivery.id, delivery.body, delivery.headers, delivery.priority, delivery.max_attempts) == (
            job,
            b"hello",
            {"a": "b"},
            3,
            2,
        )
        assert self.found().next == BEGIN + HOUR

    def test_a_tick_may_send_another_message(self) -> None:
        """Middleware around sends has changed it; what is stored of the schedule stays as it is."""
        self.keep(template=Template(kind="report", body=b"hello"))
        job = tick_id(QUEUE, NAME, BEGIN)
        message = Message(id=job, kind="report", body=b"other", headers={"trace": "42"}, due=BEGIN)

        [tick] = self.fire(Planned(BEGIN, BEGIN, message=message)) or []

        assert tick.job == job
        [delivery] = self.lease(kinds=("report",))
        assert (delivery.id, delivery.body, delivery.headers) == (job, b"other", {"trace": "42"})
        assert self.found().definition.template.body == b"hello"

    def test_a_tick_whose_message_finds_its_slot_held_is_skipped(self) -> None:
        """Middleware can make it unique; no job is told that is not there."""
        self.keep()
        unique = Unique("k")
        self.send("holder", unique=unique)
        message = Message(id=tick_id(QUEUE, NAME, BEGIN), kind="report", body=b"", unique=unique)

        [tick] = self.fire(Planned(BEGIN, BEGIN, message=message)) or []

        assert (tick.outcome, tick.job) == (TickOutcome.SKIPPED, None)
        assert self.sent() == []

    def test_a_fire_leaves_the_version(self) -> None:
        """It is no edit."""
        self.keep()

        self.fire(BEGIN)

        assert self.found().version == 1

    def test_jitter_delays_the_job_and_not_the_tick(self) -> None:
        """It waits as a job sent with a delay does."""
        now = self.harness.wall()
        self.keep(next=now)

        self.fire(Planned(now, now + 5 * SECOND))

        assert self.stats().scheduled == 1
        assert self.store.ticks(QUEUE, NAME)[0].tick == now
        self.elapse(5)
        assert len(self.sent()) == 1

    def test_whoever_comes_second_changes_nothing(self) -> None:
        """G-T50: two replicas, one job a tick."""
        self.keep()
        firing = self.firing(BEGIN)
        self.store.fire([firing])

        assert self.store.fire([firing]) == [None]
        assert self.stats().ready == 1
        assert len(self.store.ticks(QUEUE, NAME)) == 1

    def test_of_many_that_fire_at_once_one_does(self) -> None:
        """Whichever it is."""
        self.keep()
        firing = self.firing(BEGIN)

        with ThreadPoolExecutor(8) as pool:
            fired = list(pool.map(lambda _: self.store.fire([firing])[0], range(16)))

        assert sum(one is not None for one in fired) == 1
        assert self.stats().ready == 1

    def test_an_edit_fences_what_was_read_before(self) -> None:
        """G-T51, G-T58: a process that was paused in between does not fire the old definition."""
        schedule = self.keep()
        firing = self.firing(BEGIN)
        self.store.save_schedule(schedule, schedule.version)

        assert self.store.fire([firing]) == [None]
        assert self.stats().ready == 0

    def test_a_schedule_that_is_gone_is_not_fired(self) -> None:
        """Nor one of a queue that is."""
        self.keep()
        firing = self.firing(BEGIN)
        self.store.remove_schedule(QUEUE, NAME)

        assert self.store.fire([firing, msgspec.structs.replace(firing, queue="nowhere")]) == [None, None]

    def test_firings_of_a_batch_stand_alone(self) -> None:
        """One that comes too late spoils no other."""
        self.keep("a")
        self.keep("b")
        late = msgspec.structs.replace(self.firing(BEGIN, name="a"), expected=BEGIN + 1)

        first, second = self.store.fire([late, self.firing(BEGIN, name="b")])

        assert first is None
        assert second is not None
        assert self.sent() == [tick_id(QUEUE, "b", BEGIN)]

    def test_a_tick_has_one_job_for_ever(self) -> None:
        """Even when a schedule is set back to a time it has passed."""
        self.keep()
        self.fire(BEGIN)
        self.settle(*(Ack(one.receipt) for one in self.lease(kinds=("report",))))
        self.store.save_schedule(msgspec.structs.replace(self.found(), next=BEGIN), 1)

        fired = self.fire(BEGIN, BEGIN + HOUR)

        assert fired is not None
        assert [tick.tick for tick in fired] == [BEGIN + HOUR]
        assert self.sent() == [tick_id(QUEUE, NAME, BEGIN + HOUR)]

    def test_missed_ticks_are_written_down_and_send_nothing(self) -> None:
        """G-T53: no burst."""
        self.keep()

        self.fire(*(Planned(BEGIN + hour * HOUR, 0, send=hour == 2) for hour in range(3)))

        assert self.outcomes() == [TickOutcome.MISSED, TickOutcome.MISSED, TickOutcome.SENT]
        assert self.sent() == [tick_id(QUEUE, NAME, BEGIN + 2 * HOUR)]

    def test_the_same_tick_in_two_queues_is_two_jobs(self) -> None:
        """Overlap is judged for each."""
        self.keep(queue="a")
        self.keep(queue="b")
        self.fire(BEGIN, queue="a")

        fired = self.fire(BEGIN, queue="b")

        assert fired is not None
        assert fired[0].outcome is TickOutcome.SENT
        assert self.sent("a") != self.sent("b")


class OverlapCases(ScheduleBase):
    """What a tick does whose schedule has a job that has not ended."""

    needs = (Schedules, Inspectable, Cancellable)

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.READY, State.RUNNING])
    def test_a_tick_is_skipped_while_a_job_lives(self, state: State) -> None:
        """G-T54: by default."""
        self.keep()
        self._have(state)

        self.fire(BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SKIPPED]
        assert self.found().next == BEGIN + 2 * HOUR

    @pytest.mark.parametrize("state", [State.DONE, State.DEAD, State.CANCELLED])
    def test_a_tick_is_sent_when_the_job_has_ended(self, state: State) -> None:
        """However it did."""
        self.keep()
        self._have(state)

        self.fire(BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SENT]

    def test_a_job_that_has_expired_has_ended(self) -> None:
        """Before anybody writes it down."""
        self.keep(template=Template(kind="report", body=b"", expires_in=5.0))
        self.fire(BEGIN)
        self.elapse(5)

        self.fire(BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SENT]

    def test_a_job_that_retention_dropped_has_ended(self) -> None:
        """Nothing is left of it but its tick."""
        self.declare(done_for=0, done_most=0, dedupe_window=0)
        self.keep()
        self._have(State.DONE)
        self.elapse(1)
        self.tidy_all()

        self.fire(BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SENT]

    def test_a_skipped_tick_is_no_job_to_wait_for(self) -> None:
        """Once the first job has ended, the next tick is sent."""
        self.keep()
        self._have(State.RUNNING)
        self.fire(BEGIN + HOUR)
        self.settle(Ack(self.receipt))

        self.fire(BEGIN + 2 * HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SKIPPED, TickOutcome.SENT]

    def test_overlap_is_allowed_where_the_schedule_says_so(self) -> None:
        """Side by side."""
        self.keep(overlap="allow")
        self.fire(BEGIN)

        self.fire(BEGIN + HOUR)

        assert len(self.sent()) == 2

    def test_ticks_of_one_firing_are_judged_one_by_one(self) -> None:
        """The first job has not ended when the second tick is judged."""
        self.keep(missed="all")

        self.fire(BEGIN, BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SKIPPED]

    def test_a_waiting_job_is_replaced(self) -> None:
        """It is cancelled, and the new one sent."""
        self.keep(overlap="replace")
        self._have(State.READY)

        self.fire(BEGIN + HOUR)

        assert self._state_of(BEGIN) is State.CANCELLED
        assert self.sent() == [tick_id(QUEUE, NAME, BEGIN + HOUR)]

    def test_a_running_job_is_asked_to_stop_when_it_is_replaced(self) -> None:
        """It runs on until its holder settles it."""
        self.keep(overlap="replace")
        self._have(State.RUNNING)

        self.fire(BEGIN + HOUR)

        assert self._state_of(BEGIN) is State.RUNNING
        assert self.beat().cancels == (self.receipt,)
        assert self.sent() == [tick_id(QUEUE, NAME, BEGIN + HOUR)]

    def test_a_replaced_job_that_runs_on_is_still_one_of_its_schedule(self) -> None:
        """An edit to another overlap finds it."""
        schedule = self.keep(overlap="replace")
        self._have(State.RUNNING)
        self.fire(BEGIN + HOUR)
        self.store.cancel(QUEUE, [tick_id(QUEUE, NAME, BEGIN + HOUR)])
        definition = msgspec.structs.replace(schedule.definition, overlap="skip")
        self.store.save_schedule(msgspec.structs.replace(self.found(), definition=definition), schedule.version)

        self.fire(BEGIN + 2 * HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SENT, TickOutcome.SKIPPED]

    def test_a_job_that_takes_the_place_of_another_finds_room(self) -> None:
        """However full the queue is: else the one would be cancelled, and the other not sent."""
        self.keep(overlap="replace")
        self._have(State.READY)
        self.send("one", "two")
        self.declare(limit=1)

        self.fire(BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SENT]
        assert self._state_of(BEGIN) is State.CANCELLED

    def test_a_running_job_goes_on_when_there_is_no_room_for_the_next(self) -> None:
        """It is not asked to stop for a job that was not sent."""
        self.keep(overlap="replace")
        self._have(State.RUNNING)
        self.send("one")
        self.declare(limit=1)

        self.fire(BEGIN + HOUR)

        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.FULL]
        assert self.beat().cancels == ()

    def _have(self, state: State) -> None:
        """Send the first tick's job, and bring it into ``state``."""
        now = self.harness.wall()
        self.fire(Planned(BEGIN, now + HOUR if state is State.SCHEDULED else BEGIN))
        job = tick_id(QUEUE, NAME, BEGIN)
        if state is State.CANCELLED:
            self.store.cancel(QUEUE, [job])
        if state not in {State.RUNNING, State.DONE, State.DEAD}:
            return
        delivery = self.lease_one(kinds=("report",))
        self.receipt = delivery.receipt
        if state is State.DONE:
            delivery.ack()
        if state is State.DEAD:
            delivery.bury("over")
        if delivery.settlement is not None:
            self.settle(delivery.settlement)

    def _state_of(self, tick: int) -> State:
        view = self.store.get(QUEUE, tick_id(QUEUE, NAME, tick))
        assert view is not None
        return view.state


class TickCases(ScheduleBase):
    """The history of ticks, and how long it is kept."""

    def test_ticks_are_paged_newest_first(self) -> None:
        """Without shifting."""
        self.keep(overlap="allow")
        self.fire(*(BEGIN + hour * HOUR for hour in range(5)))

        first = self.store.ticks(QUEUE, NAME, limit=2)
        rest = self.store.ticks(QUEUE, NAME, before=first[-1].tick)

        assert [tick.tick for tick in first + rest] == [BEGIN + hour * HOUR for hour in (4, 3, 2, 1, 0)]

    def test_the_newest_are_kept(self) -> None:
        """As many as the queue's ``ticks_most``."""
        self.declare(ticks_most=2)
        self.keep()
        for hour in range(5):
            self.fire(Planned(BEGIN + hour * HOUR, 0, send=False))

        assert [tick.tick for tick in self.store.ticks(QUEUE, NAME)] == [BEGIN + 4 * HOUR, BEGIN + 3 * HOUR]

    def test_a_tick_whose_job_was_replaced_in_the_same_firing_can_go(self) -> None:
        """It has ended."""
        self.declare(ticks_most=2)
        self.keep(overlap="replace")

        self.fire(*(BEGIN + hour * HOUR for hour in range(5)))

        assert [tick.tick for tick in self.store.ticks(QUEUE, NAME)] == [BEGIN + 4 * HOUR, BEGIN + 3 * HOUR]

    def test_old_ticks_are_dropped_by_tidying(self) -> None:
        """Those older than the queue's ``ticks_for``."""
        now = self.harness.wall()
        self.declare(ticks_for=60)
        self.keep(next=now)
        self.fire(Planned(now, now, send=False), Planned(now + HOUR, now, send=False))
        self.elapse(61)

        self.tidy_all()

        assert [tick.tick for tick in self.store.ticks(QUEUE, NAME)] == [now + HOUR]

    def test_keeping_can_be_without_end(self) -> None:
        """G-T56: pruning is a setting."""
        self.declare(ticks_most=None, ticks_for=None)
        self.keep()
        self.fire(*(Planned(BEGIN + hour * HOUR, 0, send=False) for hour in range(1200)))

        self.tidy_all()

        assert len(self.store.ticks(QUEUE, NAME, limit=2000)) == 1200

    def test_a_tick_whose_job_lives_is_never_dropped(self) -> None:
        """G-T56: overlap is judged by it."""
        self.declare(ticks_most=0, ticks_for=0)
        self.keep()
        self.fire(BEGIN)
        self.tidy_all()

        self.fire(BEGIN + HOUR)
        self.tidy_all()

        assert self.outcomes() == [TickOutcome.SENT]
        assert len(self.sent()) == 1

    def test_a_dropped_tick_does_not_come_back(self) -> None:
        """The schedule has gone on, and its job's id is remembered."""
        self.declare(ticks_most=0)
        self.keep()
        firing = self.firing(BEGIN)
        self.store.fire([firing])

        assert self.store.fire([firing]) == [None]
        assert len(self.sent()) == 1
