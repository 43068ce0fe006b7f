"""An append within a write transaction: its limits, its producer, its row."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import msgspec

from holdfast.columns import pack
from holdfast.config import LogSettings
from holdfast.logged import Columns, Producer
from holdfast.stores.refused import check_columns, check_fits, log_full
from holdfast.stores.repeats import Window, continued, repeated
from holdfast.stores.sqlite.logs.places import LogRow, is_current, partition_of
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction

_SQL = statements("logs/appends.sql")
_decode_window = msgspec.json.Decoder(Window).decode
MOST_PRODUCERS = 1000
"""Of how many producers a partition remembers the last appends; those that were silent longest are forgotten."""


class Packed(msgspec.Struct, frozen=True, gc=False):
    """Messages as they are stored; ``bodies`` are the bytes of the bodies alone."""

    count: int
    bodies: int
    attributes: int
    crc: int
    data: bytes


def packed(log: str, settings: LogSettings, columns: Columns) -> Packed:
    """Check what is to be appended, and pack it; in the caller's thread, which the writer's need not wait for."""
    bodies = check_columns(log, settings, columns)
    attributes, pieces = pack(columns.bodies, columns.keys, columns.headers, settings.compression)
    data = b"".join(pieces)
    return Packed(len(columns), bodies, attributes, crc32(data), data)


def append(tx: Transaction, log: LogRow, index: int, new: Packed, producer: Producer | None) -> tuple[int, bool] | None:
    """Add messages; return the offset of the first, and whether they had been there.

    None, and nothing is done, when the log is no longer there or no longer has the settings they were packed with.
    """
    if not is_current(tx, log):
        return None
    partition = partition_of(tx, log, index)
    window = None if producer is None else _window(tx, partition.number, producer)
    if producer is not None and (at := repeated(window, producer)) is not None:
        return at, True
    _check_limit(tx, log, len(new.data))
    [(base, time, before, bodies)] = tx.execute(
        _SQL["grow"], (partition.number, new.count, len(new.data), new.bodies, tx.now)
    )
    row = (partition.number, base, new.count, time, before, bodies, new.attributes, new.crc, new.data)
    [(number,)] = tx.execute(_SQL["insert_append"], row)
    if producer is not None:
        text = msgspec.json.encode(continued(window, producer, new.count, base)).decode()
        tx.execute(_SQL["put_window"], (partition.number, _signed(producer.id), number, text))
        if window is None:
            tx.execute(_SQL["forget_producers"], (partition.number, MOST_PRODUCERS))
    return base, False


def _window(tx: Transaction, partition: int, producer: Producer) -> Window | None:
    rows: Sequence[tuple[str]] = tx.execute(_SQL["window"], (partition, _signed(producer.id)))
    return _decode_window(rows[0][0]) if rows else None


def _signed(number: int) -> int:
    """Return a u64 as the i64 of the same bits, which is what SQLite can keep."""
    return number if number < 1 << 63 else number - (1 << 64)


def _check_limit(tx: Transaction, log: LogRow, size: int) -> None:
    limit = log.settings.limit_bytes
    if limit is not None and tx.execute(_SQL["size"], (log.number,))[0][0] + size > limit:
        check_fits(log.name, limit, size)
        raise log_full(log.name, limit)
