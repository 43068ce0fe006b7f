"""Group commit: who comes while another is at the disk goes with the next group, and one of that group carries it out.

Nobody there: the caller does his own work, in his own thread, at once. Somebody there: he joins the next group and
sleeps. The first of a group is its heir: he is woken when the disk is free, closes the group and carries it out; the
others are woken by one release of one lock, which each of them hands to the next. There is no timer and no thread.
A plain lock around the sync convoys: 64 threads got 7 k/s with it at a p99 of 138 ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from holdfast.errors import BackendError

Item = TypeVar("Item")


class _Group(Generic[Item]):
    """Those who wait together. Both locks are held from the beginning, and released once."""

    __slots__ = ("_done", "_turn", "called", "carried", "items")

    def __init__(self, item: Item) -> None:
        self.items = [item]
        self.called = self.carried = False
        self._turn, self._done = threading.Lock(), threading.Lock()
        self._turn.acquire()
        self._done.acquire()

    def call(self) -> None:
        """Wake the heir."""
        self.called = True
        self._turn.release()

    def finish(self) -> None:
        """Wake the others, and the heir if somebody else carried the group out."""
        self.carried = True
        if not self.called:
            self.call()
        self._done.release()

    def wait_for_turn(self) -> BaseException | None:
        """Return when the heir is called; what interrupted the wait is handed back, to be raised when all is done."""
        interrupt = None
        while not self.called:
            try:
                self._turn.acquire()
            except BaseException as error:  # a group without its heir would wait for ever
                interrupt = error
        return interrupt

    def wait(self) -> None:
        """Return when the group is done; an interrupt is raised at once, and the group goes on without."""
        with self._done:
            pass


class GroupCommit(Generic[Item]):
    """Hands items to ``carry_out``, which keeps their results in them: one call at a time, in the order they came.

    ``linger`` is how long (seconds) who finds nobody there waits for others first.
    """

    def __init__(self, carry_out: Callable[[list[Item]], None], *, linger: float = 0.0) -> None:
        self._carry_out, self._linger = carry_out, linger
        self._lock = threading.Lock()
        self._within: set[int] = set()
        """The threads that are in ``submit``."""
        self._leader: int | None = None
        self._next: _Group[Item] | None = None

    def submit(self, item: Item) -> None:
        """Return when the item was carried out; from any thread.

        ``BackendError`` from a signal handler that came while its own thread was in here: it would wait for itself.
        """
        me = threading.get_ident()
        if me in self._within:
            raise BackendError("this thread is in the middle of an append: try again later", retryable=True)
        try:
            self._within.add(me)
            self._submit(item, me)
        finally:
            if self._leader == me:  # interrupted between becoming the leader and being it
                self._hand_over(None)
            self._within.discard(me)

    def _submit(self, item: Item, me: int) -> None:
        with self._lock:
            group, heir = self._next, False
            if self._leader is None:
                self._leader = me
            elif group is None:
                group = self._next = _Group(item)
                heir = True
            else:
                group.items.append(item)
        if group is None:
            self._lead(item)
        elif heir:
            self._inherit(group, me)
        else:
            group.wait()

    def _lead(self, item: Item) -> None:
        items, group = [item], None
        try:
            if self._linger:
                time.sleep(self._linger)
                if (group := self._take()) is not None:
                    items += group.items
            self._carry_out(items)
        finally:
            self._hand_over(group)

    def _inherit(self, group: _Group[Item], me: int) -> None:
        interrupt = group.wait_for_turn()
        if not group.carried:
            self._leader = me
            try:
                self._take()
                self._carry_out(group.items)
            finally:
                self._hand_over(group)
        if interrupt is not None:
            raise interrupt

    def _take(self) -> _Group[Item] | None:
        """Close the group that gathers, so that whoever comes now is in the one after it."""
        with self._lock:
            group, self._next = self._next, None
        return group

    def _hand_over(self, done: _Group[Item] | None) -> None:
        with self._lock:
            heir = self._next
            self._leader = None if heir is None else _NOBODY_YET
        if heir is not None:
            heir.call()  # first: the disk waits for him
        if done is not None:
            done.finish()


_NOBODY_YET = -1
