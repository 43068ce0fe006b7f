"""``holdfast worker``: a process that works on the queues of an App until it is stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from holdfast.cli.application import EXAMPLE, find_app
from holdfast.cli.groups import Failure, one_line
from holdfast.cli.options import json_option
from holdfast.cli.output import Output, Table, count, length
from holdfast.errors import HoldfastError, UsageError, nearest

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.worker import Stopped


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks of the worker; ``queues`` None means those that the tasks name."""

    queues: tuple[str, ...] | None
    concurrency: int
    grace: float
    drain: bool
    max_jobs: int | None

    @property
    def until(self) -> str:
        """What ends the worker, for people."""
        ends = ["stopped"]
        if self.drain:
            ends.append("nothing is left to do")
        if self.max_jobs is not None:
            ends.append(f"{count(self.max_jobs, 'job')} are done" if self.max_jobs > 1 else "one job is done")
        return f"until {' or '.join(ends)}"


def _split(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[str, ...] | None:
    names = [name.strip() for text in value for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(names)) or None


@click.command()
@click.argument("app", metavar="PKG.MOD:APP", required=False)
@click.option(
    "--queues", "-q", multiple=True, callback=_split, help="Only these, as a,b; by default all its tasks name."
)
@click.option("--concurrency", "-c", type=click.IntRange(1), default=10, show_default=True, help="Jobs at once.")
@click.option(
    "--drain", is_flag=True, help="End when nothing is ready or running any more; jobs scheduled for later stay."
)
@click.option("--max-jobs", type=click.IntRange(1), help="End after so many jobs.")
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=25.0,
    show_default=True,
    metavar="SECONDS",
    help="How long running jobs may go on once it is stopped.",
)
@json_option
def worker(app: str | None, out: Output, **orders: Any) -> None:
    """Work on the queues of an App until SIGTERM or Ctrl-C.

    Stopping lets running jobs end within --grace and gives the others back; a second signal leaves no grace. What it
    works on is printed at the start, what it did at the end.
    """
    if app is None:
        raise click.UsageError(f"Which App? {EXAMPLE[0].upper()}{EXAMPLE[1:]}.")
    _log()
    alone = len(_lasting()) == 1  # else this process is somebody else's, and goes on
    try:
        code = _run(app, Orders(**orders), out)
    except HoldfastError as error:
        if not alone or not _left_over():
            raise
        Failure(one_line(str(error))).show()
        code = 1
    if alone and _left_over():
        _end_now(code)
    if code:
        sys.exit(code)


def _run(name: str, orders: Orders, out: Output) -> int:
    app = find_app(name)
    try:
        stopped = _work(app, name, orders, out)
        if stopped.abandoned:
            _end_now(1)  # without closing the store: its jobs, whose threads cannot be stopped, may be using it
    finally:
        app.close()
    return int(stopped.unsettled > 0)


def _lasting() -> list[threading.Thread]:
    """Return the threads that Python waits for at its end; those of executors are among them, daemons or not."""
    pooled = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ())
    return [thread for thread in threading.enumerate() if not thread.daemon or thread in pooled]


def _left_over() -> bool:
    """Tell whether a handler left threads behind, as ``asyncio.to_thread`` does, that are not about to end."""
    end = time.monotonic() + 0.1
    for thread in _lasting():
        if thread is not threading.current_thread():
            thread.join(max(0.0, end - time.monotonic()))
    return len(_lasting()) > 1


def _end_now(code: int) -> NoReturn:
    """End the process without waiting for any thread."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _log() -> None:
    """Let failed attempts, dead letters and outages be seen, unless the program logs in its own way."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)


def _work(app: App, name: str, orders: Orders, out: Output) -> Stopped:
    tasks = app.tasks.values()
    if not tasks:
        raise UsageError(
            f"{name} has no tasks: declare one with @app.task, and import its module in {name.partition(':')[0]}"
        )
    queues = orders.queues or tuple(dict.fromkeys(task.queue for task in tasks))
    policy = _policy(app, name, orders, queues)
    _show(policy, orders, out)
    _warn(app, queues, [task.queue for task in tasks])
    runner = app.worker(
        queues,
        concurrency=orders.concurrency,
        grace=orders.grace,
        drain=orders.drain,
        max_jobs=orders.max_jobs,
        embedded=False,
    )
    stopped = runner.run()
    counts = msgspec.structs.asdict(stopped)
    out.answer({**policy, "counts": counts}, _told(counts))
    return stopped


def _warn(app: App, queues: Sequence[str], known: Sequence[str]) -> None:
    """Warn of what is allowed and most likely a mistake."""
    for queue in queues:
        if queue not in known:
            hint = nearest(queue, known)
            click.echo(f"holdfast: no task names queue {queue!r}{hint}; its jobs run if their kind is known", err=True)
    features = app.backend.features
    if not features.multi_process and not features.durable:
        where = f"holdfast: {app.url.text} lives inside this process: nobody else can send to this worker"
        click.echo(f"{where}; use one that processes share, such as sqlite:///jobs.db", err=True)


# -- what it works on -----------------------------------------------------------------------------------------


def _policy(app: App, name: str, orders: Orders, queues: Sequence[str]) -> dict[str, Any]:
    features = app.backend.features
    return {
        "app": name,
        "store": app.url.text,
        "level": features.level.value,
        "queues": list(queues),
        "concurrency": orders.concurrency,
        "grace": orders.grace,
        "drain": orders.drain,
        "max_jobs": orders.max_jobs,
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


def _show(policy: dict[str, Any], orders: Orders, out: Output) -> None:
    from holdfast import __version__

    out.say(
        f"holdfast {__version__} works on {policy['app']}, process {os.getpid()}",
        f"store        {policy['store']} (a send is {policy['level']} when it returns)",
        f"queues       {', '.join(policy['queues'])}",
        f"concurrency  {policy['concurrency']}, grace {length(policy['grace'])}, {orders.until}",
        "",
        Table(["task", "queue", "retry", "timeout", "result"], [_task_row(task) for task in policy["tasks"]]),
        "",
    )
    sys.stdout.flush()


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


# -- what it did ----------------------------------------------------------------------------------------------


def _told(counts: dict[str, int]) -> str:
    always = ("done", "retried", "buried")
    told = [f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number or name in always]
    return f"stopped: {', '.join(told)}"
