"""Appends that many tasks await: what comes while the store is busy goes into its next append."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial

from holdfast.batching import Answers, Funnel
from holdfast.contract import LogBackend
from holdfast.errors import BodyTooLarge, QueueFull
from holdfast.logged import StoredAt
from holdfast.logs.entries import Entry, Share, columns_of, each
from holdfast.logs.log import Log

_Parcel = tuple[Log, Entry]


class Appends:
    """The funnel of an App; its thread starts with the first append. For any number of tasks and loops."""

    def __init__(self) -> None:
        self._funnel: Funnel[_Parcel, StoredAt] = Funnel(_append_parcels, name="holdfast-append")

    def append(self, log: Log, entry: Entry) -> Awaitable[StoredAt]:
        """Return the place of one message, to be awaited, or its error. Messages of one task keep their order."""
        return self._funnel.submit((log, entry))

    def close(self) -> None:
        """Append what was submitted, then end the thread. May be repeated."""
        self._funnel.close()


def _append_parcels(parcels: list[_Parcel]) -> Answers[StoredAt]:
    logs, entries = zip(*parcels, strict=True)
    if len(set(logs)) == 1:
        return _appended(logs[0], entries)
    by_log: dict[str, list[int]] = {}
    for place, log in enumerate(logs):
        by_log.setdefault(log.name, []).append(place)
    answers: dict[int, StoredAt | Exception] = {}
    for places in by_log.values():
        its = _appended(logs[places[0]], [entries[place] for place in places])
        answers.update(zip(places, its, strict=True))
    return [answers[place] for place in range(len(parcels))]


def _appended(log: Log, entries: Sequence[Entry]) -> Answers[StoredAt]:
    """Append, and let no message spoil the others: a refused append is halved until the refused ones stand alone."""
    try:
        shared = log._insist(partial(log._shares, entries))
    except Exception as error:  # it belongs to those who appended
        return [error] * len(entries)
    if len(shared) == 1:
        return _append_share(log, entries, shared[0])
    answers: dict[int, StoredAt | Exception] = {}
    for share in shared:
        assert share.places is not None
        its = _append_share(log, [entries[place] for place in share.places], share)
        answers.update(zip(share.places, its, strict=True))
    return [answers[place] for place in range(len(entries))]


def _append_share(log: Log, entries: Sequence[Entry], share: Share) -> Answers[StoredAt]:
    def append(store: LogBackend) -> StoredAt:
        return store.append(log.name, share.partition, share.columns)

    try:
        return each(log._insist(append), len(entries))
    except (BodyTooLarge, QueueFull) as error:
        if len(entries) == 1:
            return [error]
        middle = len(entries) // 2
        parts = entries[:middle], entries[middle:]
        halves = [_append_share(log, part, Share(share.partition, columns_of(part))) for part in parts]
        return [*halves[0], *halves[1]]
    except Exception as error:
        return [error] * len(entries)
