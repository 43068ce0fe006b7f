"""Papers that lie in the journal: in memory there is only their number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from holdfast.failures import ErrorInfo
from holdfast.machine import Change
from holdfast.message import Message
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.records import Move, read_error, read_message
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.papers import Unreadable


class JournalPapers:
    """The papers of all queues. ``journal`` is set before anything is read."""

    journal: Journal

    def __init__(self) -> None:
        self.lost: set[int] = set()
        """Those that were to be copied, and are damaged: their segment goes without them."""
        self.moved: dict[int, int] = {}
        """Where those papers are which were copied, by the number they had at first."""
        self._first = 0

    def keep(self, number: int, paper: Message | ErrorInfo | bytes) -> int:
        return number

    def change(self, handle: int, number: int, change: Change) -> int:
        return number

    def drop(self, handle: int) -> None:
        self.lost.discard(handle)
        self.moved.pop(handle, None)  # what nobody needs goes with its segment

    def move(self, command: Move, at: At) -> None:
        """Read papers where they were copied to, from now on."""
        self.moved.update(zip(command.numbers, itertools.count(at.first)))

    def forget(self, first: int) -> None:
        """Forget copies that are gone from the journal, which begins there now."""
        if self.moved and first != self._first:
            self._first = first
            self.moved = {number: place for number, place in self.moved.items() if place >= first}

    def copied(self, handles: Sequence[int]) -> Move:
        """Return the command that copies those of these papers that can be read."""
        found = zip(handles, self._read(handles), strict=True)
        readable = []
        for handle, paper in found:
            if not isinstance(paper, Unreadable):
                readable.append((handle, paper))
            elif paper.is_damaged:
                self.lost.add(handle)
        return Move(tuple(handle for handle, _ in readable), tuple(paper for _, paper in readable))

    def _read(self, handles: Sequence[int]) -> list[bytes | Unreadable]:
        moved = self.moved
        return self.journal.read([moved.get(handle, handle) for handle in handles] if moved else handles)

    def messages(self, handles: Sequence[int]) -> list[Message | Unreadable]:
        papers = self._read(handles)
        return [paper if isinstance(paper, Unreadable) else read_message(paper) for paper in papers]

    def error(self, handle: int) -> ErrorInfo:
        [paper] = self._read([handle])
        if isinstance(paper, Unreadable):
            return ErrorInfo("CorruptLog", f"the error is damaged: {paper.why}")
        return read_error(paper)

    def result(self, handle: int) -> bytes | Unreadable:
        return self._read([handle])[0]
