"""``holdfast worker``: a process that works on the queues of an App until it is stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click
import msgspec

from holdfast.cli.application import EXAMPLE, find_app, search
from holdfast.cli.groups import Failure, one_line
from holdfast.cli.options import APP_VARIABLE, json_option
from holdfast.cli.output import Output
from holdfast.cli.policy import Orders, policy_of, show, told
from holdfast.cli.project import FILE, LOG_FORMATS, META, TABLE, Project, ProjectCommand, from_file, naming, same_place
from holdfast.cli.serving import read_place, serving
from holdfast.errors import ConfigError, HoldfastError, UsageError, nearest
from holdfast.tasks.discovery import DECLARING

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.worker import Stopped
    from holdfast.worker.tether import Tether


def _split(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[str, ...] | None:
    names = [name.strip() for text in value for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(names)) or None


def _lanes(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[tuple[str, int], ...]:
    lanes: list[tuple[str, int]] = []
    for text in value:
        queue, _, slots = text.rpartition("=")
        if not queue or not slots.isdecimal() or int(slots) < 1:
            raise click.BadParameter(f"{text!r}: write a queue and its slots, as in --lane urgent=2")
        lanes.append((queue, int(slots)))
    return tuple(lanes)


@click.command(cls=ProjectCommand)
@click.argument("app", metavar="PKG.MOD:APP", required=False, envvar=APP_VARIABLE)
@click.option(
    "--discover",
    "tasks",
    metavar="PKG",
    multiple=True,
    envvar="HOLDFAST_TASKS",
    callback=_split,
    help="Import this package's modules called tasks or jobs, or by a pattern: PKG:*_tasks.",
)
@click.option(
    "--queues",
    "-q",
    multiple=True,
    envvar="HOLDFAST_QUEUES",
    callback=_split,
    help="Only these, as a,b; by default all its tasks name.",
)
@click.option(
    "--concurrency",
    "-c",
    type=click.IntRange(1),
    default=10,
    envvar="HOLDFAST_CONCURRENCY",
    show_default=True,
    help="Jobs at once.",
)
@click.option(
    "--lane",
    "lanes",
    multiple=True,
    metavar="QUEUE=SLOTS",
    envvar="HOLDFAST_LANES",
    callback=_lanes,
    help="Slots of its own for a queue, beside --concurrency; again for another queue.",
)
@click.option(
    "--drain", is_flag=True, help="End when nothing is ready or running any more; jobs scheduled for later stay."
)
@click.option("--max-jobs", type=click.IntRange(1), help="End after so many jobs.")
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=25.0,
    envvar="HOLDFAST_GRACE",
    show_default=True,
    metavar="SECONDS",
    help="How long running jobs may go on once it is stopped.",
)
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMATS),
    default="text",
    envvar="HOLDFAST_LOG_FORMAT",
    show_default=True,
    help="How log lines are written to stderr.",
)
@click.option(
    "--status",
    metavar="[HOST:]PORT",
    envvar="HOLDFAST_STATUS",
    callback=read_place,
    help="Serve /health, /ready and /metrics there; without a host for this machine alone.",
)
@click.option("--reload", is_flag=True, help="Start anew when a Python file of the project changes; for development.")
@json_option
@click.pass_context
def worker(
    context: click.Context, /, app: str | None, out: Output, *, reload: bool, log_format: str, **orders: Any
) -> None:
    """Work on the queues of an App until SIGTERM or Ctrl-C.

    What is not given comes from $HOLDFAST_APP, $HOLDFAST_QUEUES and so on, then from [tool.holdfast] in pyproject.toml.

    Stopping lets running jobs end within --grace and gives the others back; a second signal leaves no grace. What it
    works on is printed at the start, what it did at the end.
    """
    if app is None:
        raise click.UsageError(f"Which App? {EXAMPLE[0].upper()}{EXAMPLE[1:]}; or set app in [{TABLE}] of {FILE}.")
    project: Project | None = context.meta[META]
    tether = _watched(project) if reload else None
    _log(log_format)
    alone = len(_lasting()) == 1  # else this process is somebody else's, and goes on
    try:
        code = _run(Named(app, from_file(context, "app"), project, tether), Orders(**orders), out)
    except HoldfastError as error:
        if not alone or not _left_over():
            raise
        Failure(one_line(str(error))).show()
        code = 1
    if alone and _left_over():
        _end_now(code)
    if code:
        sys.exit(code)


class Named(NamedTuple):
    """Which App is meant, whether the project's file says so, that file, and the tie to who restarts this process."""

    name: str
    in_file: bool
    project: Project | None
    tether: Tether | None

    def find(self, packages: Sequence[str]) -> App:
        """Import the App and the tasks of these packages."""
        try:
            app = self._find()
            for package in packages:
                name, _, pattern = package.partition(":")
                app.tasks.discover(name, modules=pattern or DECLARING)
            return app
        finally:
            if self.tether is not None and not self.tether.terms.supervised:
                _tell_files(self.tether)

    def _find(self) -> App:
        if self.project is None:
            return find_app(self.name)
        search(self.project.folder)  # also for what is to be discovered
        if not self.in_file:
            return find_app(self.name)
        with naming(self.project, "app"):
            return find_app(self.name, self.project.folder)


