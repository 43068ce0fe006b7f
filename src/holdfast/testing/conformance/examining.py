"""Cases of a doctor: it finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import pytest

from holdfast.capabilities import Doctor, Finding, Logs, Pausable
from holdfast.config import LogSettings
from holdfast.contract import LogBackend
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed
from holdfast.logged import Columns, Offset, Start
from holdfast.testing.conformance.cases import LONG, OTHER, QUEUE, Cases

LOG, DAY = "events", 86_400.0


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


class ExamineLogCases(Cases):
    """What is wrong with a log, or with a group of it, is found too."""

    needs = (Doctor, Logs)
    logs: LogBackend

    @pytest.fixture(autouse=True)
    def _two_messages(self, _open: None) -> None:
        assert isinstance(self.store, Logs)
        self.logs = self.store.open_logs()
        self.declare_log()
        self.logs.append(LOG, 0, Columns([b"a", b"b"]))
        self.harness.seal(self.logs, LOG)

    def declare_log(self, **settings: int | float | bool | None) -> None:
        """Declare the log with these settings; it keeps everything unless they say otherwise."""
        self.logs.declare(LOG, LogSettings(**{"keep_for": None} | settings))  # type: ignore[arg-type] # each its own

    def read(self, group: str, next_: int, *, stay: bool = False) -> None:
        """Let a member of a group commit so many messages, then go."""
        member = self.logs.join(LOG, group, HolderInfo(id=f"{group}#1", ttl=LONG), start=Start())
        version = member.poll(limit=10, wait=0)[0].version
        member.commit([Offset(0, next_, version)])
        if not stay:
            member.leave()

    def told(self, level: str) -> str:
        """Return everything of logs that was found of this level as one text."""
        assert isinstance(self.store, Doctor)
        found = [one for one in self.store.examine() if one.level == level and LOG in one.what]
        assert level == "ok" or all(one.why and one.advice for one in found)
        return "\n".join(f"{one.what}: {one.why}: {one.advice}" for one in found)

    def test_a_log_without_trouble_has_none(self) -> None:
        """What it holds is told, and how far its groups are."""
        self.read("readers", 1, stay=True)

        assert self.told("warn") == self.told("error") == ""
        assert f"log {LOG!r}: 2 messages" in self.told("ok")
        assert "1 message behind, read by 1 holder" in self.told("ok")

    def test_a_log_at_its_limit_is_found(self) -> None:
        """Appends are refused, or soon will be."""
        size = self.logs.ends(LOG)[0].bytes
        self.declare_log(limit_bytes=size)
        full = self.told("error")
        self.declare_log(limit_bytes=size + 1)

        assert "appends are refused" in full
        assert "appends are refused" in self.told("warn")

    def test_a_forgotten_group_is_found(self) -> None:
        """After a day without a member; not before (I-W10)."""
        self.read("readers", 1)
        before = self.told("warn")

        self.elapse(DAY)

        assert before == ""
        assert "group 'readers' of log 'events' seems to be forgotten, 1 message behind" in self.told("warn")

    def test_a_forgotten_group_that_pins_data_is_found_with_its_bytes(self) -> None:
        """What would go without it (I-W10)."""
        self.declare_log(keep_for=DAY / 2, until_consumed=True)
        self.read("slow", 0)
        self.read("quick", 2)
        self.elapse(DAY)

        [slow] = [group for group in self.logs.groups(LOG) if group.name == "slow"]
        assert slow.pins > 0
        assert f"group 'slow' of log 'events' keeps {slow.pins} bytes for itself alone" in self.told("warn")

    def test_a_group_that_does_not_keep_up_is_found(self) -> None:
        """Its members live, and its oldest message is old."""
        self.read("readers", 1, stay=True)
        self.elapse(1000)

        assert "1 message behind, the oldest for 1000 s" in self.told("warn")

    def test_a_group_that_missed_messages_is_found(self) -> None:
        """Retention was faster than it."""
        self.read("readers", 0)
        self.elapse(100)
        self.declare_log(keep_for=10)
        while self.logs.tidy().more:
            pass

        assert "what it was to read next is gone" in self.told("warn")
