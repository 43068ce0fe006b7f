"""``holdfast demo``: real work on the embedded store, with failures, and a check that nothing was lost."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from holdfast.cli.groups import Failure
from holdfast.cli.options import json_option
from holdfast.cli.output import Output, Table, length, progress
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.demo.checks import Check
    from holdfast.demo.plan import Planned
    from holdfast.demo.run import Course

TOP = 10
FEW = 5
"""Of a broken promise so many examples are shown."""
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--source", type=FOLDER, help="Survey the Python files in here.  [default: the standard library]")
@click.option("--dir", "folder", type=FOLDER, help="Make the database in here.  [default: the temporary directory]")
@click.option("--keep", is_flag=True, help="Keep the database, and say how to look at it.")
@json_option
def demo(source: Path | None, folder: Path | None, out: Output, *, keep: bool) -> None:
    """Run one job per file of the standard library, and check that nothing was lost.

    Each job parses a file and counts lines, names and imports. Some fail in their first attempts on purpose and are
    tried again; two become dead letters, are repaired and replayed. A schedule records every second how far it is, and
    a log how each run ends, which a group reads meanwhile. The store is a SQLite file.
    """
    for given, option in ((source, "--source"), (folder, "--dir")):
        if given is not None and not given.is_dir():
            raise UsageError(f"{option} {given}: there is no such directory; make it first, or leave {option} out")
    place = Path(tempfile.mkdtemp(prefix="holdfast-demo-", dir=folder)).absolute()
    try:
        shown = _demo(source, place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    url = _url(place) if keep or not shown.kept else None
    out.answer(_document(shown, url), *_summary(shown))
    if url is None:
        shutil.rmtree(place, ignore_errors=True)
    else:
        out.say(*_ways_to_look(url, place, shown))
    if not shown.kept:
        raise Failure("the demo did not keep its promises; its database is kept to look at")


def _url(place: Path) -> str:
    return f"sqlite:///{place}/demo.db"


class Shown(NamedTuple):
    """What there is to say when it is over; ``attempts`` are how many jobs were done in which attempt."""

    plan: Sequence[Planned]
    course: Course
    attempts: Mapping[int, int]
    checks: Sequence[Check]

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(check.kept for check in self.checks)


def _demo(source: Path | None, place: Path) -> Shown:
    from holdfast.app import App
    from holdfast.demo.checks import attempts_used, check
    from holdfast.demo.plan import make_plan, standard_library
    from holdfast.demo.run import run
    from holdfast.events import Events

    plan = make_plan(source or standard_library(), place)
    silent = Events(logger=None)  # the failures are on purpose
    with App(_url(place), events=silent) as app:
        with progress("surveying ", len(plan)) as bar:
            course = run(app, plan, bar.update)
        with progress("recounting", len(plan)) as bar:
            checks = check(app, plan, course, bar.update)
        return Shown(plan, course, attempts_used(app, course), checks)


# -- what it says ---------------------------------------------------------------------------------------------


def _top(course: Course) -> list[tuple[str, int]]:
    absolute = [(name, number) for name, number in course.total.imports.items() if name != "."]
    return absolute[:TOP]


def _document(shown: Shown, url: str | None) -> dict[str, Any]:
    course, plan, total = shown.course, shown.plan, shown.course.total
    return {
        "ok": shown.kept,
        "files": len(plan),
        "lines": total.lines,
        "names": total.names,
        "imports": sum(total.imports.values()),
        "top_imports": [{"module": name, "count": number} for name, number in _top(course)],
        "done_in_attempt": {str(attempt): number for attempt, number in shown.attempts.items()},
        "dead": len(course.dead),
        "replayed": len(course.replayed),
        "events": len(course.audit.reads),
        "ticks": len(course.progress.ticks),
        "done_at_ticks": list(course.progress.done),
        "seconds": round(course.seconds, 3),
        "jobs_per_second": round(len(plan) / course.seconds, 1),
        "checks": [
            {"promise": check.promise, "kept": check.kept, "against": list(check.against)} for check in shown.checks
        ],
        "url": url,
    }


def _check_document(check: Check) -> dict[str, Any]:
    return {"promise": check.promise, "kept": check.kept, "against": list(check.against)}


def _summary(shown: Shown) -> Iterator[str | Table]:
    course, plan, total = shown.course, shown.plan, shown.course.total
    yield f"{len(plan):,} files: {total.lines:,} lines, {total.names:,} names, {sum(total.imports.values()):,} imports"
    yield f"imported most: {', '.join(f'{name} {number}' for name, number in _top(course))}"
    yield ""
    for attempt, number in shown.attempts.items():
        yield f"{_DONE_IN.get(attempt, f'done in attempt {attempt}'):<25}  {number:>6,}"
    yield f"dead letters               {len(course.dead):>6,}  repaired, replayed: {len(course.replayed)}"
    yield f"ticks, one a second        {len(course.progress.ticks):>6,}{_at_ticks(course.progress.done)}"
    yield f"events logged and read     {len(course.audit.reads):>6,}"
    yield f"time                       {length(course.seconds):>8}, {len(plan) / course.seconds:,.0f} jobs/s"
    yield ""
    for check in shown.checks:
        yield f"{'kept  ' if check.kept else 'BROKEN'}  {check.promise}"
        yield from (f"          {text}" for text in check.against[:FEW])
        if len(check.against) > FEW:
            yield f"          and {len(check.against) - FEW} more"


def _at_ticks(done: Sequence[int]) -> str:
    if not done:
        return ""
    shown = ", ".join(f"{number:,}" for number in done[:TOP])
    return f"  files done at each: {shown}{', …' if len(done) > TOP else ''}"


_DONE_IN = {1: "done at the first attempt", 2: "done after one retry", 3: "done after two retries"}


def _ways_to_look(url: str, place: Path, shown: Shown) -> list[str]:
    retried = max(zip(shown.plan, shown.course.jobs, strict=True), key=lambda pair: pair[0].failures)[1]
    looks = (
        "queues stats",
        "jobs list",
        "jobs list --state done --text Faulty",
        f"jobs show {retried.id}",
        "logs tail runs",
        "logs lag runs",
    )
    commands = [f"  holdfast {look} --url {url}" for look in looks]
    return ["", "The database is kept. Look at it:", *commands, f"  rm -r {place}"]
