"""What a store implements: one Protocol to serve queues, two to serve logs, and what it promises, as data.

Every docstring answers six questions: how long the call may block, what is durable on return, which threads may
call it, whether it may be repeated, what a partly good batch does, and which errors it raises. What they have in
common is said here once:

*Threads*: every method may be called from any thread at any time, ``close`` included. *Errors*: ``BackendError``
for whatever the store itself could not do (``retryable`` and ``outcome_unknown`` say what that means); ``Closed``
after ``close``. A store never retries, delays or re-sends by itself; where a sync is dear it may join callers that
are already waiting into one commit. *Time* is the store's: due times and expiries by its wall clock, heartbeats by a
clock nobody can set. *Blocking*: a call blocks for one round trip to the store and the sync it promises, unless it
says otherwise. Optional powers live in :mod:`holdfast.capabilities`.
"""

from holdfast.contract.features import Features
from holdfast.contract.logs import LogBackend, LogGroups, LogMember
from holdfast.contract.queues import QueueBackend
from holdfast.contract.streams import EntriesLost, StreamGroups, StreamReading

__all__ = [
    "EntriesLost", "Features", "LogBackend", "LogGroups", "LogMember", "QueueBackend", "StreamGroups", "StreamReading",
]  # fmt: skip
