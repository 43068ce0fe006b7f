"""Waiting for jobs to end: a watch is told on a stream of its own in each queue, and reads them all at once.

What it was told is only a hint that saves time. Whether the servers still have all that it asked is checked at every
sign of life, and outcomes are looked at now and then, so nothing that a server loses makes anybody wait for ever.
docs/design/completions.md tells how.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from typing import Any

from holdfast.capabilities import Watch
from holdfast.errors import Closed, HoldfastError
from holdfast.stores.redis.blocking import Blocking
from holdfast.stores.redis.connection import Command
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Call, Link
from holdfast.stores.redis.watched import ENTRIES, Step, Watched

_AT_LEAST = 0.001
"""A blocking command with a timeout of 0 would block for ever."""


class Completions:
    """The watches of one open store."""

    def __init__(self, link: Link, keys: Keys, times: Times) -> None:
        self._link, self._keys, self._times = link, keys, times
        self._lock = threading.Lock()
        self._open = set[RedisWatch]()

    def watch(self) -> RedisWatch:
        """Return a new watch."""
        watch = RedisWatch(self._link, self._keys, self._times, self)
        with self._lock:
            self._open.add(watch)
        return watch

    def closed(self, watch: RedisWatch) -> None:
        """Forget a watch."""
        with self._lock:
            self._open.discard(watch)

    def look_again(self) -> None:
        """Let every watch ask again: somebody moved the clock."""
        for watch in self._all():
            watch.look_again()

    def close(self) -> None:
        """Close every watch; waits going on end."""
        for watch in self._all():
            watch.close()

    def _all(self) -> list[RedisWatch]:
        with self._lock:
            return list(self._open)


class RedisWatch(Watch):
    """One connection waits, on a cluster one for each queue; calls go the way of all others.

    ``wait`` raises a retryable ``BackendError`` when a server is away. The next one asks about everything again.
    """

    def __init__(self, link: Link, keys: Keys, times: Times, among: Completions) -> None:
        self._link, self._keys, self._times, self._among = link, keys, times, among
        self._name, self._pid = os.urandom(8).hex(), os.getpid()
        self._blocking = Blocking(link)
        self._asking = threading.Lock()  # held while servers are asked; taken before the other
        self._changed = threading.Condition()
        self._parts: dict[str, Watched] = {}
        self._ended: list[tuple[str, str]] = []
        self._waiting = self._blocked = self._interrupted = self._closed = False

    def add(self, queue: str, job_ids: Collection[str]) -> None:
        with self._changed:
            if queue not in self._parts:
                self._parts[queue] = Watched(self._keys.queue(queue), self._name)
            self._parts[queue].add(job_ids)
            self._nudge()

    def discard(self, queue: str, job_ids: Collection[str]) -> None:
        gone = set(job_ids)
        with self._changed:
            if queue in self._parts:
                self._parts[queue].discard(gone)
            self._ended = [one for one in self._ended if one[0] != queue or one[1] not in gone]

    def wait(self, timeout: float) -> list[tuple[str, str]]:
        end = time.monotonic() + timeout
        with self._changed:
            self._check_open()
            self._waiting = True
        try:
            while (ended := self._found(end)) is None:
                self._block(end)
            return ended
        except HoldfastError:
            self._doubt()
            raise
        finally:
            with self._changed:
                self._waiting = False
                last = self._closed
            if last:
                self._blocking.close()

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._nudge()

    def look_again(self) -> None:
        """Ask at once whether anything has ended."""
        with self._changed:
            for part in self._parts.values():
                part.ask()
            self._nudge()

    def close(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._nudge()
            last = not self._waiting
        self._among.closed(self)
        if self._pid == os.getpid():  # otherwise it belongs to the process that this one was forked from
            with self._asking:
                self._remove()
        if last:
            self._blocking.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the watch is closed")

    # -- asking ---------------------------------------------------------------------------------------------------

    def _found(self, end: float) -> list[tuple[str, str]] | None:
        """Return what has ended once there is something, or the wait is over; None when it goes on."""
        error = None if self._ended else self._ask()
        with self._changed:
            self._check_open()
            if error is not None and not self._ended:
                raise error
            if not (self._ended or self._interrupted or time.monotonic() >= end):
                return None
            self._interrupted = False
            ended, self._ended = self._ended, []
            return ended

    def _ask(self) -> HoldfastError | None:
        """Ask all that is due; return what went wrong in one queue, which keeps no other from being asked."""
        failed = dict[Watched, HoldfastError]()
        while self._asked(failed):
            pass
        return next(iter(failed.values()), None)

    def _asked(self, failed: dict[Watched, HoldfastError]) -> bool:
        """Ask the servers of all parts that have not failed for a step each; tell whether there was any to take."""
        with self._asking:
            steps = self._steps(failed)
            replies = self._link.run_all([self._call(part, step) for _, part, step in steps])
            for (queue, part, step), reply in zip(steps, replies, strict=True):
                if error := self._took(queue, part, step, reply):
                    failed[part] = error
        return bool(steps)

    def _steps(self, failed: Collection[Watched]) -> list[tuple[str, Watched, Step]]:
        with self._changed:
            if self._closed:
                return []
            self._parts = {queue: part for queue, part in self._parts.items() if not part.is_idle}
            return [
                (queue, part, step)
                for queue, part in self._parts.items()
                if part not in failed and (step := part.step()) is not None
            ]

    def _call(self, part: Watched, step: Step) -> Call:
        return step.script, part.key, (self._times(), *step.args)

    def _took(self, queue: str, part: Watched, step: Step, reply: Any) -> HoldfastError | None:
        with self._changed:
            if isinstance(reply, HoldfastError):
                step.failed()
                part.doubt()
                return reply
            self._ended += [(queue, job_id) for job_id in step.took(reply)]
            return None

    def _remove(self) -> None:
        """Leave nothing at the servers; what is at one that does not answer is collected when its time is over."""
        while parts := [part for part in self._parts.values() if part.is_told]:
            replies = self._link.run_all([self._call(part, part.removal()) for part in parts])
            for part, reply in zip(parts, replies, strict=True):
                part.removed(True if isinstance(reply, HoldfastError) else bool(reply))

    # -- blocking -------------------------------------------------------------------------------------------------

    def _block(self, end: float) -> None:
        """Block until something is told, or to be asked, at most until ``end``."""
        with self._changed:
            if self._interrupted or self._closed:
                return
            streams = {part.stream.encode(): (queue, part) for queue, part in self._parts.items() if part.is_told}
            pause = min([end, *(part.due_at for part in self._parts.values())]) - time.monotonic()
            if pause <= 0:
                return
            if not streams:
                self._changed.wait(pause)
                return
            commands = self._commands(streams, max(pause, _AT_LEAST))
            self._blocked = True
        try:
            answers = self._blocking.wait(commands, max(pause, _AT_LEAST))
        finally:
            with self._changed:
                self._blocked = False
        with self._changed:
            for _, told in answers:
                for stream, entries in told:
                    queue, part = streams[stream]
                    self._ended += [(queue, job_id) for job_id in part.told(entries)]

    def _commands(self, streams: dict[bytes, tuple[str, Watched]], pause: float) -> list[tuple[str, Command]]:
        """Return the commands that wait for these streams, each with the key that says where it goes.

        Without a cluster that is always the same key, and so the same connection, whatever is waited for.
        """
        is_cluster = self._link.options.topology == "cluster"
        commands = list[tuple[str, Command]]()
        for group in self._link.together([part.stream for _, part in streams.values()]):
            cursors = [streams[stream.encode()][1].cursor for stream in group]
            how = "XREAD", "COUNT", ENTRIES, "BLOCK", int(pause * 1000) or 1, "STREAMS"
            where = streams[group[0].encode()][1].key if is_cluster else self._keys.store
            commands.append((where, (*how, *group, *cursors)))
        return commands

    def _doubt(self) -> None:
        """Let everything be asked again: something may have been lost with a connection."""
        with self._changed:
            for part in self._parts.values():
                part.doubt()

    def _nudge(self) -> None:
        """Let the wait that is going on look at what has changed."""
        self._changed.notify_all()
        if self._blocked:
            self._blocking.interrupt()
