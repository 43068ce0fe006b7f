"""All partitions of a log read through, and mended, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.logged import DamagedRange, Verified
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.scrubbing import forget_damage
from holdfast.stores.disk.options import Report
from holdfast.stores.disk.verify import Damaged, repair, verify

Progress = Callable[[int, int], object]


def verify_log(log: OpenLog, progress: Progress | None = None) -> Verified:
    """Read everything that readers may read; nothing is changed."""
    part, found = _Part(log, progress), Verified()
    for number in range(log.settings.partitions):
        one = verify(log.directory.partition(number), log.directory.files, part.progress)
        part.done(one.bytes)
        found = Verified(
            found.messages + one.messages,
            found.bytes + one.bytes,
            found.damages + _ranges(number, one.damages),
            found.notes + one.notes,
        )
    return found


def repair_log(log: OpenLog, report: Callable[[int, Report], None], progress: Progress | None = None) -> Verified:
    """Take out what is damaged. The caller has the right to write the log, and nobody has a partition open."""
    part, found = _Part(log, progress), Verified()
    for number in range(log.settings.partitions):
        ends = log.ends(number)
        one = repair(
            log.directory.partition(number),
            log.directory.files,
            store=bytes.fromhex(log.store),
            report=lambda told, number=number: report(number, told),  # type: ignore[misc] # bound now: each partition has its own
            progress=part.progress,
        )
        part.done(ends.bytes)
        forget_damage(log.directory)
        found = Verified(
            damages=found.damages + _ranges(number, one.damages),
            kept=found.kept + one.kept,
            messages=found.messages + one.offsets,
            bytes=found.bytes + one.bytes,
        )
    return found


def _ranges(number: int, damages: Iterable[Damaged]) -> tuple[DamagedRange, ...]:
    return tuple(
        DamagedRange(number, one.path, one.damage.begin, one.damage.end, one.damage.first, one.damage.next)
        for one in damages
    )


class _Part:
    """Progress through one partition as progress through all."""

    def __init__(self, log: OpenLog, progress: Progress | None) -> None:
        self._total = sum(log.ends(number).bytes for number in range(log.settings.partitions))
        self._before, self._progress = 0, progress

    def progress(self, read: int, of: int) -> None:
        if self._progress is not None:
            self._progress(self._before + read, self._total)

    def done(self, size: int) -> None:
        self._before += size
        if self._progress is not None:
            self._progress(self._before, self._total)
