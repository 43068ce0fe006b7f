"""The contract of a queue store and its optional powers, kept by a server that many hosts share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from holdfast.capabilities import Logs
from holdfast.clock import SYSTEM, Clock
from holdfast.config import QueueSettings
from holdfast.contract import Features, QueueBackend
from holdfast.delivery import Beat, Burial, Delivery, HolderInfo, QueueStats, Receipt, Settlement, Tidied
from holdfast.errors import BackendError
from holdfast.message import Message, Stored
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.completions import Completions
from holdfast.stores.redis.doctor import RedisDoctor
from holdfast.stores.redis.holding import Holding, lost
from holdfast.stores.redis.keys import Keys, Times, lanes
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.logs import RedisLogs
from holdfast.stores.redis.messages import deliveries
from holdfast.stores.redis.operations import Operations
from holdfast.stores.redis.options import Options
from holdfast.stores.redis.places import Places
from holdfast.stores.redis.schedules import KeptSchedules
from holdfast.stores.redis.scripts import Script
from holdfast.stores.redis.sends import UNDECLARED, UNSENT, Sending, check_body, is_refusal
from holdfast.stores.redis.settles import Settling
from holdfast.stores.redis.streams import BesideStreams, RedisStreams
from holdfast.stores.redis.waits import Waits

_LEASE, _SETTLE = Script.load("lease"), Script.load("settle")
AT_ONCE = 5_000
"""How many messages one script stores, where nothing asks for all or none: the server does nothing else meanwhile."""
BYTES_AT_ONCE = 1 << 24
"""How many bytes of bodies, likewise; from a gigabyte on (client-query-buffer-limit) a server ends the connection."""
MAX_BODY = 1 << 29
"""The servers' own limit on a value, in bytes."""


