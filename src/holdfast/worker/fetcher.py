"""Leases jobs for the crew from a thread of its own, and keeps house while there is nothing to lease."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from holdfast.clock import Clock
from holdfast.errors import BackendError, Closed, LeaseLost
from holdfast.worker.crew import Crew
from holdfast.worker.housekeeping import Housekeeping
from holdfast.worker.leases import Leases
from holdfast.worker.options import WorkerOptions
from holdfast.worker.settler import RECONNECT, Settler
from holdfast.worker.wanting import Place, Want, Wanting, covers, places

LEAST = 0.3
"""Seconds that a wait is given at least: a shorter one may ask the store for what a longer one is told."""
SLICE = 0.1
"""Seconds for which one of several places is waited for at a time, where one wait cannot name them all."""


class Fetcher:
    """Waits for work, leases what will start soon, and hands it to the crew.

    A store that is away is asked again for ever, after pauses that grow and are spread. ``ended`` is called once, at
    the end, with the error that ended it, or None: it was told to stop, has drained, or the store was closed.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        crew: Crew,
        settler: Settler,
        housekeeping: Housekeeping,
        options: WorkerOptions,
        clock: Clock,
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._leases = leases
        self._crew = crew
        self._settler = settler
        self._housekeeping = housekeeping
        self._options = options
        self._clock = clock
        self._ended = ended
        self._failures = 0
        self._all_settled = False
        self._in_store_wait = False
        self._lacks_room = True
        self._stirred = True
        self._found = False
        self._barren: list[Place] = []
        self._stopping = self._finished = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holdfast-fetcher", daemon=True)
        self.troubled_since: int | None = None
        """Since when (boot ms) the store has not done what it was asked; None while all is well."""
        self.error: BaseException | None = None
        """What the store last answered while it was troubled."""
        clock.on_move(self.look_again)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def poke(self) -> None:
        """Look again soon: jobs have ended, so there may be room. Called once for a batch."""
        if self._lacks_room:
            self.look_again()

    def look_again(self) -> None:
        """Look again now: what may be leased has changed."""
        self._wake.set()
        if self._in_store_wait:
            self._leases.interrupt()

    def look_around(self) -> None:
        """End its wait for work if its own holder has ended, and it needs another, or if another's process has gone,
        whose jobs it is to take back; and if it was told to look again, but as it began to wait, and another worker
        of this store heard it in its place.
        """
        if self._in_store_wait and (self._wake.is_set() or self._leases.are_void or self._housekeeping.knows_of_gone):
            self.look_again()

    def stop(self) -> None:
        """Lease nothing more. Takes no lock of the store, so that a signal handler may call it."""
        self._stopping = self._leases.stopping = True

    def interrupt(self) -> None:
        """End its waits, so that the thread ends soon after :meth:`stop`."""
        self._wake.set()
        self._leases.interrupt()

    @property
    def died(self) -> bool:
        """Whether its thread has started and ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while not self._stopping and not self._finished:
                self._try_round()
        except Closed:
            pass
        except BaseException as failure:
            error = failure
        self._ended(error)

    def _try_round(self) -> None:
        try:
            self._round()
        except LeaseLost as error:
            self._back_off(error)
        except BackendError as error:
            if not error.retryable:
                raise
            self._back_off(error)

    def _back_off(self, error: Exception) -> None:
        self._in_store_wait = False
        self._failures += 1
        self.error = error
        self._leases.logger.log(
            logging.WARNING if self._failures == 1 else logging.DEBUG, "nothing can be leased: %s", error
        )
        self._rest(RECONNECT.delay(self._failures))
        self._has_stirred(True)  # whatever happened meanwhile

    def _round(self) -> None:
        self._lacks_room = True  # until it is known: a poke that came between looking and waiting would be missed
        found, self._found = self._found, False
        with self._asking():
            if not found:
                self._housekeeping.run(busy=self._stirred)
            wanting = self._crew.wanting()
            leased = self._lease([want for want in wanting if not self._is_barren(want)])
            if found:
                self._housekeeping.run(busy=self._stirred)  # only now: what was found would have waited for it
                self._all_settled = False  # nor does it end before it has leased what came back by that
        if leased:
            self._all_settled = False
            self._has_stirred(True)
        elif self._is_to_end() and not self._crew.busy() and not self._is_behind():
            self._look_once_more()
        elif wanting and self._left != 0:
            self._lacks_room = self._is_to_end() or len(wanting) < len(self._crew.runners)
            self._wait_for_work(wanting)
        else:
            self._rest(min(self._options.busy_poll, self._housekeeping.due_in))

    def _lease(self, wanting: Wanting) -> int:
        self._leases.hold()  # with nothing wanted too: a worker that is quiet can be seen, and told to work
        leased = 0
        for runner, room, kinds, queues in wanting:
            left = self._left
            for granted in self._leases.take(kinds, room if left is None else min(room, left), queues):
                if self._stopping:  # since the call began: what is leased after a stop does not start
                    self._settler.give_back(granted)
                    return 0
                self._crew.put(runner, granted)
                leased += len(granted)
        return leased

    # -- waiting --------------------------------------------------------------------------------------------------

    def _wait_for_work(self, wanting: Wanting) -> None:
        """Wait until there may be something to lease, until room comes up elsewhere, or for the poll interval."""
        wanted = self._leases.there(places(wanting, self._leases.queues))
        if not wanted:
            self._rest(min(self._options.busy_poll, self._leases.back_in))
            return
        turn, waited = itertools.cycle(wanted), set[Place]()
        is_idle = not self._crew.busy() and not self._is_to_end()  # nobody says when others' work, or commits, are done
        poll = min(self._options.idle_poll if is_idle else self._options.busy_poll, self._leases.back_in)
        end = self._clock.boot() + int(poll * 1000)
        self._in_store_wait, found = True, False
        while not self._wake.is_set() and (left := (end - self._clock.boot()) / 1000) > 0:
            timeout = max(min(left, self._housekeeping.due_in), min(LEAST, poll))
            timeout = min(timeout, SLICE) if len(wanted) > 1 else timeout
            with self._asking(patience=timeout):
                waited.add(place := next(turn))
                if found := self._leases.wait(place, timeout):
                    break
                self._housekeeping.run(busy=False)
        self._in_store_wait, self._found = False, found
        woken = self._was_woken()
        self._has_stirred(found or woken, waited)

    def _rest(self, seconds: float) -> None:
        self._wake.wait(seconds)
        # Without a wait in the store nothing is heard of other holders, and those count while jobs run here.
        self._has_stirred(self._was_woken() or self._crew.busy())

    def _was_woken(self) -> bool:
        woken = self._wake.is_set()
        if woken:  # else a call that comes just now would be lost
            self._wake.clear()
        return woken

    def _has_stirred(self, stirred: bool, waited: Iterable[Place] = ()) -> None:
        """Note whether anything has happened; if not, no lease need ask for what it ``waited`` for in vain."""
        self._stirred = stirred
        self._barren = [] if stirred else list(waited)

    def _is_barren(self, want: Want) -> bool:
        if not self._barren:
            return False
        (wanted,) = places([want], self._leases.queues)
        return any(covers(place, wanted) for place in self._barren)

    @contextmanager
    def _asking(self, patience: float = 0.0) -> Iterator[None]:
        """Count as trouble, from ``patience`` seconds on, until the store has done what it is asked in this block."""
        if self.troubled_since is None:
            self.troubled_since = self._clock.boot() + int(patience * 1000)
        yield
        self.troubled_since = self.error = None
        self._failures = 0

    # -- the end --------------------------------------------------------------------------------------------------

    @property
    def _left(self) -> int | None:
        """How many jobs may still be leased; those that went back unstarted do not count."""
        most = self._options.max_jobs
        return None if most is None else most - self._crew.taken()

    def _is_to_end(self) -> bool:
        return self._left == 0 or (self._options.drain and not self._crew.quiet)

    def _is_behind(self) -> bool:
        """Tell whether a worker that drains has groups with messages left, such as one that waits for its retry."""
        return self._left != 0 and self._leases.is_behind()

    def _look_once_more(self) -> None:
        """End, unless nobody has looked since the last results were settled: those may have made jobs ready."""
        if self._all_settled:
            self._finished = True
            return
        settled = self._settler.mark()
        while not self._stopping and not settled.wait(self._options.busy_poll):
            self._housekeeping.run()
        self._all_settled = True
        self._has_stirred(True)
