"""What happened in this process: counters and durations, kept by listeners.

No label has more values than the program has queues, kinds and gates; ids, keys and reasons never become labels.
"""

from __future__ import annotations

import time
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from holdfast.clock import Clock
from holdfast.delivery import Receipt
from holdfast.events import (
    BeforeBury,
    BeforeRetry,
    Cancelled,
    Counted,
    Done,
    Dropped,
    Event,
    Events,
    Expired,
    GateClosed,
    GateOpened,
    HolderLost,
    JobEvent,
    Leased,
    Listener,
    LogTrimmed,
    LoopBlocked,
    LoopLag,
    Lost,
    Recovered,
    Rescued,
    Retired,
    ScheduleFailed,
    Sent,
    Stalled,
    Started,
    Stuck,
    Ticked,
)
from holdfast.worker.outcomes import ProcessDied

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""The buckets of durations."""
LAGS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
MOST_RUNS = 100_000
"""So many runs are timed at once; a run that was given back never ends, and is forgotten when others come."""

_OF_JOBS: tuple[tuple[type[JobEvent], str, str], ...] = (
    (Leased, "jobs_leased", "Jobs that workers were granted."),
    (Started, "jobs_started", "Runs that began."),
    (Done, "jobs_done", "Runs that were acknowledged."),
    (BeforeRetry, "jobs_retried", "Runs that failed and are repeated."),
    (BeforeBury, "jobs_buried", "Jobs that became dead letters in a worker."),
    (Cancelled, "jobs_cancelled", "Runs that were stopped on request, or cancelled themselves."),
    (Lost, "jobs_lost", "Runs whose lease was lost: they count for nothing."),
    (Stuck, "jobs_stuck", "Runs over their timeout that cannot be stopped."),
)
_COUNTED: tuple[tuple[type[Counted], str, str], ...] = (
    (Expired, "jobs_expired", "Jobs that housekeeping found expired; a lease or a look may find others."),
    (Dropped, "jobs_dropped", "Dead letters that retention removed."),
    (Rescued, "jobs_rescued", "Jobs that were taken back from holders gone silent."),
)
_HAPPENED: tuple[tuple[type[Event], str, str], ...] = (
    (Stalled, "worker_stalls", "How often a worker became unable to lease."),
    (LoopBlocked, "loop_blocked", "How often an async handler blocked the event loop."),
    (HolderLost, "holders_lost", "How often a worker here lost its heartbeat, and with it its leases."),
)
_ENDS = (Done, BeforeRetry, BeforeBury, Cancelled)


class Counting:
    """The metrics of one process; ``ValueError`` when the registry has metrics of these names."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._begun: dict[Receipt, float] = {}
        counter = partial(Counter, namespace="holdfast", registry=registry)
        of_jobs, histogram = ("queue", "kind"), partial(Histogram, namespace="holdfast", registry=registry)
        self._sent = counter("jobs_sent", "Jobs that were stored.", of_jobs)
        self._duplicates = counter("jobs_duplicate", "Sends that found their job there already.", of_jobs)
        self._of_jobs = {event: counter(name, text, of_jobs) for event, name, text in _OF_JOBS}
        self._counted = {event: counter(name, text) for event, name, text in _COUNTED}
        self._happened = {event: counter(name, text) for event, name, text in _HAPPENED}
        self._duration = histogram(
            "job_duration_seconds", "From the start of a run until its outcome is known.", of_jobs, buckets=SECONDS
        )
        self._wait = histogram(
            "job_wait_seconds", "From the moment a job could have started until it did.", of_jobs, buckets=SECONDS
        )
        self._lag = histogram("loop_lag_seconds", "How long the event loop of handlers took to answer.", buckets=LAGS)
        self._retired = counter("holders_retired", "Holders that were ended because their process has gone.")
        self._returned = counter("jobs_returned", "Jobs that were taken back from processes that have gone.")
        self._crashed = counter(
            "jobs_crashed", "Runs that were charged with the death of their process, isolated ones included."
        )
        self._trimmed = counter("log_messages_dropped", "Messages of logs that retention removed.")
        self._ticks = counter("schedule_ticks", "Ticks of schedules, by what became of them.", ("queue", "outcome"))
        self._failed = counter("schedule_failures", "How often a schedule could not be fired.", ("queue",))
        gauge = partial(Gauge, namespace="holdfast", registry=registry)
        self._stalled = gauge("workers_stalled", "Workers unable to lease now.", multiprocess_mode="livesum")
        self._gates = gauge(
            "gate_closed", "Whether the gate of a kind is closed.", ("kind",), multiprocess_mode="livemax"
        )

    def listen_to(self, events: Events) -> None:
        """Count from now on."""
        listeners: list[tuple[type[Event], Listener]] = [
            *((event_type, self._count_job) for event_type in self._of_jobs),
            *((event_type, self._count_several) for event_type in self._counted),
            *((event_type, self._count_one) for event_type in self._happened),
            *((event_type, self._ended) for event_type in _ENDS),
            (Sent, self._count_sent),
            (Started, self._began),
            (Lost, self._forget),
            (LoopLag, lambda event: self._lag.observe(event.seconds)),
            (Retired, self._count_retired),
            (LogTrimmed, lambda event: self._trimmed.inc(event.messages)),
            (Ticked, lambda event: self._ticks.labels(event.queue, event.outcome).inc()),
            (ScheduleFailed, lambda event: self._failed.labels(event.queue).inc()),
            (Stalled, lambda _: self._stalled.inc()),
            (Recovered, lambda _: self._stalled.dec()),
            (GateClosed, lambda event: self._gates.labels(event.kind).set(1)),
            (GateOpened, lambda event: self._gates.labels(event.kind).set(0)),
        ]
        for event_type, listener in listeners:
            events.listen(event_type, listener)

    # -- listeners ------------------------------------------------------------------------------------------------

    def _count_job(self, event: JobEvent) -> None:
        self._of_jobs[type(event)].labels(event.job.queue, event.job.kind).inc()
        if isinstance(event, (BeforeRetry, BeforeBury)) and isinstance(event.error, ProcessDied):
            self._crashed.inc()

    def _count_several(self, event: Counted) -> None:
        self._counted[type(event)].inc(event.count)

    def _count_one(self, event: Event) -> None:
        self._happened[type(event)].inc()

    def _count_sent(self, event: Sent) -> None:
        counter = self._duplicates if event.stored.duplicate else self._sent
        counter.labels(event.stored.queue, event.message.kind).inc()

    def _count_retired(self, event: Retired) -> None:
        self._retired.inc()
        self._returned.inc(event.jobs)
        self._crashed.inc(event.charged or 0)

    # -- how long a run takes -------------------------------------------------------------------------------------

    def _began(self, event: Started) -> None:
        job = event.job
        self._wait.labels(job.queue, job.kind).observe(max(0.0, (self._clock.wall() - job.ready) / 1000))
        while len(self._begun) >= MOST_RUNS:
            self._begun.pop(next(iter(self._begun)), None)
        self._begun[job.receipt] = time.perf_counter()

    def _ended(self, event: JobEvent) -> None:
        if (began := self._forget(event)) is not None:
            seconds = time.perf_counter() - began
            self._duration.labels(event.job.queue, event.job.kind).observe(seconds)

    def _forget(self, event: JobEvent) -> float | None:
        return self._begun.pop(event.job.receipt, None)