class RedisBackend(Operations, KeptSchedules, RedisDoctor, Logs, BesideStreams, QueueBackend):
    """Queues and logs in a Redis or Valkey, a single one, or one behind Sentinels, or a cluster."""

    def __init__(self, options: Options, clock: Clock = SYSTEM) -> None:
        self.features = Features(
            level=options.level, durable=True, multi_process=True, multi_host=True, max_body=MAX_BODY
        )
        self._link = Link(options)
        self._keys, self._times = Keys(options.prefix), Times(clock)
        parts = self._link, self._keys, self._times
        self._holding = Holding(*parts)
        self._places = Places(*parts, self._holding)
        self._waits = Waits(*parts)
        self._completions = Completions(*parts)
        self._logs = RedisLogs(self._link, clock, self.close)
        self._streams = RedisStreams(self._link, self._keys, self._holding.living)
        self._doubted: dict[str, str] = {}
        """The holders of leases whose answers did not come, until those are given back."""
        self._link.on_failure = self._waits.look_again
        clock.on_move(self._waits.look_again)
        clock.on_move(self._completions.look_again)

    def open_logs(self) -> RedisLogs:
        return self._logs

    # -- places ---------------------------------------------------------------------------------------------------

    def declare(self, queue: str, settings: QueueSettings) -> None:
        self._places.declare(queue, settings)

    def destroy(self, queue: str) -> int:
        return self._places.destroy(queue)

    def queues(self) -> dict[str, QueueSettings]:
        return self._places.all()

    # -- send, lease, wait, settle --------------------------------------------------------------------------------

    def send(self, queue: str, messages: Sequence[Message], *, limited: bool = True) -> list[Stored]:
        if _is_small(messages) or not self._may_be_parted(queue, messages, limited=limited):
            return self._send(queue, messages, limited=limited)
        return [stored for part in _parts(messages) for stored in self._send(queue, part, limited=limited)]

    def _may_be_parted(self, queue: str, messages: Sequence[Message], *, limited: bool) -> bool:
        """Tell whether none of these can be refused once others are stored."""
        settings = self._places.settings(queue)
        if limited:  # by the script, too, but what is too large for a server may not reach that
            for message in messages:
                check_body(queue, settings, message.body)
        return not limited or settings.limit is None

    def _send(self, queue: str, messages: Sequence[Message], *, limited: bool) -> list[Stored]:
        sending = Sending(queue, messages, self.features.level, limited=limited)
        while is_refusal(reply := self._sent(queue, sending)):
            sending.check(reply, self._places.settings(queue))
        return sending.stored(reply)

    def _sent(self, queue: str, sending: Sending) -> Any:
        while (reply := self._run(sending.script, queue, *sending.args)) in UNSENT:
            if reply == UNDECLARED:
                self._places.make(queue)
            else:
                sending.take_every_case()
        return reply

    def lease(
        self, queue: str, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], max_format: int
    ) -> list[Delivery]:
        try:
            return self._lease(queue, holder, lease_id, limit, lanes(kinds, max_format))
        except BackendError as error:
            if error.outcome_unknown:
                self._doubted[lease_id] = holder
            raise

    def _lease(self, queue: str, holder: str, lease_id: str, limit: int, wanted: Sequence[str]) -> list[Delivery]:
        reply = self._run(_LEASE, queue, holder, lease_id, limit, "", *wanted)
        if reply == b"who":
            self._holding.introduce(holder, queue)
            reply = self._run(_LEASE, queue, holder, lease_id, limit, "1", *wanted)
        if reply == b"unknown":
            self._holding.introduce(holder, "")
            self._places.restore(queue)
            return []
        if reply == b"gone":
            raise lost(holder)
        self._waits.leased(queue, wanted, granted=len(reply[1]))
        if len(reply[1]) == limit:  # there may be no room for what else the wait took markers of
            self._waits.put_back()
        found, gone = deliveries(queue, wanted, reply)
        if gone:
            self._bury([Burial(Receipt(queue, *one), "its body is gone from the server") for one in gone])
        return found

    def _bury(self, burials: Sequence[Burial]) -> None:
        """Bury what a lease came upon. When that fails the lease is in doubt: what else it granted is not known yet."""
        try:
            self.settle(burials)
        except BackendError as error:
            error.outcome_unknown = True
            raise

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        return self._waits.wait(queues, kinds, timeout)

    def interrupt(self) -> None:
        self._waits.interrupt()

    def settle(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        by_queue: dict[str, Settling] = {}
        for number, settlement in enumerate(settlements):
            receipt = settlement.receipt
            queue = receipt.queue if receipt is not None else getattr(settlement, "queue", "")
            if queue not in by_queue:
                by_queue[queue] = Settling(self._doubted)
            by_queue[queue].add(number, settlement)
        calls = [(_SETTLE, self._keys.queue(queue), (self._times(), *its.end())) for queue, its in by_queue.items()]
        replies = self._link.run_all(calls, durable=True)
        for error in replies:
            if isinstance(error, BackendError) and len(replies) > 1:  # other queues may have been settled by now
                error.outcome_unknown = True
        checked(replies)
        if self._doubted:
            for settlement in settlements:
                self._doubted.pop(getattr(settlement, "lease_id", ""), None)
        gone = [one for its, reply in zip(by_queue.values(), replies, strict=True) for one in its.lost(reply)]
        return [receipt for _, receipt in sorted(gone)]

    # -- holders --------------------------------------------------------------------------------------------------

    def beat(self, holder: HolderInfo) -> Beat:
        beat = self._holding.beat(holder)
        self._waits.put_back()  # of a worker that stops, while its last jobs run
        return beat

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None = ()) -> int:
        return self._holding.end(holder, reason, charged)

    def holders(self) -> list[HolderInfo]:
        return self._holding.living()

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tidy(self, limit: int = 1000) -> Tidied:
        self._waits.put_back()  # of a worker that fell quiet before it came to lease
        try:
            rescued = self._holding.rescue(limit)
        finally:  # a queue that is away keeps no other from being tidied
            tidied, leasing = self._places.tidy(limit)
        orphaned = self._holding.rescue_orphans(leasing) if leasing else 0
        return tidied + Tidied(rescued=rescued + orphaned, more=rescued >= limit)

    def stats(self, queue: str) -> QueueStats:
        return self._places.stats(queue)

    def close(self) -> int:
        self._logs.end()
        self._waits.close()
        self._completions.close()
        self._link.close()
        return 0


def _is_small(messages: Sequence[Message]) -> bool:
    """Tell whether one script stores them all."""
    if len(messages) == 1:
        return len(messages[0].body) <= BYTES_AT_ONCE
    return len(messages) <= AT_ONCE and sum([len(one.body) for one in messages]) <= BYTES_AT_ONCE


def _parts(messages: Sequence[Message]) -> list[Sequence[Message]]:
    """Return the messages as pieces of which one script stores each."""
    ends, size = [0], 0
    for number, message in enumerate(messages):
        size += len(message.body)
        if number > ends[-1] and (size > BYTES_AT_ONCE or number - ends[-1] == AT_ONCE):
            ends.append(number)
            size = len(message.body)
    ends.append(len(messages))
    return [messages[first:end] for first, end in pairwise(ends)]
