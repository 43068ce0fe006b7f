"""Making an engine again from its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from holdfast.errors import BackendError, CorruptLog
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.papers import JournalPapers
from holdfast.stores.disk.queue.records import Move, filled, read_entry
from holdfast.stores.engine import Engine
from holdfast.stores.engine.commands import At, Command

Verbs = dict[type[Command], Callable[[Any, At], object]]


def replay(engine: Engine, papers: JournalPapers, journal: Journal, begin: int) -> Iterator[Command]:
    """Carry out every command from the record at ``begin`` on; return each when it is done.

    ``BackendError`` where one is damaged: nobody knows then what the queues were.
    """
    verbs: Verbs = {**engine.verbs(), Move: papers.move}
    messages = journal.messages(begin)
    try:
        for number, body in messages:
            entry = read_entry(body)
            command = filled(entry, (paper for _, paper in messages))
            verbs[type(command)](command, At(entry.wall, entry.boot, number + 1))
            yield command
    except CorruptLog as error:
        raise BackendError(
            f"the queues' journal is damaged, and what its commands did cannot be told without them: {error}; restore "
            f"the directory {journal.directory.parent} from a copy, or move it away to begin with empty queues"
        ) from error
