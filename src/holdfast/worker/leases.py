"""Leases jobs for a worker, fairly from several queues, and leaves none behind when a call's outcome is unknown."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Collection, Iterator, Sequence

from holdfast.contract import QueueBackend
from holdfast.delivery import Delivery, GiveBack
from holdfast.errors import BackendError, LeaseLost
from holdfast.events import Events, Leased
from holdfast.heartbeat import Heartbeat
from holdfast.message import FORMAT
from holdfast.worker.consuming.backend import is_behind
from holdfast.worker.wanting import Place

LARGEST_LEASE = 1000


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

    def hold(self) -> str:
        """Return the id to lease under; the store knows it. Raises what it raises."""
        return self._heartbeat.hold(self.queues, self._kinds)

    def take(self, kinds: frozenset[str], room: int, queues: tuple[str, ...] | None = None) -> Iterator[list[Delivery]]:
        """Yield what each of these queues (or all) grants of these kinds, at most ``room``; never waits for work.

        Each grant is the caller's before the next call is made, so an error loses none. Raises ``BackendError``;
        ``LeaseLost`` when the holder has ended; the next call then has a new one.
        """
        self.resolve()
        holder = self.hold()
        turn = self._turn(Place(tuple(self.queues) if queues is None else queues, kinds))
        for done, queue in enumerate(turn):
            share = -(-room // (len(turn) - done))
            if share <= 0:
                return
            granted = self._lease(queue, holder, kinds, min(share, LARGEST_LEASE))
            room -= len(granted)
            if granted:
                yield granted

    def resolve(self) -> None:
        """Give back what leases of unknown outcome may have granted; until that is done nothing more is leased."""
        if self.doubts:
            self._backend.settle(self.doubts)
            self.doubts = []

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
