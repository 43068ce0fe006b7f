"""What becomes of messages that cannot be handled: their dead letters, and the deaths of processes charged to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from holdfast.capabilities import DeadLetters, Inspectable
from holdfast.contract import QueueBackend
from holdfast.delivery import Burial, Nack, Receipt, Settlement
from holdfast.errors import NotSupported, UsageError
from holdfast.events import BeforeBury, Events, PartitionStopped
from holdfast.failures import ErrorInfo
from holdfast.heartbeat import SUPERVISED_TTL, died_here, gone_holders
from holdfast.logged import Crashes
from holdfast.message import Message
from holdfast.worker.consuming.letters import dead_letter, stands_for
from holdfast.worker.consuming.places import place_of
from holdfast.worker.consuming.readable import Readable
from holdfast.worker.consuming.reading import Reading
from holdfast.worker.consuming.runs import Held
from holdfast.worker.consuming.source import Source
from holdfast.worker.deaths import GONE
from holdfast.worker.outcomes import ProcessDied


class Failing:
    """Every method may be called from any thread, and blocks for round trips to the stores, whose errors it raises."""

    def __init__(
        self, store: QueueBackend, places: Readable, events: Events, retire_gone: Callable[[], object]
    ) -> None:
        self._store = store
        self._places = places
        self._events = events
        self._retire_gone = retire_gone
        self._suspected: dict[tuple[str, int], float] = {}

    # -- dead letters ---------------------------------------------------------------------------------------------

    def bury(self, source: Source, held: Held, reason: str, error: ErrorInfo | None) -> None:
        """Give a message up: its dead letter is stored, then it counts as finished; or its partition stops here."""
        reading = source.reading
        if reading.dead_letters == "stop":
            source.window.stop(held)
            self._events.emit(PartitionStopped(reading.log, reading.group, *held.place, reason))
            return
        if not isinstance(self._store, DeadLetters):
            raise NotSupported(f"{type(self._store).__name__} keeps no dead letters of logs")
        put = partial(
            self._store.put_dead, reason=reason, error=error, attempts=held.attempt, crashes=len(held.crashes)
        )
        letter = dead_letter(reading, held.message)
        if not put(reading.queue, letter) and not self._is_there(reading.queue, letter):
            put(reading.queue, dead_letter(reading, held.message, held.begun))
        source.window.runs.finish(held)

    def _is_there(self, queue: str, letter: Message) -> bool:
        """Tell whether the job that has this letter's id stands for it: then it was put there before, such as before a
        crash; one of an earlier reading may be over, or be another message of a log that was made again.
        """
        if not isinstance(self._store, Inspectable):
            return True
        job = self._store.get(queue, letter.id)
        return job is not None and stands_for(job, letter)

    def bury_doomed(self, source: Source, held: Held) -> None:
        """Give a message up that may not run again because of the processes that died at it."""
        reason = held.crashes.reason or GONE
        if not held.told:  # else this is another try
            held.told = True
            self._events.emit(BeforeBury(source.window.runs.delivery(held), ProcessDied(reason), reason))
        self.bury(source, held, reason, None)

    # -- deaths ---------------------------------------------------------------------------------------------------

    def charge(self, receipt: Receipt, reason: str) -> Crashes:
        """Charge a message with the death of the process that ran it, once; tell what is charged by now."""
        place = place_of(receipt.queue, receipt.id)
        if place is None:
            return Crashes()
        return self._places.charge(place, run=receipt.token, reason=reason)

    def charge_all(self, receipts: Sequence[Receipt], reason: str) -> int:
        """Charge what a process of another worker ran when it died; return of how many nobody had known before.

        What is finished, or not there any more, cannot be charged.
        """
        charged = 0
        for receipt in receipts:
            try:
                known = self._known(receipt)
                charged += receipt.token in set(self.charge(receipt, reason).runs) - set(known.runs)
            except UsageError as error:
                self._events.logger.warning("a death at message %s cannot be charged: %s", receipt.id, error)
        return charged

    def _known(self, receipt: Receipt) -> Crashes:
        place = place_of(receipt.queue, receipt.id)
        if place is None:
            return Crashes()
        known = self._places.crashes(place.log, place.group, place.partition, is_stream=place.is_stream)
        return known.get(place.offset, Crashes())

    def settle_for_others(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        """Hear how runs ended whose process has gone since; return their receipts: they count for nothing.

        One that could not be stopped, and so ended its process, is charged with that.
        """
        for one in settlements:
            if isinstance(one, (Nack, Burial)):
                self.charge_all([one.receipt], one.reason)
        return [one.receipt for one in settlements if one.receipt is not None]

    def crashes(self, reading: Reading, partition: int) -> Mapping[int, Crashes] | None:
        """Return what is charged to the messages of a partition.

        None while a process of this host that may have read it before has died and is not seen to, for as long as its
        supervisor may need for that: messages would run again of which nobody knows yet that they are deadly.
        """
        place = (reading.queue, partition)
        since = self._suspected.setdefault(place, time.monotonic())
        if self._has_uncharged(reading.queue) and time.monotonic() - since < SUPERVISED_TTL:
            return None
        del self._suspected[place]
        return self._places.crashes(reading.log, reading.group, partition, is_stream=reading.is_stream)

    def _has_uncharged(self, queue: str) -> bool:
        readers = [holder for holder in self._store.holders() if queue in holder.queues]
        dead = died_here(readers)
        if gone_holders(dead):
            self._retire_gone()
            dead = died_here(self._store.holders())
        return any(queue in holder.queues for holder in dead)
