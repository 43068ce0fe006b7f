"""What operators have an engine do: with queues, and with jobs that nobody runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.delivery import ENDED, Replayed, State
from holdfast.machine import replayed
from holdfast.stores.engine import commands
from holdfast.stores.engine import state as states
from holdfast.stores.engine.commands import At

TOKENS_JUMPED = 1 << 32
"""More leases than any process grants of one job before it writes one of them down."""


class Operating(states.State):
    """Open, close; declare, destroy, pause; cancel, revive, remove."""

    def open(self, command: commands.Open, at: At) -> None:
        if command.jumps:
            given = [place.machine.highest_token() for place in self.places.values()]
            self.floor = max(self.floor, *given, *self.tokens.values(), 0) + TOKENS_JUMPED
            for place in self.places.values():
                place.machine.floor = self.floor
        if command.boot != self.boot:
            self.boot = command.boot
            for holder in self.holders.values():  # what they beat was in a boot that is over
                holder.expires = 0
                holder.ended = None if holder.ended is None else at.boot

    def close(self, command: commands.Close, at: At) -> None:
        """Do nothing."""

    def declare(self, command: commands.Declare, at: At) -> None:
        self.place(command.queue).machine.settings = command.settings

    def destroy(self, command: commands.Destroy, at: At) -> int:
        place = self.places.pop(command.queue, None)
        self.schedules.pop(command.queue, None)
        if place is None:
            return 0
        heads = list(place.machine.heads.values())
        self.tokens[command.queue] = place.machine.highest_token()
        place.forget(heads)
        self.ended(command.queue, [head.id for head in heads])
        return len(heads)

    def pause(self, command: commands.Pause, at: At) -> None:
        self.place(command.queue).machine.paused = command.paused

    def cancel(self, command: commands.Cancel, at: At) -> dict[str, State]:
        return self.cancel_jobs(command.queue, command.job_ids, command.reason, at.wall)

    def cancel_jobs(self, queue: str, job_ids: Sequence[str], reason: str, now: int) -> dict[str, State]:
        """Cancel what waits, ask for what runs; return the states of those that are known."""
        place = self.places.get(queue)
        if place is None:
            return {}
        found = {job_id: place.machine.cancel(job_id, reason, now) for job_id in job_ids}
        known = {job_id: state for job_id, state in found.items() if state is not None}
        self.ended(queue, [job_id for job_id, state in known.items() if state in ENDED])
        return known

    def revive(self, command: commands.Revive, at: At) -> Replayed:
        place = self.places.get(command.queue)
        if place is None:
            return Replayed()
        return replayed([(one, place.machine.revive(command.verb, one, at.wall)) for one in command.job_ids])

    def flush(self, command: commands.Flush, at: At) -> int:
        return len(self._remove(command.queue, (command.state,), None, at.wall))

    def remove(self, command: commands.Remove, at: At) -> list[str]:
        return self._remove(command.queue, command.states, command.job_ids, at.wall)

    def _remove(self, queue: str, gone: Sequence[State], among: Collection[str] | None, now: int) -> list[str]:
        place = self.places.get(queue)
        if place is None:
            return []
        self.catch_up(queue, now)
        heads = [head for state in gone for head in place.machine.flush(state, now, among)]
        place.forget(heads)
        removed = [head.id for head in heads]
        self.ended(queue, removed)
        return removed
