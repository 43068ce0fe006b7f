"""Papers that lie in the journal: in memory there is only their number."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.failures import ErrorInfo
from holdfast.machine import Change
from holdfast.message import Message
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.records import read_error, read_message
from holdfast.stores.engine.papers import Unreadable


class JournalPapers:
    """The papers of all queues. ``journal`` is set before anything is read."""

    journal: Journal

    def keep(self, number: int, paper: Message | ErrorInfo | bytes) -> int:
        return number

    def change(self, handle: int, number: int, change: Change) -> int:
        return number

    def drop(self, handle: int) -> None:
        """Do nothing: what nobody needs goes with its segment."""

    def messages(self, handles: Sequence[int]) -> list[Message | Unreadable]:
        papers = self.journal.read(handles)
        return [paper if isinstance(paper, Unreadable) else read_message(paper) for paper in papers]

    def error(self, handle: int) -> ErrorInfo:
        [paper] = self.journal.read([handle])
        if isinstance(paper, Unreadable):
            return ErrorInfo("CorruptLog", f"the error is damaged: {paper.why}")
        return read_error(paper)

    def result(self, handle: int) -> bytes | Unreadable:
        return self.journal.read([handle])[0]
