"""Cases of beats: how long each lasts, what it answers, and the list of who beats."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.delivery import HolderInfo, RunningJob
from holdfast.testing.conformance.cases import OTHER, QUEUE, WORKER, Cases


class BeatCases(Cases):
    """A beat lasts, and an end stays, whatever comes between."""

    def test_every_beat_lasts_a_whole_ttl(self) -> None:
        """Also one that came soon after another."""
        self.beat(OTHER, ttl=30)
        self.send("job")
        self.lease(holder=OTHER)
        self.elapse(9)
        self.beat(OTHER, ttl=30)
        self.elapse(29)

        assert self.store.tidy().rescued == 0

    def test_a_wall_clock_that_jumps_brings_no_ended_holder_back(self) -> None:
        """Its late beat is told all the same."""
        self.beat(OTHER)
        self.store.retire(OTHER, "stopped")
        self.harness.set_wall(7200)
        self.tidy_all()

        assert not self.beat(OTHER).alive

    def test_a_beat_without_other_holders_sees_no_end(self) -> None:
        """There is nobody to watch."""
        self.beat(OTHER)
        self.store.retire(OTHER, "stopped")

        assert self.beat().soonest is None

    def test_a_beat_tells_when_the_first_of_the_others_falls_silent(self) -> None:
        """Its own ttl does not count, nor does one that has ended."""
        self.beat(OTHER, ttl=20)
        self.beat("third#1", ttl=10)
        self.beat("fourth#1", ttl=5)
        self.store.retire("fourth#1", "stopped")
        self.elapse(4)

        soonest = self.beat(ttl=1).soonest

        assert soonest is not None
        assert 6 - 2 < soonest <= 6

    def test_better_news_of_another_holder_is_told_by_the_next_beat(self) -> None:
        """It has beaten meanwhile."""
        self.beat(OTHER, ttl=10)
        self.elapse(8)
        self.beat(OTHER, ttl=10)

        soonest = self.beat().soonest

        assert soonest is not None
        assert 8 < soonest <= 10

    def test_a_holder_that_fell_silent_is_told_until_somebody_tidies(self) -> None:
        """Then nobody is left to watch."""
        self.beat(OTHER, ttl=10)
        self.elapse(11)

        assert self.beat().soonest == 0
        self.store.tidy()
        assert self.beat().soonest is None


class ListedCases(Cases):
    """The holders that have not ended are listed, with what they last said of themselves."""

    def test_a_first_beat_registers_the_holder(self) -> None:
        """With everything it says of itself."""
        info = HolderInfo(
            id="mailer#7",
            ttl=12.5,
            host="h",
            boot="b",
            pid=4,
            pid_start=99,
            queues=("work", "elsewhere"),
            kinds=("", "mail"),
            schedules=("tick",),
            supervisor=3,
            supervisor_start=98,
            published="/somewhere",
            version="1.2",
            slots=10,
            running=(RunningJob(QUEUE, "job", "mail", 0.5),),
            memory=1 << 20,
            lag=0.25,
            state="working",
        )

        beat = self.store.beat(info)

        assert beat.alive
        [known] = [holder for holder in self.store.holders() if holder.id == info.id]
        assert msgspec.structs.replace(known, beaten=None) == info

    def test_a_later_beat_renews_what_the_holder_says(self) -> None:
        """A worker may take other kinds at run time."""
        self.beat(OTHER, kinds=("mail",))

        self.beat(OTHER, kinds=("mail", "report"))

        [info] = [holder for holder in self.store.holders() if holder.id == OTHER]
        assert info.kinds == ("mail", "report")

    def test_holders_past_their_ttl_are_listed(self) -> None:
        """They have not ended."""
        self.beat(OTHER, ttl=10)
        self.elapse(60)

        assert {holder.id for holder in self.store.holders()} == {WORKER, OTHER}

    @pytest.mark.parametrize("ttl", [10.0, 100.0])
    def test_holders_are_listed_with_how_long_ago_they_beat(self, ttl: float) -> None:
        """Whatever their ttl, and whatever they say themselves; a beat begins anew."""
        self.beat(OTHER, ttl=50)
        self.elapse(5)
        self.store.beat(HolderInfo(id=OTHER, ttl=ttl, beaten=1234.5))
        self.elapse(20)

        [since] = [holder.beaten for holder in self.store.holders() if holder.id == OTHER]

        assert since is not None
        assert 20 <= since < 20 + 2

    def test_a_jump_of_the_wall_clock_moves_no_beat(self) -> None:
        """How long ago it was is measured by a clock nobody can set."""
        self.beat(OTHER)
        self.harness.set_wall(-3600)
        self.elapse(5)

        [since] = [holder.beaten for holder in self.store.holders() if holder.id == OTHER]

        assert since is not None
        assert 5 <= since < 5 + 2
