"""A sender: ``python -m tests.faults.sender TASK ARGUMENTS COUNT BATCH``, with options of the send as JSON.

Tells of each job before it is sent, and again when the store has said that it has it. Options of its own are among
them: ``keys`` gives the jobs so many keys in turn, ``queues`` lets the batches go to these in turn, ``insist`` repeats
a batch that the store does not take for so many seconds, ``pause`` rests between batches, ``until`` ends it early, when
the file is there.
"""

import itertools
import json
import sys
import time
from pathlib import Path

from holdfast.errors import BackendError, QueueFull
from tests.faults import tasks
from tests.faults.history import QUEUE, Offered, Sent

AGAIN = 0.05


class Sender:
    """Sends calls of one task."""

    def __init__(self, *, keys=0, queues=(QUEUE,), insist=0.0, pause=0.0, until=None, **options):
        self._keys, self._queues, self._options = keys, itertools.cycle(queues), options
        self._insist, self._pause, self._until = insist, pause, until

    def send(self, task, arguments, count, batch):
        """Send so many calls, ``batch`` at a time."""
        for first in range(0, count, batch):
            if self._until and Path(self._until).exists():
                return
            calls, queue = [], next(self._queues)
            for number in range(first, min(count, first + batch)):
                key = {"key": f"k{number % self._keys}"} if self._keys else {}
                calls.append(tasks.app.tasks[task].using(queue=queue, **self._options, **key).call(*arguments))
            tasks.notes.note(*(Offered(id=one.message.id, key=one.message.key, queue=queue) for one in calls))
            sent = self._sent(calls)
            tasks.notes.note(Sent(ids=tuple(job.id for job in sent)))
            time.sleep(self._pause)

    def _sent(self, calls):
        """Send calls, and the same again while the store is away or full."""
        end = time.monotonic() + self._insist
        while True:
            try:
                return tasks.app.enqueue_many(calls)
            except (BackendError, QueueFull) as error:
                if time.monotonic() > end or not getattr(error, "retryable", True):
                    raise
                tasks.app.events.logger.warning("again: %s", error)
            time.sleep(AGAIN)


if __name__ == "__main__":
    name, given, jobs, at_a_time, *more = sys.argv[1:]
    with tasks.app:
        Sender(**(json.loads(more[0]) if more else {})).send(name, json.loads(given), int(jobs), int(at_a_time))
