"""What ``holdfast worker`` works with: the App it was told, the queues of that, and what it says of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from holdfast.cli.application import find_app, search
from holdfast.cli.output import Output
from holdfast.cli.policy import Orders, policy_of, show
from holdfast.cli.project import Project, naming, same_place
from holdfast.errors import ConfigError, UsageError, nearest
from holdfast.tasks.discovery import DECLARING

if TYPE_CHECKING:
    from holdfast.app import App, EmbeddedOptions
    from holdfast.worker import Worker


class Named(NamedTuple):
    """Which App is meant, whether the project's file says so, and that file."""

    name: str
    in_file: bool
    project: Project | None

    def find(self, packages: Sequence[str]) -> App:
        """Import the App and the tasks of these packages."""
        app = self._find()
        for package in packages:
            name, _, pattern = package.partition(":")
            app.tasks.discover(name, modules=pattern or DECLARING)
        if not app.tasks:
            raise UsageError(
                f"{self.name} has no tasks: declare one with @app.task, and import its module in "
                f"{self.name.partition(':')[0]}, or let --discover find it"
            )
        return app

    def _find(self) -> App:
        if self.project is None:
            return find_app(self.name)
        search(self.project.folder)  # also for what is to be discovered
        if not self.in_file:
            return find_app(self.name)
        with naming(self.project, "app"):
            return find_app(self.name, self.project.folder)


def known_queues(app: App) -> tuple[str, ...]:
    """Return the queues that the App's tasks and schedules name."""
    return tuple(dict.fromkeys([*(task.queue for task in app.tasks.values()), *app.schedules.queues()]))


def prepare(app: App, named: Named, orders: Orders, out: Output) -> dict[str, Any]:
    """Print what is in force, and return it as JSON; warns of mistakes. Asks the store nothing."""
    known = known_queues(app)
    if app._consumers.readings():
        app._logs.store()  # a URL that names none is told before anything works, and once
    queues = orders.queues or known
    policy = policy_of(app, named.name, orders, queues) | {"project": named.project and str(named.project.file)}
    show(policy, orders, out)
    _warn(app, queues, known)
    if named.project is not None:
        _check_queues(app, named.project, [*queues, *known])
    return policy


def settle_queues(app: App, named: Named) -> None:
    """Let the store know what the project's file says of its queues."""
    settings = {} if named.project is None else named.project.settings
    there = app.backend.queues() if settings else {}
    for queue, its in settings.items():
        if there.get(queue) != its:
            app.backend.declare(queue, its)


def worker_of(app: App, orders: Orders, **more: Any) -> Worker:
    """Return the worker that was ordered, not started."""
    from holdfast.worker import Lane

    options: EmbeddedOptions = {
        "concurrency": orders.concurrency,
        "isolated": orders.isolated,
        "grace": orders.grace,
        "drain": orders.drain,
        "max_jobs": orders.max_jobs,
        "lanes": [Lane(slots=slots, queues=[queue]) for queue, slots in orders.lanes],
        "embedded": False,
    }
    if orders.ttl is not None:
        options["ttl"] = orders.ttl
    options.update(more)  # type: ignore[typeddict-item] # names are the caller's, and checked by app.worker
    return app.worker(orders.queues or known_queues(app), **options)


LIVES_INSIDE = "lives inside this process"


def _warn(app: App, queues: Sequence[str], known: Sequence[str]) -> None:
    """Warn of what is allowed and most likely a mistake."""
    for queue in queues:
        if queue not in known:
            hint = nearest(queue, known)
            click.echo(f"holdfast: no task names queue {queue!r}{hint}; its jobs run if their kind is known", err=True)
    features = app.backend.features
    if not features.multi_process:
        where = "is this process's alone, which works without children" if features.durable else LIVES_INSIDE
        click.echo(
            f"holdfast: {app.url.text} {where}: nobody else can send to this worker; use one that processes share, "
            "such as sqlite:///jobs.db",
            err=True,
        )


def _check_queues(app: App, project: Project, known: Sequence[str]) -> None:
    """Refuse settings that are said twice, and warn where file and App seem to mean another place."""
    in_code = app._link.sender.declared.settings
    if both := sorted(in_code.keys() & project.settings.keys()):
        raise ConfigError(
            f"{project.file}: queue {both[0]!r} has settings here and in the App's code, queues={{{both[0]!r}: …}}: "
            "keep one of the two, or each start would undo the other's"
        )
    for queue in project.settings:
        if queue not in known:
            click.echo(f"holdfast: {project.file}: no task names queue {queue!r}{nearest(queue, known)}", err=True)
    if project.url is not None and not same_place(project.url, app.url):
        click.echo(
            f"holdfast: {project.file} says url = {project.url.text!r}, and the App is on {app.url.text}: "
            "commands that name no store will look elsewhere",
            err=True,
        )
