"""A second opinion: the promises of a queue, written down naively, with lists and sorts and no bookkeeping at all.

It shares no code with the machine. Every question is answered by looking at all jobs.
"""

from types import SimpleNamespace

import msgspec

from holdfast.delivery import (
    ENDED,
    Ack,
    Burial,
    Cancellation,
    Crash,
    GiveBack,
    Nack,
    QueueStats,
    Receipt,
    Replayed,
    State,
)
from holdfast.testing.conformance.judge import QUEUE, Grant, Seen


def new_job(message, seq, now):
    """A waiting job is READY; whether it is scheduled, its `due` tells. `rank` is the ms of becoming ready."""
    due = now + int(message.delay * 1000)
    expires = None if message.expires_in is None else now + int(message.expires_in * 1000)
    job = SimpleNamespace(message=message, id=message.id, key=message.key, seq=seq, due=due, rank=due, expires=expires)
    job.state, job.left, job.token, job.attempts, job.crashes = State.READY, message.max_attempts, 0, 0, 0
    job.begun = False  # leased since it last entered its key, so that it stays the head
    job.holder = job.lease_id = job.asked = job.started = job.ended = job.reason = None
    job.keep_until = 0
    job.unique = message.unique
    job.has_slot, job.gone = message.unique is not None, False
    within = message.unique.within if message.unique else None
    job.slot_lasts = 0 if within is None else now + int(within * 1000)
    return job


