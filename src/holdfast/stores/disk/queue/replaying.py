"""Making an engine again from its journal, and finding what of the journal it still needs."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.records import filled, read_entry
from holdfast.stores.engine import Engine
from holdfast.stores.engine.commands import At, Command


def replay(engine: Engine, journal: Journal, begin: int) -> Iterator[Command]:
    """Carry out every command from the record at ``begin`` on; return each when it is done."""
    verbs, messages = engine.verbs(), journal.messages(begin)
    for number, body in messages:
        entry = read_entry(body)
        command = filled(entry, (paper for _, paper in messages))
        verbs[type(command)](command, At(entry.wall, entry.boot, number + 1))
        yield command


def lowest(engine: Engine, number: int) -> int:
    """Return the lowest number of a paper that is still needed; ``number`` if there is none."""
    for place in engine.places.values():
        for handle in place.handles():
            number = min(number, handle)
    return number
