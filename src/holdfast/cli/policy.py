"""What a worker works on, printed when it starts, and what it did, printed when it has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.cli.output import Output, Table, count, length
from holdfast.cli.sizes import size

if TYPE_CHECKING:
    from holdfast.app import App


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the worker; ``tasks`` are packages to discover, ``queues`` None means those that tasks name."""

    tasks: tuple[str, ...] | None
    queues: tuple[str, ...] | None
    concurrency: int
    lanes: tuple[tuple[str, int], ...]
    grace: float
    drain: bool
    max_jobs: int | None
    status: tuple[str, int] | None = None
    processes: int = 0
    recycle: int | None = None
    max_memory: int | None = None
    stall_limit: float = 900.0
    ttl: float | None = None
    isolated: int | None = None

    @property
    def until(self) -> str:
        """What ends the worker, for people."""
        ends = ["stopped"]
        if self.drain:
            ends.append("nothing is left to do")
        if self.max_jobs is not None:
            ends.append(f"{count(self.max_jobs, 'job')} are done" if self.max_jobs > 1 else "one job is done")
        return f"until {' or '.join(ends)}"


def policy_of(app: App, name: str, orders: Orders, queues: Sequence[str]) -> dict[str, Any]:
    """Return what is in force, as JSON."""
    features = app.backend.features
    return {
        "app": name,
        "store": app.url.text,
        "level": features.level.value,
        "logs": None if app.logs_url is None else app.logs_url.text,
        "queues": list(queues),
        "concurrency": orders.concurrency,
        "isolated": orders.isolated,
        "lanes": dict(orders.lanes),
        "grace": orders.grace,
        "drain": orders.drain,
        "max_jobs": orders.max_jobs,
        "processes": orders.processes,
        "recycle": orders.recycle,
        "max_memory": orders.max_memory,
        "stall_limit": orders.stall_limit,
        "schedules": _schedules(app),
        "tasks": [
            {
                "name": task.name,
                "queue": task.settings.queue,
                "async": task.is_async,
                "timeout": task.settings.timeout,
                "keep_result": task.settings.keep_result,
                "retry": {
                    field: getattr(task.settings.retry, field)
                    for field in ("attempts", "base", "factor", "cap", "jitter", "max_age")
                },
            }
            for task in app.tasks.values()
        ],
    }


def _schedules(app: App) -> list[dict[str, Any]]:
    from holdfast.cli.schedules import rule_in_words

    return [
        {"name": one.name, "queues": list(one.queues), "rule": rule_in_words(one.definition.rule)}
        for one in app.schedules.of_code()
    ]


def show(policy: dict[str, Any], orders: Orders, out: Output) -> None:
    """Print what is in force, for people."""
    from holdfast import __version__

    out.say(
        f"holdfast {__version__} works on {policy['app']}, process {os.getpid()}",
        *([f"settings     {policy['project']}"] if policy["project"] else []),
        f"store        {policy['store']} (a send is {policy['level']} when it returns)",
        *([f"logs         {policy['logs']}"] if policy["logs"] else []),
        f"queues       {', '.join(policy['queues'])}",
        f"concurrency  {policy['concurrency']}, grace {length(policy['grace'])}, {orders.until}",
        *_processes(orders),
        *([f"lanes        {_lanes(policy['lanes'])}"] if policy["lanes"] else []),
        "",
        Table(["task", "queue", "retry", "timeout", "result"], [_task_row(task) for task in policy["tasks"]]),
        "",
        *_schedule_table(policy["schedules"]),
    )
    sys.stdout.flush()


def _processes(orders: Orders) -> list[str]:
    """Say how many processes work, and when they are replaced, if that was ordered."""
    limits = []
    if orders.recycle is not None:
        limits.append(f"after {count(orders.recycle, 'job')}")
    if orders.max_memory is not None:
        limits.append(f"over {size(orders.max_memory)}")
    if orders.processes <= 1 and not limits:
        return []
    replaced = f", each replaced {' or '.join(limits)}" if limits else ""
    return [f"processes    {orders.processes} of that concurrency{replaced}"]


def _lanes(lanes: dict[str, int]) -> str:
    return ", ".join(f"{count(slots, 'slot')} for {queue}" for queue, slots in lanes.items())


def _schedule_table(schedules: list[dict[str, Any]]) -> list[Table | str]:
    if not schedules:
        return []
    rows = [[one["name"], one["rule"], ", ".join(one["queues"])] for one in schedules]
    return [Table(["schedule", "rule", "queues"], rows), ""]


def _task_row(task: dict[str, Any]) -> list[object]:
    return [
        task["name"],
        task["queue"],
        _retry(task["retry"]),
        length(task["timeout"]) or "none",
        length(task["keep_result"]) or "not kept",
    ]


def _retry(retry: dict[str, Any]) -> str:
    attempts = "attempts without limit" if retry["attempts"] is None else count(retry["attempts"], "attempt")
    if retry["attempts"] == 1:
        return attempts
    waits = f"waits {length(retry['base'])} × {retry['factor']:g} up to {length(retry['cap'])}"
    return f"{attempts}, {waits}{'' if retry['jitter'] == 'none' else ', ' + retry['jitter'] + ' jitter'}"


def told(counts: dict[str, int]) -> str:
    """Say what the worker did, and what became of its processes."""
    always = ("done", "retried", "buried")
    told = [f"{number} {_named(name, number)}" for name, number in counts.items() if number or name in always]
    if any(counts.get(f"processes_{end}") for end in ("died", "killed")):
        return f"stopped: {', '.join(told)}; what those that died or were killed had done is not counted"
    return f"stopped: {', '.join(told)}"


def _named(name: str, number: int) -> str:
    words = name.replace("_", " ")
    return words.replace("processes", "process") if number == 1 else words
