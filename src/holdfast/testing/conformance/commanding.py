"""Cases of commands: what is asked of a holder from afar, and how its beats tell it."""

from __future__ import annotations

from typing import Protocol, get_args

from holdfast.capabilities import Commandable
from holdfast.contract import QueueBackend
from holdfast.delivery import Command
from holdfast.testing.conformance.cases import OTHER, WORKER, Cases


class _Store(QueueBackend, Commandable, Protocol): ...


class CommandCases(Cases):
    """A holder hears by its beats what was asked of it last."""

    needs = (Commandable,)
    store: _Store

    def test_a_holder_is_told_nothing_by_itself(self) -> None:
        """Nobody has asked for anything."""
        assert self.beat().command is None

    def test_a_command_is_told_by_the_next_beat(self) -> None:
        """To the holder it was for."""
        assert self.store.command(WORKER, "quiet")

        assert self.beat().command == "quiet"

    def test_a_command_is_told_by_every_beat(self) -> None:
        """An answer that does not arrive loses nothing."""
        self.store.command(WORKER, "stop")

        assert [self.beat().command for _ in range(3)] == ["stop"] * 3

    def test_the_last_command_counts(self) -> None:
        """Whoever gave the others."""
        for command in (*get_args(Command), "work"):
            self.store.command(WORKER, command)

        assert self.beat().command == "work"

    def test_a_command_is_for_one_holder(self) -> None:
        """Others of its name, and all others, are not asked."""
        self.beat("worker#2")

        self.store.command("worker#2", "quiet")

        assert (self.beat().command, self.beat("worker#2").command) == (None, "quiet")

    def test_a_command_to_an_unknown_holder_is_refused(self) -> None:
        """It never beat, and finds nothing when it does."""
        assert not self.store.command(OTHER, "quiet")
        assert self.beat(OTHER).command is None

    def test_a_command_to_an_ended_holder_is_refused(self) -> None:
        """Nobody would hear it."""
        self.beat(OTHER)
        self.store.retire(OTHER, "stopped")

        assert not self.store.command(OTHER, "quiet")

    def test_a_silent_holder_can_still_be_asked(self) -> None:
        """It lives until somebody notices, and its next beat tells it."""
        self.beat(OTHER, ttl=10)
        self.elapse(60)

        assert self.store.command(OTHER, "quiet")
        assert self.beat(OTHER, ttl=10).command == "quiet"

    def test_a_new_incarnation_begins_without_a_command(self) -> None:
        """What was asked of the one before ended with it."""
        self.store.command(WORKER, "quiet")
        self.store.retire(WORKER, "stopped")

        assert self.beat("worker#2").command is None

    def test_a_holder_under_command_may_lease_and_settle(self) -> None:
        """What a command means is for its holder to see to."""
        self.send("job")
        self.store.command(WORKER, "quiet")

        delivery = self.lease_one()
        delivery.ack()

        assert delivery.settlement is not None
        assert self.settle(delivery.settlement) == []


class HandleCommandCases(Cases):
    """What is asked through one handle is told through the other."""

    needs = (Commandable,)
    promises = ("multi_process",)

    def test_a_holder_hears_of_a_command_given_elsewhere(self) -> None:
        """In its beat."""
        other = self.harness.open()
        assert isinstance(other, Commandable)

        assert other.command(WORKER, "quiet")

        assert self.beat().command == "quiet"
