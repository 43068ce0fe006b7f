"""Papers that lie in the journal: in memory there is only their number."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.failures import ErrorInfo
from holdfast.machine import Change
from holdfast.message import Message
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.records import read_error, read_message


class JournalPapers:
    """The papers of all queues. ``journal`` is set before anything is read."""

    journal: Journal

    def keep(self, number: int, paper: Message | ErrorInfo | bytes) -> int:
        return number

    def change(self, handle: int, number: int, change: Change) -> int:
        return number

    def drop(self, handle: int) -> None:
        """Do nothing: what nobody needs goes with its segment."""

    def message(self, handle: int) -> Message:
        return read_message(self.journal.read(handle))

    def messages(self, handles: Sequence[int]) -> list[Message]:
        return list(map(read_message, self.journal.read_many(handles)))

    def error(self, handle: int) -> ErrorInfo:
        return read_error(self.journal.read(handle))

    def result(self, handle: int) -> bytes:
        return self.journal.read(handle)
