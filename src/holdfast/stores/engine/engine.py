"""Carries commands out on the queues of a store: no lock, no clock, no waiting, no disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import At, Command
from holdfast.stores.engine.holding import Holding
from holdfast.stores.engine.leasing import Leasing


class Engine(Leasing, Holding):
    """The queues of a store; not thread-safe.

    Methods that take a command carry it out and return what their verb returns in the contract; a send tells of each
    message its id and whether it was there, a lease returns heads. All others change nothing but what their docstrings
    say.
    """

    def verbs(self) -> Mapping[type[Command], Callable[[Any, At], object]]:
        """Return what carries each command out."""
        return {
            commands.Open: self.open,
            commands.Close: self.close,
            commands.Declare: self.declare,
            commands.Destroy: self.destroy,
            commands.Send: self.send,
            commands.PutDead: self.put_dead,
            commands.Lease: self.lease,
            commands.Settle: self.settle,
            commands.Report: self.report,
            commands.Beat: self.beat,
            commands.Tell: self.tell,
            commands.Retire: self.retire,
            commands.Advance: self.advance,
            commands.Tidy: self.tidy,
            commands.Cancel: self.cancel,
            commands.Revive: self.revive,
            commands.Flush: self.flush,
            commands.Remove: self.remove,
            commands.Pause: self.pause,
            commands.SaveSchedule: self.save_schedule,
            commands.RemoveSchedule: self.remove_schedule,
            commands.Fire: self.fire,
        }
