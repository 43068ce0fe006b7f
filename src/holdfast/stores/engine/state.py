"""What an engine has: places, holders, schedules. The base of the classes that carry commands out."""

from __future__ import annotations

from collections.abc import Callable, Collection

from holdfast.config import QueueSettings
from holdfast.delivery import Command, HolderInfo
from holdfast.machine import Machine
from holdfast.stores.engine.papers import Papers
from holdfast.stores.engine.place import Place
from holdfast.stores.engine.ticking import QueueSchedules


class Holder:
    """A holder; ``expires`` and ``ended`` are boot ms."""

    __slots__ = ("command", "ended", "expires", "info")

    def __init__(self, info: HolderInfo) -> None:
        self.info = info
        self.expires = 0
        self.ended: int | None = None
        self.command: Command | None = None


class State:
    """The state. ``ended`` is told of jobs that have ended or gone, by queue and id."""

    def __init__(self, papers: Papers, ended: Callable[[str, Collection[str]], None]) -> None:
        self.papers = papers
        self.ended = ended
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.places: dict[str, Place] = {}
        self.schedules: dict[str, QueueSchedules] = {}
        self.holders: dict[str, Holder] = {}
        self.tokens: dict[str, int] = {}
        """Of queues that were destroyed, the highest token that was given out."""
        self.floor = 0
        """Every grant gives a higher token."""
        self.boot = ""
        """The boot of the machine that the holders' instants are of."""

    def place(self, queue: str) -> Place:
        """Return the place of a queue, declared now if need be."""
        if queue not in self.places:
            machine = Machine(QueueSettings(), self.tokens.get(queue, 0))
            machine.floor = self.floor
            self.places[queue] = Place(machine, self.papers)
        return self.places[queue]

    def settings(self, queue: str) -> QueueSettings:
        """Return the settings of a queue, which need not exist."""
        return self.places[queue].machine.settings if queue in self.places else QueueSettings()

    def catch_up(self, queue: str, now: int) -> None:
        """Write down all that is due or has expired by now."""
        if queue in self.places:
            self.ended(queue, self.places[queue].advance(now))
