"""Does for a supervisor what needs the store, in a thread of its own, so that the supervisor never waits for it: beats
for processes that have fallen silent, and takes back the jobs of those that have gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import msgspec

from holdfast.clock import SYSTEM, Clock
from holdfast.contract import QueueBackend
from holdfast.errors import BackendError, Closed
from holdfast.events import Events
from holdfast.heartbeat import this_process
from holdfast.worker.housekeeping import retire_gone
from holdfast.worker.published import Seen, discard, read_published
from holdfast.worker.settler import RECONNECT
from holdfast.worker.tether import Will

LOOKS_PER_TTL = 6
"""How often in one ttl it looks for processes that have not beaten for half of it."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has gone: how, for the record of its jobs; ``planned`` when none of them is to be charged with
    it; where it ``published`` what ran, if that is known; and its will.
    """

    pid: int
    start: int
    reason: str
    planned: bool = False
    published: str = ""
    will: Will = Will()


class Keeper:
    """``bury`` hands it a death; ``living`` is replaced, as a whole, with the paths of what living processes publish.

    Both, and ``start``, ``stop`` and ``join``, are for one thread, and none but ``join`` blocks. While the store is
    away everything is tried again.
    """

    def __init__(self, backend: QueueBackend, events: Events, *, ttl: float, clock: Clock = SYSTEM) -> None:
        self.living: tuple[str, ...] = ()
        self._backend = backend
        self._events = events
        self._ttl = ttl
        self._clock = clock
        self._line: SimpleQueue[Death | None] = SimpleQueue()
        self._deaths: list[Death] = []
        self._stopping = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="holdfast-keeper", daemon=True)

    def bury(self, death: Death) -> None:
        """Carry out the will of a process that has gone, and take back what it held, as soon as the store can."""
        self._line.put(death)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end when everything handed over is done."""
        self._stopping = True
        self._line.put(None)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping or self._deaths or not self._line.empty():
            self._collect()
            # Each by itself: what one job's settlement meets must not keep living processes from being beaten for.
            well = [self._safely(act) for act in (self._take_back, self._beat)]
            self._failures = 0 if all(well) else self._failures + 1

    def _collect(self) -> None:
        pause = RECONNECT.delay(self._failures) if self._failures else self._ttl / LOOKS_PER_TTL
        try:
            found = self._line.get(timeout=min(pause, self._ttl / LOOKS_PER_TTL))
        except Empty:
            return
        if found is not None:
            self._deaths.append(found)

    def _safely(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Closed:
            self._stopping, self._deaths = True, []
        except Exception as error:
            level = logging.DEBUG if self._failures else logging.WARNING
            trace = None if isinstance(error, BackendError) else error
            self._events.logger.log(level, "the supervisor waits for the store: %s", error, exc_info=trace)
            return False
        return True

    # -- the dead -------------------------------------------------------------------------------------------------

    def _take_back(self) -> None:
        while self._deaths:
            given_back = self._settle(self._deaths[0].will)
            self._retire(self._deaths[0], given_back)
            del self._deaths[0]

    def _settle(self, will: Will) -> int:
        """Carry out a will; return how many jobs it gave back."""
        try:
            lost = self._backend.settle([*will.retried, *will.buried, *will.given_back])
        except (BackendError, Closed):
            raise
        except Exception:  # what the store cannot write down goes back as the rest does
            self._events.logger.exception("a will cannot be carried out: %r", will)
            return 0
        return sum(one.receipt not in lost for one in will.given_back)

    def _retire(self, death: Death, given_back: int) -> None:
        here = this_process()
        dead = (here.host, here.boot, death.pid, death.start)
        gone = [one for one in self._backend.holders() if (one.host, one.boot, one.pid, one.pid_start) == dead]
        retire_gone(self._backend, self._events, gone, death.reason, planned=death.planned, given_back=given_back)
        discard(death.published)

    # -- the living -----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        silent = [seen for path in self.living if (seen := read_published(path)) is not None and self._is_silent(seen)]
        if silent:
            known = {holder.id: holder for holder in self._backend.holders()}
            for seen in silent:
                if seen.holder in known:
                    self._backend.beat(known[seen.holder])

    def _is_silent(self, seen: Seen) -> bool:
        return bool(seen.holder) and self._clock.boot() - seen.beaten > self._ttl / 2 * 1000
