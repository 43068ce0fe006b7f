"""Random courses of a partition's life on a simulated disk, with what is known at each step noted in the trace."""

from __future__ import annotations

import random
from typing import Any

from holdfast.errors import BackendError, HoldfastError, QueueFull
from holdfast.message import Level
from holdfast.testing import MovableClock
from tests.disk.history import Acked, Dropping, Flushed, Found, Offered, Refused, Settled
from tests.disk.partitions import ByHand, Writer, columns, found, opened
from tests.disk.simulated import SimulatedDisk

VERBS = ("append",) * 12 + ("write", "flush", "roll", "idle", "reopen", "reopen", "die", "drop")


class Course:
    """One partition, one writer. ``step`` does something by chance; ``errors`` holds what failed, as it may."""

    def __init__(self, disk: SimulatedDisk, draw: random.Random, name: int | str = "p", **options: Any) -> None:
        self.disk, self.draw, self.clock = disk, draw, MovableClock(ticking=False)
        self.writer = Writer(name, draw)
        self.errors: list[HoldfastError] = []
        self._epoch = 0
        self._options = {"sync": draw.choice(("always", "always", "interval", "os"))}
        self._options |= {"reserve_bytes": draw.choice((0, 4096))} | options
        self.partition: Any = None

    def open(self) -> None:
        """Open the partition, after recovery; may fail as a backend fails."""
        self._epoch += 1
        chosen = {"compression": self.draw.choice(("none", "none", "zstd")), **self._options}
        self.partition = opened(self.disk, epoch=self._epoch, clock=self.clock, upkeep=ByHand(), **chosen)

    def step(self) -> None:
        """Do something."""
        getattr(self, f"_{self.draw.choice(VERBS)}")()

    def close(self) -> None:
        """Close the partition; what was appended is safe then."""
        self.partition.close()
        self.disk.note(Flushed())

    def found(self) -> Found:
        """Return what a reader finds now."""
        return found(self.disk)

    def append(self, bodies: tuple[bytes, ...]) -> None:
        """Append, and note what came of it; how it may fail is remembered, any other error is raised."""
        self.disk.note(Offered(bodies))
        try:
            placed = self.partition.append(columns(bodies, self.draw))
        except QueueFull as error:
            self.disk.note(Refused(bodies))
            self.errors.append(error)
        except BackendError as error:
            self._failed(error)
            if not error.outcome_unknown:
                self.disk.note(Refused(bodies))
        else:
            self.disk.note(Acked(placed.offset, bodies, placed.level is Level.SYNCED))

    def _failed(self, error: BackendError) -> None:
        self.errors.append(error)
        if "is lost" in str(error):  # what nobody waited for: it is said once, and readers see what is left
            self.disk.note(Settled(tuple(self.found().messages)))

    def _append(self) -> None:
        self.append(self.writer.bodies())

    def _write(self) -> None:
        bodies = self.writer.bodies()
        self.disk.note(Offered(bodies))
        try:
            offset = self.partition.write(columns(bodies))
        except BackendError as error:
            self._failed(error)
        else:
            self.disk.note(Acked(offset, bodies, synced=False))

    def _flush(self) -> None:
        try:
            self.partition.flush()
        except BackendError as error:
            self._failed(error)
        else:
            self.disk.note(Flushed())

    def _roll(self) -> None:
        try:
            self.partition.roll()
        except BackendError as error:
            self.errors.append(error)

    def _idle(self) -> None:
        self.clock.move(1.0)
        self.partition.upkeep()

    def _reopen(self) -> None:
        try:
            self.close()
        except BackendError as error:
            self.errors.append(error)
        self.open_again()

    def _die(self) -> None:
        """Open it as if the process before had been killed: what it had open is closed, nothing else."""
        self.disk.abandon()
        self.open_again()

    def open_again(self) -> None:
        """Open the partition, and once more if that fails."""
        try:
            self.open()
        except BackendError as error:
            self.errors.append(error)
            self.open()

    def _drop(self) -> None:
        until = self.draw.randint(self.partition.first, self.partition.next)
        if self.errors:  # of a segment that was given up only the next one tells where it ends: they go one by one
            until = min(until, self.partition.segments()[0].next)
        self.disk.note(Dropping(until))
        try:
            self.partition.drop_until(until)
        except BackendError as error:
            self.errors.append(error)
