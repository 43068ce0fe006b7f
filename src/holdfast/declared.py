"""Queues as a program declares and chooses them: their settings, whether others are allowed, and which are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from holdfast.codec import Codec, choose
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.errors import UsageError, nearest


class DeclaredQueues:
    """What ``App(queues=…, strict_queues=…)`` was given. Every method may be called from any thread."""

    def __init__(
        self, settings: Mapping[str, QueueSettings] | None = None, *, strict: bool = False, allow_pickle: bool = False
    ) -> None:
        self.settings = dict(settings or {})
        self.strict = strict
        self._codecs: dict[str, Codec] = {}
        for name, its in self.settings.items():
            if not isinstance(name, str) or not 1 <= len(name) <= 255:
                raise UsageError(f"the name of a queue is a text of 1 to 255 characters, not {name!r:.80}")
            if not isinstance(its, QueueSettings):
                raise UsageError(f"queue {name!r}: write queues={{{name!r}: QueueSettings(…)}}, not {its!r:.80}")
            if its.codec is not None:
                self._codecs[name] = _codec(name, its.codec, allow_pickle)

    def check(self, queue: str) -> None:
        """Raise ``UsageError`` for a queue that is not declared, if only declared ones may be used."""
        if self.strict and queue not in self.settings:
            listed = ", ".join(self.settings) or "none"
            raise UsageError(
                f"queue {queue!r} is not declared{nearest(queue, self.settings)}; declared: {listed}. "
                f"Add it to App(queues=…) if it is meant"
            )

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


class QueueSelector(msgspec.Struct, frozen=True, kw_only=True):
    """Which queues are meant: one of the ``names``, in which ``*`` stands for any text, with all of the ``labels``,
    compared as text, and of the ``group``. What is None does not matter.
    """

    names: tuple[str, ...] | None = None
    labels: Mapping[str, object] | None = None
    group: str | None = None

    def matches(self, name: str, settings: QueueSettings) -> bool:
        """Tell whether this queue is meant."""
        if self.names is not None and not any(_fits(name, pattern) for pattern in self.names):
            return False
        if self.group is not None and settings.group != self.group:
            return False
        wanted = self.labels or {}
        return all(settings.labels.get(label) == str(value) for label, value in wanted.items())

    def select(self, queues: Mapping[str, QueueSettings]) -> list[str]:
        """Return the names of the queues that are meant, sorted."""
        return sorted(name for name, settings in queues.items() if self.matches(name, settings))


def selector(
    names: str | Iterable[str] | None = None, labels: Mapping[str, object] | None = None, group: str | None = None
) -> QueueSelector:
    """Return a selector from what users write; ``UsageError`` when that is something else."""
    if labels is not None and not isinstance(labels, Mapping):
        raise UsageError(f"labels are a mapping: labels={{'team': 'mail'}}, not {labels!r:.80}")
    if names is not None:
        names = (names,) if isinstance(names, str) else tuple(names)
    return QueueSelector(names=names, labels=labels, group=group)


def _fits(name: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None