class Oracle:
    """Judges a store as the machine does."""

    def __init__(self, settings):
        self.settings, self.jobs, self.forgotten, self.tokens = settings, {}, set(), {}
        self.paused, self.sends = False, 0
        self.slots = []  # every job that ever had a slot

    # -- commands ------------------------------------------------------------------------------------------------

    def send(self, messages, now):
        self._expire(now)
        return [self._send(message, now) for message in messages]

    def _send(self, message, now):
        if message.id in self.jobs or message.id in self.forgotten:
            return message.id, True
        there = message.unique and self._who_has(message.unique.key, now)
        if there:
            self._conflict(there, message, now)
            return there.id, True
        self.sends += 1
        job = self.jobs[message.id] = new_job(message, self.sends, now)
        self._give_slot(job)
        self._expire(now)
        return message.id, False

    def _who_has(self, key, now):
        """Whoever took the slot last has it: by its state, or because `within` lasts."""
        for job in self.slots:
            if job.has_slot and job.unique.key == key:
                waits = not job.gone and job.state is State.READY
                runs = not job.gone and job.state is State.RUNNING and job.unique.until == "done"
                if waits or runs or job.slot_lasts > now:
                    return job
        return None

    def _give_slot(self, job):
        if job.unique:
            for other in self.slots:
                other.has_slot = other.has_slot and other.unique.key != job.unique.key
            job.has_slot = True
            self.slots.append(job)

    def _conflict(self, job, message, now):
        verb = message.unique.on_conflict
        if job.gone or job.state is not State.READY or verb not in ("replace", "debounce"):
            return
        fresh = new_job(message, job.seq, now)
        fresh.message = msgspec.structs.replace(message, key=job.key, id=job.id)
        job.message, job.left, job.expires = fresh.message, fresh.left, fresh.expires
        if verb == "debounce":
            job.due, job.rank = fresh.due, fresh.rank
        self._expire(now)

    def lease(self, holder, lease_id, *, limit, kinds, newest, now):
        self._expire(now)
        granted = self._leasable(kinds, newest, now)[:limit]
        for job in granted:
            job.token = self.tokens[job.id] = self.tokens.get(job.id, 0) + 1
            job.attempts += 1
            job.state, job.begun, job.holder, job.lease_id, job.started = State.RUNNING, True, holder, lease_id, now
        return [Grant(job.id, job.attempts, job.crashes, job.token) for job in granted]

    def _leasable(self, kinds, newest, now):
        ready = [] if self.paused else self._ready(now)
        fit = [job for job in ready if job.message.kind in kinds and job.message.format <= newest]
        free = [job for job in fit if not self._held(job, now)]
        return sorted(free, key=lambda job: (-job.message.priority, job.rank, job.seq))

    def settle(self, settlements, now):
        self._expire(now)
        lost = []
        for settlement in settlements:
            receipt = settlement.receipt
            if receipt is None:
                for job in self._running(lease_id=settlement.lease_id):
                    self._settle(job, GiveBack(), now)
                continue
            job = self.jobs.get(receipt.id)
            if job is None or job.state is not State.RUNNING or job.token != receipt.token:
                lost.append(receipt)
            else:
                self._settle(job, settlement, now)
        return lost

    def _settle(self, job, settlement, now):
        match settlement:
            case Ack(result=result, keep_result=seconds, then=then):
                job.keep_until = 0 if result is None else now + int(seconds * 1000)
                self._end(job, State.DONE, None, now)
                self.send(then, now)
            case Burial(reason=reason):
                self._end(job, State.DEAD, reason, now)
            case Cancellation(reason=reason):
                self._end(job, State.CANCELLED, reason, now)
            case Nack(delay=delay, count=count):
                job.attempts -= not count
                job.due = now + int(delay * 1000)
                job.rank = job.due if job.due > now else now + 1
                self._back(job, now)
            case Crash(reason=reason):
                self._charge(job, reason, True, now)
            case GiveBack():
                job.attempts -= 1
                self._back(job, now)

    def retire(self, holder, reason, charged, now):
        taken = self._running(holder=holder)
        for job in taken:
            crashed = charged is not None and Receipt(QUEUE, job.id, job.token) in charged
            if crashed or charged is None:
                self._charge(job, reason, crashed, now)
            else:
                job.attempts -= 1
                self._back(job, now)
        return len(taken)

    def _charge(self, job, reason, crashed, now):
        job.crashes += crashed
        out_of_attempts = job.left is not None and job.attempts >= job.left
        if not job.asked and (out_of_attempts or job.crashes >= 3):
            self._end(job, State.DEAD, reason, now)
        else:
            self._back(job, now)

    def cancel(self, job_ids, reason, now):
        self._expire(now)
        known = [job_id for job_id in job_ids if job_id in self.jobs]
        for job in map(self.jobs.get, known):
            if job.state is State.RUNNING:
                job.asked = job.asked or reason
            elif job.state not in ENDED:
                self._end(job, State.CANCELLED, reason, now)
        return {job_id: self.jobs[job_id].state for job_id in known}

    def revive(self, verb, job_ids, now):
        self._expire(now)
        moved, duplicates = [], []
        for job in map(self.jobs.get, job_ids):
            if job is None or job.state not in (State.DEAD, State.CANCELLED, State.EXPIRED):
                continue
            has = job.unique and self._who_has(job.unique.key, now)
            if has and has is not job and verb == "replay":
                duplicates.append(job.id)
                continue
            if job.unique and not has:
                self._give_slot(job)
            if verb == "replay":
                job.attempts = job.crashes = 0
            elif job.left is not None:
                job.left = job.attempts + 1
            job.state, job.begun, job.due, job.rank = State.READY, False, now, now + 1
            job.expires = job.ended = job.started = job.reason = None
            moved.append(job.id)
        return Replayed(tuple(moved), tuple(dict.fromkeys(duplicates)))

    def put_dead(self, letter, now):
        if letter.message.id in self.jobs or letter.message.id in self.forgotten:
            return False
        self._expire(now)
        self.sends += 1
        job = self.jobs[letter.message.id] = new_job(letter.message, self.sends, now)
        job.has_slot = False
        job.attempts, job.crashes = letter.attempts, letter.crashes
        self._end(job, State.DEAD, letter.reason, now)
        return True

    def flush(self, state, now):
        gone = [job_id for job_id, seen in self.seen(now).items() if seen.state is state]
        self._forget(gone)
        return len(gone)

    def tidy(self, now):
        self._expire(now)
        for state in ENDED:
            keep_for, most = self.settings.done_for, self.settings.done_most
            if state is State.DEAD:
                keep_for, most = self.settings.dead_for, self.settings.dead_most
            ended = [job for job in self.jobs.values() if job.state is state and job.keep_until <= now]
            newest = sorted(ended, key=lambda job: (job.ended, job.seq), reverse=True)
            old = [job for job in newest if job.ended + int(keep_for * 1000) <= now]
            self._forget({job.id for job in [*newest[most:], *old]})

    def pause(self, paused):
        self.paused = paused

    def destroy(self, settings):
        gone = len(self.jobs)
        self.jobs, self.forgotten, self.paused, self.settings, self.slots = {}, set(), False, settings, []
        return gone

    # -- what becomes of a job -----------------------------------------------------------------------------------

    def _expire(self, now):
        for job in self.jobs.values():
            if job.state is State.READY and job.expires is not None and job.expires <= now:
                self._end(job, State.EXPIRED, "expired", job.expires)

    def _end(self, job, state, reason, now):
        job.state, job.reason, job.ended, job.asked = state, reason, now, None

    def _back(self, job, now):
        if job.asked:
            self._end(job, State.CANCELLED, job.asked, now)
            return
        if job.unique and not self._who_has(job.unique.key, now):
            self._give_slot(job)
        job.state = State.READY

    def _forget(self, job_ids):
        self.forgotten.update(job_ids)
        for job_id in job_ids:
            self.jobs[job_id].gone = True
        self.jobs = {job_id: job for job_id, job in self.jobs.items() if job_id not in job_ids}

    # -- what there is to see ------------------------------------------------------------------------------------

    def _running(self, **wanted):
        running = [job for job in self.jobs.values() if job.state is State.RUNNING]
        return [job for job in running if vars(job).items() >= wanted.items()]

    def _ready(self, now):
        return [job for job in self.jobs.values() if job.state is State.READY and job.due <= now]

    def _held(self, job, now):
        """Whether another job of the key goes first: one that was leased and has not ended, or one ready earlier."""
        if job.key is None or job.begun:
            return False
        if any(other.begun and other.state not in ENDED for other in self.jobs.values() if other.key == job.key):
            return True
        ready = [other for other in self._ready(now) if other.key == job.key]
        return min(ready, key=lambda other: (other.rank, other.seq)) is not job

    def cancels(self, holder):
        return {Receipt(QUEUE, job.id, job.token) for job in self._running(holder=holder) if job.asked}

    def leasable(self, kinds, newest, now):
        self._expire(now)
        return bool(self._leasable(kinds, newest, now))

    def seen(self, now):
        self._expire(now)
        return {job_id: self._seen(job, now) for job_id, job in self.jobs.items()}

    def _seen(self, job, now):
        waits, runs = job.state is State.READY, job.state is State.RUNNING
        state = State.SCHEDULED if waits and job.due > now else job.state
        held = state is State.READY and self._held(job, now)
        counters = (job.message.kind, job.message.priority, job.attempts, job.left, job.crashes)
        marks = (job.holder if runs else None, job.reason, job.asked is not None, held)
        return Seen(state, *counters, *marks, job.due if waits else None, job.expires, job.started, job.ended)

    def stats(self, now):
        seen = self.seen(now).values()
        counts = {state.value: sum(one.state is state for one in seen) for state in State}
        free = [job.rank for job in self._ready(now) if not self._held(job, now)]
        oldest = max(0, now - min(free)) / 1000 if free else None
        held = sum(one.held for one in seen)
        return QueueStats(queue=QUEUE, **counts, held=held, paused=self.paused, oldest_ready=oldest)
