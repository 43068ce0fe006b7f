"""What tests of a log on Redis do with it, and with what its server keeps."""

from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Offset, Start
from tests.redis.programs import until

LOG, GROUP = "events", "readers"
PART = ":messages", ":index", ":ends"


def append(logs, *bodies):
    return logs.append(LOG, 0, Columns([body.encode() for body in bodies])).offset


def join(logs, group=GROUP, **options):
    return logs.join(LOG, group, this_process(f"{group}#1"), start=Start(), **options)


def bodies(chunks):
    return [body.decode() for chunk in chunks for body in chunk.bodies]


def polled(member, wait=5.0):
    return bodies(member.poll(limit=100, wait=wait))


def read_on(member):
    chunks = member.poll(limit=100, wait=5)
    member.commit([Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks])
    return bodies(chunks)


def key(logs, what):
    return logs.places.keys.part(LOG, 0) + what


def ask(logs, command, *keys_and_more):
    return logs.places.link.call(logs.places.keys.part(LOG, 0), (command, *keys_and_more))[0]


def saved(logs):
    """Return what puts the partition back to where it is now, as a failover does that loses what came after."""
    copies = {what: ask(logs, "DUMP", key(logs, what)) for what in PART}

    def put_back():
        for what, copy in copies.items():
            ask(logs, "RESTORE", key(logs, what), 0, copy, "REPLACE")

    return put_back


def saved_slot(logs):
    """Return what puts the log's own slot back to where it is now, or with ``lose`` to nothing."""
    slot = f"{logs.places.keys.log(LOG)}:"

    def kept():
        return ask(logs, "KEYS", f"{slot}*")

    copies = {one: ask(logs, "DUMP", one) for one in kept()}

    def put_back(*, lose=False):
        for one in kept():
            ask(logs, "DEL", one)
        for one, copy in () if lose else copies.items():
            ask(logs, "RESTORE", one, 0, copy)

    return put_back


def hold_time(logs):
    """Append all from now on at one time, as after a clock that was ahead."""
    ask(logs, "HSET", key(logs, ":ends"), "time", 1 << 42)


def break_all(logs, redis_place):
    """Break all connections, as it happens when a server is replaced, and wait until that can be seen."""
    redis_place.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    idle = logs.places.link._idle
    until(lambda: not any(one.is_fresh for each in idle.values() for one in each), "all connections break")
