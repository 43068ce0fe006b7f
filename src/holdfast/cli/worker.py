"""``holdfast worker``: a process that works on the queues of an App until it is stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from holdfast.cli.application import EXAMPLE
from holdfast.cli.groups import OWN_COMMAND_LINE, Failure, one_line
from holdfast.cli.options import APP_VARIABLE, json_option
from holdfast.cli.output import Output
from holdfast.cli.policy import Orders, told
from holdfast.cli.project import FILE, LOG_FORMATS, META, TABLE, Project, ProjectCommand, from_file
from holdfast.cli.reaching import Reaching
from holdfast.cli.serving import counting_together, metrics_of, read_place, serving
from holdfast.cli.sizes import read_size
from holdfast.cli.working import Named, prepare, settle_queues, worker_of
from holdfast.errors import HoldfastError, UsageError

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.worker.supervisor import Supervisor, SupervisorOptions
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
    "--isolated",
    type=click.IntRange(1),
    envvar="HOLDFAST_ISOLATED",
    metavar="JOBS",
    help="Isolated jobs at once, each in a process of its own; by default one for each core.",
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
    "--ttl",
    type=click.FloatRange(0, min_open=True),
    envvar="HOLDFAST_TTL",
    metavar="SECONDS",
    help="How long its leases live after its last heartbeat; 10 when supervised, or else 30.",
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
@click.option(
    "--processes",
    "-p",
    type=click.IntRange(0),
    default=1,
    envvar="HOLDFAST_PROCESSES",
    show_default=True,
    help="Worker processes, each of that concurrency, started anew when they die; 0 works in this very process.",
)
@click.option(
    "--recycle",
    type=click.IntRange(1),
    envvar="HOLDFAST_RECYCLE",
    metavar="JOBS",
    help="Replace each process after so many jobs.",
)
@click.option(
    "--max-memory",
    envvar="HOLDFAST_MAX_MEMORY",
    metavar="SIZE",
    callback=read_size,
    help="Replace a process that occupies more, such as 500M or 2G; kill it at twice that.",
)
@click.option(
    "--stall-limit",
    type=click.FloatRange(0, min_open=True),
    default=900.0,
    envvar="HOLDFAST_STALL_LIMIT",
    show_default=True,
    metavar="SECONDS",
    help="Kill a process that has done nothing at all for so long.",
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
    from holdfast.worker.tether import tethered

    if app is None:
        raise click.UsageError(f"Which App? {EXAMPLE[0].upper()}{EXAMPLE[1:]}; or set app in [{TABLE}] of {FILE}.")
    named = Named(app, from_file(context, "app"), context.meta[META])
    tether = tethered()
    ordered = _checked(context, Orders(**orders), reload=reload)
    if reload and tether is None:
        sys.exit(_watch(named.project))
    _log(log_format)
    alone = len(_lasting()) == 1  # else this process is somebody else's, and goes on
    supervise = tether is None and ordered.processes > 0 and context.obj == OWN_COMMAND_LINE
    try:
        code = _run(named, ordered, out, tether, _options(ordered) if supervise else None)
    except Exception as error:
        if tether is not None and tether.terms.supervised:
            _fail(tether, error)
        elif not isinstance(error, HoldfastError) or not alone or not _left_over():
            raise
        else:
            Failure(one_line(str(error))).show()
        code = 1
    if alone and _left_over():
        _end_now(code)
    if code:
        sys.exit(code)


def _checked(context: click.Context, orders: Orders, *, reload: bool) -> Orders:
    """Return the orders as they are kept here; ``UsageError`` for what was asked for and cannot be."""
    asked = context.get_parameter_source("processes") is not click.core.ParameterSource.DEFAULT_MAP
    if reload and orders.processes > 1 and asked:
        raise click.UsageError("--reload is for one process: leave --processes out.")
    if orders.processes == 0 and (orders.recycle is not None or orders.max_memory is not None):
        raise click.UsageError("--recycle and --max-memory need a process of their own to replace: --processes 1.")
    return msgspec.structs.replace(orders, processes=0) if reload else orders


def _watch(project: Project | None) -> int:
    from holdfast.cli.reloading import Reloader

    folder, files = (project.folder, [project.file]) if project else (Path.cwd(), [])
    return Reloader(folder, files).run()


# -- the work -------------------------------------------------------------------------------------------------


def _run(named: Named, orders: Orders, out: Output, tether: Tether | None, supervise: SupervisorOptions | None) -> int:
    """Work, or let others do so; return the exit code."""
    if supervise is None:
        return _work_here(_found(named, orders, tether), named, orders, out, tether)
    with counting_together(orders.status):
        done = _work_elsewhere(named, orders, out, supervise)
        return done if isinstance(done, int) else _work_here(done, named, orders, out, tether)


def _work_elsewhere(named: Named, orders: Orders, out: Output, supervise: SupervisorOptions) -> int | App:
    """Let other processes work, and return the exit code; or the App, if no other process can share its store."""
    from holdfast.worker.supervisor import Supervisor

    with Supervisor(supervise) as supervisor:  # its processes import while this one does
        app = _found(named, orders, None)
        if not _is_shared(app, orders):
            return app
        with closing(app):
            return _supervise(app, named, orders, supervisor, out)


def _work_here(app: App, named: Named, orders: Orders, out: Output, tether: Tether | None) -> int:
    with closing(app):
        if tether is not None and tether.terms.supervised:
            return _obey(app, orders, tether)
        return _work(app, named, orders, tether, out)


def _found(named: Named, orders: Orders, tether: Tether | None) -> App:
    try:
        return named.find(orders.tasks or ())
    finally:
        if tether is not None and not tether.terms.supervised:
            from holdfast.cli.watching import imported_files
            from holdfast.worker.tether import Imported

            tether.tell(Imported(tuple(imported_files())))


def _work(app: App, named: Named, orders: Orders, tether: Tether | None, out: Output) -> int:
    """Work in this very process."""
    from holdfast.worker.options import Stopped

    policy = prepare(app, named, orders, out)
    runner, reaching, stopped = worker_of(app, orders), Reaching(app), Stopped()
    with serving(app, orders.status, reaching.before(runner.health), out):
        if tether is not None or reaching.run():
            settle_queues(app, named)
            stopped = runner.run() if tether is None else tether.run(runner)
    counts = msgspec.structs.asdict(stopped)
    out.answer({**policy, "counts": counts}, told(counts))
    if stopped.abandoned:
        _end_now(1)  # without closing the store: its jobs, whose threads cannot be stopped, may be using it
    return int(stopped.unsettled > 0)


# -- the supervisor and its processes -------------------------------------------------------------------------


def _options(orders: Orders) -> SupervisorOptions:
    from holdfast.heartbeat import SUPERVISED_TTL
    from holdfast.worker.supervisor import SupervisorOptions

    return SupervisorOptions(
        processes=orders.processes,
        grace=orders.grace,
        max_jobs=orders.max_jobs,
        recycle=orders.recycle,
        max_memory=orders.max_memory,
        stall_limit=orders.stall_limit,
        ttl=orders.ttl or SUPERVISED_TTL,
    )


def _is_shared(app: App, orders: Orders) -> bool:
    """Tell whether processes can share the store; ``UsageError`` when they were asked for and cannot."""
    if app.backend.features.multi_process:
        return True
    if orders.processes > 1 or orders.recycle is not None or orders.max_memory is not None:
        raise UsageError(
            f"{app.url.text} lives inside one process, and others cannot work on it: leave --processes, --recycle and "
            "--max-memory out, or use a store that processes share, such as sqlite:///jobs.db"
        )
    return False


def _supervise(app: App, named: Named, orders: Orders, supervisor: Supervisor, out: Output) -> int:
    """Let others work, and look after them."""
    from holdfast.worker.supervisor import Supervised

    policy = prepare(app, named, orders, out)
    reaching, report = Reaching(app), Supervised()
    with serving(app, orders.status, reaching.before(supervisor.health), out):
        if reaching.run():
            settle_queues(app, named)
            report = supervisor.run(app._life.served(), app.events)
    if report.error is not None:
        click.echo(report.error.traceback, err=True, nl=False)
        raise HoldfastError(report.error.error)
    counts = msgspec.structs.asdict(report.counts)
    counts |= {f"processes_{name}": getattr(report, name) for name in ("died", "killed", "replaced")}
    out.answer({**policy, "counts": counts}, told(counts))
    return int(any((report.counts.abandoned, report.counts.unsettled, report.killed)))


def _obey(app: App, orders: Orders, tether: Tether) -> int:
    """Work as the process of a supervisor, which speaks for all of them."""
    from holdfast.heartbeat import SUPERVISED_TTL

    if orders.status is not None:
        metrics_of(app)  # counted here, and told by the supervisor
    tether.wait()
    worker = worker_of(app, orders, ttl=orders.ttl or SUPERVISED_TTL, max_jobs=tether.terms.max_jobs, supervised=True)
    stopped = tether.run(worker)
    if stopped.abandoned:
        _end_now(1)
    return int(stopped.unsettled > 0)


def _fail(tether: Tether, error: Exception) -> None:
    """Let the supervisor say what went wrong, once for all of its processes."""
    import traceback

    from holdfast.worker.tether import Failed

    if isinstance(error, HoldfastError):
        tether.tell(Failed(one_line(str(error)), will=tether.will()))
    else:
        shown = "".join(traceback.format_exception(error))
        tether.tell(Failed(one_line(f"{type(error).__name__}: {error}"), shown, tether.will()))


# -- the end of the process -----------------------------------------------------------------------------------


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
