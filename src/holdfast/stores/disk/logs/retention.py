"""What a log lets go of, decided from what is known of its segments: no file is opened to decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.config import LogSettings
from holdfast.stores.disk.options import SegmentInfo

PARTS = 8
"""A segment that is written is ended once it holds this part of what is kept, so that what goes is about that much."""

Segments = Mapping[int, Sequence[SegmentInfo]]
"""By partition, the segments that hold messages, oldest first; the last of them may be the one that is written."""


class _Counted(msgspec.Struct, frozen=True):
    time: int
    partition: int
    segment: SegmentInfo


def floors(settings: LogSettings, segments: Segments, now: int) -> dict[int, int]:
    """Return, for each partition, the offset below which nothing is kept, groups aside; always a segment's end.

    What stays is at least as much as is to be kept.
    """
    found = {number: its[0].base if its else 0 for number, its in segments.items()}
    if settings.keep_for is not None:
        young = now - int(settings.keep_for * 1000)
        for number, its in segments.items():
            found[number] = max([found[number], *(one.next for one in its if (one.last_time or 0) < young)])
    if settings.keep_bytes is not None or settings.keep_most is not None:
        for one in _beyond(settings, segments):
            found[one.partition] = max(found[one.partition], one.segment.next)
    return found


def _beyond(settings: LogSettings, segments: Segments) -> list[_Counted]:
    """Return the oldest segments of the whole log that go because what is younger is enough."""
    every = sorted(
        (_Counted(one.last_time or 0, number, one) for number, its in segments.items() for one in its),
        key=lambda one: (one.time, one.partition, one.segment.base),
    )
    size = sum(one.segment.bytes for one in every)
    messages = sum(one.segment.messages for one in every)
    going = []
    for one in every:
        size -= one.segment.bytes
        messages -= one.segment.messages
        enough_bytes = settings.keep_bytes is not None and size >= settings.keep_bytes
        enough_messages = settings.keep_most is not None and messages >= settings.keep_most
        if not (enough_bytes or enough_messages):
            break
        going.append(one)
    return going


def held_back(found: Mapping[int, int], nexts: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Return the floors when nothing goes that one of these groups has not read."""
    return {number: min([floor, *(group[number] for group in nexts.values())]) for number, floor in found.items()}


def is_ripe(settings: LogSettings, segment: SegmentInfo, now: int) -> bool:
    """Tell whether the segment that is written should be ended, so that retention can let go of it in time."""
    if not segment.messages:
        return False
    age = 0 if segment.first_time is None else now - segment.first_time
    return (
        (settings.keep_for is not None and age > settings.keep_for * 1000 / PARTS)
        or (settings.keep_most is not None and segment.messages * PARTS > settings.keep_most)
        or (settings.keep_bytes is not None and segment.bytes * PARTS > settings.keep_bytes)
    )


def pins(settings: LogSettings, segments: Segments, nexts: Mapping[str, Sequence[int]], now: int) -> dict[str, int]:
    """Return, by group, the bytes that are kept for it alone: it has not read them, and all others have."""
    pinned = dict.fromkeys(nexts, 0)
    if not settings.until_consumed or not nexts:
        return pinned
    for number, floor in floors(settings, segments, now).items():
        places = sorted((min(floor, group[number]), name) for name, group in nexts.items())
        (slowest, name), others = places[0], places[1:]
        end = others[0][0] if others else floor
        pinned[name] += sum(one.bytes for one in segments[number] if slowest < one.next <= end)
    return pinned
