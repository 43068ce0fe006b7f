"""How the queues and logs stand: gauges that are asked of the store when somebody scrapes."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from functools import partial
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from holdfast.capabilities import ForeignStreams
from holdfast.contract import LogBackend, QueueBackend
from holdfast.delivery import HolderInfo, QueueStats, State
from holdfast.errors import HoldfastError
from holdfast.metrics.logs import FAMILIES, LogSeen, fill, look_at, look_at_streams

PATIENCE = 2.0
"""Seconds that a scrape waits for the store."""
MOST_KINDS = 100
"""Of each queue so many unhandled kinds are told apart; the others are counted together as ``(others)``."""


class _Seen(NamedTuple):
    queues: Sequence[QueueStats]
    workers: Sequence[HolderInfo]
    logs: Sequence[LogSeen]


class StoreCollector(Collector):
    """Asks the store that ``store`` returns, once for all who scrape at the same time, in a thread of its own; the logs
    that ``logs`` returns, if any are open; and of the ``streams`` of others.
    """

    def __init__(
        self,
        store: Callable[[], QueueBackend],
        logs: Callable[[], LogBackend | None],
        streams: Callable[[], Collection[str]],
        logger: logging.Logger,
    ) -> None:
        self._store, self._logs, self._streams, self._logger = store, logs, streams, logger
        self._lock = threading.Lock()
        self._asked: Future[_Seen] | None = None
        self._up = True

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the families without asking, so that a registry knows their names."""
        return [_up(), *_families().values()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask, and yield the answer; of a store that does not answer in time only that."""
        seen = self._look()
        up = _up()
        up.add_metric([], 0.0 if seen is None else 1.0)
        yield up
        if seen is not None:
            yield from _filled(seen).values()

    def _look(self) -> _Seen | None:
        asked = self._ask()
        try:
            seen = asked.result(PATIENCE)
        except Exception as error:
            if self._up:
                why = f"no answer for {PATIENCE:g} s" if isinstance(error, Late) else error
                self._logger.warning("metrics: the store cannot be asked: %s", why)
            self._up = False
            return None
        self._up = True
        return seen

    def _ask(self) -> Future[_Seen]:
        """Return the answer to come; a question that is still open is not asked again."""
        with self._lock:
            asked = self._asked
            if asked is None:
                asked = self._asked = Future()
                threading.Thread(target=self._answer, args=(asked,), name="holdfast-scrape", daemon=True).start()
            return asked

    def _answer(self, asked: Future[_Seen]) -> None:
        try:
            answer = partial(asked.set_result, self._seen())
        except BaseException as error:
            answer = partial(asked.set_exception, error)
        with self._lock:
            self._asked = None
        answer()

    def _seen(self) -> _Seen:
        store = self._store()
        workers = [one for one in store.holders() if one.kinds and (one.beaten is None or one.beaten < one.ttl)]
        return _Seen([store.stats(queue) for queue in store.queues()], workers, self._seen_logs())

    def _seen_logs(self) -> list[LogSeen]:
        logs, store = self._logs(), self._store()
        try:
            its = store.open_streams() if isinstance(store, ForeignStreams) else None
            streams = look_at_streams(its, self._streams()) if its is not None else []
            return streams if logs is None else streams + look_at(logs)
        except HoldfastError as error:  # they may be elsewhere, and the queues are well
            self._logger.warning("metrics: the logs cannot be asked: %s", error)
            return []


def _up() -> GaugeMetricFamily:
    return GaugeMetricFamily("holdfast_store_up", "Whether the store answered this scrape.")


def _families() -> dict[str, GaugeMetricFamily]:
    told: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("jobs", "Jobs by state; `ready` includes those held behind the head of their key.", ("queue", "state")),
        ("jobs_held", "Ready jobs that wait for another of their key.", ("queue",)),
        ("jobs_unhandled", "Ready jobs that no live worker takes.", ("queue", "kind")),
        (
            "oldest_ready_seconds",
            "For how long the oldest job that could start has been ready; 0 without one.",
            ("queue",),
        ),
        ("queue_paused", "Whether the queue is paused.", ("queue",)),
        ("workers", "Live workers, by what they are at.", ("state",)),
        ("worker_slots", "Slots for jobs of all live workers.", ()),
        ("worker_memory_bytes", "Memory of all live workers.", ()),
        ("worker_loop_lag_seconds", "The longest lag of an event loop among live workers, at its last heartbeat.", ()),
        *FAMILIES,
    )
    return {name: GaugeMetricFamily(f"holdfast_{name}", text, labels=labels) for name, text, labels in told}


def _filled(seen: _Seen) -> Mapping[str, GaugeMetricFamily]:
    families = _families()
    for stats in seen.queues:
        for state in State:
            families["jobs"].add_metric([stats.queue, state], getattr(stats, state))
        families["jobs_held"].add_metric([stats.queue], stats.held)
        families["oldest_ready_seconds"].add_metric([stats.queue], stats.oldest_ready or 0.0)
        families["queue_paused"].add_metric([stats.queue], stats.paused)
        for kind, jobs in _largest(stats.unhandled).items():
            families["jobs_unhandled"].add_metric([stats.queue, kind], jobs)
    fill(families, seen.logs)
    states = Counter({"working": 0, "quiet": 0, "stopping": 0})
    states.update(one.state or "working" for one in seen.workers)
    for name, workers in states.items():
        families["workers"].add_metric([name], workers)
    families["worker_slots"].add_metric([], sum(one.slots for one in seen.workers))
    families["worker_memory_bytes"].add_metric([], sum(one.memory for one in seen.workers))
    families["worker_loop_lag_seconds"].add_metric([], max((one.lag or 0.0 for one in seen.workers), default=0.0))
    return families


def _largest(unhandled: Mapping[str, int]) -> Mapping[str, int]:
    if len(unhandled) <= MOST_KINDS:
        return unhandled
    kinds = Counter(unhandled)
    largest = dict(kinds.most_common(MOST_KINDS))
    return {**largest, "(others)": kinds.total() - sum(largest.values())}
