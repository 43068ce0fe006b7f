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
            old = [one.next for one, time in zip(its, _last_times(its, now), strict=True) if time < young]
            found[number] = max([found[number], *old])
    if settings.keep_bytes is not None or settings.keep_most is not None:
        for one in _beyond(settings, segments, now):
            found[one.partition] = max(found[one.partition], one.segment.next)
    return found


def _last_times(segments: Sequence[SegmentInfo], now: int) -> list[int]:
    """Return the time of the last append in each; one that does not know, being damaged, is as old as the next one."""
    times, time = list[int](), now
    for one in reversed(segments):
        time = time if one.last_time is None else one.last_time
        times.append(time)
    return times[::-1]


def _beyond(settings: LogSettings, segments: Segments, now: int) -> list[_Counted]:
    """Return the oldest segments of the whole log that go because what is younger is enough."""
    every = sorted(
        (
            _Counted(time, number, one)
            for number, its in segments.items()
            for one, time in zip(its, _last_times(its, now), strict=True)
        ),
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


def ends_or_goes(settings: LogSettings, segments: Sequence[SegmentInfo], floor: int, now: int) -> bool:
    """Tell whether any of these segments of a partition goes, or is to be ended, when nothing is kept below a floor."""
    return bool(segments) and (segments[0].next <= floor or is_over(settings, segments[-1], floor, now))


def is_over(settings: LogSettings, last: SegmentInfo, floor: int, now: int) -> bool:
    """Tell whether the segment that was written last is to be ended."""
    return not last.sealed and (last.next <= floor or is_ripe(settings, last, now))


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
