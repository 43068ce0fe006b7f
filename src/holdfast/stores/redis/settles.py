"""Settlements as the arguments of lua/settle.lua, by queue, and reports as those of lua/report.lua."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from holdfast.delivery import Ack, Burial, Cancellation, Crash, GiveBack, Nack, Receipt, Report, Settlement
from holdfast.failures import ErrorInfo
from holdfast.machine import millis
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.messages import groups

_encode = msgspec.json.Encoder().encode


class Settling:
    """The settlements of one queue on their way, in their order. ``holders`` has those of leases, where it is known."""

    def __init__(self, holders: Mapping[str, str]) -> None:
        self.args: list[Arg] = []
        self._holders = holders
        self._receipts: list[tuple[int, Receipt | None]] = []
        self._acks_at = -1
        self._acked = set[str]()

    def add(self, number: int, settlement: Settlement) -> None:
        """Take one more, ``number`` among all of the call. Plain acks that follow each other go together."""
        receipt = settlement.receipt
        self._receipts.append((number, receipt))
        if (
            type(settlement) is Ack
            and not settlement.then
            and (settlement.result is None or settlement.keep_result <= 0)
        ):
            self._add_plain(settlement.receipt)
        else:
            self._end_plain()
            self.args += self._args(settlement)

    def _add_plain(self, receipt: Receipt) -> None:
        if self._acks_at < 0 or receipt.id in self._acked:
            self._end_plain()
            self._acks_at = len(self.args) + 1
            self.args += ["acks", 0]
        self._acked.add(receipt.id)
        self.args.append(receipt.id)
        self.args.append(receipt.token)

    def _end_plain(self) -> None:
        if self._acks_at >= 0:
            self.args[self._acks_at] = len(self._acked)
            self._acks_at = -1
            self._acked = set()

    def end(self) -> list[Arg]:
        """Return the arguments, now that all have been added."""
        self._end_plain()
        return self.args

    def lost(self, positions: Iterable[int]) -> list[tuple[int, Receipt]]:
        """Return the receipts at positions that were lost, each with its number in the call."""
        found = (self._receipts[position] for position in positions)
        return [(number, receipt) for number, receipt in found if receipt is not None]

    def _args(self, settlement: Settlement) -> list[Arg]:
        if settlement.receipt is not None:
            return _args(settlement, settlement.receipt)
        assert isinstance(settlement, GiveBack)
        return ["lease", settlement.lease_id, self._holders.get(settlement.lease_id, "")]


def _args(settlement: Settlement, receipt: Receipt) -> list[Arg]:
    proof: list[Arg] = [receipt.id, receipt.token]
    match settlement:
        case Ack():
            keep = millis(settlement.keep_result) if settlement.result is not None else 0
            then = groups(settlement.then)
            return ["ack", *proof, keep, settlement.result or b"", len(then), *then]
        case Nack():
            outcome = settlement.reason if settlement.count or settlement.error is not None else ""
            count = int(settlement.count)
            return ["nack", *proof, millis(settlement.delay), count, outcome, failure(settlement.error)]
        case Burial():
            return ["bury", *proof, settlement.reason, burial(settlement.reason), failure(settlement.error)]
        case Cancellation():
            return ["stop", *proof, settlement.reason]
        case Crash():
            return ["crash", *proof, settlement.reason]
        case GiveBack():
            return ["give_back", *proof]


def failure(error: ErrorInfo | None) -> bytes:
    """Return an error as it is kept with a run."""
    return _encode(error)


def burial(reason: str) -> str:
    """Return the outcome of a run that ended in a burial."""
    return "timeout" if reason == "timeout" else "buried"


def reported(reports: Sequence[Report]) -> list[Arg]:
    """Return the arguments for reports of one queue."""
    args: list[Arg] = []
    for one in reports:
        args += [one.receipt.id, one.receipt.token, _encode((one.fraction, one.note))[1:-1]]
    return args
