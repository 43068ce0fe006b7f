"""Carries out how runs of messages ended: what they leave behind is stored first, then their end is committed."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Burial, Cancellation, Crash, GiveBack, Nack, Receipt, Settlement
from holdfast.worker.consuming.failing import Failing
from holdfast.worker.consuming.runs import Held
from holdfast.worker.consuming.source import Source


class Settling:
    """May be repeated as a whole: what was carried out before is not done again, or changes nothing."""

    def __init__(self, store: QueueBackend, failing: Failing) -> None:
        self._store = store
        self._failing = failing

    def settle(self, source: Source, settlements: Sequence[Settlement]) -> list[Receipt]:
        """Carry out the settlements of one source, with one commit for all; return the receipts that were lost.

        Raises what the stores raise.
        """
        runs, lost = source.window.runs, list[Receipt]()
        settled: list[tuple[Receipt, Held]] = []
        for settlement in settlements:
            if settlement.receipt is None:
                continue
            held = runs.find(settlement.receipt)
            if held is None:
                lost.append(settlement.receipt)
                continue
            if not held.finished:
                self._carry_out(source, held, settlement)
            settled.append((settlement.receipt, held))
        if any(held.finished for _, held in settled):
            source.commit()
        return lost + [receipt for receipt, held in settled if held.lost]

    def give_back(self, source: Source, lease_id: str) -> None:
        """Take back what runs by this lease."""
        for held in source.window.runs.granted(lease_id):
            source.window.runs.give_back(held, counted=False)

    def _carry_out(self, source: Source, held: Held, settlement: Settlement) -> None:
        runs = source.window.runs
        match settlement:
            case Ack(then=then):
                if then:
                    self._store.send(source.reading.queue, then, limited=False)
                runs.finish(held)
            case Nack(delay=delay, count=count):
                runs.retry(held, delay, counted=count)
                source.call()
            case Burial(reason=reason, error=error):
                self._failing.bury(source, held, reason, error)
            case Cancellation():
                runs.finish(held)
            case Crash(receipt=receipt, reason=reason):
                held.crashes = self._failing.charge(receipt, reason)
                if held.is_used_up(source.reading.attempts):
                    self._failing.bury(source, held, reason, None)
                else:
                    runs.give_back(held, counted=True)
            case GiveBack():
                runs.give_back(held, counted=False)
