"""Leases jobs for a worker, fairly from several queues, and leaves none behind when a call's outcome is unknown.

Queues may be at different servers. One that is away is asked again after pauses that grow, and the others go on.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence

from holdfast.contract import QueueBackend
from holdfast.delivery import Delivery, GiveBack
from holdfast.errors import BackendError, LeaseLost
from holdfast.events import Events, Leased
from holdfast.heartbeat import Heartbeat
from holdfast.message import FORMAT
from holdfast.worker.consuming.backend import is_behind
from holdfast.worker.settler import rest_after
from holdfast.worker.wanting import Place

LARGEST_LEASE = 1000


class _Away:
    """A queue that did not answer: how often, and until when (monotonic seconds) it is left alone."""

    def __init__(self) -> None:
        self.failures, self.until = 0, 0.0


class Leases:
    """Belongs to the fetcher's thread; ``kinds`` are all kinds its worker handles."""

    def __init__(
        self, backend: QueueBackend, heartbeat: Heartbeat, events: Events, queues: Sequence[str], kinds: Collection[str]
    ) -> None:
        self.queues = list(queues)
        self.doubts: list[GiveBack] = []
        self._backend = backend
        self._heartbeat = heartbeat
        self._events = events
        self.logger = events.logger
        self._kinds = kinds
        self._turns: dict[Place, deque[str]] = {}
        self._away: dict[str, _Away] = {}
        self.stopping = False
        """Whether no further call is to be made."""

    @property
    def are_void(self) -> bool:
        """Whether the holder has ended; the next :meth:`hold` begins another. For any thread."""
        return not self._heartbeat.alive

    def hold(self) -> str:
        """Return the id to lease under; the store knows it. Raises what it raises."""
        return self._heartbeat.hold(self.queues, self._kinds)

    def take(self, kinds: frozenset[str], room: int, queues: tuple[str, ...] | None = None) -> Iterator[list[Delivery]]:
        """Yield what each of these queues (or all) grants of these kinds, at most ``room``; never waits for work.

        Each grant is the caller's before the next call is made, so an error loses none. Raises ``BackendError`` when no
        queue of the worker is there; ``LeaseLost`` when the holder has ended; the next call then has a new one.
        """
        holder = self.hold()
        turn = self._turn(Place(tuple(self.queues) if queues is None else queues, kinds))
        turn = [queue for queue in turn if not self._rests(queue)]
        for done, queue in enumerate(turn):
            share = -(-room // (len(turn) - done))
            if share <= 0 or self.stopping:
                return
            began = time.monotonic()
            try:
                self._resolve(queue)
                granted = self._lease(queue, holder, kinds, min(share, LARGEST_LEASE))
            except BackendError as error:
                self._pass_over(queue, error, time.monotonic() - began)
                continue
            self._away.pop(queue, None)
            room -= len(granted)
            if granted:
                yield granted

    def _resolve(self, queue: str) -> None:
        """Give back what leases of unknown outcome may have granted; before that nothing more is leased there."""
        if mine := [doubt for doubt in self.doubts if doubt.queue == queue]:
            self._backend.settle(mine)
            self.doubts = [doubt for doubt in self.doubts if doubt.queue != queue]

    # -- queues that are away -------------------------------------------------------------------------------------

    def _rests(self, queue: str) -> bool:
        """Tell whether a queue is left alone. When all are away none is: then the caller pauses between its calls."""
        away = self._away.get(queue)
        return away is not None and not self._all_away and time.monotonic() < away.until

    @property
    def _all_away(self) -> bool:
        return all(queue in self._away for queue in self.queues)

    def _pass_over(self, queue: str, error: BackendError, took: float) -> None:
        """Leave a queue alone for a while; raise its error when there is no other."""
        away = self._away.setdefault(queue, _Away())
        away.failures += 1
        away.until = time.monotonic() + rest_after(away.failures, took)
        if not error.retryable or self._all_away:
            raise error
        level = logging.WARNING if away.failures == 1 else logging.DEBUG
        self.logger.log(level, "nothing can be leased from %s: %s", queue, error)

    @property
    def back_in(self) -> float:
        """The seconds until the first of the queues that are away is to be asked again."""
        dues = [max(0.0, away.until - time.monotonic()) for away in self._away.values()]
        return min(dues, default=math.inf)

    def there(self, wanted: Sequence[Place]) -> list[Place]:
        """Return the places without the queues that are away; those of which nothing is left are left out."""
        if not self._away:
            return list(wanted)
        found = (Place(tuple(one for one in place.queues if one not in self._away), place.kinds) for place in wanted)
        return [place for place in found if place.queues]

    def wait(self, place: Place, timeout: float) -> bool:
        """Wait until there may be something to take there, at most ``timeout`` seconds; tell whether so."""
        return self._backend.wait(place.queues, place.kinds, timeout)

    def is_behind(self) -> bool:
        """Tell whether groups of logs have messages left that cannot be leased yet; asks their stores."""
        return is_behind(self._backend)

    def interrupt(self) -> None:
        """End the wait that is going on, or else the next."""
        self._backend.interrupt()

    def _turn(self, place: Place) -> list[str]:
        """Return the queues in this call's order: each in turn is the first, whatever is taken of other kinds."""
        turn = self._turns.setdefault(place, deque(place.queues))
        turn.rotate(-1)
        return list(turn)

    def _lease(self, queue: str, holder: str, kinds: Collection[str], limit: int) -> list[Delivery]:
        lease_id = secrets.token_hex(8)
        try:
            granted = self._backend.lease(queue, holder, lease_id, limit=limit, kinds=kinds, max_format=FORMAT)
        except LeaseLost:
            self._heartbeat.lost(holder)
            raise
        except BackendError as error:
            if error.outcome_unknown:
                self.doubts.append(GiveBack(queue=queue, lease_id=lease_id))
            raise
        if granted and not self._heartbeat.alive:
            self.doubts.append(GiveBack(queue=queue, lease_id=lease_id))  # it ended meanwhile: nothing starts any more
            return []
        if self._events.wants(Leased):
            for delivery in granted:
                self._events.emit(Leased(delivery))
        return granted
