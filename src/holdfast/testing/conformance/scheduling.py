"""Cases of schedules: they are kept by version, looked up by their next tick, and fired once by whoever comes first."""

from __future__ import annotations

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
)
from holdfast.contract import QueueBackend
from holdfast.delivery import HolderInfo
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


class DurableScheduleCases(ScheduleBase):
    """Schedules and ticks are there after a restart."""

    promises = ("durable",)

    def test_schedules_survive(self) -> None:
        """G-T52: with their next tick, their pause and their history."""
        self.keep()
        self.keep("paused", paused=True, next=None)
        self.fire(BEGIN)
        before = self.store.find_schedules(), self.store.ticks(QUEUE, NAME)

        self.store = self.harness.reopen()  # type: ignore[assignment] # the same store anew

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
