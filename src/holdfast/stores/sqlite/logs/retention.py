"""What logs keep no longer: looked for through a reading connection, and dropped in steps that are short.

Whole appends go, oldest first. What is left is never less than a limit says is kept.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.config import LogSettings
from holdfast.logged import LogTidied
from holdfast.stores.sqlite.logs import groups
from holdfast.stores.sqlite.logs.liveness import Instant, living
from holdfast.stores.sqlite.logs.places import LogRow, PartitionRow, Source, is_current, partitions
from holdfast.stores.sqlite.logs.places import find as find_log
from holdfast.stores.sqlite.logs.reading import before, ends, find, first_where, holding
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction

_SQL = statements("logs/retention.sql")
STEP_BYTES = 32 << 20
"""What one transaction drops at the most: others must not wait for a gigabyte."""
HOLDER_KEPT_MS = 3_600_000
"""How long a retired holder is remembered, so that its late beat is told."""


# -- what is no longer kept ---------------------------------------------------------------------------------------


def floors(source: Source, log: LogRow, now: int) -> list[int]:
    """Return for each partition the offset below which nothing is kept, groups aside."""
    parts = partitions(source, log)
    settings = log.settings.with_groups() if read_by_all(source, log) else log.settings
    found = [part.first for part in parts]
    if settings.keep_for is not None:
        young = now - int(settings.keep_for * 1000)
        old = {end.partition for end in ends(source, log) if end.oldest is not None and end.oldest < young}
        found = [find(source, part, young) if part.index in old else part.first for part in parts]
    if (last := _last_beyond(source, log, settings, parts)) is not None:
        after = [first_where(source, part, lambda append: append.number > last) for part in parts]
        found = list(map(max, found, after))
    return found


def _last_beyond(source: Source, log: LogRow, settings: LogSettings, parts: list[PartitionRow]) -> int | None:
    """Return the number of the newest append that goes, so that what follows is no less than is to be kept.

    None when the log has no more than that; most of the time this takes no look at any append.
    """
    most, size = settings.keep_most, settings.keep_bytes
    messages, bytes_ = sum(part.next - part.first for part in parts), sum(part.written - part.dropped for part in parts)
    if not ((most is not None and messages > most) or (size is not None and bytes_ > size)):
        return None
    [(first, last)] = source.execute(_SQL["numbers"], (log.number,))
    low, high = int(first) - 1, int(last)
    while low < high:
        middle = (low + high + 1) // 2
        follow = [_follow(source, part, middle) for part in parts]
        if (most is not None and sum(count for count, _ in follow) >= most) or (
            size is not None and sum(length for _, length in follow) >= size
        ):
            low = middle
        else:
            high = middle - 1
    return low


def _follow(source: Source, part: PartitionRow, number: int) -> tuple[int, int]:
    """Return the messages and bytes of the appends of a partition that came after that ``number``."""
    base = first_where(source, part, lambda append: append.number > number)
    return part.next - base, part.written - before(source, part, base)[0]


def read_by_all(source: Source, log: LogRow) -> dict[int, int]:
    """Return for each partition the offset below which all groups have read; empty when there is no group."""
    return dict(source.execute(_SQL["read_by_all"], (log.number,)))


def droppable(source: Source, log: LogRow, now: int) -> dict[int, int]:
    """Return, by the place of the partition, the offsets below which messages go now."""
    its = floors(source, log, now)
    bounds = read_by_all(source, log) if log.settings.until_consumed else {}
    goals = {
        part.index: _whole(source, part, min(floor, bounds.get(part.index, floor)))
        for part, floor in zip(partitions(source, log), its, strict=True)
    }
    return {index: goal for index, goal in goals.items() if goal}


def _whole(source: Source, part: PartitionRow, goal: int) -> int:
    """Return the offset below ``goal`` up to which whole appends go, 0 for none."""
    if part.first < goal < part.next:
        row = holding(source, part.number, goal)
        goal = part.first if row is None else row.base
    return goal if goal > part.first else 0


# -- dropping -----------------------------------------------------------------------------------------------------


def drop(tx: Transaction, log: LogRow, goals: dict[int, int], limit: int) -> tuple[LogTidied, int]:
    """Drop up to ``limit`` appends below ``goals``; return what that was, and how many appends.

    ``more`` is set when a step was not enough. Nothing goes that a group was set back to meanwhile.
    """
    done, appends = LogTidied(), 0
    if not is_current(tx, log):
        return done, appends
    bounds = read_by_all(tx, log) if log.settings.until_consumed else {}
    for part in partitions(tx, log):
        goal = min(goals.get(part.index, 0), bounds.get(part.index, part.next))
        if goal > part.first:
            step, count = _drop_step(tx, part, goal, limit - appends)
            done, appends = done + step, appends + count
            if step.more:
                break
    return done, appends


def _drop_step(tx: Transaction, part: PartitionRow, goal: int, limit: int) -> tuple[LogTidied, int]:
    """Drop appends of one partition, as many as one transaction should."""
    rows = tx.execute(_SQL["droppable"], (part.number, goal, limit))
    if not rows:
        return LogTidied(more=limit < 1), 0
    fitting = [row for row in rows if row[1] - part.dropped <= STEP_BYTES] or rows[:1]
    first, dropped = fitting[-1]
    tx.execute(_SQL["drop"], (part.number, first))
    tx.execute(_SQL["set_first"], (part.number, first, dropped))
    more = len(fitting) < len(rows) or len(rows) == limit
    return LogTidied(first - part.first, dropped - part.dropped, more=more), len(fitting)


# -- logs that are destroyed --------------------------------------------------------------------------------------


def destroy(tx: Transaction, name: str) -> int:
    """Remove a log but for its appends, which nobody sees any more; return how many messages they have."""
    log = find_log(tx, name)
    if log is None:
        return 0
    messages = sum(part.next - part.first for part in partitions(tx, log))
    for number in groups.numbers(tx, log):
        groups.remove(tx, number)
    tx.execute(_SQL["leave_log"], (log.number,))
    tx.execute(_SQL["delete_log"], (log.number,))
    return messages


def clear(tx: Transaction, limit: int) -> bool:
    """Remove a step of the appends of destroyed logs; tell whether there are more."""
    for part in [PartitionRow(*row) for row in tx.execute(_SQL["left"])]:
        step, count = _drop_step(tx, part, part.next, limit)
        limit -= count
        if step.more:
            return True
        for what in ("delete_producers", "delete_partition"):
            tx.execute(_SQL[what], (part.number,))
    return False


# -- groups and holders -------------------------------------------------------------------------------------------


class Signs(NamedTuple):
    """Whether there is something of destroyed logs, and whether there are holders to forget."""

    left: bool
    holders: bool


def signs(source: Source, boot: str, uptime: int) -> Signs:
    """Look for what is to be tidied beside messages and groups; most of the time it is nothing."""
    [(left, holders)] = source.execute(_SQL["signs"], (boot, uptime, uptime - HOLDER_KEPT_MS))
    return Signs(bool(left), bool(holders))


def forget_holders(tx: Transaction, boot: str) -> None:
    """Forget holders that have no members and have fallen silent, and those that were retired long ago."""
    tx.execute(_SQL["delete_holders"], (boot, tx.boot, tx.boot - HOLDER_KEPT_MS))


def idle(source: Source, log: LogRow, now: Instant) -> list[tuple[int, str]]:
    """Return the groups, number and name, that nobody has seen for longer than the log keeps them."""
    if log.settings.group_expiry is None:
        return []
    most = int(log.settings.group_expiry * 1000)
    rows = source.execute(_SQL["idle"], (log.number, now.boot, now.uptime, now.wall, most))
    return [(number, name) for number, name in rows if not living(source, number, now)]


def expire(tx: Transaction, log: LogRow, boot: str) -> LogTidied:
    """Remove the groups that are past their expiry."""
    found = idle(tx, log, Instant(tx.now, tx.boot, boot))
    for number, _ in found:
        groups.remove(tx, number)
    return LogTidied(groups=tuple((log.name, name) for _, name in found))
