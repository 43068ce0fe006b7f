"""Cases of schedules: they are kept by version, looked up by their next tick, and fired once by whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol

import msgspec
import pytest

from holdfast.capabilities import (
    Cancellable,
    Cron,
    Definition,
    Every,
    Firing,
    Inspectable,
    Pausable,
    Planned,
    Schedule,
    Schedules,
    Template,
    Tick,
    TickOutcome,
    owned,
    tick_id,
)
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, HolderInfo, State
from holdfast.errors import BodyTooLarge
from holdfast.testing.conformance.cases import LONG, QUEUE, WORKER, Cases

SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000
NAME = "report"
BEGIN = 1_700_000_000_000
"""Ticks of the cases are instants long past, whatever the store's clock says."""


class _Store(QueueBackend, Schedules, Inspectable, Cancellable, Protocol): ...


class ScheduleBase(Cases):
    """Short words to keep and to fire."""

    needs: ClassVar[tuple[type, ...]] = (Schedules,)
    store: _Store

    def keep(
        self, name: str = NAME, *, queue: str = QUEUE, next: int | None = BEGIN, paused: bool = False, **told: Any
    ) -> Schedule:
        """Store a new schedule."""
        template = told.pop("template", Template(kind="report", body=b"x"))
        definition = Definition(**{"rule": Every(60.0, BEGIN), "template": template} | told)
        schedule = Schedule(queue=queue, name=name, definition=definition, paused=paused, next=next)
        saved = self.store.save_schedule(schedule, 0)
        assert saved is not None
        return saved

    def found(self, name: str = NAME, queue: str = QUEUE) -> Schedule:
        """Return one schedule as it is stored."""
        [schedule] = self.store.find_schedules(queue, name)
        return schedule

    def fire(self, *ticks: int | Planned, name: str = NAME, queue: str = QUEUE) -> list[Tick] | None:
        """Fire these ticks of the schedule as it is stored now; its next tick is an hour after the last."""
        [fired] = self.store.fire([self.firing(*ticks, name=name, queue=queue)])
        return fired

    def firing(self, *ticks: int | Planned, name: str = NAME, queue: str = QUEUE) -> Firing:
        """Return what fires these ticks of the schedule as it is stored now."""
        schedule = self.found(name, queue)
        planned = tuple(one if isinstance(one, Planned) else Planned(one, one) for one in ticks)
        assert schedule.next is not None
        return Firing(
            queue=queue,
            name=name,
            version=schedule.version,
            expected=schedule.next,
            ticks=planned,
            next=planned[-1].tick + HOUR,
        )

    def outcomes(self, name: str = NAME, queue: str = QUEUE) -> list[TickOutcome]:
        """Return what became of its ticks, oldest first."""
        return [tick.outcome for tick in reversed(self.store.ticks(queue, name))]

    def sent(self, queue: str = QUEUE) -> list[str]:
        """Lease all its jobs and return their ids."""
        return self.leased(queue=queue, kinds=("report",))


