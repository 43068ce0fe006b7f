"""What really happened: facts that senders, handlers and the test itself append to one file, whatever dies meanwhile.

A fact is one line, written by one ``os.write`` to a file opened with ``O_APPEND``: lines of several processes do not
mix, and what has been written survives a SIGKILL. Instants are seconds of the boot clock, which all of them share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

QUEUE = "work"
"""Where all jobs of the suite are."""
LIMIT = 0.5
"""Seconds that some jobs may run at most, and ignore."""
LOOK_EVERY = 0.005


def now() -> float:
    """Return the seconds since this machine booted, which nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fact(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Something that happened at an instant, told by the process ``pid``."""

    at: float = msgspec.field(default_factory=now)
    pid: int = msgspec.field(default_factory=os.getpid)


# -- told by senders ----------------------------------------------------------------------------------------------


class Offered(Fact, frozen=True, tag=True):
    """A job is about to be sent, ``due`` in so many seconds; what was never offered is a phantom."""

    id: str
    key: str | None = None
    due: float = 0.0
    queue: str = QUEUE


class Sent(Fact, frozen=True, tag=True):
    """The store said that it has these jobs."""

    ids: tuple[str, ...]


# -- told by workers ----------------------------------------------------------------------------------------------


class Called(Fact, frozen=True, tag=True):
    """A worker is about to call the handler: from here on the job may be charged."""

    id: str
    token: int
    attempt: int


class Started(Fact, frozen=True, tag=True):
    """The handler has begun."""

    id: str
    token: int
    attempt: int


class Ended(Fact, frozen=True, tag=True):
    """The handler has ended: it ``returned``, ``failed``, or was ``stopped``."""

    id: str
    token: int
    outcome: str


class Accepted(Fact, frozen=True, tag=True):
    """The store has taken the completion of this run."""

    id: str
    token: int


class Refused(Fact, frozen=True, tag=True):
    """The store has refused how this run was settled: its lease had been lost."""

    id: str
    token: int


# -- told by the test ---------------------------------------------------------------------------------------------


class Killed(Fact, frozen=True, tag=True):
    """These processes were killed at this instant; one that told something later had not been reached by it yet."""

    pids: tuple[int, ...]


class Died(Fact, frozen=True, tag=True):
    """These processes have ended in the midst of their work, some time after the last that they told."""

    pids: tuple[int, ...]


class Paused(Fact, frozen=True, tag=True):
    """These processes were stopped for longer than their ttl, and may have lost their leases."""

    pids: tuple[int, ...]


AnyFact = Offered | Sent | Called | Started | Ended | Accepted | Refused | Killed | Died | Paused
F = TypeVar("F", bound=Fact)
R = TypeVar("R")
_LINE = msgspec.json.Decoder(AnyFact)


class Notes:
    """Where a process writes its facts. Any thread may."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, *facts: Fact) -> None:
        """Append facts; on return they outlive this process."""
        os.write(self._file, b"".join(msgspec.json.encode(fact) + b"\n" for fact in facts))


class History:
    """All facts of one file, in the order in which they were written, read further whenever somebody looks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = Notes(path)
        self._file = path.open("rb")
        self._rest = b""
        self._facts: list[Fact] = []

    def close(self) -> None:
        """Close the file for reading."""
        self._file.close()

    def facts(self) -> list[Fact]:
        """Return all facts so far."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        self._facts += map(_LINE.decode, lines)
        return self._facts

    def of(self, *types: type[F], since: int = 0) -> list[F]:
        """Return the facts of these types, from the ``since``-th of all on."""
        return [fact for fact in self.facts()[since:] if isinstance(fact, types)]

    def wait(self, found: Callable[[], R], what: str, patience: float = 30.0) -> R:
        """Look again whenever the file has grown until ``found`` finds something; ``AssertionError`` if it never does.

        It is also asked now and then without a new fact, for what only a store or the table of processes tells.
        """
        end = time.monotonic() + patience
        while not (result := found()):
            size = self.path.stat().st_size
            again = min(end, time.monotonic() + 20 * LOOK_EVERY)
            while self.path.stat().st_size == size and time.monotonic() < again:
                _rest()
            if time.monotonic() >= end:
                raise AssertionError(f"{what}: not within {patience:g} s; the last facts: {self.facts()[-5:]}")
        return result


def _rest() -> None:
    """Let others run: a regular file tells nobody that it has grown."""
    time.sleep(LOOK_EVERY)


def by_job(facts: Iterable[F]) -> dict[str, list[F]]:
    """Return facts by the job they tell of, each in the order of time."""
    jobs: dict[str, list[F]] = {}
    for fact in sorted(facts, key=lambda fact: fact.at):
        jobs.setdefault(fact.id, []).append(fact)  # type: ignore[attr-defined]
    return jobs
