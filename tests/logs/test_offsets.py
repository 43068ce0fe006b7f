"""The OffsetTracker, by its promises and against a naive model that keeps everything in lists."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from holdfast.logged import Assigned, Chunk, LogMessage, Offset
from holdfast.offsets import OffsetTracker, Ready


def chunk(base: int, *keys: str | None, partition: int = 0, version: int = 1) -> Chunk:
    """Return a message for each key, with its offset as body."""
    bodies = [b"%d" % (base + index) for index in range(len(keys))]
    return Chunk(partition, base, 0, bodies, [None if key is None else key.encode() for key in keys], version=version)


def tracker(*finished: int, next: int = 0) -> OffsetTracker:
    """Return one that follows partition 0 from a place on."""
    made = OffsetTracker()
    made.assign({0: Assigned(Offset(0, next, 1, finished))})
    return made


def offsets(ready: list[Ready]) -> list[int]:
    return [one.message.offset for one in ready]


def test_messages_without_a_key_all_run_at_once() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None, None, None))
    assert offsets(tracked.ready(10)) == [0, 1, 2]


def test_messages_of_one_key_run_one_after_the_other() -> None:
    tracked = tracker()
    tracked.add(chunk(0, "a", "a", "b", "a"))
    assert offsets(tracked.ready(10)) == [0, 2]
    assert tracked.finish(0, 0, 1)
    assert offsets(tracked.ready(10)) == [1]
    assert offsets(tracked.ready(10)) == []
    assert tracked.finish(0, 1, 1)
    assert offsets(tracked.ready(10)) == [3]


def test_a_message_given_back_runs_before_the_others_of_its_key() -> None:
    tracked = tracker()
    tracked.add(chunk(0, "a", "a"))
    tracked.ready(10)
    assert tracked.give_back(0, 0, 1)
    assert offsets(tracked.ready(10)) == [0]


def test_the_place_is_that_of_the_first_unfinished_message() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None, None, None, None))
    tracked.ready(10)
    for offset in (1, 3):
        tracked.finish(0, offset, 1)
    assert tracked.commits() == [Offset(0, 0, 1, (1, 3))]
    tracked.finish(0, 0, 1)
    assert tracked.commits() == [Offset(0, 2, 1, (3,))]


def test_what_was_finished_before_does_not_run_again() -> None:
    tracked = tracker(1, 5, next=0)
    tracked.add(chunk(0, None, None, None))
    assert offsets(tracked.ready(10)) == [0, 2]
    tracked.finish(0, 0, 1)
    assert tracked.commits() == [Offset(0, 2, 1, (5,))]


def test_the_place_goes_past_what_was_finished_before() -> None:
    tracked = tracker(1, 2)
    tracked.add(chunk(0, None, None))
    tracked.ready(1)
    tracked.finish(0, 0, 1)
    assert tracked.commits() == [Offset(0, 3, 1)]


def test_places_are_told_until_they_are_committed() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None, None))
    tracked.ready(10)
    tracked.finish(0, 0, 1)
    told = tracked.commits()
    assert tracked.commits() == told
    tracked.finish(0, 1, 1)
    tracked.committed(told)
    assert tracked.commits() == [Offset(0, 2, 1)]
    tracked.committed(tracked.commits())
    assert tracked.commits() == []


def test_of_what_is_finished_beyond_only_the_first_ones_are_told() -> None:
    tracked = OffsetTracker(most_finished=2)
    tracked.add(chunk(0, *[None] * 6))
    tracked.ready(10)
    for offset in (1, 2, 4, 5):
        tracked.finish(0, offset, 1)
    assert tracked.commits() == [Offset(0, 0, 1, (1, 2))]


def test_a_partition_that_went_takes_its_messages_along() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None, "a", "a"))
    running = [one.message for one in tracked.ready(10)]
    assert tracked.assign({}) == running
    assert not tracked.finish(0, 0, 1)
    assert (tracked.unfinished, tracked.commits(), tracked.ready(10)) == (0, [], [])


def test_a_sought_place_begins_anew_and_what_ran_is_lost() -> None:
    tracked = tracker()
    tracked.add(chunk(0, "a", "a"))
    running = [one.message for one in tracked.ready(10)]
    assert tracked.add(chunk(0, "a", "a", version=2)) == running
    assert not tracked.finish(0, 0, 1)
    assert [(one.message.offset, one.version) for one in tracked.ready(10)] == [(0, 2)]
    assert tracked.finish(0, 0, 2)


def test_a_partition_that_stays_keeps_what_is_under_way() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None))
    tracked.ready(10)
    assert tracked.assign({0: Assigned(Offset(0, 0, 1)), 1: Assigned(Offset(1, 7, 3))}) == []
    assert tracked.finish(0, 0, 1)


def test_messages_added_twice_run_once() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None, None))
    tracked.add(chunk(1, None, None))
    assert offsets(tracked.ready(10)) == [0, 1, 2]


def test_offsets_without_a_message_do_not_hold_the_place() -> None:
    tracked = tracker()
    tracked.add(chunk(0, None))
    tracked.add(chunk(5, None))
    assert offsets(tracked.ready(10)) == [0, 5]
    tracked.finish(0, 0, 1)
    assert tracked.commits() == [Offset(0, 5, 1)]


def test_partitions_take_turns() -> None:
    tracked = OffsetTracker()
    tracked.add(chunk(0, None, None))
    tracked.add(chunk(0, None, None, partition=1))
    turns = [one.message.partition for _ in range(4) for one in tracked.ready(1)]
    assert turns == [0, 1, 0, 1]


def test_room_is_what_is_left_of_both_limits() -> None:
    tracked = OffsetTracker(limit=3, limit_bytes=10)
    tracked.add(Chunk(0, 0, 0, [b"12345", b"1234"], version=1))
    assert tracked.room == 1
    tracked.add(Chunk(0, 2, 0, [b"1"], version=1))
    assert tracked.room == 0
    tracked.ready(10)
    tracked.finish(0, 0, 1)
    assert tracked.room == 1
    tracked.add(Chunk(0, 3, 0, [b"123456"], version=1))
    assert (tracked.room, tracked.unfinished) == (0, 3)
    tracked.add(Chunk(1, 0, 0, [b"1"], version=1))
    assert (tracked.room_beside({0}), tracked.room_beside({0, 1})) == (2, 3)


def test_partitions_with_running_messages_are_busy() -> None:
    tracked = OffsetTracker()
    tracked.add(chunk(0, None))
    tracked.add(chunk(0, None, partition=1))
    assert tracked.busy == set()
    first = tracked.ready(1)[0].message
    assert tracked.busy == {first.partition}


# -- against a model ---------------------------------------------------------------------------------------------

PARTITIONS = 3
KEYS = st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=6)


class Model:
    """One partition, kept as naively as can be."""

    def __init__(self, place: Offset) -> None:
        self.place, self.version = place.next, place.version
        self.added: list[tuple[int, str | None]] = []
        self.finished = set(place.finished)
        self.running: set[int] = set()

    @property
    def end(self) -> int:
        return self.added[-1][0] + 1 if self.added else self.place

    def may_run(self) -> list[int]:
        open_, seen = [], set()
        for offset, key in self.added:
            if offset in self.finished:
                continue
            if key is None or key not in seen:
                open_.append(offset)
            seen.add(key)
        return [offset for offset in open_ if offset not in self.running]

    def unfinished(self) -> list[int]:
        return [offset for offset, _ in self.added if offset not in self.finished]

    def furthest(self) -> int:
        """Return the furthest place below which nothing is unfinished; what is to come may be finished already."""
        for offset in self.unfinished():
            return offset
        end = self.end
        while end in self.finished:
            end += 1
        return end


class Tracking(RuleBasedStateMachine):
    handed = Bundle("handed")

    @initialize()
    def begin(self) -> None:
        self.tracked = OffsetTracker(limit=50, most_finished=1000)
        self.models: dict[int, Model] = {}
        self.versions = 0

    @rule(number=st.integers(0, PARTITIONS - 1), next=st.integers(0, 3), finished=st.sets(st.integers(0, 9)))
    def take(self, number: int, next: int, finished: set[int]) -> None:
        if number in self.models:
            return
        self.versions += 1
        place = Offset(number, next, self.versions, tuple(sorted(one for one in finished if one > next)))
        self.models[number] = Model(place)
        kept = {n: Assigned(Offset(n, 0, model.version)) for n, model in self.models.items()}
        assert self.tracked.assign(kept | {number: Assigned(place)}) == []

    @rule(number=st.integers(0, PARTITIONS - 1))
    def let_go(self, number: int) -> None:
        model = self.models.pop(number, None)
        lost = self.tracked.revoke(number)
        assert [message.offset for message in lost] == sorted(model.running if model else [])

    @rule(number=st.integers(0, PARTITIONS - 1), keys=KEYS, again=st.integers(0, 3))
    def add(self, number: int, keys: list[str | None], again: int) -> None:
        model = self.models.get(number)
        if model is None:
            return
        again = min(again, len(model.added))
        repeated = [key for _, key in model.added[len(model.added) - again :]]
        base = model.end
        self.tracked.add(chunk(base - again, *repeated, *keys, partition=number, version=model.version))
        model.added += [(base + index, key) for index, key in enumerate(keys)]

    @rule(number=st.integers(0, PARTITIONS - 1), keys=KEYS, base=st.integers(0, 5))
    def seek(self, number: int, keys: list[str | None], base: int) -> None:
        model = self.models.get(number)
        if model is None:
            return
        self.versions += 1
        lost = self.tracked.add(chunk(base, *keys, partition=number, version=self.versions))
        assert [message.offset for message in lost] == sorted(model.running)
        self.models[number] = Model(Offset(number, base, self.versions))
        self.models[number].added = [(base + index, key) for index, key in enumerate(keys)]

    @rule(target=handed, limit=st.integers(1, 8))
    def run(self, limit: int):  # type: ignore[no-untyped-def] # of hypothesis's own kind
        may = {number: model.may_run() for number, model in self.models.items()}
        ready = self.tracked.ready(limit)
        assert len(ready) == min(limit, sum(map(len, may.values())))
        for message, version in ready:
            assert message.offset in may[message.partition]
            assert version == self.models[message.partition].version
            assert message.body == b"%d" % message.offset
            self.models[message.partition].running.add(message.offset)
        return multiple(*((message, version) for message, version in ready))

    def _model(self, one: tuple[LogMessage, int]) -> Model | None:
        message, version = one
        model = self.models.get(message.partition)
        return model if model and model.version == version and message.offset in model.running else None

    @rule(one=consumes(handed))
    def finish(self, one: tuple[LogMessage, int]) -> None:
        message, version = one
        model = self._model(one)
        assert self.tracked.finish(message.partition, message.offset, version) == (model is not None)
        if model is not None:
            model.running.remove(message.offset)
            model.finished.add(message.offset)

    @rule(one=consumes(handed))
    def give_back(self, one: tuple[LogMessage, int]) -> None:
        message, version = one
        model = self._model(one)
        assert self.tracked.give_back(message.partition, message.offset, version) == (model is not None)
        if model is not None:
            model.running.remove(message.offset)

    @rule()
    def commit(self) -> None:
        self.tracked.committed(self.tracked.commits())
        assert self.tracked.commits() == []

    @invariant()
    def the_place_is_safe(self) -> None:
        """Nothing unfinished is told as finished; whoever begins there anew runs all the rest."""
        for place in self.tracked.commits():
            model = self.models[place.partition]
            assert place.version == model.version
            unfinished = model.unfinished()
            assert place.next <= model.furthest()
            assert not set(place.finished) & set(unfinished)
            assert all(offset > place.next for offset in place.finished)
            run_again = {offset for offset in model.finished if offset >= place.next} - set(place.finished)
            assert not run_again

    @invariant()
    def the_counts_are_right(self) -> None:
        assert self.tracked.busy == {number for number, model in self.models.items() if model.running}
        most = sum(len(model.added) for model in self.models.values())
        least = sum(len(model.unfinished()) for model in self.models.values())
        assert least <= self.tracked.unfinished <= most
        assert self.tracked.room == max(0, 50 - self.tracked.unfinished)


TestTracking = Tracking.TestCase
TestTracking.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
