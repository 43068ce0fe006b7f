"""Random courses of a partition's life on a simulated disk, with what is known at each step noted in the trace."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast.errors import BackendError, HoldfastError, QueueFull, UsageError
from holdfast.logged import Producer
from holdfast.message import Level
from holdfast.stores.disk.reading import PartitionReader
from holdfast.testing import MovableClock
from tests.disk.history import Acked, Dropping, Flushed, Found, Offered, Refused, Settled, Unheard
from tests.disk.partitions import FOLDER, ByHand, Writer, columns, found, opened
from tests.disk.simulated import SimulatedDisk

MODES = ("always", "always", "interval", "os")
VERBS = (
    ("append",) * 9
    + ("produce",) * 3
    + ("write", "flush", "flush_beside", "roll", "idle", "reopen", "reopen", "die", "drop")
)


class Produced(NamedTuple):
    """The last append of a producer with a number: it returned this offset, and a repeat of it is to be known."""

    producer: Producer
    bodies: tuple[bytes, ...]
    offset: int
    synced: bool


def check_repeat(partition: Any, facts: Sequence[Any], where: object) -> None:
    """Repeat the last append of the producer, if it was synced: it is known for that."""
    last = next((fact for fact in reversed(facts) if isinstance(fact, Produced)), None)
    if last is not None and last.synced:
        placed = partition.append(columns(last.bodies), last.producer)
        assert (placed.offset, placed.duplicate) == (last.offset, True), (where, last)


class Course:
    """One partition, one writer, and a producer with a number, who repeats what may not be stored.

    ``step`` does something by chance; ``errors`` holds what failed, as it may. Each opening has a mode of its own.
    """

    def __init__(self, disk: SimulatedDisk, draw: random.Random, name: int | str = "p", **options: Any) -> None:
        self.disk, self.draw, self.clock = disk, draw, MovableClock(ticking=False)
        self.writer, self._numbered = Writer(name, draw), Writer(f"{name}-numbered", draw)
        self._producer, self._repeat = Producer(1, 0, 0), tuple[bytes, ...]()
        self.errors: list[HoldfastError] = []
        self._epoch = self._before = 0  # errors there had been before it was opened
        self._options = {"reserve_bytes": draw.choice((0, 4096))} | options
        self.partition: Any = None

    def open(self, **options: Any) -> None:
        """Open the partition, after recovery; may fail as a backend fails."""
        self._epoch, self._before = self._epoch + 1, len(self.errors)
        chosen = {"compression": self.draw.choice(("none", "none", "zstd")), "sync": self.draw.choice(MODES)}
        chosen |= self._options | options
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

    def _failed(self, error: HoldfastError) -> None:
        self.errors.append(error)
        if "is lost" in str(error):  # what nobody waited for: it is said once, and readers see what is left
            self.disk.note(Settled(tuple(self.found().messages)))

    def _append(self) -> None:
        self.append(self.writer.bodies())

    def _produce(self) -> None:
        self.produce()

    def produce(self) -> None:
        """Append as the producer does; once more what may not be stored, until it is."""
        self._repeat = self._repeat or self._numbered.bodies()
        self.disk.note(Offered(self._repeat))
        try:
            placed = self.partition.append(columns(self._repeat, self.draw), self._producer)
        except (BackendError, QueueFull) as error:
            self._failed(error)
        except UsageError as error:  # what it appended before is lost, as it was told, or may be if it was not synced
            if "leaves a gap" not in str(error):
                raise
            self._producer = Producer(1, self._producer.epoch + 1, 0)
        else:
            synced = placed.level is Level.SYNCED
            self.disk.note(Acked(placed.offset, self._repeat, synced))
            self.disk.note(Produced(self._producer, self._repeat, placed.offset, synced))
            following = self._producer.sequence + len(self._repeat)
            self._producer, self._repeat = Producer(1, self._producer.epoch, following), ()

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

    def _flush_beside(self) -> None:
        """Flush as a process that does not write."""
        reader = PartitionReader(FOLDER, self.disk)
        try:
            if reader.flush() and self.partition.durable == self.partition.next:  # it is for what readers see
                self.disk.note(Flushed())
        except BackendError as error:
            self.errors.append(error)
        finally:
            reader.close()

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
            self._failed(error)
        self.open_again()

    def _die(self) -> None:
        """Open it as if the process before had been killed: what it had open is closed, nothing else."""
        if len(self.errors) > self._before:
            self.disk.note(Unheard())
        self.disk.abandon()
        self.open_again()

    def open_again(self) -> None:
        """Open the partition, and once more if that fails, and once more if that does."""
        for _ in range(2):
            try:
                return self.open()
            except BackendError as error:
                self.errors.append(error)
        return self.open()

    def _drop(self) -> None:
        until = self.draw.randint(self.partition.first, self.partition.next)
        self.disk.note(Dropping(until))
        try:
            self.partition.drop_until(until)
        except BackendError as error:
            self.errors.append(error)
