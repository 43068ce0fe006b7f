"""How a job reads: as a JSON document with stable keys, as a row, and in full."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from holdfast.cli.groups import one_line
from holdfast.cli.output import Table, ago, count, iso, length
from holdfast.codec import HEADER
from holdfast.delivery import Attempt, JobView, Outcome, Reported, State

UNREADABLE = object()


def job_document(job: JobView) -> dict[str, Any]:
    """Return a job as JSON. ``arguments`` is the body where it reads as JSON, else ``body_base64`` has it."""
    arguments = read(job.body, job.headers)
    return {
        "queue": job.queue,
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "reason": job.reason,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "token": job.token,
        "key": job.key,
        "unique": None if job.unique is None else job.unique.key,
        "held": job.held,
        "priority": job.priority,
        "timeout": job.timeout,
        "sent": iso(job.sent),
        "due": iso(job.due),
        "expires": iso(job.expires),
        "started": iso(job.started),
        "ended": iso(job.ended),
        "holder": job.holder,
        "cancel_requested": job.cancel_requested,
        "progress": None if job.progress is None else progress_document(job.progress),
        "format": job.format,
        "headers": dict(job.headers),
        "arguments": None if arguments is UNREADABLE else arguments,
        "body_base64": base64.b64encode(job.body).decode() if arguments is UNREADABLE else None,
    }


def progress_document(progress: Reported) -> dict[str, Any]:
    """Return what a run said last of its progress as JSON."""
    return {"fraction": progress.fraction, "note": progress.note, "at": iso(progress.at)}


def run_document(run: Attempt) -> dict[str, Any]:
    """Return one run as JSON."""
    error = None if run.error is None else msgspec.structs.asdict(run.error)
    return {
        "number": run.number,
        "outcome": run.outcome,
        "holder": run.holder,
        "started": iso(run.started),
        "ended": iso(run.ended),
        "error": error,
    }


def job_table(jobs: list[JobView], errors: Mapping[str, str] | None = None) -> Table:
    """Return jobs as rows; ``errors``, by id, take the place of the reason."""
    headings = ["id", "queue", "kind", "state", "attempts", "age", "reason" if errors is None else "error"]
    return Table(headings, [[*_row(job), job.reason if errors is None else errors.get(job.id)] for job in jobs])


def _row(job: JobView) -> list[object]:
    far = f" {job.progress.fraction:.0%}" if job.progress is not None and job.state is State.RUNNING else ""
    return [job.id, job.queue, job.kind, f"{job.state.value}{far}", attempts(job), ago(job.sent)]


def attempts(job: JobView) -> str:
    """Return how many of its attempts a job has used, such as ``2/5``."""
    return f"{job.attempts}/{'∞' if job.max_attempts is None else job.max_attempts}"


def last_error(job: JobView) -> str:
    """Return the error of the last run that failed, or the reason where no run left one."""
    error = next((run.error for run in reversed(job.runs) if run.error is not None), None)
    if error is None:
        return job.reason or ""
    return f"{error.type}: {error.message}" if error.type else error.message


def job_in_full(job: JobView, outcome: Outcome | None) -> Iterator[str | Table]:
    """Yield everything there is to know about one job, for people."""
    known = {name: value for name, value in _facts(job) if value}
    width = max(map(len, known))
    yield from (f"{name:<{width}}  {one_line(value)}" for name, value in known.items())
    arguments = read(job.body, job.headers)
    if arguments is UNREADABLE:
        yield f"\nbody, {count(len(job.body), 'byte')}\n  {_excerpt(job.body)}"
    else:
        yield f"\narguments\n{_pretty(arguments)}"
    if outcome is not None and outcome.value is not None:
        value = read(outcome.value, {})
        yield f"\nresult\n{_pretty(value) if value is not UNREADABLE else '  ' + _excerpt(outcome.value)}"
    if job.runs:
        yield "\nruns"
        yield Table(["run", "outcome", "started", "took", "error", "worker"], [_run_row(run) for run in job.runs])
        yield from _last_traceback(job)


def _facts(job: JobView) -> Iterator[tuple[str, str | None]]:
    yield "job", job.id
    yield "queue", job.queue
    yield "kind", job.kind or "(raw)"
    yield "state", f"{job.state}{_because(job)}"
    yield "attempts", attempts(job)
    yield "crashes", str(job.crashes) if job.crashes else None
    yield "key", job.key and f"{job.key}{' (held: behind the head of its key)' if job.held else ''}"
    yield "unique", None if job.unique is None else job.unique.key
    yield "priority", str(job.priority) if job.priority else None
    yield "timeout", length(job.timeout)
    for name, instant in (("sent", job.sent), ("due", job.due), ("expires", job.expires)):
        yield name, iso(instant)
    for name, instant in (("started", job.started), ("ended", job.ended)):
        yield name, iso(instant)
    yield "progress", None if job.progress is None else _how_far(job.progress)
    yield "worker", job.holder
    yield "headers", json.dumps(dict(job.headers)) if job.headers else None


def _because(job: JobView) -> str:
    if job.state is State.RUNNING and job.cancel_requested:
        return " (asked to cancel)"
    return f": {job.reason}" if job.reason and job.reason != job.state else ""


def _how_far(progress: Reported) -> str:
    return f"{progress.fraction:.0%}{', ' if progress.note else ''}{progress.note} ({ago(progress.at)} ago)"


def _run_row(run: Attempt) -> list[object]:
    error = "" if run.error is None else f"{run.error.type}: {run.error.message}".removeprefix(": ")
    return [run.number, run.outcome, iso(run.started), length((run.ended - run.started) / 1000), error, run.holder]


def _last_traceback(job: JobView) -> Iterator[str]:
    failed = [run for run in job.runs if run.error is not None and run.error.traceback]
    if failed and failed[-1].error is not None:
        lines = failed[-1].error.traceback.rstrip().splitlines()
        yield f"\ntraceback of run {failed[-1].number}"
        yield "\n".join(f"  {_printable(line)}" for line in lines)


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in line.replace("\t", "    "))


# -- bodies ---------------------------------------------------------------------------------------------------


def read(body: bytes, headers: Mapping[str, str]) -> Any:
    """Return what a body says, as values JSON can say, or ``UNREADABLE``. Never unpickles."""
    decode = _READERS.get(headers.get(HEADER, "json"))
    try:
        return UNREADABLE if decode is None else json.loads(json.dumps(decode(body), default=str))
    except (ValueError, TypeError, RecursionError):  # msgspec's errors are ValueErrors
        return UNREADABLE


_READERS: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "msgpack": msgspec.msgpack.decode}


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "\n".join(f"  {_printable(line)}" for line in text.splitlines())


def _excerpt(body: bytes, most: int = 200) -> str:
    text = repr(body[:most])
    return text if len(body) <= most else f"{text} …"
