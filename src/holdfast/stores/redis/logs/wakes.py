"""What a member waits for at the servers: something new in its partitions, or a change to its group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from holdfast.stores.redis.connection import Command
from holdfast.stores.redis.logs.places import LogPlaces

_LAST = (1 << 64) - 1


def waits(
    places: LogPlaces, log: str, serial: int, nexts: Mapping[int, int], timeout: float
) -> list[tuple[str, Command]]:
    """Return the commands that wait ``timeout`` seconds, with the key that leads each to its server.

    ``serial`` is that of the last change that is known, ``nexts`` are the offsets that come next in the partitions.
    """
    news = {f"{places.keys.log(log)}:news": f"{serial}-{_LAST}"}
    for partition, offset in nexts.items():
        news[_stream(places, log, partition)] = f"{offset - 1}-{_LAST}" if offset else "0-0"
    head: Command = ("XREAD", "COUNT", 1, "BLOCK", max(1, round(timeout * 1000)), "STREAMS")
    return [(keys[0], (*head, *keys, *(news[key] for key in keys))) for keys in places.link.together(list(news))]


def appended(
    places: LogPlaces, log: str, partitions: Collection[int], answers: Sequence[tuple[str, Any]]
) -> dict[int, list[bytes]] | None:
    """Return what came in each of the partitions, as ``read.lua`` would return it; None when it is to be looked again.

    That is when the group has changed: the same answer would have told.
    """
    streams = {_stream(places, log, partition).encode(): partition for partition in partitions}
    found = dict[int, list[bytes]]()
    for _, answer in answers:
        for stream, appends in answer:
            if stream not in streams:
                return None
            found[streams[stream]] = [one for name, fields in appends for one in (name, *fields[1::2])]
    return found or None


def _stream(places: LogPlaces, log: str, partition: int) -> str:
    return f"{places.keys.part(log, partition)}:messages"
