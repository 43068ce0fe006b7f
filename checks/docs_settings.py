"""Tables of settings and limits: names and defaults from the code, a sentence each from here.

A name that the code has and this page has not, or the other way round, is an error.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from checks.docs_text import code, number, size, table
from holdfast import delivery, failures, heartbeat, message, queues
from holdfast.config import LogSettings, QueueSettings
from holdfast.retry import Retry
from holdfast.tasks.consumers import StreamOptions
from holdfast.tasks.registry import DEFAULT_QUEUE, TaskOptions
from holdfast.tasks.subscribers import EVENTS_QUEUE, SubscriberOptions
from holdfast.tasks.task import UsingOptions
from holdfast.worker import WorkerOptions, housekeeping, tidying, watchdog
from holdfast.worker.crew import PATIENCE_MS
from holdfast.worker.leases import LARGEST_LEASE
from holdfast.worker.pace import MOST_AHEAD
from holdfast.worker.runners.threads import MAX_REPLACED
from holdfast.worker.settler import LARGEST_BATCH

_SIZES = {"max_body", "min_body"}


def _match(settings: Any, names: Collection[str], meanings: Mapping[str, str]) -> None:
    """Fail, saying what to do, unless each name has a sentence here."""
    missing, surplus = sorted(set(names) - set(meanings)), sorted(set(meanings) - set(names))
    assert not missing, f"write a sentence for {settings.__name__} {', '.join(missing)} in checks/docs_settings.py"
    assert not surplus, (
        f"{settings.__name__} has no {', '.join(surplus)} any more: remove it in checks/docs_settings.py"
    )


def _struct(settings: type[msgspec.Struct], meanings: Mapping[str, str]) -> str:
    fields = {field.name: field.default for field in msgspec.structs.fields(settings)}
    _match(settings, fields, meanings)
    rows = [[code(name), _default(name, fields[name]), meaning] for name, meaning in meanings.items()]
    return table(["setting", "default", ""], rows)


def _default(name: str, value: object) -> str:
    if name in _SIZES and isinstance(value, int):
        return size(value)
    if value == (Exception,):
        return "`Exception`"
    return "nothing" if value in ((), "", msgspec.NODEFAULT) else number(value)


def queue_settings() -> str:
    """Return the settings of a queue."""
    return _struct(
        QueueSettings,
        {
            "max_body": "largest body, in bytes; a larger one is refused before anything is written",
            "min_body": "smallest body, in bytes",
            "done_for": "how long done, cancelled and expired jobs are kept; 0 drops them at the next tidy",
            "done_most": "how many of the newest are kept, for each of these states",
            "dead_for": "how long dead letters are kept",
            "dead_most": "how many of the newest dead letters are kept",
            "dedupe_window": "how long the id of an ended job is recognised at least",
            "limit": "how many jobs may wait, scheduled and ready; beyond, sends raise `QueueFull`; `None`: no limit",
            "ticks_for": "how long the ticks of schedules are kept; `None`: for ever",
            "ticks_most": "how many of the newest ticks are kept, for each schedule; `None`: all",
            "labels": "texts by name, to choose queues by: `app.queues(labels=…)`",
            "group": "a name that queues share: `app.queues(group=…)`",
            "codec": "that of tasks declared for the queue that choose none: `App(queues=…)` knows it",
        },
    )


def log_settings() -> str:
    """Return the settings of a log."""
    return _struct(
        LogSettings,
        {
            "partitions": "how many there are; they may become more, never fewer",
            "keep_for": "how long messages are kept; `None`: for ever",
            "keep_bytes": "how many bytes of the newest messages are kept; `None`: all",
            "keep_most": "how many of the newest messages are kept; `None`: all",
            "until_consumed": "whether what a group has not read is kept whatever else is said",
            "limit_bytes": "how many bytes it may hold; beyond, `QueueFull` until something goes; `None`: no limit",
            "group_expiry": "how long after nobody read for a group it is removed, with its offsets; `None`: never",
            "compression": '`"none"`, `"lz4"` or `"zstd"` (extra `compression`), of appends from now on',
            "max_body": "largest body, in bytes; a larger one is refused before anything is written",
            "labels": "texts by name, to choose logs by: `app.logs(labels=…)`, `app.select(labels=…)`",
        },
    )


def retry_settings() -> str:
    """Return the settings of a retry."""
    return _struct(
        Retry,
        {
            "attempts": "runs in all; `None`: no limit",
            "base": "wait after the first attempt",
            "factor": "each further wait is so many times longer",
            "cap": "longest wait",
            "jitter": '`"full"`: from 0 to the wait; `"equal"`: from half of it; `"none"`: exactly it',
            "on": "classes, or a predicate, of errors that are retried",
            "never": "those that are not, even if `on` matches",
            "max_age": "seconds after the send from which nothing is retried",
        },
    ).replace("2 s |", "2 |")


def worker_options() -> str:
    """Return the options of a worker."""
    return _struct(
        WorkerOptions,
        {
            "concurrency": "jobs that run at once, on the threads and on the event loop each",
            "name": "the holder's name; by default `host:pid`",
            "ttl": "how long its leases live after its last heartbeat",
            "grace": "how long a stop waits for running jobs",
            "prefetch": "jobs that will start within so long are leased ahead",
            "embedded": "inside another program: leases nothing ahead; `app.worker` says `True` unless told otherwise",
            "busy_poll": "how often it looks by itself while jobs run",
            "idle_poll": "how often it looks by itself while none do",
            "stall_after": "after so long without being able to lease, `Stalled` is emitted",
            "drain": "end when nothing is left to do",
            "max_jobs": "end after so many jobs were leased",
            "lanes": 'slots for some queues or kinds alone, beside `concurrency`: `Lane(slots=2, queues=["urgent"])`',
            "supervised": "its parent process looks after it, as `holdfast worker` does for its own",
            "isolated": "how many isolated jobs run at once; by default one for each core, at most `concurrency`",
        },
    )


def _typed(options: Any, meanings: Mapping[str, str]) -> str:
    names = set(options.__annotations__)
    for base in getattr(options, "__orig_bases__", ()):
        names |= set(getattr(base, "__annotations__", ()))
    _match(options, names, meanings)
    return table(["option", ""], [[code(name), meaning] for name, meaning in meanings.items()])


def task_options() -> str:
    """Return the options of a declaration."""
    return _typed(
        TaskOptions,
        {
            "queue": f"where its jobs go; by default {code(DEFAULT_QUEUE)}",
            "name": "stored with every job; by default `module.function`",
            "retry": "a `Retry`, or a number of attempts; by default `Retry()`",
            "timeout": "limit of each run; by default none",
            "result": "how long the value is kept; by default none is, only how the job ended",
            "priority": "of a send that says nothing else; by default 0",
            "stop_when_lost": "cancel a coroutine, or kill an isolated job, as soon as its lease is lost; "
            "by default it runs on, for nothing",
            "isolate": "run it in a process of its own, which can be killed: at its timeout, when it is cancelled",
            "max_memory": "bytes of resident memory over which the process of an isolated task is killed; "
            "by default none",
            "codec": '`"json"`, `"msgpack"`, `"pickle"` (only with `App(allow_pickle=True)`), or a `Codec`; '
            "by default the App's",
        },
    )


def subscriber_options() -> str:
    """Return the options of a subscription."""
    return _typed(
        SubscriberOptions,
        {
            "queue": f"one that its events are published to, so that workers serve it; by default {code(EVENTS_QUEUE)}",
            "name": "the last part of its jobs' kind, after the event's; by default the function's own",
            "retry": "a `Retry`, or a number of attempts; by default `Retry()`",
            "timeout": "limit of each run; by default none",
            "priority": "of its jobs, when the event was published without one; by default 0",
            "stop_when_lost": "cancel a coroutine, or kill an isolated job, as soon as its lease is lost; "
            "by default it runs on, for nothing",
            "isolate": "run it in a process of its own, which can be killed: at its timeout, when it is cancelled",
            "max_memory": "bytes of resident memory over which the process of an isolated task is killed; "
            "by default none",
        },
    )


def consumer_options() -> str:
    """Return the options of a consumer."""
    return _typed(
        StreamOptions,
        {
            "stream": "in place of `log`: a Redis stream that others fill",
            "field": "of a stream: the field that is the message; by default all fields are, as texts",
            "key": "of a stream: the field by whose value entries are kept in order; by default none",
            "delete": "of a stream: delete each entry once it is done, for all groups; by default nothing is deleted",
            "group": "for whom the log is read; by default the function's name",
            "name": "stored with every dead letter, as its kind; by default `<log>.<group>`",
            "start": 'where a new group begins: `"earliest"` (the default), `"latest"`, an aware `datetime`, '
            "or an offset, which streams do not have",
            "when_gone": "of logs: when retention removed what is to be read next: stay there with an error, and say "
            'so (`"error"`, the default), or jump to the `"earliest"` or `"latest"` message',
            "order": 'which messages wait for earlier ones: those of the same key (`"key"`, the default), all of a '
            '`"partition"`, or `"none"`',
            "dead_letters": 'a message that failed for good becomes a dead letter (`"queue"`, the default), or its '
            'partition stops there (`"stop"`)',
            "retry": "a `Retry`, or a number of attempts; by default `Retry()`",
            "timeout": "limit of each run; by default none",
            "codec": "of bodies whose headers name none, of a stream those of `field`; by default the App's",
            "stop_when_lost": "cancel a coroutine, or kill an isolated run, as soon as its lease is lost; "
            "by default it runs on, for nothing",
            "isolate": "run it in a process of its own, which can be killed: at its timeout",
            "max_memory": "bytes of resident memory over which the process of an isolated consumer is killed; "
            "by default none",
        },
    )


def send_options() -> str:
    """Return the options of one send."""
    return _typed(
        UsingOptions,
        {
            "queue": "another queue than the task's; for tasks only",
            "id": "1 to 255 characters; a message whose id is known stores nothing; by default a new one",
            "delay": "seconds or a `timedelta` until it may run",
            "run_at": "an aware `datetime` from which it may run; not together with `delay`",
            "priority": f"{message.LOWEST_PRIORITY} … {message.HIGHEST_PRIORITY}, higher first; by default 0",
            "connection": "your own connection to the store: the message is part of the transaction there",
            "key": "of one key one job runs at a time, in the order they became ready",
            "expires_in": "not run any more after so long",
            "max_attempts": f"runs in all, `None`: no limit; by default the task's, or {message.DEFAULT_ATTEMPTS}",
            "timeout": "limit of each run; by default the task's",
            "headers": "texts by name, for your own use",
            "unique": "a `Unique`: of its key at most one job is there at a time",
        },
    )


def limits() -> str:
    """Return limits and defaults that are no settings."""
    rows = [
        ["priority", f"{message.LOWEST_PRIORITY} … {message.HIGHEST_PRIORITY}"],
        ["names of queues and tasks, keys, ids", "1 to 255 characters"],
        ["runs in which the process died, after which a job is buried", number(delivery.MAX_CRASHES)],
        ["failed runs kept with a job", f"the first {delivery.FIRST_ERRORS} and the last {delivery.LAST_ERRORS}"],
        ["characters kept of an error's message", number(failures.MAX_MESSAGE)],
        ["characters kept of a traceback", number(failures.MAX_TRACEBACK)],
        ["messages that one `lease` of a queue may ask for", number(queues.MOST_LEASED)],
        ["jobs that a worker leases in one call", number(LARGEST_LEASE)],
        ["jobs that a worker leases ahead", number(MOST_AHEAD)],
        ["seconds without a free slot after which those go back", number(PATIENCE_MS / 1000)],
        ["results that a worker settles in one call", number(LARGEST_BATCH)],
        ["threads over their timeout that are replaced", number(MAX_REPLACED)],
        ["threads over their timeout with which a worker process ends", number(watchdog.MOST_STUCK)],
        ["how often a worker tidies the store while there is work", number(housekeeping.TIDY_EVERY)],
        ["how often it does while there is none", number(housekeeping.TIDY_AT_LEAST)],
        ["how often it looks for holders whose process has gone", number(housekeeping.RETIRE_EVERY)],
        ["how often an open App tidies the store", number(tidying.TIDY_EVERY)],
        ["heartbeats in one ttl", number(heartbeat.BEATS_PER_TTL)],
        ["how often a worker with jobs asks for requests to cancel", number(heartbeat.BUSY_INTERVAL)],
    ]
    return table(["what", ""], rows)
