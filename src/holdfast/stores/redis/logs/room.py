"""Room within a log's limit: taken in the log's slot before an append, which lies in another."""

from __future__ import annotations

from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.scripts import Script

_ROOM = Script.load("logs/room")


def take(places: LogPlaces, log: Log, size: int) -> bool | None:
    """Take room for so many bytes; tell whether there was some, None when the log is another. Below 0 gives it back."""
    reply = places.run(_ROOM, log.name, log.life, size, "")
    return None if reply is None else bool(reply[0])


def put_right(places: LogPlaces, log: Log) -> None:
    """Let what is taken be what the partitions hold: who died between taking room and his append left it taken.

    What is being appended meanwhile is counted too little; the next time puts that right.
    """
    reply = places.run(_ROOM, log.name, log.life, 0, "1")
    if reply is not None:
        difference = sum(ends.bytes for ends in places.ends(log)) - reply[1]
        if difference:
            places.run(_ROOM, log.name, log.life, difference, "1")
