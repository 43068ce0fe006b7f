"""Keeps a holder, and with it all its leases, alive from a thread of its own; tells whose process has gone.

A heartbeat on the handlers' own thread or loop goes silent for as long as one handler blocks, and that silence is the
commonest cause of jobs being run twice. Here it shares nothing with them but the interpreter.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from holdfast.clock import SYSTEM, Clock, boot_id
from holdfast.contract import QueueBackend
from holdfast.delivery import Beat, GiveBack, HolderInfo, Receipt, Settlement
from holdfast.errors import BackendError, Closed, LeaseLost
from holdfast.events import LOGGER

EMBEDDED_TTL = 30.0
SUPERVISED_TTL = 10.0
"""Shorter, because somebody beats for a supervised process that cannot."""
BEATS_PER_TTL = 3
BUSY_INTERVAL = 0.9
"""How often a holder with running jobs beats, in seconds: they hear of a request to cancel within a second."""
HANGING_MS = 1000
"""A beat that the store has not answered for so long has failed, if its holder's ttl is over."""


class Owner:
    """Whom a heartbeat serves. Its methods are called from the thread that beats, and must return quickly."""

    def busy(self) -> bool:
        """Tell whether jobs are held, so that requests to cancel them are asked for within a second."""
        return False

    def describe(self, holder: HolderInfo) -> HolderInfo:
        """Return the holder as the store, and people, are to know it from now on; asked before each beat."""
        return holder

    def beaten(self, answer: Beat) -> None:
        """Hear what the store answered to a beat of a holder that lives."""

    def cancels(self, receipts: Sequence[Receipt]) -> None:
        """Hear which of the jobs held are to be cancelled; comes with every beat until they are settled."""

    def paused(self, queues: Collection[str]) -> None:
        """Hear which queues are paused; comes with every beat while there are any."""

    def died(self, holder: str) -> None:
        """Hear, once, that this incarnation has ended and its leases are lost."""

    def retired(self) -> None:
        """Hear, at the very end, that the store has ended the holder, or that there was none to end."""


class _Incarnation:
    """One life of a holder, under an id that is never used again. ``known`` is what the store was last told."""

    def __init__(self, template: HolderInfo) -> None:
        self.info = msgspec.structs.replace(template, id=f"{template.name}#{secrets.token_hex(6)}")
        self.known: HolderInfo | None = None
        self.beaten = 0
        self.alive = True


