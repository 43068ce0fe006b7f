"""What the heartbeat hears, passed on to the jobs it is about: requests to cancel, pauses, the end of the holder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from holdfast.delivery import Beat, Cancellation, HolderInfo, Receipt
from holdfast.events import Events, HolderLost
from holdfast.heartbeat import Owner
from holdfast.worker.crew import Crew
from holdfast.worker.handler import Handler
from holdfast.worker.published import Published
from holdfast.worker.settler import Settler


class Orders(Owner):
    """The owner of a worker's heartbeat. Every method may be called from any thread and returns quickly.

    ``describe`` says of the holder what people are to know; ``heard`` is told every answer, for what is no matter of
    single jobs.
    """

    def __init__(
        self,
        crew: Crew,
        settler: Settler,
        handlers: Mapping[str, Handler],
        events: Events,
        *,
        describe: Callable[[HolderInfo], HolderInfo],
        heard: Callable[[Beat], None],
        published: Published,
    ) -> None:
        self._describe = describe
        self._heard = heard
        self._published = published
        self._crew = crew
        self._settler = settler
        self._handlers = handlers
        self._events = events

    def busy(self) -> bool:
        return self._crew.busy()

    def describe(self, holder: HolderInfo) -> HolderInfo:
        self._published.hold(holder.id)
        return self._describe(msgspec.structs.replace(holder, published=self._published.path))

    def beaten(self, answer: Beat) -> None:
        self._published.beaten()
        self._heard(answer)

    def cancels(self, receipts: Sequence[Receipt]) -> None:
        asked = {(receipt.id, receipt.token) for receipt in receipts}
        for delivery in self._crew.take_back(lambda delivery: (delivery.id, delivery.token) in asked):
            delivery.settlement = Cancellation(delivery.receipt)
            self._settler.put(delivery)
        running = [context for context in self._crew.running() if (context.id, context.token) in asked]
        new = [context for context in running if not context.cancel_requested]
        for context in new:
            context.cancel_requested = True
        self._crew.interrupt(new)

    def paused(self, queues: Collection[str]) -> None:
        self._settler.give_back(self._crew.take_back(lambda delivery: delivery.queue in queues))

    def retired(self) -> None:
        self._published.close()  # not before: else what is left would be charged, though nothing runs

    def died(self, holder: str) -> None:
        self._published.hold("")
        # What has not started goes back by its receipt: if the store never noticed that the ttl had passed, nobody
        # else would ever return it.
        self._settler.give_back(self._crew.take_back(lambda _: True))
        running = self._crew.running()
        for context in running:
            context.lease_lost = True
        self._crew.interrupt([context for context in running if self._handlers[context.kind].stop_when_lost])
        self._events.emit(HolderLost(holder))
