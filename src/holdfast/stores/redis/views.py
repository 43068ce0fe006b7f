"""Jobs as readers see them, out of what lua/view.lua answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from holdfast.capabilities import JobFilter
from holdfast.delivery import ENDED, WAITING, Attempt, JobView, Outcome, Reported, State
from holdfast.failures import ErrorInfo
from holdfast.message import NO_HEADERS, Unique
from holdfast.stores.redis.messages import unpacked

_decode_unique = msgspec.json.Decoder(Unique).decode
_decode_progress = msgspec.json.Decoder(tuple[int, float, str, int]).decode


class _Run(msgspec.Struct, array_like=True):
    """A run as it is kept."""

    number: int
    holder: str
    started: int
    ended: int
    outcome: str
    error: ErrorInfo | None


_decode_run = msgspec.json.Decoder(_Run).decode


def view(queue: str, job_id: str, fields: Sequence[Any], data: bytes | None, now: int) -> JobView:
    """Return a job as it stands at ``now``; without its body when ``data`` is empty."""
    (
        _, lane, stored, key, priority, attempts, most, crashes, token, sent, due, expires, started, ended, holder,
        cancel, reason, timeout, unique, progress, held,
    ) = fields  # fmt: skip
    format_, _, kind = lane.decode().partition(":")
    headers, body = unpacked(data) if data else (NO_HEADERS, b"")
    at, over, sent = _whole(due) or int(sent), _whole(expires), int(sent)
    state = _seen(State(stored.decode()), at, over, now)
    if state is State.EXPIRED:
        ended, reason = ended or expires, reason or b"expired"
    return JobView(
        queue=queue,
        id=job_id,
        kind=kind,
        state=state,
        key=_text(key),
        priority=int(priority or 0),
        attempts=int(attempts or 0),
        max_attempts=_whole(most),
        crashes=int(crashes or 0),
        token=int(token or 0),
        sent=sent,
        due=at if state in WAITING else None,
        expires=over,
        started=_whole(started),
        ended=_whole(ended),
        holder=None if state in WAITING else _text(holder),
        held=bool(held),
        cancel_requested=cancel is not None,
        reason=_text(reason),
        timeout=None if timeout is None else float(timeout),
        format=int(format_),
        body=body,
        headers=headers,
        unique=None if unique is None else _decode_unique(unique),
        progress=_reported(progress, token),
    )


def without_body(job: JobView) -> JobView:
    """Return a job as it is listed when nobody asked for bodies."""
    return msgspec.structs.replace(job, body=b"", headers=NO_HEADERS)


def with_runs(job: JobView, runs: Sequence[bytes]) -> JobView:
    """Return a job with its runs, the one that did it the last."""
    found = [_attempt(run) for run in runs]
    if job.state is State.DONE:
        number, holder = job.attempts, job.holder or ""
        done = Attempt(number=number, holder=holder, started=job.started or 0, ended=job.ended or 0, outcome="done")
        found.append(done)
    return msgspec.structs.replace(job, runs=tuple(found))


def outcome(row: Sequence[Any]) -> tuple[str, Outcome]:
    """Return the id of a job that has ended, and how it has."""
    job_id, stored, result, reason, run = row
    state = State(stored.decode())
    why = _text(reason) or ("expired" if state is State.EXPIRED else None)
    return job_id.decode(), Outcome(state, result, why, None if run is None else _attempt(run).error)


def matching(queue: str, rows: Iterable[Any], only: JobFilter, now: int) -> Iterator[tuple[str, JobView]]:
    """Yield those jobs of a piece of a listing (lua/browse.lua) that are meant, each with its member."""
    for row, fields, body, run in rows:
        if fields is None:
            continue  # somebody deleted the key of this job
        member = row.decode()
        job = view(queue, member[16:], fields, body, now)
        if _matches(job, only, run):
            yield member, job


def _matches(job: JobView, only: JobFilter, run: bytes | None) -> bool:
    """Tell whether a job is meant; ``run`` is its last failed one."""
    return (
        job.state in only.states
        and only.kind in (None, job.kind)
        and only.reason in (None, job.reason)
        and only.key in (None, job.key)
        and _within(only.since, job.sent, only.until)
        and (
            (only.ended_since, only.ended_until) == (None, None)
            or _within(only.ended_since, _end(job), only.ended_until)
        )
        and (only.text is None or only.text in f"{job.reason or ''}\n{_error_text(run)}")
        and (only.headers is None or only.headers.items() <= job.headers.items())
    )


def _end(job: JobView) -> int | None:
    return job.ended if job.state in ENDED else None


def _within(since: int | None, instant: int | None, until: int | None) -> bool:
    return instant is not None and (since is None or instant >= since) and (until is None or instant < until)


def _error_text(run: bytes | None) -> str:
    error = _attempt(run).error if run else None
    return "" if error is None else f"{error.type}: {error.message}"


def _seen(state: State, due: int, expires: int | None, now: int) -> State:
    if state not in WAITING:
        return state
    if expires is not None and expires <= now:
        return State.EXPIRED
    return State.READY if due <= now else state


def _attempt(data: bytes) -> Attempt:
    run = _decode_run(data)
    return Attempt(
        number=run.number,
        holder=run.holder,
        started=run.started,
        ended=run.ended,
        outcome=run.outcome,
        error=run.error,
    )


def _reported(data: bytes | None, token: bytes | None) -> Reported | None:
    if data is None:
        return None
    its, fraction, note, at = _decode_progress(data)
    return Reported(fraction, note, at) if token is not None and its == int(token) else None


def _whole(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
