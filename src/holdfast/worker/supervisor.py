"""Starts worker processes, watches them, and starts others in their place. It runs no job and never waits for the
store, so nothing that happens to either delays what it does.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection
from socket import socket
from typing import Self

import msgspec

from holdfast.contract import QueueBackend
from holdfast.errors import UsageError
from holdfast.events import Events
from holdfast.heartbeat import SUPERVISED_TTL
from holdfast.worker.children import asked_to_stop, waking
from holdfast.worker.deaths import OutOfMemory
from holdfast.worker.health import Health
from holdfast.worker.keeper import Death, Keeper
from holdfast.worker.lives import Life
from holdfast.worker.options import Stopped
from holdfast.worker.restarts import End, Pauses, Verdict, after, quota, runs, shares
from holdfast.worker.tether import Ended, Failed

LOOK_EVERY = 1.0
END_WITHIN = 2.0
"""Seconds beyond the grace within which all is over."""
KEEPER_LEFT = 0.1
"""Of these, what the store has at least to hear of the last process's end."""
SHORTLY = 5.0
"""Seconds after the kernel has killed for memory in which a process dead of SIGKILL is taken for what it killed."""
MOST_SILENT = 10.0
"""Seconds without a turn after which it counts as hanging."""
CLOSING = 1.0
"""Seconds for a process that has not begun to work to end by itself."""


class SupervisorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, bytes, jobs.

    So many ``processes`` work at once. ``grace`` and ``ttl`` are what they were told too. All together end after
    ``max_jobs``, and each is replaced after ``recycle`` jobs. One that occupies more than ``max_memory`` stops, with
    grace, and is replaced; at twice that it is killed. One whose worker has not turned for ``stall_limit`` is killed.
    """

    processes: int = 1
    grace: float = 25.0
    max_jobs: int | None = None
    recycle: int | None = None
    max_memory: int | None = None
    stall_limit: float = 900.0
    ttl: float = SUPERVISED_TTL

    def __post_init__(self) -> None:
        for name in ("processes", "max_jobs", "recycle", "max_memory"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UsageError(f"{name} of a supervisor is 1 or more, not {value!r}")
        for name in ("stall_limit", "ttl"):
            if not (value := getattr(self, name)) > 0:
                raise UsageError(f"the {name} of a supervisor is more than 0 seconds, not {value!r}")


class Supervised(msgspec.Struct, frozen=True):
    """How it went: the counts of all processes that could tell theirs; how many of the others ``died``, how many were
    ``killed`` because they did not end, and how many were ``replaced``. ``error`` is what kept every process from
    working.
    """

    counts: Stopped = Stopped()
    died: int = 0
    killed: int = 0
    replaced: int = 0
    error: Failed | None = None


class _Seat:
    """A place for one process at a time. ``left`` are the jobs of the whole that fall to it, None when all do."""

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.pauses = Pauses()
        self.life: Life | None = None
        self.due: float | None = None  # when (time.monotonic) the next process starts


class Supervisor:
    """``with Supervisor(options) as supervisor:`` starts the processes, so that they import what they need while the
    caller does; ``run`` lets them work. For the main thread, whose signals it takes meanwhile. No process outlives the
    block.
    """

    def __init__(self, options: SupervisorOptions) -> None:
        self._options = options
        self._seats = [_Seat(left) for left in shares(options.max_jobs, options.processes)]
        self._out_of_memory = OutOfMemory()
        self._memory_ran_out = self._looked = 0.0
        self._turned = time.monotonic()
        self._level = 0  # how urgently all were told to stop; 0 not at all
        self._end_by = 0.0  # when (time.monotonic) all must be over, once they were
        self._proven = False
        self._counts = dict.fromkeys(Stopped.__struct_fields__, 0)
        self._died = self._killed = self._replaced = 0
        self._error: Failed | None = None

    def __enter__(self) -> Self:
        for seat in self._seats:
            self._fill(seat)
        return self

    def __exit__(self, *_: object) -> None:
        for life in self._lives():
            life.child.close(CLOSING)

    def run(self, backend: QueueBackend, events: Events) -> Supervised:
        """Let the processes work until SIGTERM or SIGINT, or until all have ended by themselves; tell how it went.

        A second signal leaves running jobs no grace. Ends within the grace and two seconds of the first.
        """
        self._logger = events.logger
        self._keeper = Keeper(backend, events, ttl=self._options.ttl)
        self._keeper.start()
        with waking() as wakes:
            for life in self._lives():
                life.work()
            while self._look():
                self._rest(wakes)
            self._keeper.stop()
            left = min(self._end_by - time.monotonic(), END_WITHIN) if self._level else self._options.grace
            self._keeper.join(max(KEEPER_LEFT, left))
        return Supervised(Stopped(**self._counts), self._died, self._killed, self._replaced, self._error)

    def health(self) -> Health:
        """Tell how it is; any thread, and never blocks. It is ready when one of its processes leases."""
        silent = time.monotonic() - self._turned
        if silent > MOST_SILENT:
            return Health(live=False, ready=False, why=f"the supervisor has not turned for {silent:.0f} s")
        if self._level:
            return Health(live=True, ready=False, why="it is stopping")
        conditions = [life.condition() for life in self._lives()]
        ready = "ready" in conditions
        return Health(live=True, ready=ready, why="" if ready else f"its processes: {', '.join(conditions) or 'none'}")

    def _lives(self) -> list[Life]:
        return [seat.life for seat in self._seats if seat.life is not None]

    def _fill(self, seat: _Seat) -> Life:
        seat.life, seat.due = Life(quota(seat.left, self._options.recycle)), None
        return seat.life

    # -- one turn -------------------------------------------------------------------------------------------------

    def _rest(self, wakes: socket) -> None:
        """Wait for a signal, a word or an end, at most until something is due."""
        dues = [self._looked + LOOK_EVERY]
        dues += [seat.due for seat in self._seats if seat.due is not None]
        dues += [life.end for life in self._lives() if life.end is not None]
        sockets = [wakes, *(one for life in self._lives() for one in life.child.readable())]
        ready, _, _ = select.select(sockets, [], [], max(0.0, min(dues) - time.monotonic()))
        if wakes in ready:
            self._stop(min(2, self._level + asked_to_stop(wakes)))

    def _stop(self, level: int) -> None:
        """Let all stop, with grace (1) or without (2)."""
        if level > self._level:
            self._level = level
            self._end_by = time.monotonic() + END_WITHIN + (self._options.grace if level == 1 else 0.0)

    def _look(self) -> bool:
        """Do all that is to be done now; tell whether anything is left to wait for."""
        self._turned = time.monotonic()
        for life in self._lives():
            life.hear()
            self._proven |= life.ready
        for seat in self._seats:
            self._look_at(seat)
        self._keeper.living = tuple(life.published for life in self._lives() if life.published)
        for life in self._lives():
            life.stop(self._level, self._options.grace)
            life.hurry()
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            self._examine()
        if os.getpid() == 1:
            reap_others([life.child.pid for life in self._lives()])
        return any(seat.life is not None or seat.due is not None for seat in self._seats)

    def _look_at(self, seat: _Seat) -> None:
        if seat.life is not None and (code := seat.life.child.code()) is not None:
            seat.life.hear()  # what it said in its last moment
            self._proven |= seat.life.ready
            self._bury(seat, seat.life, code)
        if self._level:
            seat.due = None
        elif seat.due is not None and time.monotonic() >= seat.due:
            self._refill(seat)

    def _refill(self, seat: _Seat) -> None:
        try:
            self._fill(seat).work()
            self._replaced += 1
        except OSError as error:  # there may be memory, or room for another process, later
            seat.due = time.monotonic() + seat.pauses.after(0.0)
            self._logger.warning("a process cannot be started: %s", error)

    def _examine(self) -> None:
        """Look for processes that are not well."""
        if self._out_of_memory.has_killed():
            self._memory_ran_out = time.monotonic()
        for life in self._lives():
            life.end_stalled(self._options.stall_limit)
            if self._options.max_memory is not None:
                life.hold_to(self._options.max_memory, self._options.grace)

    # -- ends -----------------------------------------------------------------------------------------------------

    def _bury(self, seat: _Seat, life: Life, code: int) -> None:
        """See to what a process leaves behind, and to who comes in its place."""
        life.child.close()
        seat.life = None
        death = life.death(code, out_of_memory=code == -signal.SIGKILL and self._is_for_memory())
        self._keeper.bury(death)
        if isinstance(life.last, Ended):
            self._count(seat, life.last)
        end = End(last=life.last, begun=life.begun, stopping=self._level > 0, quota=life.quota, left=seat.left)
        verdict = after(end, proven=self._proven)
        self._tell(life, death, verdict)
        match verdict:
            case Verdict.REPLACE:
                seat.due = time.monotonic()
            case Verdict.RETRY:
                seat.due = time.monotonic() + seat.pauses.after(life.lived())
            case Verdict.FAIL:
                self._error = life.last if isinstance(life.last, Failed) else Failed(death.reason)
                self._stop(1)

    def _count(self, seat: _Seat, ended: Ended) -> None:
        for name, count in msgspec.structs.asdict(ended.counts).items():
            self._counts[name] += count
        if seat.left is not None:
            seat.left = max(0, seat.left - runs(ended))

    def _tell(self, life: Life, death: Death, verdict: Verdict) -> None:
        if isinstance(life.last, Failed) and verdict is not Verdict.FAIL:
            self._logger.error("worker process %d ended: %s%s", death.pid, life.last.error, life.last.traceback)
        elif life.spared:
            self._killed += 1
        elif not death.planned:
            self._died += 1
            self._logger.warning("process %d of the worker: %s", death.pid, death.reason)

    def _is_for_memory(self) -> bool:
        return self._out_of_memory.has_killed() or time.monotonic() - self._memory_ran_out < SHORTLY


def reap_others(own: Collection[int]) -> None:
    """Let ended processes go that are no children of this program's making: as the first process of a container it
    inherits those whose parent has ended.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in own:
            return
        os.waitpid(ended.si_pid, 0)