def _tell_files(tether: Tether) -> None:
    from holdfast.cli.watching import imported_files
    from holdfast.worker.tether import Imported

    tether.tell(Imported(tuple(imported_files())))


def _watched(project: Project | None) -> Tether:
    """Return the tie to the process that watches files; in that process itself, watch, and do not return."""
    from holdfast.cli.reloading import Reloader
    from holdfast.worker.tether import tethered

    if (tether := tethered()) is not None:
        return tether
    folder, files = (project.folder, [project.file]) if project else (Path.cwd(), [])
    sys.exit(Reloader(folder, files).run())


def _run(named: Named, orders: Orders, out: Output) -> int:
    app = named.find(orders.tasks or ())
    try:
        stopped = _work(app, named, orders, out)
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


def _log(log_format: str) -> None:
    """Let failed attempts, dead letters and outages be seen, unless the program logs in its own way."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        from holdfast.formatter import JsonFormatter

        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _work(app: App, named: Named, orders: Orders, out: Output) -> Stopped:
    tasks, name, project = app.tasks.values(), named.name, named.project
    if not tasks:
        raise UsageError(
            f"{name} has no tasks: declare one with @app.task, and import its module in {name.partition(':')[0]}, "
            "or let --discover find it"
        )
    known = tuple(dict.fromkeys([*(task.queue for task in tasks), *app.schedules.queues()]))
    queues = orders.queues or known
    policy = policy_of(app, name, orders, queues) | {"project": project and str(project.file)}
    show(policy, orders, out)
    _warn(app, queues, known)
    if project is not None:
        _settle_queues(app, project, [*queues, *known])
    from holdfast.worker import Lane

    runner = app.worker(
        queues,
        concurrency=orders.concurrency,
        grace=orders.grace,
        drain=orders.drain,
        max_jobs=orders.max_jobs,
        lanes=[Lane(slots=slots, queues=[queue]) for queue, slots in orders.lanes],
        embedded=False,
    )
    with serving(app, orders.status, runner.health, out):
        stopped = runner.run() if named.tether is None else named.tether.run(runner)
    counts = msgspec.structs.asdict(stopped)
    out.answer({**policy, "counts": counts}, told(counts))
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


def _settle_queues(app: App, project: Project, known: Sequence[str]) -> None:
    """Tell the queues what the project's file says of them, and warn where file and App seem to mean another place."""
    there, in_code = app.backend.queues(), app._link.sender.declared.settings
    if both := sorted(in_code.keys() & project.settings.keys()):
        raise ConfigError(
            f"{project.file}: queue {both[0]!r} has settings here and in the App's code, queues={{{both[0]!r}: …}}: "
            "keep one of the two, or each start would undo the other's"
        )
    for queue, settings in project.settings.items():
        if there.get(queue) != settings:
            app.backend.declare(queue, settings)
        if queue not in known:
            click.echo(f"holdfast: {project.file}: no task names queue {queue!r}{nearest(queue, known)}", err=True)
    if project.url is not None and not same_place(project.url, app.url):
        click.echo(
            f"holdfast: {project.file} says url = {project.url.text!r}, and the App is on {app.url.text}: "
            "commands that name no store will look elsewhere",
            err=True,
        )
