"""The messages of a window that were handed out: their attempts and deaths, and when those that failed run again.

A message that failed waits here, in its place: it holds those of its key until its delay is over and it has run again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterable
from heapq import heappop, heappush

import msgspec

from holdfast.clock import Clock
from holdfast.delivery import MAX_CRASHES, Delivery, Receipt
from holdfast.logged import Crashes, LogMessage
from holdfast.offsets import OffsetTracker, Ready
from holdfast.worker.consuming.places import Place, found_by, id_of, token_of
from holdfast.worker.consuming.reading import Reading


class Held(msgspec.Struct, eq=False):
    """A message that was handed out, until its end is committed.

    ``begun`` is as ``Assigned`` has it. ``attempt`` counts its runs, those in which a process died included. It is
    ``finished`` when its end is to be committed, and ``lost`` when somebody else may have it by now. ``told`` is that
    listeners know that it is given up unrun.
    """

    message: LogMessage
    version: int
    begun: int
    crashes: Crashes
    attempt: int
    grant: int = 0
    lease_id: str = ""
    running: bool = False
    finished: bool = False
    lost: bool = False
    told: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """What it is found by: partition and offset."""
        return self.message.partition, self.message.offset

    @property
    def token(self) -> int:
        """The token of its newest run."""
        return token_of(self.version, self.grant)

    def is_used_up(self, attempts: int | None) -> bool:
        """Tell whether it may not run again, by the deaths and runs that count against it."""
        return len(self.crashes) >= MAX_CRASHES or (attempts is not None and self.attempt >= attempts)


class Runs:
    """Every method may be called from any thread, and none blocks; the window holds ``lock`` for longer steps."""

    def __init__(self, reading: Reading, tracker: OffsetTracker, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.stirred = False
        """Whether there may be something to hand out that was not there when nothing was left."""
        self._reading = reading
        self._queue = reading.queue
        self._tracker = tracker
        self._clock = clock
        self._held: dict[tuple[int, int], Held] = {}
        self._finished: list[Held] = []
        self._later: list[tuple[int, int, Held]] = []
        self._order = itertools.count()

    # -- handed out -----------------------------------------------------------------------------------------------

    def begin(self, ready: Ready, begun: int, crashes: Crashes) -> Held:
        """Return a message that the tracker counts as running now; the rest is for one that is new here."""
        message = ready.message
        with self.lock:
            held = self._held.get((message.partition, message.offset))
            if held is None:
                held = Held(message, ready.version, begun, crashes, len(crashes))
                self._held[held.place] = held
            held.running = True
            return held

    def grant(self, held: Held, lease_id: str) -> Delivery:
        """Return the delivery of its next run."""
        with self.lock:
            held.grant += 1
            held.attempt += 1
            held.lease_id = lease_id
            return self.delivery(held)

    def delivery(self, held: Held) -> Delivery:
        """Return a message as what is handed to a handler."""
        message, now = held.message, self._clock.wall()
        job_id = id_of(Place(self._reading.log, self._reading.group, *held.place, self._reading.is_stream))
        return Delivery(
            queue=self._queue,
            id=job_id,
            token=held.token,
            attempt=held.attempt,
            body=message.body,
            kind=self._reading.kind,
            headers=message.headers,
            key=message.key,
            crashes=len(held.crashes),
            max_attempts=self._reading.attempts,
            sent=message.time,
            leased=now,
            ready=now,
            seed=f"{job_id} {held.begun}",
        )

    def partitions(self) -> set[int]:
        """Return those of which messages run, or have ended and are not committed."""
        with self.lock:
            return {held.message.partition for held in self._held.values() if held.running or held.finished}

    # -- ended ----------------------------------------------------------------------------------------------------

    def find(self, receipt: Receipt) -> Held | None:
        """Return what a receipt is for, while it runs or is not committed; None when it is lost."""
        with self.lock:
            held = self._held.get(found_by(receipt.id))
            if held is None or held.token != receipt.token or not (held.running or held.finished):
                return None
            return held

    def granted(self, lease_id: str) -> list[Held]:
        """Return what runs by this lease."""
        with self.lock:
            return [held for held in self._held.values() if held.running and held.lease_id == lease_id]

    def finish(self, held: Held) -> None:
        """Let the next of its key run; its end is to be committed."""
        with self.lock:
            if held.running and self._tracker.finish(*held.place, held.version):
                held.running, held.finished = False, True
                self._finished.append(held)
                self.stirred = True

    def finished(self) -> list[Held]:
        """Return what is finished and not committed."""
        with self.lock:
            return list(self._finished)

    def over(self, held: Iterable[Held]) -> None:
        """Forget these, whose end is committed."""
        with self.lock:
            for one in held:
                if self._held.get(one.place) is one:
                    del self._held[one.place]
            self._finished = [one for one in self._finished if self._held.get(one.place) is one]

    def give_back(self, held: Held, *, counted: bool) -> None:
        """Let it be handed out again, before all others of its key; the run counts as an attempt, or not."""
        with self.lock:
            if held.running and not held.lost:
                held.attempt -= not counted
                self._put_back(held)

    def retry(self, held: Held, delay: float, *, counted: bool) -> None:
        """Let it be handed out again in so many seconds; until then it holds those of its key."""
        with self.lock:
            if held.running and not held.lost:
                held.attempt -= not counted
                held.running = False
                heappush(self._later, (self._clock.boot() + int(delay * 1000), next(self._order), held))

    def wake(self) -> None:
        """Let those whose delay is over be handed out."""
        with self.lock:
            now = self._clock.boot()
            while self._later and self._later[0][0] <= now:
                held = heappop(self._later)[2]
                if not held.lost:
                    self._put_back(held)

    def due_in(self) -> float | None:
        """Return the seconds until the first retry is due, None when none waits."""
        with self.lock:
            return max(0.0, (self._later[0][0] - self._clock.boot()) / 1000) if self._later else None

    def forget(self, partitions: Collection[int]) -> None:
        """Forget what was handed out of these: it is lost."""
        with self.lock:
            for held in [held for held in self._held.values() if held.message.partition in partitions]:
                held.lost = True
                del self._held[held.place]
            self._finished = [held for held in self._finished if not held.lost]

    def _put_back(self, held: Held) -> None:
        held.running = False
        self._tracker.give_back(*held.place, held.version)
        self.stirred = True
