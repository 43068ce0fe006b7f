"""The model test: hypothesis drives a store beside a judge with random commands and compares all there is to see."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast.capabilities import Cancellable, DeadLetters, Flushable, Inspectable, JobFilter, Pausable, Replayable
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import (
    Ack,
    Burial,
    Cancellation,
    Crash,
    GiveBack,
    HolderInfo,
    JobView,
    Nack,
    Receipt,
    Settlement,
    State,
)
from holdfast.errors import LeaseLost
from holdfast.failures import ErrorInfo
from holdfast.machine import DeadLetter
from holdfast.message import FORMAT, Message, Unique
from holdfast.testing.conformance.cases import Cases
from holdfast.testing.conformance.harness import Harness
from holdfast.testing.conformance.judge import QUEUE, Judge, MachineJudge, Seen

EXAMPLES = int(os.environ.get("HOLDFAST_EXAMPLES", "1000"))
PARTS = 5
"""The examples are tried in so many tests, so that they can run side by side."""
STEPS = 25
TTL = 30.0
SETTINGS = QueueSettings(done_for=50, done_most=3, dead_for=100, dead_most=2, dedupe_window=1_000_000)
GAP = 0.002
"""Seconds that pass before each command where the clock goes on by itself, so that no two share a ms by chance."""

_examples = itertools.count(1)

SLOTS = st.sampled_from(["a", "b"])
IDS = st.integers(0, 11).map(lambda number: f"job {number}")
KINDS = st.sampled_from([("x", "y"), ("x", "y"), ("x",), ("y",), ()])
UNIQUES = st.builds(
    Unique,
    key=st.sampled_from(["u", "u", "v"]),
    until=st.sampled_from(["done", "started"]),
    within=st.sampled_from([None, None, 3.5, 30.5]),
    on_conflict=st.sampled_from(["skip", "replace", "debounce", "error"]),
)
MESSAGES = st.builds(
    Message,
    id=IDS,
    body=st.just(b""),
    kind=st.sampled_from(["x", "x", "y"]),
    key=st.sampled_from([None, None, "k", "k", "l"]),
    priority=st.sampled_from([0, 0, 0, 1, -1]),
    delay=st.sampled_from([0.0, 0.0, 0.0, 1.0, 5.0]),
    expires_in=st.sampled_from([None, None, None, None, 2.0, 10.0]),
    max_attempts=st.sampled_from([None, 1, 2, 5]),
    format=st.sampled_from([FORMAT, FORMAT, FORMAT, FORMAT + 1]),
    unique=st.none() | UNIQUES,
)
REMOVABLE = [state for state in State if state is not State.RUNNING]
OPERATIONS = st.sampled_from(["pause", "resume", "resume", "flush", "flush", "destroy"])
OFTEN_FALSE = st.integers(0, 5).map(lambda number: number == 5)
Settle = Callable[[Receipt], Settlement]
SETTLEMENTS: st.SearchStrategy[Settle] = st.one_of(
    st.builds(lambda keep: lambda receipt: Ack(receipt, b"", keep), st.sampled_from([0.0, 0.0, 20.0, 200.0])),
    st.builds(lambda then: lambda receipt: Ack(receipt, then=(then,)), MESSAGES),
    st.builds(
        lambda delay, count: lambda receipt: Nack(receipt, delay, ErrorInfo("E", "e"), count),
        st.sampled_from([0.0, 0.0, 1.0, 5.0]),
        st.sampled_from([True, True, False]),
    ),
    st.just(lambda receipt: Burial(receipt, "buried")),
    st.just(lambda receipt: Cancellation(receipt, "stopped")),
    st.just(GiveBack),
    st.just(lambda receipt: Crash(receipt, "died")),
)


SETTLED: dict[str, Settle] = {"ack": Ack, "nack": Nack, "give back": GiveBack}
"""How contenders for one slot are settled."""


class ModelStore(QueueBackend, Inspectable, Cancellable, Replayable, DeadLetters, Flushable, Pausable, Protocol):
    """A store with all the powers that the model drives."""


def _there_are(*states: State) -> Callable[[Any], bool]:
    return lambda model: any(getattr(model.counts, state) for state in states)


class Model(RuleBasedStateMachine):
    """One queue, few ids, two holders. Subclasses of ``model_of`` name the harness, the store and the judge."""

    harness: ClassVar[Harness]
    store: ClassVar[ModelStore]
    new_judge: ClassVar[Callable[[QueueSettings], Judge]]

    @initialize(messages=st.lists(MESSAGES, max_size=5))
    def _begin(self, messages: list[Message]) -> None:
        """Make a queue with a few jobs and two holders."""
        self.example = next(_examples)
        self.queue = QUEUE
        self.judge = type(self).new_judge(SETTINGS)
        self.store.declare(self.queue, SETTINGS)
        self.numbers = itertools.count(1)
        self.boot = 0.0
        self.alive: dict[str, float] = {}
        self.holders: dict[str, str] = {}
        self.grants = [(Receipt(QUEUE, "nobody", 1), Receipt(QUEUE, "nobody", 1))]
        self.leases: list[str] = ["never granted"]
        self.tokens: dict[str, int] = {}
        self.counts = self.judge.stats(self._now())
        for slot in ("a", "b"):
            self._take_holder(slot)
        self.send(messages)

    def teardown(self) -> None:
        """Leave the store empty for the next example."""
        for holder in self.alive:
            self.store.retire(holder, "end of example")
        self.store.destroy(self.queue)

    def _now(self) -> int:
        """Return the time of the next command."""
        if self.harness.ticks:
            self.harness.elapse(GAP)
        return self.harness.wall()

    def _take_holder(self, slot: str) -> None:
        self.holders[slot] = f"{slot}{self.example}#{next(self.numbers)}"
        self._beat(self.holders[slot])

    def _beat(self, holder: str) -> None:
        beat = self.store.beat(HolderInfo(id=holder, ttl=TTL, kinds=("x", "y"), queues=(self.queue,)))
        assert beat.alive
        self.alive[holder] = self.boot + TTL
        asked = self.judge.cancels(holder)
        assert set(beat.cancels) == {mine for mine, theirs in self.grants if theirs in asked}

    # -- sending and leasing --------------------------------------------------------------------------------------

    @rule(messages=st.lists(MESSAGES, min_size=1, max_size=4))
    def send(self, messages: list[Message]) -> None:
        """Send a batch, known ids among it."""
        now = self._now()
        expected = self.judge.send(messages, now)
        assert [(stored.id, stored.duplicate) for stored in self.store.send(self.queue, messages)] == expected

    @precondition(_there_are(State.READY))
    @rule(slot=SLOTS, settlements=st.lists(st.none() | SETTLEMENTS, min_size=1, max_size=5))
    def work(self, slot: str, settlements: list[Settle | None]) -> None:
        """Lease whatever is ready and settle some of it, as a worker does."""
        pairs = self._lease(slot, len(settlements), ("x", "y"), FORMAT + 1)
        self._settle([(pair, make) for pair, make in zip(pairs, settlements, strict=False) if make is not None])

    @rule(slot=SLOTS, limit=st.integers(0, 5), kinds=KINDS, newest=st.sampled_from([FORMAT, FORMAT + 1]))
    def lease(self, slot: str, limit: int, kinds: tuple[str, ...], newest: int) -> None:
        """Lease some kinds and formats, to settle later."""
        self._lease(slot, limit, kinds, newest)

    def _lease(self, slot: str, limit: int, kinds: tuple[str, ...], newest: int) -> list[tuple[Receipt, Receipt]]:
        """Lease, also for a holder that has ended, which then makes way for a new one; return the grants."""
        holder, lease_id, now = self.holders[slot], f"{self.example}/{next(self.numbers)}", self._now()
        expected = []
        if holder in self.alive:
            expected = self.judge.lease(holder, lease_id, limit=limit, kinds=kinds, newest=newest, now=now)
        try:
            got = self.store.lease(self.queue, holder, lease_id, limit=limit, kinds=kinds, max_format=newest)
        except LeaseLost:
            assert holder not in self.alive
            self._take_holder(slot)
            return self._lease(slot, limit, kinds, newest)
        assert holder in self.alive
        assert [(one.id, one.attempt, one.crashes) for one in got] == [grant[:3] for grant in expected]
        assert all(one.token > self.tokens.get(one.id, 0) for one in got)
        self.tokens |= {one.id: one.token for one in got}
        pairs = [(one.receipt, Receipt(QUEUE, grant.id, grant.token)) for one, grant in zip(got, expected, strict=True)]
        self.grants += pairs
        self.leases.append(lease_id)
        return pairs

    # -- settling -------------------------------------------------------------------------------------------------

    @precondition(_there_are(State.RUNNING))
    @rule(batch=st.lists(st.tuples(st.integers(0, 9), SETTLEMENTS), min_size=1, max_size=4), stale=OFTEN_FALSE)
    def settle(self, batch: list[tuple[int, Settle]], stale: bool) -> None:
        """Settle what runs, some of it twice; now and then with any receipt there ever was."""
        pairs = self.grants if stale else self._running()
        self._settle([(pairs[-1 - back % len(pairs)], make) for back, make in batch if pairs])

    def _settle(self, chosen: list[tuple[tuple[Receipt, Receipt], Settle]]) -> None:
        now = self._now()
        lost = self.judge.settle([make(theirs) for (_, theirs), make in chosen], now)
        mine = {theirs: mine for mine, theirs in self.grants}
        assert self.store.settle([make(own) for (own, _), make in chosen]) == [mine[receipt] for receipt in lost]

    @precondition(_there_are(State.RUNNING))
    @rule(back=st.integers(0, 3))
    def give_back_a_lease(self, back: int) -> None:
        """Give back what a recent lease call granted."""
        now, lease_id = self._now(), self.leases[-1 - back % len(self.leases)]
        self.judge.settle([GiveBack(queue=QUEUE, lease_id=lease_id)], now)
        assert self.store.settle([GiveBack(queue=self.queue, lease_id=lease_id)]) == []

    @rule(
        unique=UNIQUES,
        slot=SLOTS,
        steps=st.lists(
            st.tuples(st.sampled_from(["send", "send", "lease", "lease", *SETTLED]), st.integers(0, 3)),
            min_size=4,
            max_size=8,
        ),
    )
    def contend(self, unique: Unique, slot: str, steps: list[tuple[str, int]]) -> None:
        """Let jobs of one unique key come, run and come back, closer together than chance would have it."""
        for verb, back in steps:
            running = self._running()
            if verb == "send":
                job_id = f"contender {next(self.numbers)}"
                self.send([Message(id=job_id, body=b"", kind="x", priority=1, unique=unique)])
            elif verb == "lease":
                self._lease(slot, 1, ("x",), FORMAT)
            elif running:
                self._settle([(running[-1 - back % len(running)], SETTLED[verb])])

    # -- holders and time -----------------------------------------------------------------------------------------

    @precondition(_there_are(State.RUNNING))
    @rule(slot=SLOTS, charged=st.sampled_from(["all", "all", "first", "none", "unknown"]))
    def retire(self, slot: str, charged: str) -> None:
        """End a holder, with or without charges."""
        now, holder = self._now(), self.holders[slot]
        pairs = self._running(holder)
        pairs = {"none": [], "all": pairs, "first": pairs[:1], "unknown": []}[charged]
        unknown = charged == "unknown"
        known = holder in self.alive
        expected = self.judge.retire(holder, "died", None if unknown else [two for _, two in pairs], now)
        taken = self.store.retire(holder, "died", None if unknown else [one for one, _ in pairs])
        assert taken == (expected if known else 0)
        self.alive.pop(holder, None)

    def _running(self, holder: str | None = None) -> list[tuple[Receipt, Receipt]]:
        """Return the grants that are running, of one holder or of all."""
        jobs = self.judge.seen(self.harness.wall())
        running = {job_id: job.holder for job_id, job in jobs.items() if job.state is State.RUNNING}
        latest = {theirs.id: (mine, theirs) for mine, theirs in self.grants}
        return [pair for job_id, pair in latest.items() if running.get(job_id) and holder in {None, running[job_id]}]

    @rule(seconds=st.sampled_from([0.001, 1.0, 2.0, 5.0, 40.0]), beating=st.sets(SLOTS))
    def elapse(self, seconds: float, beating: set[str]) -> None:
        """Let time pass, then let some holders beat that still can."""
        seconds = 1.0 if self.harness.ticks and seconds < 1 else seconds
        self.boot += seconds
        self.harness.elapse(seconds)
        for slot in sorted(beating):
            if self.holders[slot] in self.alive:
                self._beat(self.holders[slot])

    @rule()
    def tidy(self) -> None:
        """Rescue, write down, drop."""
        now = self._now()
        silent = [holder for holder, until in self.alive.items() if until <= self.boot]
        rescued = 0
        for holder in silent:
            rescued += self.judge.retire(holder, "its worker went silent", None, now)
            del self.alive[holder]
        self.judge.tidy(now)
        assert self.store.tidy().rescued == rescued

    # -- what operators do ----------------------------------------------------------------------------------------

    @rule(job_ids=st.lists(IDS, min_size=1, max_size=3, unique=True), reason=st.sampled_from(["late", "wrong"]))
    def cancel(self, job_ids: list[str], reason: str) -> None:
        """Cancel jobs in whatever state."""
        now = self._now()
        expected = self.judge.cancel(job_ids, reason, now)
        assert self.store.cancel(self.queue, job_ids, reason) == expected

    @precondition(_there_are(State.DEAD, State.CANCELLED, State.EXPIRED))
    @rule(verb=st.sampled_from(["replay", "reload"]), job_ids=st.lists(IDS, min_size=1, max_size=6))
    def revive(self, verb: str, job_ids: list[str]) -> None:
        """Replay or reload jobs in whatever state."""
        now = self._now()
        expected = self.judge.revive(verb, job_ids, now)
        if verb == "reload":
            assert tuple(self.store.reload(self.queue, job_ids)) == expected.moved
        else:
            assert self.store.replay(self.queue, job_ids) == expected

    @rule(message=MESSAGES, attempts=st.integers(0, 2), crashes=st.integers(0, 3))
    def put_dead(self, message: Message, attempts: int, crashes: int) -> None:
        """Store a dead letter, now and then of a known id."""
        now, letter = self._now(), DeadLetter(message, "failed elsewhere", None, attempts, crashes)
        expected = self.judge.put_dead(letter, now)
        put = self.store.put_dead(self.queue, message, letter.reason, error=None, attempts=attempts, crashes=crashes)
        assert put == expected

    @rule(
        verb=st.sampled_from(["pause", "resume", "resume", "flush", "flush", "destroy"]),
        state=st.sampled_from(REMOVABLE),
    )
    def operate(self, verb: str, state: State) -> None:
        """Pause, resume, empty a state, or begin a new queue of that name."""
        now = self._now()
        if verb == "flush":
            assert self.store.flush(self.queue, state) == self.judge.flush(state, now)
        elif verb == "destroy":
            assert self.store.destroy(self.queue) == self.judge.destroy(SETTINGS)
            self.store.declare(self.queue, SETTINGS)
        else:
            self.judge.pause(verb == "pause")
            (self.store.pause if verb == "pause" else self.store.resume)(self.queue)

    # -- what must be equal at any moment -------------------------------------------------------------------------

    @invariant()
    def _compare(self) -> None:
        """Counts, every job, and whether there is something to lease."""
        now = self._now()
        expected, stats = self.judge.seen(now), self.judge.stats(now)
        self.counts = stats
        got = self.store.stats(self.queue)
        counts = [*State, "held", "paused", *([] if self.harness.ticks else ["oldest_ready"])]
        assert {name: getattr(got, name) for name in counts} == {name: getattr(stats, name) for name in counts}
        jobs = self.store.browse(self.queue, JobFilter(), limit=1000).jobs
        assert {job.id: self._comparable(_seen(job)) for job in jobs} == {
            job_id: self._comparable(seen) for job_id, seen in expected.items()
        }
        assert all(job.token == self.tokens[job.id] for job in jobs if job.state is State.RUNNING)
        if self.judge.leasable(("x", "y"), FORMAT, now):
            assert self.store.wait([self.queue], ("x", "y"), 0), "a wait must see what can be leased"

    def _comparable(self, seen: Seen) -> Seen:
        """Leave out the instants where the store's clock goes on by itself."""
        return seen._replace(due=None, expires=None, started=None, ended=None) if self.harness.ticks else seen


def _seen(job: JobView) -> Seen:
    seen = Seen(**{name: getattr(job, name) for name in Seen._fields})
    return seen if seen.state is State.RUNNING else seen._replace(holder=None)


def run_model(
    harness: Harness, store: Any, judge: Callable[[QueueSettings], Judge], *, examples: int, **options: Any
) -> None:
    """Drive ``store`` beside ``judge`` through so many lives of a queue; ``options`` are further hypothesis settings.

    When they differ it takes minutes to find the shortest life in which they do.
    """
    model = type("Model", (Model,), {"harness": harness, "store": store, "new_judge": staticmethod(judge)})
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **options,
        ),
    )


class ModelCases(Cases):
    """The store does what the machine does; ``HOLDFAST_EXAMPLES`` says how many lives of a queue are tried."""

    needs = (Inspectable, Cancellable, Replayable, DeadLetters, Flushable, Pausable)

    @pytest.mark.parametrize("part", range(PARTS))
    def test_the_store_does_what_the_machine_does(self, part: int) -> None:
        """Whatever the commands: the same grants, lost receipts, states, counters and counts (G-T9, G-T45)."""
        run_model(self.harness, self.store, MachineJudge, examples=EXAMPLES // PARTS)
