"""Cases of a doctor: it finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import pytest

from holdfast.capabilities import Doctor, Finding, Pausable
from holdfast.errors import Closed
from holdfast.testing.conformance.cases import OTHER, QUEUE, Cases


class ExamineCases(Cases):
    """A store can be examined."""

    needs = (Doctor, Pausable)

    def examine(self) -> list[Finding]:
        """Return all findings."""
        assert isinstance(self.store, Doctor)
        return self.store.examine()

    def told(self, level: str) -> str:
        """Return everything that was found of this level as one text."""
        return "\n".join(f"{one.what}: {one.why}: {one.advice}" for one in self.examine() if one.level == level)

    def test_a_store_without_trouble_has_none(self) -> None:
        """Whatever states its jobs are in."""
        self.send("a", "b", "c", key="k")
        self.send("later", delay=60.0)
        self.lease(1)

        assert self.examine()
        assert self.told("error") == ""

    def test_whatever_is_not_well_comes_with_a_reason_and_advice(self) -> None:
        """Nobody is left alone with a bad number."""
        self.send("a", kind="nobody's")
        assert isinstance(self.store, Pausable)
        self.store.pause("other")

        assert all(one.why and one.advice for one in self.examine() if one.level != "ok")

    def test_kinds_that_nobody_handles_are_found(self) -> None:
        """With how many there are."""
        self.send("a", "b", kind="nobody's")

        assert '2 ready of kind "nobody\'s"' in self.told("warn")

    def test_a_paused_queue_is_found(self) -> None:
        """It may have been forgotten."""
        assert isinstance(self.store, Pausable)
        self.store.pause(QUEUE)

        assert f"{QUEUE!r} is paused" in self.told("warn")

    def test_a_job_that_nobody_starts_is_found(self) -> None:
        """When it has been ready for long."""
        self.send("a")
        assert "oldest ready job waits" not in self.told("warn")

        self.elapse(1000)

        assert "the oldest ready job waits for 1000 s" in self.told("warn")

    def test_an_examination_leaves_everything_as_it_is(self) -> None:
        """It may be repeated at will."""
        self.send("a", "b")
        self.beat(OTHER)
        before = self.stats(), self._holders(), self.store.queues()

        first, second = self.examine(), self.examine()

        assert [one.level for one in first] == [one.level for one in second]
        assert (self.stats(), self._holders(), self.store.queues()) == before

    def _holders(self) -> list[str]:
        return [holder.id for holder in self.store.holders()]

    def test_a_closed_store_cannot_be_examined(self) -> None:
        """As everything else."""
        self.store.close()

        with pytest.raises(Closed):
            self.examine()
