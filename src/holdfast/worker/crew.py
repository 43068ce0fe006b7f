"""The runners of a worker and what each of them holds: who has room, and what goes back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from holdfast.clock import Clock
from holdfast.delivery import Delivery
from holdfast.worker.context import Context
from holdfast.worker.pace import Pace
from holdfast.worker.runners.runner import Runner
from holdfast.worker.settler import Settler
from holdfast.worker.wanting import Want

PATIENCE_MS = 2000
"""Jobs leased ahead go back when no run has ended for so long: somebody else may have a free slot for them."""


class LaneRunner(NamedTuple):
    """A runner that serves a lane beside ``shared``, from these queues alone, or from all."""

    runner: Runner
    shared: Runner
    queues: tuple[str, ...] | None


class _Post:
    """One runner, its pace, and when it last was seen to get on. That of a lane knows its ``shared`` neighbour."""

    def __init__(
        self, runner: Runner, pace: Pace, now: int, queues: tuple[str, ...] | None = None, shared: _Post | None = None
    ) -> None:
        self.runner = runner
        self.pace = pace
        self.ended = 0
        self.moved = now
        self.queues = queues
        self.shared = shared

    def fits(self, delivery: Delivery) -> bool:
        return delivery.kind in self.runner.kinds and (self.queues is None or delivery.queue in self.queues)


class Crew:
    """Runs what the fetcher leases. Every method may be called from any thread.

    A job with a crash on record is run alone: it waits until nothing else is held, and nothing is wanted beside it. One
    that has a process to itself is alone there.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        settler: Settler,
        prefetch: float,
        clock: Clock,
        *,
        lanes: Sequence[LaneRunner] = (),
        closed: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._closed = closed
        self._settler = settler
        self._clock = clock
        self._lock = threading.Lock()
        self._suspects: deque[tuple[_Post, Delivery]] = deque()
        self._alone = self._shut = False
        self.quiet = False
        """Whether nothing is wanted, and what is put here goes back: for whoever says so, and takes back the rest."""
        now = clock.boot()
        shared = {id(runner): _Post(runner, Pace(runner.slots, prefetch), now) for runner in runners}
        self._lanes = [
            _Post(lane.runner, Pace(lane.runner.slots, prefetch), now, lane.queues, shared[id(lane.shared)])
            for lane in lanes
        ]
        # Lanes first: what fits one leaves the shared slots to the others.
        self._posts = [*self._lanes, *shared.values()]
        self.runners = [post.runner for post in self._posts]

    # -- for the fetcher ------------------------------------------------------------------------------------------

    def wanting(self) -> list[Want]:
        """Return the runners that have room, for how many jobs, and for which."""
        with self._lock:
            for post in self._posts:
                self._look_at(post)
            self._run_suspects()
            if self._alone or self.quiet:
                return []
            for post in self._lanes:
                self._move_over(post)
            closed = self._closed()
            rooms = ((post, post.pace.room, post.runner.kinds - closed) for post in self._posts)
            return [Want(post.runner, room, kinds, post.queues) for post, room, kinds in rooms if room > 0 and kinds]

    def put(self, runner: Runner, deliveries: Sequence[Delivery]) -> None:
        """Let ``runner`` run these."""
        with self._lock:
            if self._shut or self.quiet:
                self._settler.give_back(deliveries)
                return
            post = next(post for post in self._posts if post.runner is runner)
            if closed := self._closed():  # since the lease was asked for
                self._settler.give_back([delivery for delivery in deliveries if delivery.kind in closed])
                deliveries = [delivery for delivery in deliveries if delivery.kind not in closed]
            good = [delivery for delivery in deliveries if not delivery.crashes or runner.apart]
            if len(good) != len(deliveries):
                self._alone = True
                self._suspects += [(post, delivery) for delivery in deliveries if delivery.crashes]
            self._give(post, good)

    def taken(self) -> int:
        """Return how many jobs have been put here and were not taken back: those held and those that have ended."""
        with self._lock:
            return len(self._suspects) + sum(post.pace.taken for post in self._posts)

    def _look_at(self, post: _Post) -> None:
        now, tally = self._clock.boot(), post.runner.tally()
        post.pace.slots = post.runner.slots
        post.pace.update(tally)
        if tally.ended != post.ended or post.pace.held <= post.runner.slots:
            post.ended, post.moved = tally.ended, now
        elif now - post.moved >= PATIENCE_MS:
            post.pace.slower((now - post.moved) / 1000)
            self._settler.give_back(self._take_back(post, lambda _: True))

    def _move_over(self, lane: _Post) -> None:
        """Let the free slots of a lane run what was leased ahead for the shared ones."""
        free, shared = lane.runner.slots - lane.pace.held, lane.shared
        if shared is None or free <= 0 or shared.pace.held <= shared.runner.slots:
            return
        chosen: set[tuple[str, str]] = set()

        def is_chosen(delivery: Delivery) -> bool:  # asked more than once for each, and always says the same
            if len(chosen) < free and lane.fits(delivery):
                chosen.add((delivery.queue, delivery.id))
            return (delivery.queue, delivery.id) in chosen

        moved = self._take_back(shared, is_chosen)
        if moved:
            self._give(lane, moved)

    def _run_suspects(self) -> None:
        if self._alone and not any(post.pace.held for post in self._posts):
            self._alone = bool(self._suspects)
            if self._suspects:
                post, delivery = self._suspects.popleft()
                self._give(post, [delivery])

    def _give(self, post: _Post, deliveries: Sequence[Delivery]) -> None:
        post.pace.given(len(deliveries))
        post.runner.put(deliveries)

    # -- for whoever stops, pauses or cancels ---------------------------------------------------------------------

    def shut(self) -> None:
        """Start nothing more: what has not started goes back, and so does whatever is still put here."""
        with self._lock:
            self._shut = True
        self._settler.give_back(self.take_back(lambda _: True))

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Remove and return what has not started and is ``wanted``."""
        with self._lock:
            taken = [delivery for _, delivery in self._suspects if wanted(delivery)]
            self._suspects = deque(entry for entry in self._suspects if not wanted(entry[1]))
            for post in self._posts:
                taken += self._take_back(post, wanted)
            return taken

    def _take_back(self, post: _Post, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        taken = post.runner.take_back(wanted)
        post.pace.given(-len(taken))
        return taken

    def busy(self) -> bool:
        """Tell whether any job is held."""
        return self.held() > 0

    def held(self) -> int:
        """Return how many jobs have been put here and not ended yet."""
        with self._lock:
            for post in self._posts:
                post.pace.update(post.runner.tally())
            return len(self._suspects) + sum(post.pace.held for post in self._posts)

    def running(self) -> list[Context]:
        """Return the contexts of all jobs that run now."""
        return [context for post in self._posts for context in post.runner.running()]

    def interrupt(self, contexts: Sequence[Context]) -> bool:
        """Stop those of these runs that can be stopped; tell whether there are any."""
        return sum(post.runner.interrupt(contexts) for post in self._posts) > 0

    def look_after(self) -> int:
        """Report runs that are over their timeout and cannot be stopped; return how many threads those hold."""
        return sum(post.runner.look_after() for post in self._posts)

    def start(self) -> None:
        """Start all runners."""
        for post in self._posts:
            post.runner.start()

    def opened(self) -> None:
        """Wait until all runners can run jobs; raises what keeps one from it."""
        for post in self._posts:
            post.runner.opened()

    def stop(self) -> None:
        """Let all runners end when they have nothing left to run."""
        for post in self._posts:
            post.runner.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for all runners to end, at most ``timeout`` seconds each; tell whether they have."""
        return sum(not post.runner.join(timeout) for post in self._posts) == 0
