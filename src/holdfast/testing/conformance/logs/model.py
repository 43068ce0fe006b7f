"""The model test of groups: hypothesis drives a store beside a judge with random commands and compares what is seen."""

from __future__ import annotations

import itertools
import os
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast.config import LogSettings
from holdfast.contract import LogBackend, LogMember
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, LeaseLost, OffsetGone
from holdfast.logged import Chunk, Columns, Offset, Start
from holdfast.testing.conformance.cases import LONG
from holdfast.testing.conformance.logs.cases import LogCases
from holdfast.testing.conformance.logs.harness import LogHarness
from holdfast.testing.conformance.logs.judge import LogJudge, Place

MOST = int(os.environ.get("HOLDFAST_LOG_EXAMPLES", "1000000"))
PARTS = 5
"""Tests that share the lives, so that they can run side by side."""
STEPS = 20
PARTITIONS = 3

_examples = itertools.count(1)

SLOTS = frozenset("abc")
PICKS = st.integers(0, len(SLOTS) - 1)
GROUPS = st.sampled_from(["one", "one", "two"])
NUMBERS = st.integers(0, PARTITIONS)
OFTEN_FALSE = st.sampled_from([False, False, False, True])


class LogModel(RuleBasedStateMachine):
    """One log, two groups, three members. Subclasses name the harness and the logs."""

    harness: ClassVar[LogHarness]
    logs: ClassVar[LogBackend]

    @initialize(members=st.integers(1, len(SLOTS)))
    def _begin(self, members: int) -> None:
        """Make a log with a few messages and a group with some members."""
        self.example = next(_examples)
        self.log = f"log {self.example}"
        self.settings = LogSettings(partitions=PARTITIONS, keep_for=None)
        self.logs.declare(self.log, self.settings)
        self.judge = LogJudge(PARTITIONS)
        self.numbers = itertools.count()
        self.members: dict[str, LogMember] = {}
        self.chunks: dict[str, list[tuple[list[Place], Chunk]]] = {slot: [] for slot in SLOTS}
        for number in range(PARTITIONS):
            self.append(number, 4)
        for _ in range(members):
            self.join("one", latest=False)

    def teardown(self) -> None:
        """Look once more, and leave the store empty for the next example."""
        if hasattr(self, "judge"):
            self.compare()
            self.logs.destroy(self.log)
            for member in self.members.values():
                member.leave()

    def _partition(self, number: int) -> int:
        return number % len(self.judge.messages)

    # -- the log --------------------------------------------------------------------------------------------------

    @rule(number=NUMBERS, count=st.integers(1, 4))
    def append(self, number: int, count: int) -> None:
        """Append some messages in one call."""
        partition, given = self._partition(number), [b"%d" % next(self.numbers) for _ in range(count)]
        stored = self.logs.append(self.log, partition, Columns(given))
        assert stored.offset == self.judge.append(partition, given)

    @precondition(lambda self: len(self.judge.messages) == PARTITIONS)
    @rule(really=OFTEN_FALSE)
    def grow(self, really: bool) -> None:
        """Add a partition, once."""
        if really:
            self.settings = LogSettings(partitions=PARTITIONS + 1, keep_for=None)
            self.logs.declare(self.log, self.settings)
            self.judge.grow()

    @rule(really=OFTEN_FALSE)
    def drop(self, really: bool) -> None:
        """Let retention drop everything."""
        if not really:
            return
        self.harness.seal(self.logs, self.log)
        self.logs.declare(self.log, LogSettings(partitions=self.settings.partitions, keep_for=None, keep_most=0))
        dropped, more = 0, True
        while more:
            done = self.logs.tidy()
            dropped, more = dropped + done.messages, done.more
        self.logs.declare(self.log, self.settings)
        assert dropped == self.judge.drop()

    # -- members --------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.members) < len(SLOTS))
    @rule(group=GROUPS, latest=OFTEN_FALSE)
    def join(self, group: str, latest: bool) -> None:
        """Join with a slot that has no member."""
        slot = min(SLOTS.difference(self.members))
        start = Start("latest" if latest else "earliest")
        holder = HolderInfo(id=f"{slot}#{self.example}", ttl=LONG)
        self.members[slot] = self.logs.join(self.log, group, holder, start=start, when_gone="earliest")
        self.judge.join(slot, group, latest=latest)

    @precondition(lambda self: self.members)
    @rule(pick=PICKS, really=OFTEN_FALSE)
    def leave(self, pick: int, really: bool) -> None:
        """Leave, now and then."""
        if really:
            slot = self._slot(pick)
            self.members.pop(slot).leave()
            self.judge.leave(slot)

    @precondition(lambda self: self.members)
    @rule(pick=PICKS, limit=st.integers(1, 6))
    def poll(self, pick: int, limit: int) -> None:
        """Poll what is there now."""
        slot = self._slot(pick)
        chunks = self.members[slot].poll(limit=limit, wait=0)
        held = {partition: its.place for partition, its in self.members[slot].assigned().items()}
        self.judge.polled(slot, chunks, held, limit)
        group = self.judge.groups[self.judge.readers[slot].group]
        self.chunks[slot] += [(group, chunk) for chunk in chunks]

    @precondition(lambda self: self.members)
    @rule(limit=st.integers(3, 9), less=st.integers(0, 2))
    def work(self, limit: int, less: int) -> None:
        """Let every member poll, and commit most of it."""
        for pick in range(len(self.members)):
            self.poll(pick, limit)
            self.commit(pick, [0], less, {1, 3})

    @precondition(lambda self: self.members)
    @rule(
        pick=PICKS,
        back=st.lists(st.integers(0, 4), min_size=1, max_size=3),
        less=st.integers(0, 2),
        beyond=st.sets(st.integers(1, 4)),
    )
    def commit(self, pick: int, back: list[int], less: int, beyond: set[int]) -> None:
        """Commit some of what the slot has polled lately, in this membership or an earlier one, or too little of it."""
        slot = self._slot(pick)
        group = self.judge.groups[self.judge.readers[slot].group]
        polled = [chunk for its_group, chunk in self.chunks[slot] if its_group is group]
        if not polled:
            return
        chosen = {chunk.partition: chunk for chunk in (polled[-1 - one % len(polled)] for one in back)}
        offsets = [self._offset(chunk, max(chunk.base, chunk.next - less), beyond) for chunk in chosen.values()]
        committed, lost = self.judge.commit(slot, offsets)
        if lost:
            with pytest.raises(LeaseLost):
                self.members[slot].commit(offsets)
        else:
            assert self.members[slot].commit(offsets) == committed

    def _slot(self, pick: int) -> str:
        return sorted(self.members)[pick % len(self.members)]

    def _offset(self, chunk: Chunk, place: int, beyond: set[int]) -> Offset:
        end = len(self.judge.messages[chunk.partition])
        finished = tuple(place + one for one in beyond if place + one < end)
        return Offset(chunk.partition, place, chunk.version, finished)

    # -- operators ------------------------------------------------------------------------------------------------

    @rule(group=GROUPS, places=st.dictionaries(NUMBERS, st.integers(0, 12), min_size=1, max_size=2))
    def seek(self, group: str, places: dict[int, int]) -> None:
        """Set a group's place in some partitions, in reach or not."""
        offsets = {self._partition(number): offset for number, offset in places.items()}
        if self.judge.seek(group, offsets):
            self.logs.seek(self.log, group, offsets)
        else:
            with pytest.raises(OffsetGone):
                self.logs.seek(self.log, group, offsets)

    @precondition(lambda self: self.members)
    @rule(pick=PICKS, number=NUMBERS, back=st.integers(0, 3))
    def seek_in_flight(self, pick: int, number: int, back: int) -> None:
        """Set a partition back while a member has polled from it and not committed yet."""
        slot, partition = self._slot(pick), self._partition(number)
        self.poll(pick, 6)
        reader = self.judge.readers[slot]
        self.seek(reader.group, {number: max(self.judge.first[partition], reader.positions.get(partition, 3) - back)})
        self.commit(pick, [0, 1, 2], 0, set())

    @rule(group=GROUPS, really=OFTEN_FALSE)
    def forget(self, group: str, really: bool) -> None:
        """Forget a group; its members are closed."""
        if not really:
            return
        assert self.logs.forget(self.log, group) == (group in self.judge.groups)
        for slot in self.judge.forget(group):
            member = self.members.pop(slot)
            with pytest.raises(Closed):
                member.poll(limit=1, wait=0)
            member.leave()

    # -- what must be equal at any moment -------------------------------------------------------------------------

    @rule()
    def compare(self) -> None:
        """Ends, groups, places and lags."""
        ends = self.logs.ends(self.log)
        assert [(one.first, one.next) for one in ends] == [
            (first, len(messages)) for first, messages in zip(self.judge.first, self.judge.messages, strict=True)
        ]
        assert {info.name for info in self.logs.groups(self.log)} == set(self.judge.groups)
        for group in self.judge.groups:
            lags = self.logs.lag(self.log, group)
            assert [(lag.next, lag.messages, lag.gone) for lag in lags] == self.judge.lag(group)


def run_log_model(
    harness: LogHarness, logs: LogBackend, *, examples: int, of: int | None = None, shrink: bool = True
) -> None:
    """Drive ``logs`` beside a judge through so many lives of a log, always the same ones ``of`` a seed.

    When they differ, it takes a while to find the shortest life in which they do, unless it is not to ``shrink``.
    """
    model = type("Model", (LogModel,), {"harness": harness, "logs": logs})
    run_state_machine_as_test(
        model if of is None else seed(of)(model),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


class LogModelCases(LogCases):
    """Groups do what a plain model does. ``lives`` of a log are tried, ``HOLDFAST_LOG_EXAMPLES`` at the most."""

    lives: ClassVar[int] = 1500

    @pytest.mark.parametrize("part", range(PARTS))
    def test_groups_do_what_the_model_does(self, part: int) -> None:
        """Whatever the commands: the same messages, places, versions that rise, and lost commits."""
        run_log_model(self.harness, self.logs, examples=min(self.lives, MOST) // PARTS)
