"""How an engine grants jobs, and takes back what became of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.delivery import Ack, Burial, GiveBack, Nack, Receipt, Settlement
from holdfast.machine import Head
from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.sending import Sending


class Leasing(Sending):
    """Leases, settlements, reports."""

    def chance(self, queues: Sequence[str], kinds: Collection[str], max_format: int, now: int) -> int | None:
        """Return the ms at which a lease may find something, ``now`` for now, None when nothing is in sight."""
        places = [self.places[queue] for queue in queues if queue in self.places]
        chances = (place.machine.next_chance(kinds, max_format, now) for place in places)
        return min((chance for chance in chances if chance is not None), default=None)

    def lease(self, command: commands.Lease, at: At) -> list[Head]:
        place = self.places.get(command.queue)
        if place is None:
            return []
        expired, _ = place.machine.advance(at.wall)
        granted, late = place.machine.lease(
            command.holder,
            command.lease_id,
            limit=command.limit,
            kinds=command.kinds,
            max_format=command.max_format,
            now=at.wall,
        )
        self.ended(command.queue, [head.id for head in (*expired, *late)])
        return granted

    def settle(self, command: commands.Settle, at: At) -> list[Receipt]:
        number, lost = at.first, list[Receipt]()
        for settlement in command.settlements:
            receipt = settlement.receipt
            if receipt is None:
                self._give_back_lease(settlement, at.wall)
            elif not self._settle_one(receipt, settlement, number, at.wall):
                lost.append(receipt)
            number += papers_of(settlement)
        return lost

    def _settle_one(self, receipt: Receipt, settlement: Settlement, number: int, now: int) -> bool:
        place = self.places.get(receipt.queue)
        head = None if place is None else place.settle(settlement, number, now)
        if head is None:
            return False
        if isinstance(settlement, Ack) and settlement.then:
            self.store(receipt.queue, settlement.then, number + (settlement.result is not None), now)
        if head.ended is not None:
            self.ended(receipt.queue, [head.id])
        return True

    def _give_back_lease(self, settlement: Settlement, now: int) -> None:
        if not isinstance(settlement, GiveBack) or settlement.queue not in self.places:
            return
        place = self.places[settlement.queue]
        for head in place.machine.granted(settlement.lease_id):
            place.settle(GiveBack(Receipt(settlement.queue, head.id, head.token)), 0, now)

    def report(self, command: commands.Report, at: At) -> list[Receipt]:
        lost = []
        for report in command.reports:
            place = self.places.get(report.receipt.queue)
            if place is None or not place.report(report, at.wall):
                lost.append(report.receipt)
        return lost


def papers_of(settlement: Settlement) -> int:
    """Return how many papers a settlement has."""
    if isinstance(settlement, Ack):
        return (settlement.result is not None) + len(settlement.then)
    return int(isinstance(settlement, (Nack, Burial)) and settlement.error is not None)
