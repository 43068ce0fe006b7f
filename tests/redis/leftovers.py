"""What is left on a server under a prefix, and why."""

import re

KEPT = {
    "settings": "the queue exists while it is there",
    "seq": "the number of the job sent last",
    "token": "the highest token of any job that was removed; it outlives everything",
    "plain": "one field makes it a table, for as long as the queue exists",
    "lanes": "the formats and kinds of all jobs there ever were",
    "numbers": "the number of the holder that came last",
    "wake": "somebody is to look at due times, and nobody has waited since",
}
OF_THE_STORE = {
    "queues": "the names of queues",
    "notes": "how often a name of a queue was noted",
    "ended": "holders that ended less than an hour ago",
    "beats": "living holders",
    "holders": "what living holders say of themselves",
    "with": "where a living holder leases",
}
NOBODY_KNOWS = "nobody knows why"


def left_over(place):
    """Return every key of a place on a single server, and why it is still there."""
    return {key: _reason(key.removeprefix(place.prefix)) for key in sorted(_keys(place))}


def _keys(place):
    cursor = None
    while cursor != "0":
        cursor, found = place.ask("SCAN", cursor or "0", "MATCH", f"{place.prefix}*", "COUNT", 1000)
        yield from found


def _reason(key):
    queue, store = re.fullmatch(r"queue:\{[^}]*\}:(\w+)(:.*)?", key), re.fullmatch(r"\{store\}:(\w+)(:.*)?", key)
    if queue and (queue[1] == "wake" or not queue[2]):
        return KEPT.get(queue[1], NOBODY_KNOWS)
    return OF_THE_STORE.get(store[1], NOBODY_KNOWS) if store else NOBODY_KNOWS
