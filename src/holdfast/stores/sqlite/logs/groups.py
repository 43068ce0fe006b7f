"""What happens to groups within a write transaction: made, sought, forgotten, processes that died charged.

Functions named after contract verbs keep what the contract says of them. Whatever changes who reads what, or the
version of a place, raises the group's ``changes``: a member asks for these alone to know that nothing has changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from holdfast.logged import Crashes, Start
from holdfast.stores.refused import no_group
from holdfast.stores.sqlite.logs import reading
from holdfast.stores.sqlite.logs.places import LogRow, PartitionRow, Source, partition_of, partitions
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction

_SQL = statements("logs/groups.sql")
_END = 2**63 - 1
_decode_finished = msgspec.json.Decoder(tuple[int, ...]).decode
_decode_crashes = msgspec.json.Decoder(Crashes).decode


def group_of(source: Source, log: LogRow, group: str) -> int:
    """Return the number of a group; ``UsageError`` when there is none."""
    rows = source.execute(_SQL["find"], (log.number, group))
    if not rows:
        raise no_group(log.name, group, [name for (name,) in source.execute(_SQL["names"], (log.number,))])
    return int(rows[0][0])


def make(tx: Transaction, log: LogRow, group: str, start: Start, boot: str) -> int:
    """Return the number of a group, which is made if need be: then it begins at ``start``."""
    rows = tx.execute(_SQL["find"], (log.number, group))
    if not rows:
        nexts = [(partition.index, _begin(tx, log, partition, start)) for partition in partitions(tx, log)]
        rows = tx.execute(_SQL["insert"], (log.number, group, tx.now, boot, tx.boot))
        tx.executemany(_SQL["insert_place"], [(rows[0][0], *place) for place in nexts])
    return int(rows[0][0])


def _begin(tx: Transaction, log: LogRow, partition: PartitionRow, start: Start) -> int:
    if start.at == "latest":
        return partition.next
    if start.at == "time":
        return reading.find(tx, partition, start.value)
    if start.at == "offset":
        reading.check_offset(log.name, partition, start.value)
        return start.value
    return partition.first


def seek(tx: Transaction, log: LogRow, group: str, offsets: Mapping[int, int], boot: str) -> None:
    """Set places anew; see ``LogGroups``."""
    for index, offset in offsets.items():
        reading.check_offset(log.name, partition_of(tx, log, index), offset)
    number = make(tx, log, group, Start(), boot)
    for index, offset in offsets.items():
        tx.execute(_SQL["seek"], (number, index, offset))
        tx.execute(_SQL["begin_anew"], (number, index, tx.now))
        tx.execute(_SQL["forget_crashes"], (number, index, _END))
    tx.execute(_SQL["seen"], (number, tx.now, boot, tx.boot))
    tx.execute(_SQL["change"], (number,))


def numbers(source: Source, log: LogRow) -> list[int]:
    """Return the numbers of the groups of a log."""
    return [number for (number,) in source.execute(_SQL["numbers"], (log.number,))]


def remove(tx: Transaction, number: int) -> None:
    """Remove a group with all that belongs to it."""
    for what in ("remove_members", "remove_places", "remove_sought", "remove_crashes", "remove"):
        tx.execute(_SQL[what], (number,))


def forget(tx: Transaction, log: LogRow, group: str) -> bool:
    """Remove a group; see ``LogGroups``."""
    rows = tx.execute(_SQL["find"], (log.number, group))
    for (number,) in rows:
        remove(tx, number)
    return bool(rows)


def finished_of(text: str | None) -> tuple[int, ...]:
    """Return the offsets that are finished beyond a place, as it is stored."""
    return () if text is None else _decode_finished(text)


# -- crashes ------------------------------------------------------------------------------------------------------


def charge(tx: Transaction, log: LogRow, group: str, message: tuple[int, int], *, run: int, reason: str) -> Crashes:
    """Note a death at a message, given by partition and offset; see ``LogGroups``."""
    index, offset = message
    partition_of(tx, log, index)
    number = group_of(tx, log, group)
    next_, _, _, finished, _, _ = tx.execute(_SQL["place"], (log.number, number, index))[0]
    if offset < next_ or offset in finished_of(finished):
        return Crashes()
    known: dict[int, str] = dict(tx.execute(_SQL["get_crashes"], (number, index)))
    crashes = _decode_crashes(known[offset]) if offset in known else Crashes()
    charged = crashes.charged(run, reason)
    if charged is not crashes:
        tx.execute(_SQL["put_crashes"], (number, index, offset, msgspec.json.encode(charged).decode()))
    return charged


def crashes(source: Source, log: LogRow, group: str, index: int) -> dict[int, Crashes]:
    """Return what was charged to messages that a group has not finished; see ``LogGroups``."""
    partition_of(source, log, index)
    number = group_of(source, log, group)
    rows = source.execute(_SQL["get_crashes"], (number, index))
    if not rows:
        return {}
    finished = finished_of(source.execute(_SQL["place"], (log.number, number, index))[0][3])
    return {offset: _decode_crashes(text) for offset, text in rows if offset not in finished}
