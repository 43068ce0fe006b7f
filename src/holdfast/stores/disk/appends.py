"""What callers want of a partition, and how the appends of one group become batches.

Small appends that follow each other become one batch: its header and checksums are paid once, and each caller still
gets his own offset. Larger ones are packed by their callers, beside the disk; so are those of producers, whose
sequence the batch carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from holdfast.columns import pack
from holdfast.config import BATCH_MOST, Compression
from holdfast.errors import BodyTooLarge, HoldfastError
from holdfast.logged import Columns, Producer
from holdfast.stores.disk.format import padded
from holdfast.stores.disk.options import Placed
from holdfast.stores.disk.writer import Packed

_MERGED_MOST = 256 << 10
_SMALL = 64
_SMALL_BYTES = 64 << 10


class Wish:
    """Something one caller waits for: it is ``done``, or ``error`` tells why not, or who was at it was interrupted."""

    __slots__ = ("act", "done", "error")

    def __init__(self, act: Callable[[], None] | None = None) -> None:
        self.act = act
        self.error: HoldfastError | None = None
        self.done = False


class Append(Wish):
    """An append; packed when it is not small. ``BodyTooLarge`` before anything is copied."""

    __slots__ = ("columns", "packed", "producer", "result", "size")

    def __init__(self, columns: Columns, producer: Producer | None, compression: Compression) -> None:
        super().__init__()
        self.columns, self.producer = columns, producer
        self.packed: Packed | None = None
        self.result: Placed | None = None
        self.size = _size(columns)
        if padded(self.size) > BATCH_MOST:
            raise BodyTooLarge(f"an append has at most {BATCH_MOST} bytes; this one would have {padded(self.size)}")
        if producer is not None or len(columns) > _SMALL or self.size > _SMALL_BYTES:
            self.packed = packed(columns, compression)

    def __len__(self) -> int:
        return len(self.columns.bodies)


class Batch(NamedTuple):
    """A batch to be, and whose appends it holds, one behind the other."""

    packed: Packed
    appends: Sequence[Append]


def batches(appends: Sequence[Append], compression: Compression) -> Iterator[Batch]:
    """Return the appends as batches, in their order."""
    run: list[Append] = []
    size = 0
    for append in appends:
        if run and (append.packed is not None or size + append.size > _MERGED_MOST):
            yield _merged(run, compression)
            run, size = [], 0
        if append.packed is not None:
            yield Batch(append.packed, (append,))
        else:
            run.append(append)
            size += append.size
    if run:
        yield _merged(run, compression)


def _merged(run: list[Append], compression: Compression) -> Batch:
    if len(run) == 1:
        return Batch(packed(run[0].columns, compression), run)
    every = [append.columns for append in run]
    bodies = [body for columns in every for body in columns.bodies]
    keys = _joined([(columns.keys, len(columns)) for columns in every])
    headers = _joined([(columns.headers, len(columns)) for columns in every])
    return Batch(packed(Columns(bodies, keys, headers), compression), run)


def _joined(parts: list[tuple[Sequence[bytes | None] | None, int]]) -> list[bytes | None] | None:
    if all(column is None for column, _ in parts):
        return None
    return [one for column, length in parts for one in (column if column is not None else (None,) * length)]


def packed(columns: Columns, compression: Compression) -> Packed:
    """Return the body of a batch; ``BodyTooLarge`` when compression made it larger than 64 MiB."""
    attributes, pieces = pack(columns.bodies, columns.keys, columns.headers, compression)
    body = Packed(len(columns), attributes, pieces)
    if body.size > BATCH_MOST:
        raise BodyTooLarge(f"an append has at most {BATCH_MOST} bytes with its lengths; this one has {body.size}")
    return body


def _size(columns: Columns) -> int:
    """Return the bytes of all columns with their lengths."""
    size = sum(map(len, columns.bodies)) + 4 * len(columns.bodies)
    for column in (columns.keys, columns.headers):
        if column is not None:
            size += sum(4 if one is None else 4 + len(one) for one in column)
    return size
