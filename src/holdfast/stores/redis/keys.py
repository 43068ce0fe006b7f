"""Where things are in a server: the keys that begin those of a queue and of the whole store, and times for scripts."""

from __future__ import annotations

from collections.abc import Collection

from holdfast.clock import SYSTEM, Clock

_ESCAPED = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})
_MOST_KEPT = 1000
"""Names of queues whose keys are kept, for those who send one message after the other."""
_ESCAPED_MORE = {**_ESCAPED, ord(":"): "%3A"}


class Keys:
    """The keys of a store. All of a queue have its hash tag, so that they are of one slot of a cluster."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._queues: dict[str, str] = {}
        self.store = f"{prefix}{{store}}"

    def queue(self, name: str) -> str:
        """Return what begins the keys of a queue."""
        known = self._queues.get(name)
        if known is None:
            if len(self._queues) >= _MOST_KEPT:
                self._queues.clear()
            known = self._queues[name] = f"{self._prefix}queue:{{{name.translate(_ESCAPED)}}}"
        return known

    def log(self, name: str) -> str:
        """Return what begins the keys of a log, but for what its partitions hold."""
        return f"{self._prefix}log:{{{name.translate(_ESCAPED_MORE)}}}"

    def part(self, name: str, partition: int) -> str:
        """Return what begins the keys of a partition of a log; each has a hash tag of its own."""
        return f"{self._prefix}log:{{{name.translate(_ESCAPED_MORE)}:{partition}}}"

    def stream(self, stream: str, group: str) -> str:
        """Return what begins the keys of what is kept beside a group of a foreign stream."""
        return f"{self._prefix}stream:{{{f'{stream}.{group}'.translate(_ESCAPED)}}}"

    def consumer(self, holder: str) -> str:
        """Return the name under which a holder is a consumer of foreign streams."""
        return f"{self._prefix}{holder}"

    def holder(self, consumer: str) -> str | None:
        """Return the holder that is called so; None for a consumer of another program's."""
        is_ours = consumer.startswith(self._prefix) and "#" in consumer
        return consumer.removeprefix(self._prefix) if is_ours else None


def lanes(kinds: Collection[str], max_format: int) -> list[str]:
    """Return the lanes in which jobs of these kinds stand, of every format up to ``max_format``."""
    return [f"{format_}:{kind}" for kind in dict.fromkeys(kinds) for format_ in range(1, max_format + 1)]


class Times:
    """What a script is told of the time: nothing, as its server tells the time, unless a test moves the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = None if clock is SYSTEM else clock

    def __call__(self) -> str:
        return "" if self._clock is None else f"{self._clock.wall()} {self._clock.boot()}"