class Heartbeat:
    """Beats for one holder: every third of its ttl, and within a second while its owner is busy.

    ``template`` describes the holder (:func:`this_process` makes one); each incarnation keeps its name and gets an id
    of its own. Nothing is sent before the first :meth:`hold`. What the store cannot do is logged and tried again; a
    heartbeat ends only when it is told to. Every method may be called from any thread.
    """

    def __init__(
        self,
        backend: QueueBackend,
        template: HolderInfo,
        *,
        owner: Owner | None = None,
        clock: Clock = SYSTEM,
        logger: logging.Logger = LOGGER,
    ) -> None:
        self.clock = clock
        self._logger = logger
        self._backend = backend
        self._owner = owner or Owner()
        self._incarnation = _Incarnation(template)
        self._lock = threading.Lock()
        self._asked: int | None = None
        self._next_end: int | None = None
        self._owed: list[Settlement] = []
        self._paying = threading.Lock()
        self._stopping = self._hurried = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        clock.on_move(self._wake.set)

    @property
    def holder(self) -> str:
        """The id of the present incarnation."""
        return self._incarnation.info.id

    @property
    def alive(self) -> bool:
        """Whether the present incarnation may hold leases; when not, the next :meth:`hold` begins another."""
        return self._incarnation.alive

    @property
    def died(self) -> bool:
        """Whether its thread has ended though nobody told it to."""
        thread = self._thread
        return thread is not None and not self._stopping and not thread.is_alive()

    @property
    def next_end(self) -> int | None:
        """When (boot ms) the first of all other holders falls silent, as the last beat saw it; None without one.

        Past, that holder has ended, unless it beat meanwhile: a new beat tells.
        """
        return self._next_end

    # -- beating --------------------------------------------------------------------------------------------------

    def hold(self, queues: Collection[str], kinds: Collection[str]) -> str:
        """Return the id to lease from these queues under; on return the store knows it and the thread keeps it.

        Begins a new incarnation when the last has ended. Beats in the caller's thread, but only if the store does
        not know the incarnation with these queues and kinds yet, and raises what the store raises then.
        """
        incarnation = self._incarnation
        if incarnation.alive and self._thread is not None and _covers(incarnation.known, queues, kinds):
            return incarnation.info.id
        if self._stopping:
            raise Closed(f"the heartbeat of {self.holder!r} has been stopped; nothing can be leased under it")
        with self._lock:
            if not self._incarnation.alive:
                self._incarnation = _Incarnation(self._incarnation.info)
            incarnation = self._incarnation
            incarnation.info = _with(incarnation.info, queues, kinds)
        self.beat()
        self._start()
        if not incarnation.alive:
            raise LeaseLost(f"holder {incarnation.info.id!r} ended as it began; something retires it")
        return incarnation.info.id

    def beat(self) -> None:
        """Beat now, in the caller's thread, and tell the owner what the store answered. Raises what it raises."""
        with self._lock:
            incarnation = self._incarnation
            self._hurried = False  # before it is described: what changes from here on is told with another beat
            info = self._owner.describe(incarnation.info)
            self._asked = asked = self.clock.boot()
            try:
                answer = self._backend.beat(info)
            finally:
                self._asked = None
            if answer.alive:
                incarnation.known, incarnation.beaten = info, asked
                soonest = answer.soonest
                self._next_end = None if soonest is None else self.clock.boot() + int(soonest * 1000)
        if not answer.alive:
            self._die(incarnation)
            return
        self._owner.beaten(answer)
        if answer.cancels:
            self._owner.cancels(answer.cancels)
        if answer.paused:
            self._owner.paused(answer.paused)

    def hurry(self) -> None:
        """Let the thread beat at once: what the owner says of the holder has changed."""
        self._hurried = True
        self._wake.set()

    def catch_up(self) -> None:
        """Beat now, in the caller's thread, if the ttl has passed since the last beat; raises what the store raises."""
        incarnation = self._incarnation
        if incarnation.alive and self._is_over(incarnation, self.clock.boot()):
            self.beat()

    def renew(self) -> None:
        """Beat now, in the caller's thread, if the store knows a living incarnation; raises what the store raises."""
        incarnation = self._incarnation
        if incarnation.alive and incarnation.known is not None:
            self.beat()

    # -- life and death -------------------------------------------------------------------------------------------

    def lost(self, holder: str) -> None:
        """Note that the store refused ``holder``: if that is the present incarnation, it has ended."""
        incarnation = self._incarnation
        if incarnation.info.id == holder:
            self._die(incarnation)

    def check(self) -> None:
        """End the incarnation if its ttl has passed while the store leaves a beat unanswered. Never blocks.

        For somebody else's thread: this one cannot look at the clock while it waits for the store.
        """
        incarnation, asked, now = self._incarnation, self._asked, self.clock.boot()
        if asked is not None and now - asked >= HANGING_MS and self._is_over(incarnation, now):
            self._die(incarnation)

    def _is_over(self, incarnation: _Incarnation, now: int) -> bool:
        return incarnation.known is not None and now - incarnation.beaten >= incarnation.info.ttl * 1000

    def _die(self, incarnation: _Incarnation) -> None:
        if incarnation.alive:
            incarnation.alive = False
            self._owner.died(incarnation.info.id)

    # -- what is owed ---------------------------------------------------------------------------------------------

    def owe(self, settlements: Iterable[Settlement]) -> None:
        """Settle these as soon as the store answers again, so that no lease of a living holder is left behind."""
        self._owed += settlements
        self._wake.set()

    def pay(self) -> None:
        """Settle now what is owed, in the caller's thread; what no store can settle goes back.

        Raises what the store raises when it cannot settle now, and keeps what is owed then.
        """
        if not self._owed:
            return
        with self._paying:
            owed = self._owed[:]
            try:
                self._backend.settle(owed)
            except (BackendError, Closed):
                raise
            except Exception:  # one of them is at fault, and the others must not stay leased for it
                for settlement in owed:
                    self._pay_alone(settlement)
            del self._owed[: len(owed)]

    def _pay_alone(self, settlement: Settlement) -> None:
        try:
            self._backend.settle([settlement])
        except (BackendError, Closed):
            raise
        except Exception:
            self._logger.exception("this cannot be settled, so its job goes back: %r", settlement)
            if not isinstance(settlement, GiveBack):
                self._backend.settle([GiveBack(settlement.receipt)])

    # -- the thread -----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let the thread end; its last act is to retire the holder, which gives back unburned what it still holds."""
        self._stopping = True
        self._wake.set()
        if self._thread is None:
            self._owner.retired()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopping:
                thread = threading.Thread(target=self._run, name="holdfast-heartbeat", daemon=True)
                thread.start()  # which may fail: then the next hold tries again
                self._thread = thread

    def _run(self) -> None:
        failing = False
        while not self._stopping:
            self._wake.wait(self._interval())
            self._wake.clear()
            failing = not self._safely(self._turn, quiet=failing)
        self._safely(self._retire)

    def _safely(self, act: Callable[[], None], *, quiet: bool = False) -> bool:
        try:
            act()
        except Closed:
            self._stopping = True
        except Exception as error:
            level = logging.DEBUG if quiet else logging.WARNING
            known = isinstance(error, BackendError)
            self._logger.log(
                level, "a heartbeat of %s failed: %s", self.holder, error, exc_info=None if known else error
            )
            return False
        return True

    def _retire(self) -> None:
        self.pay()
        incarnation = self._incarnation
        incarnation.alive = False
        self._backend.retire(incarnation.info.id, "its holder ended")
        self._owner.retired()

    def _turn(self) -> None:
        incarnation, now = self._incarnation, self.clock.boot()
        if self._stopping:
            return
        try:
            if incarnation.alive and self._is_due(incarnation, now):
                self.beat()
            self.pay()  # dead or alive: its last jobs may not have been taken back yet
        finally:
            if self._is_over(incarnation, now):
                self._die(incarnation)

    def _is_due(self, incarnation: _Incarnation, now: int) -> bool:
        if self._hurried:
            return True
        age = (now - incarnation.beaten) / 1000 + 0.1 * self._interval()  # a wait may end a little early
        return age >= incarnation.info.ttl / BEATS_PER_TTL or (age >= self._interval() and self._owner.busy())

    def _interval(self) -> float:
        return min(BUSY_INTERVAL, self._incarnation.info.ttl / BEATS_PER_TTL)


