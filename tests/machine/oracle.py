"""A second opinion: the promises of a queue, written down naively, with lists and sorts and no bookkeeping at all.

It shares no code with the machine. Every question is answered by looking at all jobs.
"""

from dataclasses import dataclass

from holdfast.delivery import ENDED, Ack, Burial, Cancellation, GiveBack, Nack, QueueStats, Receipt, State
from holdfast.testing.conformance.judge import QUEUE, Grant, Seen


@dataclass
class Job:
    message: object
    seq: int
    due: int
    rank: int  # the ms of becoming ready
    expires: int | None
    left: int | None  # the limit of attempts
    sent: int
    state: State = State.READY  # scheduled and ready are told apart by `due`
    begun: bool = False  # leased once since it last entered its key
    attempts: int = 0
    crashes: int = 0
    token: int = 0
    holder: str | None = None
    lease_id: str | None = None
    asked: str | None = None
    started: int | None = None
    ended: int | None = None
    reason: str | None = None
    keep_until: int = 0


class Oracle:
    """Judges a store as the machine does."""

    def __init__(self, settings):
        self.settings, self.jobs, self.forgotten, self.tokens = settings, {}, set(), {}
        self.paused, self.sends = False, 0

    # -- commands ------------------------------------------------------------------------------------------------

    def send(self, messages, now):
        return [not self._store(message, now) for message in messages]

    def _store(self, message, now):
        if message.id in self.jobs or message.id in self.forgotten:
            return False
        self.sends += 1
        due = now + int(message.delay * 1000)
        expires = None if message.expires_in is None else now + int(message.expires_in * 1000)
        self.jobs[message.id] = Job(message, self.sends, due, due, expires, message.max_attempts, now)
        return True

    def lease(self, holder, lease_id, *, limit, kinds, newest, now):
        self._expire(now)
        granted = self._leasable(kinds, newest, now)[:limit]
        for job in granted:
            job.token = self.tokens[job.message.id] = self.tokens.get(job.message.id, 0) + 1
            job.attempts += 1
            job.state, job.begun, job.holder, job.lease_id, job.started = State.RUNNING, True, holder, lease_id, now
        return [Grant(job.message.id, job.attempts, job.crashes, job.token) for job in granted]

    def _leasable(self, kinds, newest, now):
        if self.paused:
            return []
        fit = [job for job in self._ready(now) if job.message.kind in kinds and job.message.format <= newest]
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
            case Ack():
                job.keep_until = now + int(settlement.keep_result * 1000) if settlement.result is not None else 0
                self._end(job, State.DONE, None, now)
                for message in settlement.then:
                    self._store(message, now)
            case Burial():
                self._end(job, State.DEAD, settlement.reason, now)
            case Cancellation():
                self._end(job, State.CANCELLED, settlement.reason, now)
            case Nack():
                job.attempts -= not settlement.count
                job.due = now + int(settlement.delay * 1000)
                job.rank = job.due if job.due > now else now + 1
                self._back(job, now)
            case GiveBack():
                job.attempts -= 1
                self._back(job, now)

    def retire(self, holder, reason, charged, now):
        taken = self._running(holder=holder)
        for job in taken:
            crashed = charged is not None and Receipt(QUEUE, job.message.id, job.token) in charged
            job.crashes += crashed
            burned = crashed or charged is None
            job.attempts -= not burned
            out_of_attempts = job.left is not None and job.attempts >= job.left
            if burned and not job.asked and (out_of_attempts or job.crashes >= 3):
                self._end(job, State.DEAD, reason, now)
            else:
                self._back(job, now)
        return len(taken)

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
        moved = []
        for job_id in job_ids:
            job = self.jobs.get(job_id)
            if job is None or job.state not in (State.DEAD, State.CANCELLED, State.EXPIRED):
                continue
            if verb == "replay":
                job.attempts = job.crashes = 0
            elif job.left is not None:
                job.left = job.attempts + 1
            job.state, job.begun, job.due, job.rank = State.READY, False, now, now + 1
            job.expires = job.ended = job.started = job.reason = job.asked = None
            moved.append(job_id)
        return moved

    def flush(self, state, now):
        gone = [job_id for job_id, seen in self.seen(now).items() if seen.state is state]
        self._forget(gone)
        return len(gone)

    def tidy(self, now):
        self._expire(now)
        for state in ENDED:
            dead = state is State.DEAD
            keep_for, most = self.settings.done_for, self.settings.done_most
            if dead:
                keep_for, most = self.settings.dead_for, self.settings.dead_most
            ended = [job for job in self.jobs.values() if job.state is state and job.keep_until <= now]
            newest = sorted(ended, key=lambda job: (job.ended, job.seq), reverse=True)
            old = [job for job in newest if job.ended + int(keep_for * 1000) <= now]
            self._forget({job.message.id for job in [*newest[most:], *old]})

    def pause(self, paused):
        self.paused = paused

    def destroy(self, settings):
        gone = len(self.jobs)
        self.jobs, self.forgotten, self.paused, self.settings = {}, set(), False, settings
        return gone

    # -- what becomes of a job -----------------------------------------------------------------------------------

    def _expire(self, now):
        for job in self.jobs.values():
            waits = job.state is State.READY
            if waits and job.expires is not None and job.expires <= now:
                self._end(job, State.EXPIRED, "expired", job.expires)

    def _end(self, job, state, reason, now):
        job.state, job.reason, job.ended, job.asked = state, reason, now, None

    def _back(self, job, now):
        if job.asked:
            self._end(job, State.CANCELLED, job.asked, now)
        else:
            job.state = State.READY

    def _forget(self, job_ids):
        self.forgotten.update(job_ids)
        for job_id in job_ids:
            del self.jobs[job_id]

    # -- what there is to see ------------------------------------------------------------------------------------

    def _running(self, **wanted):
        running = [job for job in self.jobs.values() if job.state is State.RUNNING]
        return [job for job in running if all(getattr(job, name) == value for name, value in wanted.items())]

    def _ready(self, now):
        return [job for job in self.jobs.values() if job.state is State.READY and job.due <= now]

    def _held(self, job, now):
        """Whether another job of the key goes first: one that was leased and has not ended, or one ready earlier."""
        if job.message.key is None or job.begun:
            return False
        rivals = [other for other in self.jobs.values() if other.message.key == job.message.key]
        if any(other.begun and other.state not in ENDED for other in rivals):
            return True
        ready = [other for other in self._ready(now) if other in rivals]
        return min(ready, key=lambda other: (other.rank, other.seq)) is not job

    def cancels(self, holder):
        return {Receipt(QUEUE, job.message.id, job.token) for job in self._running(holder=holder) if job.asked}

    def leasable(self, kinds, newest, now):
        self._expire(now)
        return bool(self._leasable(kinds, newest, now))

    def seen(self, now):
        self._expire(now)
        return {job_id: self._seen(job, now) for job_id, job in self.jobs.items()}

    def _seen(self, job, now):
        waits = job.state is State.READY
        state = State.SCHEDULED if waits and job.due > now else job.state
        held = state is State.READY and self._held(job, now)
        due, asked = job.due if waits else None, job.asked is not None
        counters = (job.attempts, job.left, job.crashes)
        holder = job.holder if job.state is State.RUNNING else None
        return Seen(
            state,
            *counters,
            holder,
            job.reason,
            asked,
            held,
            due,
            job.expires,
            job.started,
            job.ended,
        )

    def stats(self, now):
        seen = self.seen(now)
        states = [one.state for one in seen.values()]
        free = [job.rank for job in self._ready(now) if not self._held(job, now)]
        return QueueStats(
            queue=QUEUE,
            **{state.value: states.count(state) for state in State},
            held=sum(one.held for one in seen.values()),
            paused=self.paused,
            oldest_ready=max(0, now - min(free)) / 1000 if free else None,
        )
