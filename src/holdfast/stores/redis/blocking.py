"""Waits at the servers: blocking commands whose wait another thread can end.

A command that blocks has a connection to itself. It is ended by CLIENT UNBLOCK on another connection, so that what it
may have taken at the last moment is read and told, not lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from holdfast.errors import BackendError, HoldfastError
from holdfast.stores.redis.connection import Command, Connection, readable
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.link import Link

_UNUSED = 8
"""How many connections are kept that the last wait had no use for."""
_SOON, _LATER = 0.005, 0.1
"""Seconds between two tries to end a wait, at first and at the most."""


class Blocking:
    """For one waiting thread; the rest may be called from any. Connections are kept from wait to wait."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._waits = self._closed = False
        self._slots: dict[str, _Slot] = {}
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def wait(self, commands: Sequence[tuple[str, Command]], timeout: float) -> list[tuple[str, Any]]:
        """Send each blocking command to the server that has its key; return, by key, what the first answers were.

        Each command carries a timeout of its own, which is to be ``timeout`` seconds. Empty when that was over, or
        when interrupted, or closed. Raises a retryable ``BackendError`` when a server is away.
        """
        if not self._begun():
            return []
        try:
            return self._wait(commands, timeout)
        finally:
            self._ended()

    def _begun(self) -> bool:
        with self._lock:
            self._waits = not self._closed
            return self._waits

    def _ended(self) -> None:
        with self._lock:
            self._waits = False
            if self._closed:
                self._let_go()

    def _wait(self, commands: Sequence[tuple[str, Command]], timeout: float) -> list[tuple[str, Any]]:
        waiting = dict[int, _Slot]()
        try:
            self._let_go_of_unused([key for key, _ in commands])
            for number, (key, command) in enumerate(commands):
                slot = self._slot(key, number)
                slot.connection.send([command])
                waiting[slot.connection.fileno()] = slot
            return self._first(waiting, time.monotonic() + timeout + self._link.options.timeout)
        except BaseException:
            self._close_slots()
            raise

    def interrupt(self) -> None:
        """End the wait that is going on, or else the next one. Never blocks."""
        with self._lock:  # what is closed may be another's descriptor by now
            if not self._closed:
                self._nudge()

    def close(self) -> None:
        """End the wait that is going on, and let go of everything, then if there is one. May be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._waits:
                self._nudge()
            else:
                self._let_go()

    def _nudge(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full of interrupts
            os.write(self._write, b"!")

    def _let_go(self) -> None:
        self._close_slots()
        for end in (self._read, self._write):
            with suppress(OSError):
                os.close(end)

    def _first(self, waiting: dict[int, _Slot], end: float) -> list[tuple[str, Any]]:
        found = list[tuple[str, Any]]()
        while waiting:
            ready = readable([self._read, *waiting], max(0.0, end - time.monotonic()))
            if not ready:
                raise BackendError("a server answers no more", retryable=True, outcome_unknown=True)
            if self._read in ready:
                os.read(self._read, 1 << 16)
                break
            found += [answer for fd in ready if (answer := waiting.pop(fd).answer()) is not None]
            if found:
                break
        return found + [answer for slot in waiting.values() if (answer := slot.ended(self._link)) is not None]

    def _slot(self, key: str, number: int) -> _Slot:
        place = self._place(key, number)
        slot = self._slots.pop(place, None)
        if slot is None or not slot.connection.is_fresh:
            if slot is not None:
                slot.connection.close()
            slot = _Slot(self._link.open(key))
        self._slots[place] = slot  # the last, as what was used last is let go of last
        slot.key = key
        return slot

    def _place(self, key: str, number: int) -> str:
        """Return which connection a command gets: on a cluster that of its key, else any will do."""
        return key if self._link.options.topology == "cluster" else str(number)

    def _let_go_of_unused(self, keys: Sequence[str]) -> None:
        """Close the connections, but for the newest, that these keys have no use for: there may be ever other keys."""
        used = {self._place(key, number) for number, key in enumerate(keys)}
        unused = [place for place in self._slots if place not in used]
        for place in unused[:-_UNUSED]:
            self._slots.pop(place).connection.close()

    def _close_slots(self) -> None:
        while self._slots:
            self._slots.popitem()[1].connection.close()


class _Slot:
    """The connection on which a command waits; ``key`` is that of the command."""

    def __init__(self, connection: Connection) -> None:
        self.key, self.connection = "", connection
        (self._number,) = connection.exchange([("CLIENT", "ID")])
        if isinstance(self._number, Reply):
            connection.close()
            raise mapped(self._number, connection.server)

    def answer(self) -> tuple[str, Any] | None:
        """Return what came, None when its time was over."""
        (reply,) = self.connection.receive(1)
        if isinstance(reply, Reply):
            if reply.code == "UNBLOCKED":
                return None
            self.connection.close()
            raise mapped(reply, self.connection.server)
        return None if reply is None else (self.key, reply)

    def ended(self, link: Link) -> tuple[str, Any] | None:
        """End the wait; return what came all the same.

        A server may not have begun it yet, when it pauses writes for a failover, or gets to that connection last: it
        is told again until there is an answer.
        """
        end, pause = time.monotonic() + link.options.timeout, _SOON
        try:
            while not self._unblocked(link) and not readable([self.connection.fileno()], pause):
                if time.monotonic() >= end:
                    raise BackendError(f"{self.connection.server} ends no wait", retryable=True, outcome_unknown=True)
                pause = min(2 * pause, _LATER)
        except HoldfastError:
            self.connection.close()
            raise
        return self.answer()

    def _unblocked(self, link: Link) -> bool:
        # Not as if its time were over: servers from before 2025 die of that when they have paused the client's command.
        (reply,) = link.call_at(self.connection.address, ("CLIENT", "UNBLOCK", self._number, "ERROR"))
        return bool(reply == 1)
