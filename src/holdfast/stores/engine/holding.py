"""How an engine keeps holders, and what it does when they, or results, or ended jobs, have had their time."""

from __future__ import annotations

from collections.abc import Collection

from holdfast.delivery import ENDED, Beat, HolderInfo, Receipt, State, Tidied
from holdfast.machine import charged_runs, next_change, next_turn
from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.place import Place
from holdfast.stores.engine.scheduling import Scheduling
from holdfast.stores.engine.state import Holder
from holdfast.stores.holders import seen

HOLDER_KEPT_MS = 3_600_000
"""How long an ended holder is remembered, so that its late beat is told that it has ended."""


class Holding(Scheduling):
    """Beats, ends of holders, housekeeping."""

    def holds(self, holder: str) -> bool:
        """Tell whether a holder lives."""
        return holder in self.holders and self.holders[holder].ended is None

    def live_holders(self, boot: int) -> list[HolderInfo]:
        """Return the holders that have not ended, with how long ago they beat."""
        return [seen(one.info, one.expires, boot) for one in self.holders.values() if one.ended is None]

    def served(self, queue: str, boot: int) -> set[str]:
        """Return the kinds that holders within their ttl take from a queue."""
        living = (one for one in self.holders.values() if one.ended is None and one.expires > boot)
        return {kind for one in living if queue in one.info.queues for kind in one.info.kinds}

    def beat(self, command: commands.Beat, at: At) -> Beat:
        holder = command.holder
        known = self.holders.setdefault(holder.id, Holder(holder))
        if known.ended is not None:
            return Beat(alive=False)
        known.info = holder
        known.expires = at.boot + int(holder.ttl * 1000)
        cancels = [
            Receipt(name, head.id, head.token)
            for name, place in self.places.items()
            for head in place.machine.cancels(holder.id)
        ]
        mine = [name for name in holder.queues if name in self.places]
        return Beat(
            alive=True,
            cancels=tuple(cancels),
            paused=frozenset(name for name in mine if self.places[name].machine.paused),
            soonest=self._soonest(holder.id, at.boot),
            next_tick=self.next_tick(holder.queues, holder.schedules, at.wall),
            command=known.command,
        )

    def _soonest(self, holder: str, boot: int) -> float | None:
        """Return the seconds until the first of the other holders falls silent."""
        living = (other for id_, other in self.holders.items() if id_ != holder and other.ended is None)
        expires = min((other.expires for other in living), default=None)
        return None if expires is None else max(0, expires - boot) / 1000

    def tell(self, command: commands.Tell, at: At) -> bool:
        if not self.holds(command.holder):
            return False
        self.holders[command.holder].command = command.command
        return True

    def retire(self, command: commands.Retire, at: At) -> int:
        return self._retire(command.holder, command.reason, command.charged, at)

    def _retire(self, holder: str, reason: str, charged: Collection[Receipt] | None, at: At) -> int:
        if not self.holds(holder):
            return 0
        self.holders[holder].ended = at.boot
        taken = 0
        for queue, place in self.places.items():
            heads = place.retire(holder, reason, charged_runs(charged, queue), at.wall)
            self.ended(queue, [head.id for head in heads if head.ended is not None])
            taken += len(heads)
        return taken

    # -- time -----------------------------------------------------------------------------------------------------

    def is_behind(self, queue: str, now: int) -> bool:
        """Tell whether something is due or has expired in a queue that is not written down."""
        turn = next_turn(self.places[queue].machine) if queue in self.places else None
        return turn is not None and turn <= now

    def advance(self, command: commands.Advance, at: At) -> None:
        for queue in command.queues:
            self.catch_up(queue, at.wall)

    def next_change(self) -> int | None:
        """Return the ms (wall) at which something next happens here by time alone, None for never."""
        changes = (next_change(place.machine) for place in self.places.values())
        return min((change for change in changes if change is not None), default=None)

    def tidy(self, command: commands.Tidy, at: At) -> Tidied:
        rescued, limit = self._rescue(command.limit, at), command.limit
        tidied = Tidied(rescued=rescued, more=rescued >= limit)
        for queue, place in self.places.items():
            tidied += self._tidy_place(queue, place, at.wall, limit)
        return tidied

    def _rescue(self, limit: int, at: At) -> int:
        """Take back the jobs of silent holders, whole holders at a time, until ``limit`` is reached."""
        rescued = 0
        for holder_id, holder in list(self.holders.items()):
            if holder.ended is not None and holder.ended + HOLDER_KEPT_MS <= at.boot:
                del self.holders[holder_id]
            elif holder.ended is None and holder.expires <= at.boot and rescued < limit:
                rescued += self._retire(holder_id, "its worker went silent", None, at)
        return rescued

    def _tidy_place(self, queue: str, place: Place, now: int, limit: int) -> Tidied:
        over, due = place.machine.advance(now, limit)
        self.ended(queue, [head.id for head in over])
        lapsed, dropped = place.drop(now, limit)
        states = [head.state for head in dropped]
        ticks = self.drop_ticks(queue, place.machine.settings.ticks_for, now, limit)
        more = max(len(over), due, lapsed, ticks, *(states.count(state) for state in ENDED)) >= limit
        return Tidied(0, len(over), due, len(states), states.count(State.DEAD), more)
