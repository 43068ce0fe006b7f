"""Queues and logs as a program declares and chooses them: what they are told, if others may be, which are meant."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from itertools import count
from typing import TypedDict

import msgspec

from holdfast.codec import Codec, choose
from holdfast.config import Compression, LogSettings, QueueSettings
from holdfast.contract import LogBackend, QueueBackend
from holdfast.errors import UsageError, nearest
from holdfast.message import Seconds, seconds


class DeclaredQueues:
    """What ``App(queues=…, strict_queues=…)`` was given. Every method may be called from any thread."""

    def __init__(
        self, settings: Mapping[str, QueueSettings] | None = None, *, strict: bool = False, allow_pickle: bool = False
    ) -> None:
        self.settings = dict(settings or {})
        self.strict = strict
        self._codecs: dict[str, Codec] = {}
        self._admitted: set[str] = set()
        for name, its in self.settings.items():
            if not isinstance(name, str) or not 1 <= len(name) <= 255:
                raise UsageError(f"the name of a queue is a text of 1 to 255 characters, not {name!r:.80}")
            if not isinstance(its, QueueSettings):
                raise UsageError(f"queue {name!r}: write queues={{{name!r}: QueueSettings(…)}}, not {its!r:.80}")
            if its.codec is not None:
                self._codecs[name] = _codec(name, its.codec, allow_pickle)

    def check(self, queue: str) -> None:
        """Raise ``UsageError`` for a queue that is not declared, if only declared ones may be used."""
        if self.strict and queue not in self.settings and queue not in self._admitted:
            listed = ", ".join(self.settings) or "none"
            raise UsageError(
                f"queue {queue!r} is not declared{nearest(queue, self.settings)}; declared: {listed}. "
                f"Add it to App(queues=…) if it is meant"
            )

    def admit(self, queue: str) -> None:
        """Let a queue be used that is not declared: that of a consumer, which is named by its log and group."""
        self._admitted.add(queue)

    def codec(self, queue: str) -> Codec | None:
        """Return the codec of the tasks of this queue that choose none; None when it has none."""
        return self._codecs.get(queue)

    def write(self, store: QueueBackend) -> None:
        """Let the store know the settings; those that it has already are not written."""
        if not self.settings:
            return
        known = store.queues()
        for name, settings in self.settings.items():
            if known.get(name) != settings:
                store.declare(name, settings)


def _codec(queue: str, name: str, allow_pickle: bool) -> Codec:
    try:
        return choose(name, allow_pickle=allow_pickle)
    except UsageError as error:
        raise UsageError(f"queue {queue!r}: {error}") from None


class LogOptions(TypedDict, total=False):
    """What ``app.log`` can tell a log: the fields of ``LogSettings``. Lengths are seconds or a ``timedelta``."""

    partitions: int
    keep_for: Seconds | None
    keep_bytes: int | None
    keep_most: int | None
    until_consumed: bool
    limit_bytes: int | None
    group_expiry: Seconds | None
    compression: Compression
    max_body: int
    labels: Mapping[str, str]


class DeclaredLogs:
    """What ``app.log`` was told, and what is known of the logs since. Every method may be called from any thread.

    A log is declared when it is first used, and then only if its store has other settings. The fields that were given
    are set; of the others a log that exists keeps its own. With ``strict``, an append makes no log that was told
    nothing.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._lock = threading.Lock()
        self._given: dict[str, dict[str, object]] = {}
        self._known: tuple[LogBackend | None, dict[str, int]] = None, {}
        self._turns = count()

    def add(self, log: str, options: LogOptions) -> None:
        """Let a log be told these fields at its next use; ``UsageError`` names what does not fit. Touches no store."""
        if not isinstance(log, str) or not 1 <= len(log) <= 255:
            raise UsageError(f"the name of a log is a text of 1 to 255 characters, not {log!r:.80}")
        if not options:
            return
        known = LogOptions.__annotations__
        if unknown := min(options.keys() - known.keys(), default=None):
            raise UsageError(f"unknown log setting {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        given: dict[str, object] = dict(options)
        for name in ("keep_for", "group_expiry"):
            if given.get(name) is not None:
                given[name] = seconds(given[name], f"log {log!r}: {name}")  # type: ignore[arg-type] # it checks that
        msgspec.structs.replace(LogSettings(), **given)
        with self._lock:
            self._given[log] = self._given.get(log, {}) | given
        self.forget(log)

    def declare(self, store: LogBackend, log: str, settings: LogSettings) -> None:
        """Let a log have just these settings, now, in place of whatever it was told."""
        store.declare(log, settings)
        with self._lock:
            self._given[log] = msgspec.structs.asdict(settings)
        self.forget(log)

    def write(self, store: LogBackend, log: str) -> None:
        """Let the store know what this log was told, if anything; ``UsageError`` when it was, and does not fit."""
        if log in self._given:
            self.partitions(store, log)

    def partitions(self, store: LogBackend, log: str) -> int:
        """Return how many partitions the log has, for an append: a log that does not exist is made."""
        there, known = self._known
        number = known.get(log) if there is store else None
        return self._declare(store, log) if number is None else number

    def _declare(self, store: LogBackend, log: str) -> int:
        logs, given = store.logs(), self._given.get(log)
        present = logs.get(log)
        if present is None and given is None and self.strict:
            listed = ", ".join(logs) or "none"
            raise UsageError(
                f"log {log!r} is not declared{nearest(log, logs)}; there are: {listed}. "
                f"Declare it if it is meant: app.log({log!r}, partitions=…)"
            )
        wanted = msgspec.structs.replace(present or LogSettings(), **(given or {}))
        if wanted != present:
            store.declare(log, wanted)
        with self._lock:
            there, known = self._known
            self._known = store, {**(known if there is store else {}), log: wanted.partitions}
        return wanted.partitions

    def forget(self, log: str | None = None) -> None:
        """Look anew how many partitions a log has, or all, when one is next used: others may have given it more."""
        with self._lock:
            there, known = self._known
            self._known = there, {name: number for name, number in known.items() if log not in (None, name)}

    def renew(self) -> None:
        """Begin afresh, in the child of a fork: no lock of the parent is taken."""
        self._lock = threading.Lock()
        self._known = None, {}

    def turn(self, partitions: int) -> int:
        """Return the partition whose turn it is."""
        return next(self._turns) % partitions


class Selector(msgspec.Struct, frozen=True, kw_only=True):
    """Which queues or logs are meant: those of the ``ids``, and those that fit whatever else is given.

    A name fits if it is one of the ``names``, in which ``*`` stands for any text. Of the ``labels`` each must be there,
    values compared as text; logs have no ``group``. What is None does not matter; nothing at all means every one.
    """

    ids: frozenset[str] | None = None
    names: tuple[str, ...] | None = None
    labels: Mapping[str, object] | None = None
    group: str | None = None

    def matches(self, name: str, settings: QueueSettings | LogSettings) -> bool:
        """Tell whether this queue or log is meant."""
        if self.ids is not None:
            if name in self.ids:
                return True
            if self.names is None and self.labels is None and self.group is None:
                return False
        if self.names is not None and not any(_fits(name, pattern) for pattern in self.names):
            return False
        if self.group is not None and getattr(settings, "group", None) != self.group:
            return False
        wanted = self.labels or {}
        return all(settings.labels.get(label) == str(value) for label, value in wanted.items())

    def select(self, places: Mapping[str, QueueSettings] | Mapping[str, LogSettings]) -> list[str]:
        """Return the names of those that are meant, sorted."""
        return sorted(name for name, settings in places.items() if self.matches(name, settings))


def selector(
    names: str | Iterable[str] | None = None,
    labels: Mapping[str, object] | None = None,
    group: str | None = None,
    ids: str | Iterable[str] | None = None,
) -> Selector:
    """Return a selector from what users write; ``UsageError`` when that is something else."""
    if labels is not None and not isinstance(labels, Mapping):
        raise UsageError(f"labels are a mapping: labels={{'team': 'mail'}}, not {labels!r:.80}")
    if names is not None:
        names = (names,) if isinstance(names, str) else tuple(names)
    if ids is not None:
        ids = frozenset((ids,) if isinstance(ids, str) else ids)
    return Selector(ids=ids, names=names, labels=labels, group=group)


def _fits(name: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None
