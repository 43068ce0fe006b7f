"""How a message of a log is called where jobs are: its queue, its id, the tokens of its runs.

::

    queue   <log>.<group>
    id      <log>/<group>/<partition>/<offset>
            <log>/<group>/<partition>/<offset>/<begun>
            <stream>/<group>/<ms>-<sequence>            of an entry of a stream, and with /<begun>
    token   (1 << 62) + (version << 8) + grant

Queue and id together tell where the log's name ends, whatever it is: it is where they differ. The version of a group's
place rises with every change of owner and every seek, has 54 bits at most, and within
one owner each grant counts, so a later run of a message has a higher token than an earlier one; and no job of a queue
has one as high, not even a replayed dead letter, which has the id of its message.

The longer id is that of a dead letter whose message has an earlier one, of another reading (``Assigned.begun``), which
cannot stand for it: it is over, or it is of the message that had this place before its log was made again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.delivery import Receipt
from holdfast.entries import PARTITION, entry_at, offset_of
from holdfast.errors import UsageError

LONGEST = 255
_NUMBERS = len("/4095/9223372036854775807/9223372036854775807")
_OF_LOG = 1 << 62
_GRANTS = 8  # more grants than that go on into the version: a later owner's is further away than one
_ENTRY = re.compile(r"\d+-\d+", re.ASCII)


class Place(NamedTuple):
    """Where a message is, and for whom."""

    log: str
    group: str
    partition: int
    offset: int
    is_stream: bool = False


def queue_of(log: str, group: str) -> str:
    """Return the queue of a group's dead letters; ``UsageError`` when the names are too long for the ids there."""
    queue = f"{log}.{group}"
    if len(queue) + _NUMBERS > LONGEST:
        raise UsageError(
            f"the names of log and group have {LONGEST - _NUMBERS - 1} characters together at most, or the ids of "
            f"messages would be too long; these have {len(queue) - 1}: {log[:40]!r}, {group[:40]!r}"
        )
    return queue


def id_of(place: Place, begun: int | None = None) -> str:
    """Return the id under which a message is settled, and of its dead letter; with ``begun`` that of a further one."""
    where = entry_at(place.offset) if place.is_stream else f"{place.partition}/{place.offset}"
    job_id = f"{place.log}/{place.group}/{where}"
    return job_id if begun is None else f"{job_id}/{begun}"


def place_of(queue: str, job_id: str) -> Place | None:
    """Return the place that ``id_of`` was given; None for the id of any other job."""
    names, numbers = job_id[: len(queue)], job_id[len(queue) :].split("/")
    differ = [at for at, (one, other) in enumerate(zip(names, queue, strict=False)) if one != other]
    if len(names) != len(queue) or len(differ) != 1 or numbers[0]:
        return None
    end = differ[0]
    where = _where(numbers[1:]) if (names[end], queue[end]) == ("/", ".") else None
    return None if where is None else Place(queue[:end], queue[end + 1 :], *where)


def _where(numbers: Sequence[str]) -> tuple[int, int, bool] | None:
    """Return partition and offset, and whether it is an entry of a stream."""
    kinds = "".join("-" if _ENTRY.fullmatch(one) else "n" if one.isdecimal() else "?" for one in numbers)
    if kinds in ("-", "-n"):
        return PARTITION, offset_of(numbers[0]), True
    if kinds in ("nn", "nnn"):
        return int(numbers[0]), int(numbers[1]), False
    return None


def found_by(job_id: str) -> tuple[int, int]:
    """Return partition and offset of a message or entry, by the id of its run."""
    _, partition, offset = job_id.rsplit("/", 2)
    return (PARTITION, offset_of(offset)) if "-" in offset else (int(partition), int(offset))


def token_of(version: int, grant: int) -> int:
    """Return the token of a run."""
    return _OF_LOG + (version << _GRANTS) + grant


def is_of_log(receipt: Receipt) -> bool:
    """Tell whether a receipt is of a message of a log, and not of a job."""
    return receipt.token >= _OF_LOG


def is_of_stream(receipt: Receipt) -> bool:
    """Tell whether a receipt is of an entry of a stream."""
    place = place_of(receipt.queue, receipt.id) if is_of_log(receipt) else None
    return place is not None and place.is_stream