class ScheduleCases(ScheduleBase):
    """Schedules are kept, changed by version, listed and removed."""

    def test_a_schedule_is_kept_as_it_was_stored(self) -> None:
        """With every field of its message."""
        template = Template(
            kind="k",
            body=bytes(range(256)),
            headers={"a": "ü"},
            key="key",
            priority=7,
            expires_in=9.5,
            max_attempts=None,
            timeout=2.5,
        )
        saved = self.keep(
            rule=Cron("0 9 * * MON-FRI", "Europe/Paris"),
            template=template,
            missed="all",
            overlap="replace",
            jitter=1.5,
            source="code",
        )

        assert self.found() == saved
        assert saved.definition.template == template
        assert (saved.next, saved.version, saved.created) == (BEGIN, 1, self.harness.wall())

    def test_an_edit_raises_the_version(self) -> None:
        """And keeps when it was made."""
        first = self.keep()
        self.elapse(5)

        second = self.store.save_schedule(msgspec.structs.replace(first, next=BEGIN + 1), first.version)

        assert second is not None
        assert (second.version, second.next, second.created) == (2, BEGIN + 1, first.created)
        assert self.found() == second

    def test_an_edit_of_an_old_version_changes_nothing(self) -> None:
        """G-T57: versions are compared, whatever the clock says."""
        first = self.keep()
        second = self.store.save_schedule(msgspec.structs.replace(first, next=BEGIN + 1), 1)

        assert self.store.save_schedule(msgspec.structs.replace(first, next=BEGIN + 2), 1) is None
        assert self.store.save_schedule(msgspec.structs.replace(first, next=BEGIN + 2), 0) is None
        assert self.found() == second

    def test_what_does_not_exist_has_version_zero(self) -> None:
        """An edit does not bring a removed schedule back."""
        first = self.keep()
        self.store.remove_schedule(QUEUE, NAME)

        assert self.store.save_schedule(first, first.version) is None
        assert self.store.find_schedules() == []

    def test_a_body_the_queue_does_not_take_is_refused(self) -> None:
        """When it is stored, not when it ticks."""
        self.declare(max_body=3)

        with pytest.raises(BodyTooLarge):
            self.keep(template=Template(kind="k", body=b"four"))

        assert self.store.find_schedules() == []

    def test_one_name_in_two_queues_is_two_schedules(self) -> None:
        """Each with its own next tick."""
        self.keep(queue="a", next=BEGIN)
        self.keep(queue="b", next=BEGIN + 1)

        assert [(one.queue, one.next) for one in self.store.find_schedules(name=NAME)] == [
            ("a", BEGIN),
            ("b", BEGIN + 1),
        ]

    def test_schedules_are_listed_by_queue_and_name(self) -> None:
        """In pages that do not shift."""
        for queue, name in (("b", "1"), ("a", "2"), ("a", "1")):
            self.keep(name, queue=queue)

        page = self.store.find_schedules(limit=2)
        self.keep("0", queue="a")
        rest = self.store.find_schedules(limit=2, after=(page[-1].queue, page[-1].name))

        assert [(one.queue, one.name) for one in page + rest] == [("a", "1"), ("a", "2"), ("b", "1")]
        assert [one.name for one in self.store.find_schedules("a")] == ["0", "1", "2"]

    def test_a_removed_schedule_is_gone_with_its_ticks(self) -> None:
        """Its jobs stay."""
        self.keep()
        self.fire(BEGIN)

        assert self.store.remove_schedule(QUEUE, NAME)

        assert not self.store.remove_schedule(QUEUE, NAME)
        assert not self.store.remove_schedule("nowhere", NAME)
        assert self.store.find_schedules() == []
        assert self.store.ticks(QUEUE, NAME) == []
        assert self.stats().ready == 1

    def test_destroying_the_queue_removes_its_schedules(self) -> None:
        """And their ticks; a queue of the same name finds nothing old."""
        self.keep()
        self.keep(queue="other")
        self.fire(BEGIN)

        self.store.destroy(QUEUE)

        assert [one.queue for one in self.store.find_schedules()] == ["other"]
        self.keep()
        assert self.store.ticks(QUEUE, NAME) == []