def _covers(known: HolderInfo | None, queues: Collection[str], kinds: Collection[str]) -> bool:
    return (
        known is not None
        and all(queue in known.queues for queue in queues)
        and all(kind in known.kinds for kind in kinds)
    )


def _with(info: HolderInfo, queues: Collection[str], kinds: Collection[str]) -> HolderInfo:
    return msgspec.structs.replace(
        info,
        queues=tuple(sorted({*info.queues, *queues})),
        kinds=tuple(sorted({*info.kinds, *kinds})),
    )


# -- processes ------------------------------------------------------------------------------------------------


def this_process(name: str = "", ttl: float = EMBEDDED_TTL, *, supervised: bool = False) -> HolderInfo:
    """Return the description of this process as a holder; ``name`` is by default ``host:pid``.

    When ``supervised``, its parent looks after it.
    """
    host, pid, supervisor = socket.gethostname(), os.getpid(), os.getppid() if supervised else 0
    return HolderInfo(
        id=name or f"{host}:{pid}",
        ttl=ttl,
        host=host,
        boot=f"{boot_id()}/{_pid_namespace()}",
        pid=pid,
        pid_start=process_start(pid) or 0,
        supervisor=supervisor,
        supervisor_start=(process_start(supervisor) or 0) if supervisor else 0,
    )


def gone_holders(holders: Iterable[HolderInfo]) -> list[HolderInfo]:
    """Return those of these holders whose process ran on this host, in this boot and pid namespace, and has ended.

    Their jobs may be taken back at once. A pid that is in use again is told from the old one by its start time. Those
    whose supervisor lives are left to it: it knows how they ended.
    """
    return [holder for holder in died_here(holders) if has_gone(holder.supervisor, holder.supervisor_start)]


def died_here(holders: Iterable[HolderInfo]) -> list[HolderInfo]:
    """Return those whose process has ended as ``gone_holders`` says, also those that their supervisor will see to."""
    here = this_process()
    return [
        holder
        for holder in holders
        if (holder.host, holder.boot) == (here.host, here.boot)
        and holder.pid
        and has_gone(holder.pid, holder.pid_start)
    ]


def has_gone(pid: int, pid_start: int) -> bool:
    """Tell whether the process of this pid that started then is none of this pid namespace, or has ended."""
    if not pid:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's process: it lives
    start = process_start(pid)
    # Without a start time (no /proc, or one that hides others' processes) the pid alone must do.
    return start is not None and start != pid_start


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; -1 for one that has ended but was not reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the command in parentheses, which may hold anything: fields are counted behind it.
    fields = stat.rpartition(")")[2].split()
    return -1 if fields[0] in "ZX" else int(fields[19])


def _pid_namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0
