"""Holders: they live in the slot of the whole store, and are known to each queue in which they lease.

Whoever ends a holder does it in the store's slot first, and then in each queue where it has leased. So a queue is noted
with the holder before it is told of it, and an end that somebody left unfinished is finished by who tidies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from holdfast.capabilities import owned
from holdfast.delivery import Beat, HolderInfo, Receipt
from holdfast.errors import BackendError, LeaseLost
from holdfast.stores.holders import seen
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Call, Link
from holdfast.stores.redis.scripts import Script

_BEAT, _ATTEND, _HOLDERS, _INTRODUCE = map(Script.load, ("beat", "attend", "holders", "introduce"))
_END, _RETIRE, _SILENT, _ORPHANS = map(Script.load, ("end", "retire", "silent", "orphans"))
_SILENT_REASON = "its worker went silent"
_MISSING_MS = 120_000
"""A holder that the store does not know for so long, though it leases, does not beat either."""
PLACES = Script.load("places")
_LEFT_ALONE_MS = 10_000
"""An end that was begun so long ago is one that nobody finishes any more."""
_decode_holder = msgspec.json.Decoder(HolderInfo).decode


class _Ending(msgspec.Struct, frozen=True, array_like=True):
    """How the jobs of a holder are to be taken back."""

    reason: str
    charged: tuple[Receipt, ...] | None


_encode_ending = msgspec.json.Encoder().encode
_decode_ending = msgspec.json.Decoder(_Ending).decode


class Holding:
    """The holders of a store."""

    def __init__(self, link: Link, keys: Keys, times: Times) -> None:
        self._link, self._keys, self._times = link, keys, times

    def beat(self, holder: HolderInfo) -> Beat:
        """Keep a holder alive, and tell it what it should know."""
        ttl, info = int(holder.ttl * 1000), msgspec.json.encode(holder)
        calls: list[Call] = [(_BEAT, self._keys.store, (self._times(), holder.id, ttl, info, *holder.queues))]
        calls += [self._attend(holder, queue) for queue in holder.queues]
        first, *answers = self._link.run_all(calls)
        checked([first])
        if first is None:
            return Beat(alive=False)
        command, soonest, places, unknown = first
        further = [queue for queue in (place.decode() for place in places) if queue not in holder.queues]
        if further:
            answers += self._link.run_all([self._attend(holder, queue) for queue in further])
        cancels, paused, ticks = list[Receipt](), set[str](), list[float]()
        for queue, answer in zip((*holder.queues, *further), answers, strict=True):
            if _is_away(answer):  # the holder lives all the same; what that queue has to say comes with a later beat
                continue
            exists, is_paused, tick, *asked = checked([answer])[0]
            if exists and queue.encode() in unknown:  # the store's slot was lost, and this queue was not
                self._link.run(PLACES, self._keys.store, self._times(), "note", queue, durable=True)
            if queue in holder.queues:
                paused |= {queue} if is_paused else set()
                ticks += [int(tick) / 1000] if tick else []
            cancels += [
                Receipt(queue, job_id.decode(), int(token))
                for job_id, token in zip(asked[::2], asked[1::2], strict=True)
            ]
        return Beat(
            alive=True,
            cancels=tuple(cancels),
            paused=frozenset(paused),
            soonest=None if soonest < 0 else soonest / 1000,
            next_tick=min(ticks, default=None),
            command=command.decode() or None,
        )

    def _attend(self, holder: HolderInfo, queue: str) -> Call:
        of_queue = owned(queue, "")
        own = (name.removeprefix(of_queue) for name in holder.schedules if name.startswith(of_queue))
        return _ATTEND, self._keys.queue(queue), (self._times(), holder.id, *own)

    def introduce(self, holder: str, queue: str) -> None:
        """Note that a holder leases in a queue; ``LeaseLost`` when it never beat or has ended."""
        if not self._link.run(_INTRODUCE, self._keys.store, self._times(), holder, queue, durable=True):
            raise lost(holder)

    def living(self) -> list[HolderInfo]:
        """Return the holders that have not ended."""
        now, *rest = self._link.run(_HOLDERS, self._keys.store, self._times())
        return [
            seen(_decode_holder(info), expires, now)
            for expires, info in zip(rest[::2], rest[1::2], strict=True)
            if info
        ]

    def end(
        self, holder: str, reason: str, charged: Collection[Receipt] | None, verb: Literal["end", "rescue"] = "end"
    ) -> int:
        """End a holder and take its jobs back; return how many. A rescue leaves one alone that has beaten meanwhile."""
        ending = _Ending(reason, None if charged is None else tuple(charged))
        queues = self._link.run(
            _END, self._keys.store, self._times(), holder, verb, _encode_ending(ending), durable=True
        )
        return self._take_back(holder, ending, queues) if queues else 0

    def _take_back(self, holder: str, ending: _Ending, places: Sequence[bytes]) -> int:
        queues = [place.decode() for place in places]
        calls = [(_RETIRE, self._keys.queue(queue), self._retirement(holder, ending, queue)) for queue in queues]
        taken = sum(map(int, checked(self._link.run_all(calls, durable=True))))
        self._link.run(_END, self._keys.store, self._times(), holder, "done")
        return taken

    def _retirement(self, holder: str, ending: _Ending, queue: str) -> tuple[str, ...]:
        how = "unknown" if ending.charged is None else "charged"
        runs = (f"{one.token} {one.id}" for one in ending.charged or () if one.queue == queue)
        return self._times(), holder, ending.reason, how, *runs

    def rescue(self, limit: int) -> int:
        """End the holders that went silent, whole holders until ``limit`` jobs are taken back; return how many were.

        One that leased in a queue which is away keeps no other from its end; its error is raised when all have ended.
        """
        silent, unfinished = self._link.run(_SILENT, self._keys.store, self._times(), _LEFT_ALONE_MS)
        ends = [partial(self._take_back, one.decode(), _decode_ending(how), places) for one, how, places in unfinished]
        ends += [partial(self.end, one.decode(), _SILENT_REASON, None, "rescue") for one in silent]
        taken, failed = 0, list[BackendError]()
        for end in ends:
            if taken >= limit:
                break
            try:
                taken += end()
            except BackendError as error:
                failed.append(error)
        if failed:
            raise failed[0]
        return taken

    def rescue_orphans(self, leasing: Mapping[str, Sequence[str]]) -> int:
        """Take back the jobs of holders that lease in some queues and are no holders of the store; return how many."""
        orphans = [
            holder.decode()
            for holder in self._link.run(_ORPHANS, self._keys.store, self._times(), _MISSING_MS, *leasing)
        ]
        ending = _Ending(_SILENT_REASON, None)
        calls = [
            (_RETIRE, self._keys.queue(queue), self._retirement(holder, ending, queue))
            for holder in orphans
            for queue in leasing[holder]
        ]
        return sum(map(int, checked(self._link.run_all(calls, durable=True))))


def _is_away(answer: Any) -> bool:
    return isinstance(answer, BackendError) and answer.retryable


def lost(holder: str) -> LeaseLost:
    """Return the error of a holder that may lease nothing."""
    return LeaseLost(f"holder {holder!r} has ended or never beat; take a new incarnation")