class DueCases(ScheduleBase):
    """Which schedules have come, and when the next one does."""

    def test_what_has_come_is_due_oldest_first(self) -> None:
        """Of all the queues asked for and no other, up to the limit."""
        now = self.harness.wall()
        for name, queue, ahead in (("late", "a", -1), ("now", "b", 0), ("older", "b", -2), ("not mine", "c", -9)):
            self.keep(name, queue=queue, next=now + ahead)

        due = self.store.due_schedules(("a", "b", "nowhere"))

        assert [one.name for one in due.schedules] == ["older", "late", "now"]
        assert [one.name for one in self.store.due_schedules(("a", "b"), limit=2).schedules] == ["older", "late"]

    def test_it_tells_the_stores_time_and_the_next_tick(self) -> None:
        """So that nobody needs to look again before."""
        now = self.harness.wall()
        self.keep("later", next=now + 2 * HOUR)
        self.keep("soon", next=now + HOUR)
        self.keep("due", next=now)

        due = self.store.due_schedules((QUEUE,))

        assert due.next == now + HOUR
        assert now <= due.now <= self.harness.wall()

    def test_nothing_is_due_where_nothing_is_scheduled(self) -> None:
        """And nothing is to come."""
        due = self.store.due_schedules((QUEUE,))

        assert (due.schedules, due.next) == ((), None)

    def test_a_paused_schedule_has_no_next_tick(self) -> None:
        """Nor one whose rule has ended."""
        self.keep(paused=True, next=None)

        due = self.store.due_schedules((QUEUE,))

        assert (due.schedules, due.next) == ((), None)
        assert self.found().paused

    def test_a_paused_queue_still_has_due_schedules(self) -> None:
        """They keep sending: a pause is about leases."""
        self.keep()
        if isinstance(self.store, Pausable):
            self.store.pause(QUEUE)

        assert len(self.store.due_schedules((QUEUE,)).schedules) == 1
        assert self.fire(BEGIN) is not None
        assert self.stats().ready == 1

    def test_a_schedule_of_code_is_due_only_for_those_that_declare_it(self) -> None:
        """Others neither see it nor wake for it."""
        now = self.harness.wall()
        self.keep("mine", source="code", next=now)
        self.keep("theirs", source="code", next=now)
        self.keep("mine soon", source="code", next=now + HOUR)
        self.keep("theirs soon", source="code", next=now + 1)

        mine = self.store.due_schedules((QUEUE,), {owned(QUEUE, "mine"), owned(QUEUE, "mine soon")})

        assert [one.name for one in mine.schedules] == ["mine"]
        assert mine.next == now + HOUR
        assert self.store.due_schedules((QUEUE,)).next is None
        assert self.store.due_schedules((QUEUE,), {owned("elsewhere", "mine")}).schedules == ()

    def test_a_beat_tells_of_the_next_tick(self) -> None:
        """So that changes by other processes need no polling."""
        assert self.beat().next_tick is None
        self.keep(next=self.harness.wall() + HOUR)
        self.keep("elsewhere", queue="elsewhere", next=BEGIN)
        self.keep("theirs", source="code", next=BEGIN)

        told = self.beat().next_tick

        assert told == pytest.approx(3600, abs=60)

    def test_a_beat_tells_of_what_the_holder_declares_itself(self) -> None:
        """Overdue ones too."""
        self.keep("mine", source="code", next=self.harness.wall() - HOUR)

        info = HolderInfo(id=WORKER, ttl=LONG, queues=(QUEUE,), schedules=(owned(QUEUE, "mine"),))

        assert self.store.beat(info).next_tick == pytest.approx(-3600, abs=60)
        assert [one.schedules for one in self.store.holders() if one.id == WORKER] == [(owned(QUEUE, "mine"),)]


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


class DurableScheduleCases(ScheduleBase):
    """Schedules and ticks are there after a restart."""

    promises = ("durable",)

    def test_schedules_survive(self) -> None:
        """G-T52: with their next tick, their pause and their history."""
        self.keep()
        self.keep("paused", paused=True, next=None)
        self.fire(BEGIN)
        before = self.store.find_schedules(), self.store.ticks(QUEUE, NAME)

        self.store = self.harness.reopen()  # type: ignore[assignment]

        assert (self.store.find_schedules(), self.store.ticks(QUEUE, NAME)) == before
        assert self.fire(BEGIN + HOUR) is not None
        assert self.outcomes() == [TickOutcome.SENT, TickOutcome.SKIPPED]


class HandleScheduleCases(ScheduleBase):
    """Schedules of stores that several processes use."""

    promises = ("multi_process",)

    def test_what_one_keeps_the_other_fires(self) -> None:
        """Once, whoever tries again."""
        other = self.harness.open()
        assert isinstance(other, Schedules)
        self.keep(next=self.harness.wall())
        [schedule] = other.due_schedules((QUEUE,)).schedules
        firing = self.firing(schedule.next or 0)

        assert other.fire([firing])[0] is not None
        assert self.store.fire([firing]) == [None]
        assert self.store.due_schedules((QUEUE,)).schedules == ()
